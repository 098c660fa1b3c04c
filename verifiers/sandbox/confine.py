"""What a process does to itself before it runs foreign code; from then on there is no way back.

Linux only; standard library only.

No new privileges, no capabilities, resource limits; Landlock (kernel 5.13, userspace-api/landlock.rst): files of the
Python installation may be read, one folder written; seccomp (prctl(2)): the system calls that a Python program needs,
every other one fails with EPERM. Among those are socket, fork, exec, ptrace, mount, kill of others, modes and times of
files, and everything new; fcntl, ioctl, open and sendto with harmless arguments only. (A pair of sockets connected to
each other is allowed: event loops need one.)

This file is also run by itself in the sandbox's worker: it must not import anything of this project.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from functools import lru_cache

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 24, 38, 22
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
READ_FILE, READ_DIR, EXECUTE = 1 << 2, 1 << 3, 1 << 0
READABLE = READ_FILE | READ_DIR | EXECUTE
CLONE_THREAD = 0x10000
TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX = 0x5401, 0x541B, 0x5421, 0x5451, 0x5450

# x86-64 and arm64 numbers of what a Python program needs (the kernel's syscall tables); None: that machine does not
# have it.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "access": (21, None), "pipe": (22, None), "select": (23, None),
    "sched_yield": (24, 124),
    "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None), "nanosleep": (35, 101),
    "getitimer": (36, 102),
    "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172), "socketpair": (53, 199), "exit": (60, 93),
    "uname": (63, 160),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46),
    "getcwd": (79, 17), "chdir": (80, 49), "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None),
    "creat": (85, None),
    "unlink": (87, None), "readlink": (89, None), "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177), "getppid": (110, 173), "sigaltstack": (131, 132), "statfs": (137, 43), "fstatfs": (138, 44),
    "arch_prctl": (158, None),
    "gettid": (186, 178), "time": (201, None), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "epoll_create": (213, None),
    "getdents64": (217, 61), "set_tid_address": (218, 96), "fadvise64": (221, 223), "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "epoll_wait": (232, None), "epoll_ctl": (233, 21),
    "mkdirat": (258, 34), "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "readlinkat": (267, 78),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99),
    "epoll_pwait": (281, 22), "eventfd2": (290, 19), "epoll_create1": (291, 20), "dup3": (292, 24), "pipe2": (293, 59),
    "preadv": (295, 69),
    "pwritev": (296, 70), "renameat2": (316, 276), "getrandom": (318, 278), "copy_file_range": (326, 285),
    "statx": (332, 291),
    "getsockname": (51, 204), "getsockopt": (55, 209), "recvfrom": (45, 207), "shutdown": (48, 210),
    "rseq": (334, 293), "close_range": (436, 436), "faccessat2": (439, 439), "membarrier": (324, 283),
    "getgroups": (115, 158),
}  # fmt: skip
# With a condition on an argument: (number on x86-64, on arm64).
_CLONE, _CLONE3, _IOCTL, _KILL, _TGKILL, _PRLIMIT = (56, 220), (435, 435), (16, 29), (62, 129), (234, 131), (302, 261)
_OPENAT, _SENDTO, _FCNTL = (257, 56), (44, 206), (72, 25)
_OPEN: tuple[int | None, int | None] = (2, None)
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, the record locks, F_DUPFD_CLOEXEC, F_GETPIPE_SZ: none that makes the kernel signal
# somebody (F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY). F_SETFL without O_ASYNC.
_FCNTL_COMMANDS, F_SETFL, O_ASYNC = (0, 1, 2, 3, 5, 6, 7, 1030, 1032), 4, 0x2000
O_ACCMODE, O_TRUNC = 3, 0x200
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_LOAD, _EQUAL, _AND, _RETURN, _AT_LEAST = 0x20, 0x15, 0x54, 0x06, 0x35
INSTRUCTION = struct.Struct("HBBI")
_ADDRESS_LOW = 16  # of the first argument, in struct seccomp_data


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 without Landlock."""
    return max(int(_libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)), 0) if sys.platform == "linux" else 0


