"""Runs programs in workers that are kept: the first program costs the start of an interpreter, each further one a fork."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import sys
import tempfile
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from verifiers.sandbox.limits import Limits, Ran

WORKER = Path(__file__).with_name("worker.py")
GRACE_S = 5.0  # a worker that has not answered so long after a program's time is ended
MAX_CODE_BYTES = 1_000_000


class SandboxUnavailable(RuntimeError):
    """This machine gives no isolation that is enough to run foreign code; nothing was run."""


@lru_cache(maxsize=1)
def level_at_hand() -> tuple[str, str]:
    """The isolation that this machine gives, "landlock+seccomp" or "none", and why."""
    if sys.platform != "linux":
        return "none", "code is confined by Landlock and seccomp, which only Linux has"
    from verifiers.sandbox import confine  # it loads the C library: only where there is something to confine

    if not confine.can_filter_calls():
        return "none", "system calls can be filtered on Linux on x86-64 and arm64 only"
    version = confine.landlock_version()
    if version < 1:
        return "none", "the kernel has no Landlock (Linux 5.13 or newer, with `landlock` among its security modules)"
    return "landlock+seccomp", f"Landlock ABI {version}; about 110 system calls allowed, no socket, fork or exec"


class Sandbox:
    """`await sandbox.run(code)` runs Python code confined (verifiers.sandbox.confine), up to `workers` programs at once; close it after use.

    Raises `SandboxUnavailable` when this machine gives no isolation. What no sandbox of this kind can prevent: that a program says it has finished
    when it has not done what it should, uses up its share of processor and memory, or fills its folder with many files while it runs.
    """

    def __init__(self, limits: Limits | None = None, *, workers: int = 2) -> None:
        level, why = level_at_hand()
        if level == "none":
            raise SandboxUnavailable(f"code is not run here: {why}")
        self.level = level
        self._limits = limits or Limits()
        self._folder = tempfile.mkdtemp(prefix="sandbox-")
        self._idle: list[asyncio.subprocess.Process] = []
        self._free = asyncio.Semaphore(workers)
        self.executions = 0

    async def run(self, code: str, limits: Limits | None = None) -> Ran:
        """Runs `code` as a program of its own; never raises on what the program does."""
        if len(code.encode("utf-8", "replace")) > MAX_CODE_BYTES:
            return Ran("refused", "", f"the program has more than {MAX_CODE_BYTES:,} bytes", 0.0)
        using = limits or self._limits
        request = json.dumps({"code": code, "limits": asdict(using)}).encode()
        async with self._free:
            self.executions += 1
            worker = self._idle.pop() if self._idle else await self._started()
            try:
                answer = await asyncio.wait_for(_ask(worker, request), using.wall_s + GRACE_S)
            except (TimeoutError, asyncio.IncompleteReadError, OSError, ValueError):
                await _end(worker)
                return Ran("killed", "", "the sandbox's worker died with it", using.wall_s)
            except BaseException:  # cancelled: the program ends with its worker
                await _end(worker)
                raise
            self._idle.append(worker)
        return Ran(answer["ending"], answer["stdout"], answer["error"], answer["seconds"])

    async def close(self) -> None:
        for worker in self._idle:
            await _end(worker)
        self._idle.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def __aenter__(self) -> Sandbox:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _started(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            "-B",
            str(WORKER),
            self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            cwd="/",
        )


async def _ask(worker: asyncio.subprocess.Process, request: bytes) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(struct.pack("!I", len(request)) + request)
    await worker.stdin.drain()
    (size,) = struct.unpack("!I", await worker.stdout.readexactly(4))
    found: dict[str, Any] = json.loads(await worker.stdout.readexactly(size))
    return found


async def _end(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.kill()
    await worker.wait()
