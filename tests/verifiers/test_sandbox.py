"""Foreign code.

What it may do works, what it may not do fails, and whatever it does, the next program is none the worse.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.verifiers.sandbox import Limits, Ran, Sandbox, SandboxUnavailable, level_at_hand
from orchestrator.verifiers.sandbox.pool import Level, has_bubblewrap

pytestmark = pytest.mark.skipif(level_at_hand()[0] == "none", reason=f"no isolation here: {level_at_hand()[1]}")
SHORT = Limits(wall_s=2.0, cpu_s=1, memory_bytes=256 * 2**20, file_bytes=2**20, output_bytes=2_000)


def run_all(programs: Sequence[str], limits: Limits = SHORT, level: Level | None = None) -> list[Ran]:
    async def run() -> list[Ran]:
        async with Sandbox(limits, level=level) as sandbox:
            return [await sandbox.run(textwrap.dedent(program)) for program in programs]

    return asyncio.run(run())


ALLOWED = {
    "arithmetic": "print(17 * 23)",
    "imports": "import json, re, math, decimal, fractions, statistics, dataclasses, enum, bisect; "
    "print(json.dumps([math.pi]))",
    "files in its folder": "open('a.txt', 'w').write('hi'); import os; os.mkdir('d'); os.rename('a.txt', 'd/b'); "
    "print(open('d/b').read())",
    "temporary files": "import tempfile; f = tempfile.TemporaryFile('w+'); f.write('x'); f.seek(0); print(f.read())",
    "threads": "import threading; t = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join()",
    "event loops": "import asyncio; print(asyncio.run(asyncio.sleep(0.01, 'awake')))",
    "random numbers": "import random, secrets, uuid; print(random.random() < 1, len(secrets.token_hex()), "
    "uuid.uuid4().version)",
    "time": "import time, datetime; time.sleep(0.01); print(datetime.date.today().year > 2000)",
    "its own signals": "import signal, os; signal.signal(signal.SIGUSR1, lambda *_: print('signal')); "
    "os.kill(os.getpid(), signal.SIGUSR1)",
    "deep recursion": "import sys; sys.setrecursionlimit(5000); f = lambda n: n and 1 + f(n - 1); print(f(3000))",
}


needs_bubblewrap = pytest.mark.skipif(
    not has_bubblewrap(), reason="bubblewrap is not installed, or may not make namespaces here"
)


@pytest.mark.parametrize("level", [None, pytest.param("bubblewrap", marks=needs_bubblewrap)])
def test_ordinary_programs_run(level: Level | None) -> None:
    for name, ran in zip(ALLOWED, run_all(list(ALLOWED.values()), level=level), strict=True):
        assert (name, ran.ending, ran.error) == (name, "finished", "")
        assert ran.stdout.strip()


# Each must not print ESCAPED, which it does if the attempt succeeds.
ATTEMPTS = {
    "read passwords": "print('ESCAPED', open('/etc/passwd').read())",
    "read shadow": "print('ESCAPED', open('/etc/shadow').read())",
    "list the root": "import os; print('ESCAPED', os.listdir('/'))",
    "list the home": "import os; print('ESCAPED', os.listdir(os.path.expanduser('~root')))",
    "read through a link": "import os; os.symlink('/etc/hostname', 'l'); print('ESCAPED', open('l').read())",
    "hard link": "import os; os.link('/etc/hostname', 'l'); print('ESCAPED', open('l').read())",
    "climb out of its folder": "print('ESCAPED', open('../../../../etc/hostname').read())",
    "other folders in tmp": "import os, tempfile; print('ESCAPED', os.listdir(os.path.dirname(os.getcwd())))",
    "write into tmp": "open('/tmp/sandbox-escaped', 'w').write('x'); print('ESCAPED')",
    "write into the installation": "import os; open(os.path.join(os.path.dirname(os.__file__), 'evil.py'), 'w'); "
    "print('ESCAPED')",
    "change the sandbox": "import confine; open(confine.__file__, 'a').write('#'); print('ESCAPED')",
    "processes of others": "import os; print('ESCAPED', os.listdir('/proc'))",
    "memory of the parent": "import os; open(f'/proc/{os.getppid()}/mem', 'rb'); print('ESCAPED')",
    "pipes of the parent": "import os; os.open(f'/proc/{os.getppid()}/fd/1', os.O_WRONLY); print('ESCAPED')",
    "environment of the parent": "import os; print('ESCAPED', open(f'/proc/{os.getppid()}/environ').read())",
    "secrets in its environment": "import os; s = [k for k in os.environ if 'SECRET' in k or 'KEY' in k or 'TOKEN' in "
    "k]; assert s; print('ESCAPED')",
    "a network socket": "import socket; socket.create_connection(('127.0.0.1', PORT), 1); print('ESCAPED')",
    "a datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT)); "
    "print('ESCAPED')",
    "a unix socket": "import socket; socket.socket(socket.AF_UNIX).connect('/run/x'); print('ESCAPED')",
    "a raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('ESCAPED')",
    "a netlink socket": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print('ESCAPED')",
    "resolve a name": "import socket; print('ESCAPED', socket.gethostbyname('localhost.example'))",
    "fork": "import os; pid = os.fork(); print('ESCAPED')",
    "fork bomb": "import os\nwhile True: os.fork(); print('ESCAPED')",
    "a process": "import subprocess; print('ESCAPED', subprocess.run(['/bin/echo', 'x'], capture_output=True))",
    "a shell": "import os; assert os.system('true') == 0; print('ESCAPED')",
    "exec": "import os; os.execv('/bin/echo', ['echo', 'ESCAPED'])",
    "posix_spawn": "import os; os.posix_spawn('/bin/echo', ['echo', 'x'], {}); print('ESCAPED')",
    "multiprocessing": "import multiprocessing as m; p = m.Process(target=print); p.start(); print('ESCAPED')",
    "clone by number": "import ctypes; r = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0); assert r >= 0; "
    "print('ESCAPED')",
    "vfork by number": "import ctypes; r = ctypes.CDLL(None).syscall(58); assert r >= 0; print('ESCAPED')",
    "clone3 by number": "import ctypes; b = bytes(88); r = ctypes.CDLL(None).syscall(435, b, 88); assert r >= 0; "
    "print('ESCAPED')",
    "kill the parent": "import os; os.kill(os.getppid(), 9); print('ESCAPED')",
    "kill the group": "import os; os.kill(0, 9); print('ESCAPED')",
    "kill everybody": "import os; os.kill(-1, 9); print('ESCAPED')",
    "kill by thread": "import ctypes, os; r = ctypes.CDLL(None).syscall(200, os.getppid(), 9); assert r == 0; "
    "print('ESCAPED')",
    "trace the parent": "import ctypes, os; assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0; "
    "print('ESCAPED')",
    "read another's memory": "import ctypes, os; assert ctypes.CDLL(None).syscall(310, os.getppid(), 0, 0, 0, 0, 0) >= "
    "0; print('ESCAPED')",
    "steal a descriptor": "import os; fd = os.pidfd_open(os.getppid()); print('ESCAPED')",
    "raise its limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); print('ESCAPED')",
    "raise the parent's limits": "import resource, os; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)); "
    "print('ESCAPED')",
    "another namespace": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0; print('ESCAPED')",
    "mount": "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'.', b'tmpfs', 0, None) == 0; print('ESCAPED')",
    "another root": "import os; os.chroot('.'); print('ESCAPED')",
    "another user": "import os; os.setuid(65534); print('ESCAPED')",
    "a device": "import os; os.mknod('d', 0o600 | 0o60000, os.makedev(8, 0)); print('ESCAPED')",
    "a setuid file": "import os; open('s', 'w'); os.chmod('s', 0o4755); os.execv('./s', ['s']); print('ESCAPED')",
    "a keyring": "import ctypes; assert ctypes.CDLL(None).syscall(248, b'user', b'a', b'b', 1, -3) > 0; "
    "print('ESCAPED')",
    "bpf": "import ctypes; assert ctypes.CDLL(None).syscall(321, 0, bytes(64), 64) >= 0; print('ESCAPED')",
    "io_uring": "import ctypes; assert ctypes.CDLL(None).syscall(425, 8, bytes(120)) >= 0; print('ESCAPED')",
    "userfaultfd": "import ctypes; assert ctypes.CDLL(None).syscall(323, 1) >= 0; print('ESCAPED')",
    "perf": "import ctypes; assert ctypes.CDLL(None).syscall(298, bytes(128), 0, -1, -1, 0) >= 0; print('ESCAPED')",
    "a file that is a program in memory": "import os; fd = os.memfd_create('x'); os.execve(fd, ['x'], {}); "
    "print('ESCAPED')",
    "32-bit numbers": "import ctypes; r = ctypes.CDLL(None).syscall(0x40000000 + 57); print('ESCAPED')",
    "type into the terminal": "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x'); print('ESCAPED')",
    "set the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0); print('ESCAPED')",
    "name the machine": "import socket; socket.sethostname('x'); print('ESCAPED')",
    "undo the confinement": "import ctypes; assert ctypes.CDLL(None).prctl(22, 0, 0, 0, 0) == 0; print('ESCAPED')",
}


# In namespaces of its own a program sees a root and a folder for temporary files of its own, which nobody else has.
OWN_NAMESPACE = {"list the root", "other folders in tmp", "write into tmp"}


@pytest.mark.parametrize("level", [None, pytest.param("bubblewrap", marks=needs_bubblewrap)])
def test_no_attempt_to_escape_succeeds(monkeypatch: pytest.MonkeyPatch, level: Level | None) -> None:
    monkeypatch.setenv("SECRET_KEY", secrets.token_hex())
    assert len(ATTEMPTS) >= 40
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        ran = run_all(
            [program.replace("PORT", port) for program in ATTEMPTS.values()] + ["print('still here')"], level=level
        )
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    escaped = [name for name, found in zip(ATTEMPTS, ran, strict=False) if "ESCAPED" in found.stdout]
    assert set(escaped) <= (OWN_NAMESPACE if level == "bubblewrap" else set())
    assert level == "bubblewrap" or not any(found.finished for found in ran[:-1])
    assert ran[-1].stdout == "still here\n"
    assert not Path("/tmp/sandbox-escaped").exists()


EXHAUSTED = Limits(
    wall_s=60.0, cpu_s=60, memory_bytes=256 * 2**20, file_bytes=2**20, disk_bytes=16 * 2**20, output_bytes=2_000
)
EXHAUSTION = {
    "timeout": ["while True: pass", "import time; time.sleep(60)", "import threading; threading.Event().wait()"],
    "output": [
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x')",
        "import os\nwhile True: os.write(1, b'x' * 4096)",
    ],
    "raised": [
        "x = 'a' * 10**10",
        "x = []\nwhile True: x.append(bytes(2**20))",
        "f = open('big', 'wb')\nwhile True: f.write(bytes(2**20))",
        "files = [open(str(i), 'w') for i in range(1000)]",
        "def f(): f()\nf()",
        "import threading\nwhile True: threading.Thread(target=threading.Event().wait, daemon=True).start()",
    ],
    "disk": [
        "import time\nfor i in range(60): open(str(i), 'wb').write(bytes(2**19))\ntime.sleep(60)",
        "import os, time\nfor i in range(5_000): os.mkdir(str(i))\ntime.sleep(60)",
    ],
    "exited": ["import os; os._exit(0)", "import sys; sys.exit(0)", "raise SystemExit"],
    "killed": ["import os; os.abort()", "import ctypes; ctypes.string_at(0)"],
}


@pytest.mark.parametrize("ending", EXHAUSTION)
def test_what_it_uses_is_limited_and_told(ending: str) -> None:
    limits = replace(EXHAUSTED, wall_s=1.0) if ending == "timeout" else EXHAUSTED
    ran = run_all([*EXHAUSTION[ending], "print('still here')"], limits)
    assert [found.ending for found in ran] == [ending] * len(EXHAUSTION[ending]) + ["finished"]
    assert all(len(found.stdout) <= 2_000 for found in ran)


def test_processor_time_is_limited() -> None:
    (ran,) = run_all(["while True: pass"], Limits(wall_s=20.0, cpu_s=1))
    assert (ran.ending, ran.error) == ("killed", "SIGKILL")


def test_programs_run_side_by_side_and_a_cancelled_one_ends() -> None:
    timed = "import time; begin = time.monotonic(); time.sleep(1.5); print(begin, time.monotonic())"

    async def run() -> tuple[list[Ran], int]:
        async with Sandbox(Limits(wall_s=30.0), workers=2) as sandbox:
            await asyncio.gather(sandbox.run("1"), sandbox.run("1"))
            beside = await asyncio.gather(sandbox.run(timed), sandbox.run(timed))
            task = asyncio.create_task(sandbox.run("import time; time.sleep(30)"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await sandbox.run("print(1)")).stdout == "1\n"
            return beside, sandbox.executions

    beside, executions = asyncio.run(run())
    (one_begins, one_ends), (other_begins, other_ends) = (map(float, ran.stdout.split()) for ran in beside)
    assert max(one_begins, other_begins) < min(one_ends, other_ends)
    assert executions == 6


@pytest.mark.parametrize(
    "code", ["", "def f(:", "\x00", "\ud800", "x = '" + "a" * 2_000_000 + "'", "(" * 5_000, "return 1"]
)
def test_what_is_no_program_is_told(code: str) -> None:
    (ran,) = run_all([code])
    assert ran.ending in ("finished", "raised", "refused", "killed")
    assert ran.finished is (code == "")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_all(["open('left', 'w').write('x')"])
    assert os.listdir(tmp_path) == []


@needs_bubblewrap
@pytest.mark.parametrize("ending", EXHAUSTION)
def test_inside_bubblewrap_what_it_uses_is_limited_too(ending: str) -> None:
    limits = replace(EXHAUSTED, wall_s=1.0) if ending == "timeout" else EXHAUSTED
    ran = run_all([*EXHAUSTION[ending], "print('still here')"], limits, "bubblewrap")
    assert [found.ending for found in ran] == [ending] * len(EXHAUSTION[ending]) + ["finished"]


def test_without_isolation_code_runs_only_where_that_is_allowed() -> None:
    with pytest.raises(SandboxUnavailable, match="needs allow_unsafe"):
        Sandbox(level="unsafe")

    async def run() -> tuple[str, Ran, Ran]:
        async with Sandbox(SHORT, level="unsafe", allow_unsafe=True) as sandbox:
            return (
                sandbox.level,
                await sandbox.run("import os; print(os.listdir('/'))"),
                await sandbox.run("while True: pass"),
            )

    level, ran, endless = asyncio.run(run())
    assert (level, ran.ending) == ("unsafe", "finished")
    assert "usr" in ran.stdout
    assert endless.ending in ("timeout", "killed")


def test_permission_to_be_unsafe_does_not_make_a_safe_machine_unsafe() -> None:
    async def level() -> str:
        async with Sandbox(allow_unsafe=True) as sandbox:
            return sandbox.level

    assert asyncio.run(level()) == level_at_hand()[0]


def test_a_level_that_is_not_at_hand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    has_bubblewrap.cache_clear()
    with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed"):
        Sandbox(level="bubblewrap")
    has_bubblewrap.cache_clear()
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(SandboxUnavailable, match="pydantic-monty is not installed"):
        Sandbox(level="monty")


def test_a_sandbox_outlives_event_loops_and_leaves_nothing_behind() -> None:
    sandbox = Sandbox(workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            assert asyncio.run(sandbox.run(f"print({number})")).stdout.strip() == str(number)
            gc.collect()
        assert len(sandbox._idle) == 1  # the same worker served all of them
        asyncio.run(sandbox.close())
        gc.collect()
