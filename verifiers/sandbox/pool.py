"""Runs programs in workers that are kept.

The first program costs the start of an interpreter, each further one a fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import OrchestratorError
from orchestrator.verifiers.sandbox import restricted
from orchestrator.verifiers.sandbox.limits import Limits, Ran
from orchestrator.verifiers.sandbox.removal import remove_tree
from orchestrator.verifiers.sandbox.restricted import Restricted

WORKER = Path(__file__).with_name("worker.py")
PYTHON = os.path.realpath(sys.executable)  # a link in a virtual environment would lead nowhere in namespaces of its own
PARTING_S = 0.2  # how long a program may take to notice that nobody asks it any more
GRACE_S = 5.0  # a worker that has not answered so long after a program's time is ended
FULL_LANDLOCK = 6
GAPS = (
    "signals, sockets and truncation are kept off by the filter of system calls alone; install bubblewrap, or Linux "
    "6.12, for a second wall"
)
MAX_CODE_BYTES = 1_000_000
Level = Literal["landlock+seccomp", "bubblewrap", "seccomp+old-landlock", "monty", "unsafe", "none"]


class SandboxUnavailable(OrchestratorError, RuntimeError):
    """This machine gives no isolation that is enough to run foreign code; nothing was run."""

    code = "sandbox_unavailable"


@lru_cache(maxsize=1)
def level_at_hand() -> tuple[Level, str]:
    """The best isolation that this machine gives, and why it is that one.

    "landlock+seccomp" needs nothing installed but Linux 6.12 (Landlock ABI 6); "bubblewrap" the program of that name,
    and a kernel that lets it make namespaces; "seccomp+old-landlock" is the first with an older Landlock, whose gaps
    the filter of system calls closes alone; "monty" runs what a small interpreter can, and knows nothing of the rest;
    with "none", nothing is run. All but "bubblewrap" let a program see that a file exists, its size and its times,
    though not what is in it.
    """
    without = _why_not_landlock()
    version = landlock_version() if not without else 0
    if version >= FULL_LANDLOCK:
        return "landlock+seccomp", f"Landlock ABI {version}; about 100 system calls allowed, no socket, fork or exec"
    if has_bubblewrap():
        why = without or f"its Landlock has ABI {version}, not {FULL_LANDLOCK}"
        return "bubblewrap", f"namespaces of its own without network, by bubblewrap ({why})"
    if version:
        return "seccomp+old-landlock", f"Landlock ABI {version}, not {FULL_LANDLOCK}: {GAPS}"
    if restricted.is_installed():
        return "monty", f"pydantic-monty; programs that it cannot run are not judged ({without})"
    return "none", without


def _why_not_landlock() -> str:
    if sys.platform != "linux":
        return "code is confined by Landlock and seccomp, which only Linux has"
    # Ctypes.
    from orchestrator.verifiers.sandbox import (
        confine,
    )  # it loads the C library: only where there is something to confine

    if not confine.can_filter_calls():
        return "system calls can be filtered on Linux on x86-64 and arm64 only"
    if confine.landlock_version() < 1:
        return "the kernel has no Landlock (Linux 5.13 or newer, with `landlock` among its security modules)"
    return ""


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 without Landlock."""
    from orchestrator.verifiers.sandbox import confine  # ctypes

    return confine.landlock_version()


