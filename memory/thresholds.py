"""Numbers of records from which on a memory works another way.

The defaults were measured; smaller ones serve tests and small machines.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`judged_whole`: up to so many records a scope is judged whole, above it candidates are found first.

    `coarse_from`: so many vectors are searched through an approximate index. `snapshot_from`: the index of such a scope
    is kept beside the file when it has grown by `snapshot_growth`. `most_indexed`: so many records are kept in memory,
    over all scopes (about 2 KB each); the scopes used least are dropped and read again.
    """

    judged_whole: int = 1_000
    coarse_from: int = 200_000
    snapshot_from: int = 20_000
    snapshot_growth: float = 1.1
    most_indexed: int = 2_000_000
