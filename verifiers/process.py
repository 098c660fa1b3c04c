"""A helper process for work that must be ended from outside when it takes too long: asked one thing at a time, a line of JSON each way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXTRA_S = 20.0  # for the first question: the helper imports its libraries then


class HelperLate(TimeoutError):
    """No answer in time; the helper was ended, the next question starts another."""


class Helper:
    """Runs `python SCRIPT` when it is first asked and keeps it. Thread-safe: questions wait for each other. It ends with this process."""

    def __init__(self, script: Path) -> None:
        self._script = script
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    def ask(self, question: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Blocks. Raises `HelperLate`, also when the helper dies over the question."""
        with self._lock:
            is_new = self._process is None or self._process.poll() is not None
            process = self._started() if is_new or self._process is None else self._process
            late = threading.Timer(timeout_s + (EXTRA_S if is_new else 0.0), process.kill)
            late.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = b""
            finally:
                late.cancel()
            if not line:
                self.close()
                raise HelperLate(f"no answer within {timeout_s:g} s")
            answer: dict[str, Any] = json.loads(line)
            return answer

    def close(self) -> None:
        self._end()
        self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        self._end()
        process = subprocess.Popen(
            [sys.executable, str(self._script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._process = process
        self._end = weakref.finalize(self, _end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