@lru_cache(maxsize=1)
def has_bubblewrap() -> bool:
    """Whether bubblewrap is installed and this machine lets it make namespaces: some kernels and containers do not."""
    if shutil.which("bwrap") is None:
        return False
    try:
        tried = subprocess.run([*_bubble(None), "/bin/true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


class Worker:
    """A process that runs programs one after the other, spoken with over a socket.

    It belongs to no event loop, so any may ask it and end it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8"},
                cwd="/",
            )
        self._socket.setblocking(False)

    async def ask(self, request: bytes) -> dict[str, Any]:
        """What it answers. Raises `OSError` or `ValueError` where it has died, or answers nonsense."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, struct.pack("!I", len(request)) + request)
        (size,) = struct.unpack("!I", await self._read(4))
        found: dict[str, Any] = json.loads(await self._read(size))
        return found

    async def _read(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            part = await asyncio.get_running_loop().sock_recv(self._socket, min(left, 1 << 20))
            if not part:
                raise OSError("the worker has ended")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        """Kills it, and waits until it is gone: that is at once."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def __del__(self) -> None:  # of a sandbox that nobody closed
        self.end()


class Sandbox:
    """`await sandbox.run(code)` runs Python code confined, up to `workers` programs at once; close it after use.

    `level` is the best at hand unless one is named; without `fast`, the restricted interpreter is used only where it is
    named. Raises `SandboxUnavailable` when this machine gives no isolation; with `allow_unsafe` code then runs with
    nothing but limits on time, memory and output, level "unsafe": it can read, send and delete whatever you can. What
    no sandbox of this kind can prevent: that a program says it has finished when it has not done what it should, or
    uses up its share of processor, memory and disk.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        workers: int = 2,
        level: Level | None = None,
        allow_unsafe: bool = False,
        fast: bool = True,
    ) -> None:
        at_hand, why = level_at_hand()
        self.level: Level = level or at_hand
        if self.level == "bubblewrap" and not has_bubblewrap():
            raise SandboxUnavailable(
                "code is not run here: bubblewrap is not installed, or may not make namespaces on this machine"
            )
        if self.level in ("landlock+seccomp", "seccomp+old-landlock") and (without := _why_not_landlock()):
            raise SandboxUnavailable(f"code is not run here: {without}")
        if self.level in ("none", "unsafe"):
            if not allow_unsafe:
                raise SandboxUnavailable(
                    f"code is not run here: {'that level needs allow_unsafe=True' if level else why}"
                )
            self.level = "unsafe"
        self.restricted = Restricted() if (fast or self.level == "monty") and restricted.is_installed() else None
        if self.level == "monty" and self.restricted is None:
            raise SandboxUnavailable("code is not run here: pydantic-monty is not installed (extra `sandbox`)")
        self._limits = limits or Limits()
        self.folder = tempfile.mkdtemp(prefix="sandbox-")
        self._workers, self._is_closed = workers, False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Worker] = []
        self._programs: list[Worker] = []  # that never see what programs are judged by
        self.executions = 0

    @property
    def idle_workers(self) -> int:
        """How many workers wait for a program."""
        return len(self._idle)

    async def run(self, code: str, limits: Limits | None = None, *, asked: str | None = None) -> Ran:
        """Runs `code` as a program of its own; never raises on what the program does.

        Raises `SandboxUnavailable` at the level "monty".

        `asked` is a second program, in a process of its own, that the first one talks with over the descriptors
        `QUESTIONS` and `ANSWERS`; it has no other way out, and ends with the first.
        """
        if self.level == "monty":
            raise SandboxUnavailable("whole programs are not run here: pydantic-monty runs a part of Python only")
        if len((code + (asked or "")).encode("utf-8", "replace")) > MAX_CODE_BYTES:
            return Ran("refused", "", f"the program has more than {MAX_CODE_BYTES:,} bytes", 0.0)
        using = limits or self._limits
        self._belong_here()
        async with self._free:
            self.executions += 1
            if asked is None:
                return await self._run_in(
                    self._worker(self._idle), self._idle, {"code": code, "limits": asdict(using)}, using
                )
            return await self._run_both(code, asked, using)

    async def _run_both(self, code: str, asked: str, limits: Limits) -> Ran:
        """Two programs that talk, each in a worker that has never seen what the other side's workers see.

        A fork keeps its parent's memory.
        """
        folder = tempfile.mkdtemp(prefix="talk-", dir=self.folder)
        for name in ("questions", "answers"):
            os.mkfifo(os.path.join(folder, name), 0o600)
        judge, other = (
            {"code": each, "limits": asdict(limits), "talk": {"folder": folder, "role": role}}
            for each, role in ((code, "judge"), (asked, "program"))
        )
        answering = asyncio.ensure_future(self._run_in(self._worker(self._programs), self._programs, other, limits))
        try:
            return await self._run_in(self._worker(self._idle), self._idle, judge, limits)
        finally:
            done, _ = await asyncio.wait((answering,), timeout=PARTING_S)
            if not done:  # it does not end with the one who asks
                answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            remove_tree(folder)

    def _worker(self, idle: list[Worker]) -> Worker:
        return idle.pop() if idle else self._started()

    async def _run_in(self, worker: Worker, idle: list[Worker], request: dict[str, Any], limits: Limits) -> Ran:
        try:
            answer = await asyncio.wait_for(worker.ask(json.dumps(request).encode()), limits.wall_s + GRACE_S)
        except (TimeoutError, OSError, ValueError):
            worker.end()
            return Ran("killed", "", "the sandbox's worker died with it", limits.wall_s)
        except BaseException:  # cancelled: the program ends with its worker
            worker.end()
            raise
        if self._is_closed:
            worker.end()
        else:
            idle.append(worker)
        return Ran(answer["ending"], answer["stdout"], answer["error"], answer["seconds"])

    def _belong_here(self) -> None:
        """How many programs run at once is counted in each event loop anew."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._free = loop, asyncio.Semaphore(self._workers)

    async def close(self) -> None:
        """Ends all worker processes."""
        self._is_closed = True
        for worker in (*self._idle, *self._programs):
            worker.end()
        self._idle, self._programs = [], []
        if self.restricted is not None:
            self.restricted.close()
            self.restricted = None
        await asyncio.to_thread(remove_tree, self.folder)

    async def __aenter__(self) -> Sandbox:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _started(self) -> Worker:
        python = [PYTHON, "-I", "-S", "-B", str(WORKER), self.folder, self.level]
        return Worker([*_bubble(self.folder), *python] if self.level == "bubblewrap" else python)


def _bubble(folder: str | None) -> list[str]:
    """The command before the command: namespaces of its own, Python's installation to read, and `folder` to write."""
    from orchestrator.verifiers.sandbox import confine  # ctypes

    readable = {*confine.readable(), "/bin", "/usr/bin", os.path.dirname(WORKER), os.path.dirname(PYTHON)}
    files = [part for path in sorted(readable) if os.path.isdir(path) for part in ("--ro-bind", path, path)]
    own = [] if folder is None else ["--bind", folder, folder]
    shut = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    return ["bwrap", *shut, "--dev", "/dev", "--tmpfs", "/tmp", *files, *own, "--chdir", "/"]
