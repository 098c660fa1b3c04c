"""What a program may use, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["finished", "raised", "exited", "timeout", "killed", "output", "disk", "refused"]


@dataclass(frozen=True, slots=True)
class Limits:
    """For one program.

    Seconds of wall clock and of processor time, bytes of memory, of each file, of all files together (looked at ten
    times a second and at the end), of everything printed, and open files.
    """

    wall_s: float = 5.0
    cpu_s: int = 5
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 10 * 2**20
    disk_bytes: int = 50 * 2**20
    output_bytes: int = 64 * 2**10
    open_files: int = 32

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 < value < 2**63 or (name != "wall_s" and not isinstance(value, int)):
                raise ValueError(
                    f"{name} must be a positive {'number' if name == 'wall_s' else 'whole number'}, not {value!r}"
                )


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and what it printed (up to the limit).

    `ending`: "finished" at its last line; "raised" with `error`; "exited" on its own before its last line; "timeout";
    "killed" by a signal or a limit on processor time; "output": it printed too much; "disk": it wrote too much;
    "refused": it never ran, `error` says why.
    """

    ending: Ending
    stdout: str
    error: str
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether the program came to its end by itself."""
        return self.ending == "finished"
