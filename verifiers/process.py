"""A helper process for work that must be ended from outside when it takes too long.

Asked one thing at a time, a line of JSON each way.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.jsontypes import JsonObject

_ROOT = Path(__file__).parents[2]
START_S = 20.0  # for importing libraries


class HelperLate(TimeoutError):
    """No answer in time; the helper was ended, the next question starts another."""


class Helper:
    """Runs `main()` of a module of this package when it is first asked, and keeps it.

    Thread-safe: questions wait for each other. It ends with this process.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    def ask(self, question: JsonObject, timeout_s: float) -> JsonObject:
        """Blocks. Raises `HelperLate`, also when the helper dies over the question."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._started()
            line = self._exchanged(json.dumps(question).encode() + b"\n", timeout_s)
            if not line:
                self.close()
                raise HelperLate(f"no answer within {timeout_s:g} s")
            answer: dict[str, Any] = json.loads(line)
            return answer

    def _exchanged(self, written: bytes, timeout_s: float) -> bytes:
        """The line that follows what is written; nothing if none comes in time: the helper is ended then."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        try:
            process.stdin.write(written)
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            late.cancel()

    def close(self) -> None:
        """Ends the process; the next question starts another."""
        self._end()
        self._process = None

    def _started(self) -> None:
        """Starts it, and waits until it has imported what it needs."""
        self._end()
        # Not as a script: its folder would come first on the path, and its files before modules of the standard library
        # (`code`, say).
        program = (
            f"import sys; sys.path.append({str(_ROOT)!r}); from {self._module} import main; print(flush=True); main()"
        )
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        self._end = weakref.finalize(self, _end, process)
        if not self._exchanged(b"", START_S):
            self.close()
            raise HelperLate(f"{self._module} did not start within {START_S:g} s")


def bound_memory(bytes_: int) -> None:
    """Bounds the memory of this process, where the system can do that."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