def can_filter_calls() -> bool:
    """Whether system calls can be filtered on this machine (Linux with seccomp)."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES


def confine(level: str, folder: str, *, cpu_s: int, memory_bytes: int, file_bytes: int, open_files: int) -> None:
    """Confines the calling process for good, as far as its level has to. Raises `OSError` where that fails.

    "bubblewrap" has shut files and network out already, "unsafe" does not.
    """
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
    ):
        resource.setrlimit(what, (limit, limit))
    if sys.platform != "linux":
        return
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if level == "unsafe":
        return
    _prctl(PR_SET_DUMPABLE, 0)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if level in ("landlock+seccomp", "seccomp+old-landlock"):
        _restrict_files(folder)
    _drop_capabilities()
    if level != "bubblewrap" or can_filter_calls():
        _filter_calls()


def _restrict_files(folder: str) -> None:
    version = landlock_version()
    if version < 1:
        raise OSError(errno.ENOSYS, "the kernel has no Landlock")
    files = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    attributes = struct.pack("QQQ", files, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked(_libc.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0))
    writable = (
        files & ~EXECUTE & ~(0b1111111 << 6) | (1 << 7) | (1 << 8)
    )  # files and folders, but no devices, sockets, pipes or links
    for path, rights in (
        *((path, READABLE) for path in readable()),
        (folder, writable),
        ("/dev/null", READ_FILE | (1 << 1)),
    ):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = rights if os.path.isdir(path) else rights & (EXECUTE | (1 << 1) | READ_FILE | (1 << 14))
        _checked(_libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed & files, descriptor), 0))
        os.close(descriptor)
    _checked(_libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def readable() -> list[str]:
    """What an interpreter may need to read.

    Its own installation and the system's libraries, random numbers and zeros; no home, no settings.
    """
    found = {
        sys.base_prefix,
        os.path.dirname(os.__file__),
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
    }
    return sorted(
        path for path in (*found, "/dev/urandom", "/dev/zero") if os.path.exists(path) and os.path.realpath(path) != "/"
    )


def _drop_capabilities() -> None:
    number = 0
    while (
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0
    ):  # fails with EINVAL after the last one, with EPERM for who has none to drop
        number += 1
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _checked(_libc.capset(header, nothing))


def _filter_calls() -> None:
    code, places = _compiled()
    for place in places:
        struct.pack_into("I", code, place, os.getpid())
    buffer = (ctypes.c_char * len(code)).from_buffer(code)
    _prctl(PR_SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(code) // INSTRUCTION.size, ctypes.addressof(buffer)))


@lru_cache(maxsize=1)
def _compiled() -> tuple[bytearray, list[int]]:
    """The filter, and where in it the process's own number has to be written."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    own = 0x7FFF0001  # greater than any process number

    def when_first(call: tuple[int, int], *values: int) -> list[tuple[int, int, int, int]]:
        """Allows a call if its first argument is one of `values`."""
        tests = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
        return [
            (_EQUAL, 0, len(values) + 3, call[column]),
            (_LOAD, 0, 0, _ADDRESS_LOW),
            *tests,
            (_RETURN, 0, 0, _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]

    def second(call: tuple[int, int], *values: int) -> list[tuple[int, int, int, int]]:
        program = when_first(call, *values)
        program[1] = (_LOAD, 0, 0, _ADDRESS_LOW + 8)
        return program

    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),  # x32's numbers on x86-64
        (_RETURN, 0, 0, _KILL_PROCESS),
        # A thread is a clone that shares everything; glibc tries clone3 first, whose flags a filter cannot read, and
        # then clone.
        (_EQUAL, 0, 1, _CLONE3[column]),
        (_RETURN, 0, 0, 0x00050000 | errno.ENOSYS),
        (_EQUAL, 0, 5, _CLONE[column]),
        (_LOAD, 0, 0, _ADDRESS_LOW),
        (_AND, 0, 0, CLONE_THREAD),
        (_EQUAL, 0, 1, CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
        *when_first(_KILL, own),
        *when_first(_TGKILL, own),
        *_sending(_SENDTO[column]),
        *_file_control(_FCNTL[column]),
        *_opening(_OPENAT[column], 2),
        *(_opening(number, 1) if (number := _OPEN[column]) is not None else ()),
        *second(_IOCTL, TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX),
        *when_first(_PRLIMIT, 0),
    ]
    for numbers in _CALLS.values():
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    program.append((_RETURN, 0, 0, _EPERM))
    places = [i * INSTRUCTION.size + 4 for i, instruction in enumerate(program) if instruction[3] == own]
    return bytearray(b"".join(INSTRUCTION.pack(*instruction) for instruction in program)), places


_EPERM = 0x00050000 | errno.EPERM


def _argument(number: int, *, high: bool = False) -> tuple[int, int, int, int]:
    """Loads half of an argument."""
    return _LOAD, 0, 0, _ADDRESS_LOW + 8 * number + 4 * high


def _sending(call: int) -> list[tuple[int, int, int, int]]:
    """Sendto without an address, which is send: on a socket that is connected already."""
    return [
        (_EQUAL, 0, 6, call),
        _argument(4),
        (_EQUAL, 0, 3, 0),
        _argument(4, high=True),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _file_control(call: int) -> list[tuple[int, int, int, int]]:
    """Fcntl's harmless commands."""
    allowed = len(_FCNTL_COMMANDS)
    tests = [(_EQUAL, allowed - i + 4, 0, command) for i, command in enumerate(_FCNTL_COMMANDS)]
    return [
        (_EQUAL, 0, allowed + 7, call),
        _argument(1),
        *tests,
        (_EQUAL, 0, 3, F_SETFL),
        _argument(2),
        (_AND, 0, 0, O_ASYNC),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _opening(call: int, flags: int) -> list[tuple[int, int, int, int]]:
    """open, but not to cut a file that is only read: older Landlock takes that for reading."""
    return [
        (_EQUAL, 0, 5, call),
        _argument(flags),
        (_AND, 0, 0, O_ACCMODE | O_TRUNC),
        (_EQUAL, 1, 0, O_TRUNC),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _prctl(option: int, value: int, pointer: bytes | int = 0) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
