"""The sandbox's worker.

Reads requests from its standard input, runs each in a fork of itself that first confines itself, and writes how it
ended.

A request and an answer are each four bytes of length and JSON. Run as `python -I -S worker.py FOLDER LEVEL` with an
empty environment; imports nothing but the standard library, so that a fork is small. The fork has no way to the
worker's pipes: they are closed in it, and it cannot open others.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import struct
import sys
import tempfile
import time
import traceback
from typing import Any, BinaryIO, NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bisect  # noqa: F401 - what programs and tests often import is here before the fork
import cmath  # noqa: F401
import collections  # noqa: F401
import copy  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import fractions  # noqa: F401
import functools  # noqa: F401
import hashlib  # noqa: F401
import heapq  # noqa: F401
import importlib  # noqa: F401
import itertools  # noqa: F401
import math  # noqa: F401
import operator  # noqa: F401
import random
import re  # noqa: F401
import secrets
import statistics  # noqa: F401
import string  # noqa: F401
import types  # noqa: F401
import typing  # noqa: F401

import confine  # type: ignore[import-not-found]
import harness  # type: ignore[import-not-found]  # noqa: F401
import program_process  # type: ignore[import-not-found]  # noqa: F401
from removal import remove_tree  # type: ignore[import-not-found]

FINISHED, RAISED, EXITED = 0, 17, 18
MAX_ERROR_CHARS = 2_000
LOOK_S, BLOCK, MAX_LEVELS = 0.1, 4_096, 100
MARK = "\x00finished"
EXIT = os._exit  # as it was before a program could replace it


def main() -> None:
    """Serves requests of the pool until its pipe closes."""
    base, level = sys.argv[1:3]
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    while (request := read(requests)) is not None:
        write(answers, run(request, base, level, (requests.fileno(), answers.fileno())))


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next request; `None` when the pipe is closed."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    found: dict[str, Any] = json.loads(stream.read(struct.unpack("!I", header)[0]))
    return found


def write(stream: BinaryIO, answer: dict[str, Any]) -> None:
    """Sends an answer."""
    body = json.dumps(answer).encode()
    stream.write(struct.pack("!I", len(body)) + body)
    stream.flush()


def run(request: dict[str, Any], base: str, level: str, private: tuple[int, ...]) -> dict[str, Any]:
    """Forks, confines, runs, waits; always answers."""
    folder = tempfile.mkdtemp(dir=base)
    started = time.monotonic()
    nonce = secrets.token_hex(16)
    output, error = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            close(*private, output[0], error[0])
            become(request, level, folder, output[1], error[1], nonce)
        finally:  # whatever becomes of it, it does not go on as a worker
            EXIT(EXITED)
    close(output[1], error[1])
    try:
        printed, told, cut = listen(output[0], error[0], request["limits"], started, folder)
        status = None
        disk_bytes = request["limits"]["disk_bytes"]
        if not cut:
            status, cut = waited(child, started + request["limits"]["wall_s"], folder, disk_bytes)
            if not cut and written(folder, disk_bytes) > disk_bytes:
                cut = "disk"  # since the last look
        if status is None:  # its time is over, or it closed its pipes and lives on
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        return {
            **ending(status, told, cut, nonce),
            "stdout": printed.decode("utf-8", "replace"),
            "seconds": time.monotonic() - started,
        }
    finally:
        close(output[0], error[0])
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
        remove_tree(folder)


def close(*descriptors: int) -> None:
    """Closes file descriptors."""
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def waited(child: int, until: float, folder: str, disk_bytes: int) -> tuple[int | None, str]:
    """The status of a child that ends in time, and what it did too much of; `None` for one that has to be ended."""
    pause_s, look = 0.0005, time.monotonic() + LOOK_S
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status, ""
        now = time.monotonic()
        if now >= until:
            return None, "timeout"
        if now >= look:
            look = now + LOOK_S
            if written(folder, disk_bytes) > disk_bytes:
                return None, "disk"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.05)


def become(request: dict[str, Any], level: str, folder: str, output: int, error: int, nonce: str) -> NoReturn:
    """The fork: never returns.

    `error` carries what was raised, and a mark when the last line was reached; with `nonce`, that it was refused.
    """
    limits = request["limits"]
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for as long as the fork lives
    sys.stdout = sys.stderr = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    random.seed(0)  # so that a program does the same each time
    code = RAISED
    try:
        ends = opened(request.get("talk"))
        confine.confine(
            level,
            folder,
            cpu_s=limits["cpu_s"],
            memory_bytes=limits["memory_bytes"],
            file_bytes=limits["file_bytes"],
            open_files=limits["open_files"],
        )
    except (OSError, ValueError, OverflowError) as problem:
        os.write(error, f"{nonce} refused: {problem}".encode())
        EXIT(EXITED)
    del nonce  # a program sees the frames that it was called from
    try:
        program = compile(request["code"], "<program>", "exec")
    except BaseException as problem:  # whatever the compiler makes of it
        os.write(error, describe(problem))
        EXIT(RAISED)
    try:
        exec(program, {"__name__": "__main__", "__builtins__": __builtins__, **ends})
        code = FINISHED
    except SystemExit:
        code = EXITED
    except BaseException as problem:
        with contextlib.suppress(BaseException):
            os.write(error, describe(problem))
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    if code == FINISHED:
        os.write(error, MARK.encode())
    EXIT(code)


def opened(talk: dict[str, str] | None) -> dict[str, int]:
    """The two pipes over which a judging process and a program's process talk.

    Each is opened by the other side, too.
    """
    if talk is None:
        return {}
    asks = talk["role"] == "judge"
    questions = os.open(os.path.join(talk["folder"], "questions"), os.O_WRONLY if asks else os.O_RDONLY)
    answers = os.open(os.path.join(talk["folder"], "answers"), os.O_RDONLY if asks else os.O_WRONLY)
    return {"QUESTIONS": questions, "ANSWERS": answers}


def describe(problem: BaseException) -> bytes:
    """The last line of a traceback, as bytes of a bounded length."""
    lines = traceback.format_exception_only(type(problem), problem)
    return "".join(lines).strip()[:MAX_ERROR_CHARS].encode("utf-8", "replace")


def listen(output: int, error: int, limits: dict[str, Any], started: float, folder: str) -> tuple[bytes, bytes, str]:
    """What the fork prints and tells until it ends or has to be ended, and why it was.

    "timeout", "output", "disk" or nothing.
    """
    found, cut, look = {output: b"", error: b""}, "", started + LOOK_S
    with selectors.DefaultSelector() as selector:
        for descriptor in found:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map() and not cut:
            left = started + limits["wall_s"] - time.monotonic()
            ready = selector.select(max(min(left, LOOK_S), 0.0))
            if left <= 0.0:
                cut = "timeout"
            elif time.monotonic() >= look:
                look = time.monotonic() + LOOK_S
                cut = "disk" if written(folder, limits["disk_bytes"]) > limits["disk_bytes"] else ""
            for key, _ in ready:
                part = os.read(key.fd, 65_536)
                found[key.fd] += part[: limits["output_bytes"] + 1 - len(found[key.fd])]
                if not part:
                    selector.unregister(key.fd)
                elif len(found[output]) > limits["output_bytes"]:
                    cut = "output"
    return found[output][: limits["output_bytes"]], found[error], cut


def written(folder: str, enough: int) -> int:
    """Bytes of all files below a folder, each counted as a block at least.

    It stops counting once there are more than `enough`. Nobody needs folders of more than `MAX_LEVELS`: they are more
    than enough.
    """
    total, level = 0, [folder]
    for _ in range(MAX_LEVELS):
        below = []
        for path in level:
            with contextlib.suppress(OSError):
                os.chmod(path, 0o700)  # a folder that hides what is in it
            with contextlib.suppress(OSError), os.scandir(path) as entries:
                for entry in entries:
                    total += max(entry.stat(follow_symlinks=False).st_size, BLOCK)
                    if total > enough:
                        return total
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
        if not below:
            return total
        level = below
    return enough + 1


def ending(status: int, told: bytes, cut: str, nonce: str) -> dict[str, str]:
    """How a program ended, in words."""
    text = told.decode("utf-8", "replace")
    if cut:
        return {"ending": cut, "error": ""}
    if text.startswith(f"{nonce} refused: "):
        return {"ending": "refused", "error": text.removeprefix(f"{nonce} refused: ")}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = {each.value: each.name for each in signal.Signals}
        return {"ending": "killed", "error": known.get(number, f"signal {number}")}
    code = os.WEXITSTATUS(status)
    if code == FINISHED and text == MARK:
        return {"ending": "finished", "error": ""}
    return {"ending": "raised" if code == RAISED else "exited", "error": text}


if __name__ == "__main__":
    main()
