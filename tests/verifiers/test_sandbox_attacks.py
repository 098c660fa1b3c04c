"""What programs try that want out of the sandbox, or want to pass tests that they fail.

Each attempt is a program; what it reached is looked at from outside.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.verifiers import SameProgramVerifier, UnitTestVerifier
from orchestrator.verifiers.code.expressions import divided, names_defined
from orchestrator.verifiers.sandbox import Limits, Sandbox, level_at_hand
from orchestrator.verifiers.sandbox.pool import Level
from orchestrator.verifiers.sandbox.removal import remove_tree

LEVELS: list[Level] = ["landlock+seccomp", "seccomp+old-landlock"]
pytestmark = pytest.mark.skipif(level_at_hand()[0] in ("monty", "none", "bubblewrap"), reason="no Landlock here")


@dataclass
class Outside:
    """What lies outside of the sandbox.

    A file, its folder, a socket that listens, a process, and what this process was sent.
    """

    folder: Path
    secret: Path
    log: socket.socket
    victim: subprocess.Popen[bytes]
    signals: list[int]

    def state(self) -> tuple[Any, ...]:
        stat, above = self.secret.stat(), self.folder.stat()
        return (
            stat.st_mode, stat.st_mtime_ns, stat.st_size, above.st_mode, above.st_mtime_ns, self.secret.read_text(),
            sorted(os.listdir(self.folder)), self.victim.poll(), list(self.signals), os.umask(os.umask(0o22)),
        )  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    secret = tmp_path / "id_rsa"
    secret.write_text("TOPSECRET")
    secret.chmod(0o600)
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(os.path.relpath(tmp_path / "log"))
    log.setblocking(False)
    victim = subprocess.Popen(["sleep", "60"])
    signals: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: signals.append(n))
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGIO)
    }
    yield Outside(tmp_path, secret, log, victim, signals)
    for number, handler in before.items():
        signal.signal(number, handler)
    victim.kill()
    victim.wait()
    log.close()


PAIR = "import fcntl,socket,os,struct,ctypes\na,b=socket.socketpair()\n"
ASYNC = "fcntl.fcntl(a,fcntl.F_SETFL,fcntl.fcntl(a,fcntl.F_GETFL)|0o20000); b.send(b'x')"
C = "import ctypes,os\nc=ctypes.CDLL(None,use_errno=True)\n"
ATTEMPTS = {
    "chmod": "import os; os.chmod({secret!r}, 0o666)",
    "chmod of the folder": "import os; os.chmod({folder!r}, 0)",
    "fchmodat by number": C + "c.syscall(268, -100, {secret!r}.encode(), 0o666)",
    "fchmodat2 by number": C + "c.syscall(452, -100, {secret!r}.encode(), 0o666, 0)",
    "fchmod of a file that may be read": "import os; f=os.open(os.__file__, os.O_RDONLY); os.fchmod(f, 0o666)",
    "chown": "import os; os.chown({secret!r}, 0, 0)",
    "utime": "import os; os.utime({secret!r}, (1, 1))",
    "utime of the folder": "import os; os.utime({folder!r}, (1, 1))",
    "truncate": "import os; os.truncate({secret!r}, 0)",
    "open for writing": "open({secret!r}, 'w')",
    "read-only and cut": "import os; os.open({secret!r}, os.O_RDONLY | os.O_TRUNC)",
    "cut a file that may be read": "import os; os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
    "openat2": C + "c.syscall(437, -100, {secret!r}.encode(), b'\\x01'+bytes(23), 24)",
    "read": "open({secret!r}).read()",
    "list": "import os; print(os.listdir({folder!r}))",
    "make a file": "open({folder!r} + '/new', 'w')",
    "remove": "import os; os.unlink({secret!r})",
    "rename": "import os; os.rename({secret!r}, 'mine')",
    "hard link": "import os; os.link({secret!r}, 'mine')",
    "symbolic link and read": "import os; os.symlink({secret!r}, 'mine'); open('mine').read()",
    "datagram to a path": "import socket\na,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM)\na.sendto(b'all', "
    "{log!r})",
    "datagram by sendmsg": "import socket\na,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM)\n"
    "a.sendmsg([b'all'], [], 0, {log!r})",
    "connect": "import socket\na,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM)\n"
    "a.connect({log!r})\na.send(b'all')",
    "a socket": "import socket; socket.socket().connect(('127.0.0.1', 9))",
    "F_SETOWN": PAIR + "fcntl.fcntl(a,fcntl.F_SETOWN,{victim}); fcntl.fcntl(a,10,9); " + ASYNC,
    "F_SETOWN to the caller": PAIR + "fcntl.fcntl(a,fcntl.F_SETOWN,{caller}); fcntl.fcntl(a,10,15); " + ASYNC,
    "F_SETOWN_EX": PAIR + "fcntl.fcntl(a,15,struct.pack('ii',1,{victim})); fcntl.fcntl(a,10,9); " + ASYNC,
    "FIOSETOWN": PAIR
    + "fcntl.ioctl(a,0x8901,struct.pack('i',{victim})); fcntl.ioctl(a,0x5452,struct.pack('i',1)); b.send(b'x')",
    "O_ASYNC": PAIR + ASYNC,
    "a lease": "import fcntl,os\nf=open('l','w')\nfcntl.fcntl(f,1024,1)",
    "dnotify": "import fcntl,os\nf=os.open('.',os.O_RDONLY)\nfcntl.fcntl(f,1026,2)",
    "kill": "import os; os.kill({victim}, 9)",
    "kill everybody": "import os; os.kill(-1, 15)",
    "kill the group": "import os; os.killpg(0, 15)",
    "tgkill": C + "c.syscall(234, {victim}, {victim}, 9)",
    "tkill": C + "c.syscall(200, {victim}, 9)",
    "sigqueue": C + "c.syscall(129, {victim}, 9, bytes(128))",
    "pidfd": C + "print(c.syscall(434, {victim}, 0))",
    "a message queue": C + "print(c.syscall(240, b'q', 0o102, 0o600, 0))",
    "ptrace": C + "c.syscall(101, 16, {victim}, 0, 0)",
    "process_vm_writev": C + "c.syscall(311, {victim}, 0, 0, 0, 0, 0)",
    "priority of others": "import os; os.setpriority(os.PRIO_PROCESS, {victim}, 19)",
    "limits of others": "import resource; resource.prlimit({victim}, resource.RLIMIT_CPU, (0, 0))",
    "affinity of others": "import os; os.sched_setaffinity({victim}, [0])",
    "fork": "import os; os.fork()",
    "exec": "import os; os.execv('/bin/sh', ['sh', '-c', 'id'])",
    "a process by spawn": "import subprocess; subprocess.run(['id'])",
    "memfd and exec": "import os; f=os.memfd_create('x')",
    "a namespace": C + "assert c.syscall(272, 0x10000000) == 0",
    "mount": C + "assert c.mount(b'a', b'/tmp', b'tmpfs', 0, 0) == 0",
    "chroot": "import os; os.chroot('.')",
    "io_uring": C + "assert c.syscall(425, 8, bytes(120)) >= 0",
    "bpf": C + "assert c.syscall(321, 0, bytes(128), 128) >= 0",
    "userfaultfd": C + "assert c.syscall(323, 0) >= 0",
    "keys of the kernel": C + "assert c.syscall(250, 0, -3, 0) >= 0",
    "shared memory": C + "assert c.syscall(29, 77, 4096, 0o1666) >= 0",
    "the worker's pipes": "import os\nfor f in range(3, 32):\n  try: os.write(f, b'\\x00\\x00\\x00\\x02{{}}')\n  "
    "except OSError: pass\nraise SystemExit(3)",
    "proc": "print(open('/proc/{caller}/environ').read())",
    "proc of its own": "print(open('/proc/self/mem', 'r+b'))",
    "an inotify watch": C + "assert c.syscall(294, 0) >= 0",
    "extended attributes": "import os; os.setxattr({secret!r}, 'user.x', b'1')",
    "a fifo": "import os; os.mkfifo({folder!r} + '/fifo')",
    "32-bit calls": C + "c.syscall(0x40000000 + 90, {secret!r}.encode(), 0o666)",
}


@pytest.mark.parametrize("level", LEVELS)
def test_no_program_reaches_anything_outside(outside: Outside, level: Level) -> None:
    known = {
        "secret": str(outside.secret), "folder": str(outside.folder), "log": str(outside.folder / "log"),
        "victim": outside.victim.pid,
        "caller": os.getpid(),
    }  # fmt: skip
    size, before = os.path.getsize(os.__file__), outside.state()

    async def attempt() -> None:
        async with Sandbox(workers=1, level=level) as sandbox:
            for name, code in ATTEMPTS.items():
                ran = await sandbox.run(code.format(**known), Limits(wall_s=3.0))
                assert outside.state() == before, name
                assert "TOPSECRET" not in ran.stdout + ran.error, name
                assert os.stat(os.__file__).st_size == size, name
                with pytest.raises(BlockingIOError):
                    outside.log.recv(100)
            assert (await sandbox.run("print('alive')")).stdout == "alive\n"

    asyncio.run(attempt())


USEFUL = {
    "files": "open('a','w').write('x'); open('a','a').write('y'); print(open('a').read())",
    "folders": "import os, shutil; os.makedirs('a/b'); os.rename('a/b', 'a/c'); shutil.rmtree('a'); print('xy')",
    "temporary": "import tempfile\nwith tempfile.TemporaryFile() as f: f.write(b'xy'); f.seek(0); "
    "print(f.read().decode())",
    "threads": "import threading\nt=threading.Thread(target=lambda: print('xy')); t.start(); t.join()",
    "an event loop": "import asyncio\nasync def f(): await asyncio.sleep(0.01); print('xy')\nasyncio.run(f())",
    "a pair of sockets": "import socket\na,b=socket.socketpair()\na.send(b'xy'); print(b.recv(9).decode())",
    "a lock": "import fcntl\nf=open('l','w')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('xy')",
    "random": "import random, os, secrets; random.random(); os.urandom(4); secrets.token_hex(); print('xy')",
    "a database": "import sqlite3; c=sqlite3.connect('d.db'); c.execute('create table t(a)'); c.commit(); print('xy')",
}


def test_what_honest_programs_need_goes_on_working() -> None:
    async def run() -> None:
        async with Sandbox(workers=1) as sandbox:
            for name, code in USEFUL.items():
                ran = await sandbox.run(code)
                assert (ran.ending, ran.stdout) == ("finished", "xy\n"), (name, ran)

    asyncio.run(run())


LEFTOVERS = {
    "deep": "import os\nfor _ in range(3000):\n  os.mkdir('d'); os.chdir('d')",
    "deep and long": "import os\nfor _ in range(300):\n  os.mkdir('d'*200); os.chdir('d'*200)\n  "
    "open('f','w').write('x')",
    "not readable": "import os\nos.umask(0o777)\nfor n in range(20): os.mkdir(f'd{n}'); open(f'f{n}','w')",
    "not readable, deep": "import os\nfor _ in range(30):\n  os.mkdir('d'); os.chdir('d')\nos.umask(0o777); "
    "os.mkdir('x')",
    "many": "for n in range(3000): open(f'f{n}','w')",
    "names that are no text": "import os\nfor n in range(128,255): open(bytes([n]),'w')",
    "names of ours": "import os\nfor n in range(20): os.makedirs(f'.removed-{n}/d/e')",
}


def test_whatever_a_program_leaves_is_removed_and_the_worker_lives_on() -> None:
    async def run() -> None:
        async with Sandbox(workers=1) as sandbox:
            for name, code in LEFTOVERS.items():
                await sandbox.run(code, Limits(wall_s=4.0))
                assert os.listdir(sandbox.folder) == [], name
            assert (await sandbox.run("print('alive')")).stdout == "alive\n"
            assert sandbox.idle_workers == 1

    asyncio.run(run())


def test_folders_of_any_shape_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for deep in ("a/b/c/d/e", "a/b/x/y", "z"):
        (folder / deep).mkdir(parents=True)
        (folder / deep / "file").write_text("x")
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "stays").write_text("x")
    remove_tree(str(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["stays"]


@pytest.mark.parametrize(
    "code",
    [
        "import os\nfor f in range(32):\n  try: os.close(f)\n  except OSError: pass\nwhile True: pass",
        "import os, time\nfor f in range(32):\n  try: os.close(f)\n  except OSError: pass\ntime.sleep(600)",
        "import signal, time\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, "
        "ValueError): pass\ntime.sleep(600)",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()",
        "import os\nos.dup2(os.open('/dev/null', os.O_RDWR), 1)\nwhile True: pass",
    ],
)
def test_no_program_outlives_its_time(code: str) -> None:
    async def run() -> str:
        async with Sandbox(workers=1) as sandbox:
            await sandbox.run(code, Limits(wall_s=1.0))
            return (await sandbox.run("print('alive')")).stdout

    assert asyncio.run(run()) == "alive\n"


# ---- Programs that want to pass ----


TESTS = ["assert add(2, 3) == 5", "add(-1, 1) == 0"]
FORGERIES = {
    "an object equal to everything": "class E:\n  def __eq__(s, o): return True\n  def __repr__(s): return '5'\ndef "
                                     "add(a,b): return E()",
    "an int equal to everything": "class E(int):\n  def __eq__(s, o): return True\n  __hash__=int.__hash__\ndef "
                                  "add(a,b): return E(7)",
    "a str with lies": "class E(str):\n  def __eq__(s, o): return True\n  __hash__=str.__hash__\n  def __str__(s): "
                       "return '5'\ndef add(a,b): return E()",
    "bool and eval replaced": "import builtins\nbuiltins.eval=builtins.bool=builtins.repr=builtins.exec=lambda *a: "
                              "True\ndef add(a,b): return 0.5",
    "frames": "import sys\nf=sys._getframe()\nwhile f:\n  for n,v in list(f.f_globals.items()):\n    if callable(v) "
              "and n not in ('__builtins__',): f.f_globals[n]=lambda *a, **k: True\n  f=f.f_back\ndef add(a,b): return "
              "9",
    "json replaced": "import json\n_o=json.dumps\njson.dumps=lambda v,**k: _o([1, True])\njson.loads=lambda v,**k: "
                     "[1,'5',{}]\ndef add(a,b): return 9",
    "the result written by itself": "import os,json\nfor f in range(32):\n  try: os.write(f, "
                                    "b'\\n'+json.dumps({'results':['True']*2,'error':''}).encode()+b'\\n')\n  except "
                                    "OSError: pass\nos._exit(0)",
    "the mark written by itself": "import os\nfor f in range(32):\n  try: os.write(f, b'\\x00finished')\n  except "
                                  "OSError: pass\nos._exit(0)",
    "answers to any number": "import os,threading\ndef w():\n  for n in range(1,50):\n    for f in range(3,32):\n      "
                             "try: os.write(f, b'[%d, true]\\n' % n)\n      except OSError: pass\nw()\ndef add(a,b): "
                             "return 9",
    "an exit while it is tested": "import os\ndef add(a,b): os._exit(0)",
    "an exception": "def add(a,b): raise SystemExit(0)",
    "a generator": "def add(a,b): yield 5",
    "isinstance replaced": "import builtins\nbuiltins.isinstance=lambda *a: True\ndef add(a,b): return [5]",
    "an all of its own": "def all(x): return True\ndef any(x): return True\ndef abs(x): return 0\ndef add(a,b): return "
                         "9",
    "the garbage collector": "import gc\nfor o in gc.get_objects():\n  if isinstance(o, list) and o and "
                             "isinstance(o[0], str) and 'ask_program' in o[0]: o[:] = ['True']*len(o)\ndef add(a,b): "
                             "return 9",
    "nan": "def add(a,b): return float('nan')",
    "an endless loop": "def add(a,b):\n  while True: pass",
    "the tests read from the frames": "import sys\nr='== )3 ,2(dda'; code=None\nf=sys._getframe()\nwhile f:\n  for v "
                                      "in list(f.f_locals.values()) + list(f.f_globals.values()):\n    if "
                                      "isinstance(v, (dict, str, list)) and r in str(v)[::-1]: code=1\n  "
                                      "f=f.f_back\ndef add(a,b): return a+b if code else 9",
    "the tests found in memory": "import gc\nr='== )3 ,2(dda'\nhas=any(r in str(o)[:100000][::-1] for o in "
                                 "gc.get_objects() if isinstance(o,(str,bytes,dict,list,tuple)))\ndef add(a,b): return "
                                 "a+b if has else 9",
    "operators that say what is wanted": "class X:\n  def __sub__(s,o): return s\n  def __abs__(s): return s\n  def "
                                         "__lt__(s,o): return True\n  __gt__=__le__=__ge__=__lt__\n  def __mod__(s,o): "
                                         "return 0\n  def __contains__(s,o): return True\n  def __eq__(s,o): return "
                                         "True\ndef add(a,b): return X()",
    "sub that gives nothing": "class X:\n  def __sub__(s,o): return 0\ndef add(a,b): return X()",
    "a set of its own": "def set(x): return 0\ndef sorted(x): return 0\ndef Counter(x): return 0\ndef round(x,n=0): "
                        "return 0\ndef bool(x): return True\ndef isinstance(a,b): return True\ndef len(x): return "
                        "3\nclass math:\n  isclose=staticmethod(lambda *a: True)\ndef add(a,b): return [9]",
    "the platform": "import sys\ndef add(a,b): return a+b if sys.platform=='monty' else a-b",
}  # fmt: skip
MORE_TESTS = [
    "all(add(x, 1) == x + 1 for x in range(3))",
    "abs(add(1, 1) - 2) < 1e-9",
    "isinstance(add(1, 2), int)",
    "[add(1, 2), add(3, 4)] == [3, 7]",
]
WRONG_FOR_ALL = [
    "sorted([add(1, 2)]) == sorted([3])",
    "set((add(1, 2),)) == set((3,))",
    "Counter([add(1, 2)]) == Counter([3])",
    "round(add(1, 2), 2) == round(9 / 3, 2)",
    "abs(add(1, 2) - 3) < 1e-6",
    "2 < add(1, 2) < 4",
    "add(1, 2) - 3 == 0",
    "add(2, 3) % 5 == 0 and add(1, 1) == 2",
    "math.isclose(add(1, 2), 3)",
]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", FORGERIES)
def test_a_program_cannot_grade_itself(name: str, fast: bool) -> None:
    async def grade() -> None:
        async with Sandbox(workers=1, fast=fast) as sandbox:
            for tests in (
                TESTS,
                MORE_TESTS,
                *([test] for test in WRONG_FOR_ALL if name not in ("nan", "the platform")),
            ):
                verdict = await UnitTestVerifier(tests, sandbox).verify("write add", FORGERIES[name])
                assert verdict.passed is False, tests
            reference = "def add(a, b): return a + b"
            same = await SameProgramVerifier(reference, ["add(2, 3)", "add(4, 4)"], sandbox).verify(
                "write add", FORGERIES[name]
            )
            assert same.passed is False

    asyncio.run(grade())


HONEST = {
    "def add(a, b): return a + b": [*TESTS, *MORE_TESTS, "add('a', 'b') == 'ab'", "add([1], [2]) == [1, 2]",
    "add(0.1, 0.2) != 0.3"],
    "from collections import Counter, namedtuple, defaultdict\nP = namedtuple('P', 'x y')\ndef f(s): return "
    "Counter(s)\ndef g(): return P(1, 2)": [
        "f('aab') == {'a': 2, 'b': 1}", "g() == (1, 2)", "g().x == 1", "sorted(f('ba')) == ['a', 'b']",
        "max(f('aab').values()) == 2",
    ],
    "class Stack:\n  def __init__(s, v=()): s.v = list(v)\n  def push(s, x): s.v.append(x); return s\n  def "
    "__len__(s): return len(s.v)\n  def __eq__(s, o): return s.v == o.v\n  def __add__(s, o): return Stack(s.v + "
    "o.v)\n  def __contains__(s, x): return x in s.v\n  def __repr__(s): return f'Stack({s.v})'": [
        "len(Stack().push(1)) == 1", "Stack([1]) == Stack().push(1)", "Stack([1]) + Stack([2]) == Stack([1, 2])",
        "3 in Stack([3]).v",
        "str(Stack([1])) == 'Stack([1])'", "isinstance(Stack(), Stack)", "Stack([1, 2]).v[-1] == 2", "not Stack()",
        "Stack([1]) != [1]",
    ],
    "import math, datetime, decimal, fractions\nK = 7\ndef area(r): return math.pi * r * r\ndef day(): return "
    "datetime.date(2026, 1, 2)\ndef half(): return fractions.Fraction(1, 2)\ndef money(): return "
    "decimal.Decimal('1.10')\ndef inf(): return float('inf')\ndef big(): return 10 ** 5000": [
        "math.isclose(area(1), math.pi)", "day().year == 2026", "day() == datetime.date(2026, 1, 2)",
        "half() * 2 == 1", "K == 7", "inf() > 1e300",
        "money() == decimal.Decimal('1.1')", "big() == 10 ** 5000", "{day()} == {day()}",
        "(lambda x: area(x))(0) == 0", "[y for x in (1, 2) if (y := K + x) > 8] == [9]",
    ],
    "from dataclasses import dataclass\nfrom enum import Enum\nfrom datetime import datetime, timedelta\nfrom "
    "collections import deque\n@dataclass\nclass P:\n  x: int\nclass C(Enum):\n  R = 1\nclass A: pass\nclass B(A): "
    "pass\ndef gen(n):\n  yield from range(n)\ndef later(d, n): return d + timedelta(days=n)\ndef q(): return "
    "deque([1, 2])\ndef keys(): return {'a': 1}.keys()\ndef red(): return C.R\ndef fail(): return ValueError('x')\ndef "
    "long(n): return list(range(n))\ndef squares():\n  n = 0\n  while True:\n    yield n * n\n    n += 1": [
        "list(gen(3)) == [0, 1, 2]", "sorted(gen(3)) == [0, 1, 2]", "tuple(gen(200))[-1] == 199", "P(1) == P(1)",
        "P(1).x == 1", "later(datetime(2020, 1, 1), 1) == datetime(2020, 1, 2)",
        "q() == deque([1, 2])", "keys() == {'a'}", "red() is C.R", "red().value == 1", "issubclass(B, A)",
        "isinstance(B(), (A, int))", "isinstance(fail(), ValueError)",
        "type(B()) == B", "hash(red()) == hash(C.R)", "2 in gen(5)", "long(20000) == list(range(20000))",
        "list(itertools.islice(squares(), 4)) == [0, 1, 4, 9]", "callable(gen)",
    ],
    "def apply(f, x): return f(x)\ndef sum(a, b): return a * b\ndef words(t): return {w for w in t.split()}\ndef "
    "none(): return None\ndef raises(): raise ValueError": [
        "apply(lambda v: v + 1, 2) == 3", "sum(2, 3) == 6", "words('b a') == {'a', 'b'}", "none() is None",
        "len(words('a b')) == 2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("program", HONEST)
def test_honest_programs_pass_tests_of_every_form(program: str) -> None:
    async def grade() -> Any:
        async with Sandbox(workers=1, fast=False) as sandbox:
            return await UnitTestVerifier(HONEST[program], sandbox).verify("write it", f"```python\n{program}\n```")

    verdict = asyncio.run(grade())
    assert verdict.passed, verdict.feedback


def test_what_was_written_since_the_last_look_counts() -> None:
    async def run() -> Any:
        async with Sandbox(workers=1) as sandbox:
            return await sandbox.run("open('a', 'wb').write(bytes(2_000_000))", Limits(disk_bytes=10**6))

    assert asyncio.run(run()).ending == "disk"


def test_same_programs_are_compared_by_whole_values() -> None:
    async def same(reference: str, candidate: str, inputs: list[str]) -> Any:
        async with Sandbox(workers=1) as sandbox:
            return (await SameProgramVerifier(reference, inputs, sandbox).verify("q", candidate)).passed

    short = "def f(n): return list(range(n))"
    assert not asyncio.run(
        same(short, "def f(n): return list(range(100)) if n > 50 else list(range(n))", ["f(3)", "f(200)"])
    )
    assert asyncio.run(same("def f(): return {8, 0, 'a'}", "def f(): return {'a', 0, 8}", ["f()"]))
    assert not asyncio.run(
        same("def f(): return 3", "class X:\n  def __repr__(s): return '3'\ndef f(): return X()", ["f()"])
    )
    raises = "def f(n):\n  if n: raise ValueError\n  return 1"
    assert not asyncio.run(same(raises, "def f(n):\n  while n: pass\n  return 2", ["f(0)", "f(1)"]))
    with pytest.raises(ValueError, match="at least one test"):
        UnitTestVerifier([])


def test_limits_hold_where_a_program_closes_its_pipes() -> None:
    async def run() -> list[Any]:
        shut = "import os\nos.closerange(3, 32); n = os.open('/dev/null', os.O_RDWR); os.dup2(n, 1); os.dup2(n, 2)\n"
        fill = shut + "for i in range(60):\n  open(str(i), 'wb').write(bytes(10_000_000))"
        many = shut + "i = 0\nwhile True:\n  os.mkdir(str(i)); i += 1"
        async with Sandbox(workers=1) as sandbox:
            found = [
                await sandbox.run(fill),
                await sandbox.run(many, Limits(disk_bytes=2**20)),
            ]  # a slow disk makes no more folders in its time
            found.append(await sandbox.run("import os; os.kill(os.getpid(), 40)"))
            assert sandbox.idle_workers == 1
            found.append(await sandbox.run("import os\nos._exit = lambda c: None\nprint('x')"))
            found.append(
                await sandbox.run(
                    "import os\nfor f in range(32):\n  try: os.write(f, b'refused: x')\n  except OSError: "
                    "pass\nos._exit(18)"
                )
            )
            found.append(await sandbox.run("a\n" * 400_000, Limits(memory_bytes=100 * 2**20)))
            return found

    fill, many, killed, replaced, pretends, large = asyncio.run(run())
    assert (fill.ending, many.ending, killed.ending) == ("disk", "disk", "killed")
    assert killed.error == "signal 40"
    assert (replaced.ending, replaced.stdout) == ("finished", "x\n")
    assert pretends.ending != "refused"
    assert large.ending in ("raised", "killed")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sandbox_may_be_used_from_one_event_loop_after_another() -> None:
    """What belonged to a loop that has ended can be closed by nobody.

    It is collected, with the warning that asyncio has for that.
    """
    sandbox = Sandbox(workers=1)
    for _ in range(2):
        assert asyncio.run(sandbox.run("print(1)")).stdout == "1\n"
    asyncio.run(sandbox.close())
    gc.collect()


@pytest.mark.parametrize("wrong", [{"cpu_s": 0.5}, {"memory_bytes": 2**70}, {"wall_s": 0}, {"open_files": -1}])
def test_limits_that_cannot_be_set_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a positive"):
        Limits(**wrong)


def test_what_is_the_programs_is_asked_of_it_and_nothing_else() -> None:
    defined = names_defined("def add(a, b): ...\ndef all(x): ...\nx = 1")
    assert defined == {"add", "all", "x"}
    assert divided("add(2, 3) == 5", defined) == "ask_program('add(2, 3)', {}) == 5"
    assert (
        divided("all(add(i, 1) == 2 for i in [1])", defined)
        == "all((ask_program('add(i, 1)', {'i': i}) == 2 for i in [1]))"
    )
    assert divided("math.sqrt(add(2, 2)) < 3", defined) == "math.sqrt(ask_program('add(2, 2)', {})) < 3"
    with pytest.raises(ValueError, match="not an expression"):
        divided("a b", defined)
