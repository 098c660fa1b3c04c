"""Quotas that many processes share: each leases slices of them, spends within its slices, and books what it spent.

A quota is what a subject (organisation, team, key) may use of one kind in one period: nano-dollars, requests or tokens
of a minute, or calls at once. Invariant, under any number of processes and whichever of them dies: used + leased <=
limit, where leased covers everything that is reserved anywhere, unless a provider bills more than was reserved: that is
used, too, and nothing more is leased until the limit allows it again. What a dead process held is booked as used when
its heart has not beaten for `HOLDER_S`: the worst case, never zero. Calls at once are given back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.storage.database import Database, Run
from orchestrator.storage.migrations import migrate

HOLDER_S = 15.0
WANTED_S = 5.0
KEPT_S = 3_600.0  # periods of a minute are deleted when they are this old
CONCURRENCY = "concurrency"
_SCHEMA = """
CREATE TABLE quotas (
    subject TEXT NOT NULL, kind TEXT NOT NULL, period BIGINT NOT NULL, used BIGINT NOT NULL DEFAULT 0,
    leased BIGINT NOT NULL DEFAULT 0,
    wanted_at DOUBLE PRECISION NOT NULL DEFAULT 0, touched_at DOUBLE PRECISION NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, kind, period)
);
CREATE TABLE holders (id TEXT PRIMARY KEY, beat_at DOUBLE PRECISION NOT NULL);
CREATE TABLE leases (
    holder TEXT NOT NULL REFERENCES holders (id) ON DELETE CASCADE, subject TEXT NOT NULL, kind TEXT NOT NULL,
    period BIGINT NOT NULL,
    amount BIGINT NOT NULL, PRIMARY KEY (holder, subject, kind, period)
);
CREATE INDEX quotas_by_touch ON quotas (touched_at)
"""


class Quota(NamedTuple):
    """Which quota: whose, of what, and in which period.

    A period is 0 for ever, else the number of the minute, day or month since 1970.
    """

    subject: str
    kind: str
    period: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request for a lease brought: `amount` (0: refused), and how the quota stands after it."""

    amount: int
    used: int
    leased: int


@dataclass(frozen=True, slots=True)
class Booking:
    """`spent` of a lease is booked as used, `returned` given back.

    `beyond` of it no lease covers: a bill was larger than its hold.
    """

    quota: Quota
    spent: int
    returned: int
    beyond: int = 0


class Buried(Exception):
    """This process was taken for dead: all that it had leased is booked as used, and belongs to it no more."""


class Quotas:
    """The shared account of all quotas.

    `holder` names this process; calls block. `lease`, `book` and `beat` raise `Buried` once this process was.
    """

    def __init__(self, database: Database, holder: str, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._name, self._lives = holder, 0
        self._clock = clock
        self._ahead: dict[str, tuple[float, float]] = {}  # beats that lie in the future, and when they were first seen
        migrate(database, "quotas", [_SCHEMA])
        self.revive()

    @property
    def holder(self) -> str:
        """The name under which this process leases quota."""
        return f"{self._name}.{self._lives}"

    def revive(self) -> None:
        """Begins again, with no leases, under another name."""
        self._lives += 1
        with self._database.writing() as run:
            run("INSERT INTO holders VALUES (?, ?)", self.holder, self._clock())

    def lease(self, quota: Quota, need: int, slice_: int, limit: int, *, share: int = 10) -> Grant:
        """Leases `slice_`, but at most one `share`-th of what is left, and at least `need`, or nothing.

        A refusal asks the other holders to give back what they do not use.
        """
        with self._database.writing() as run:
            self._beat(run)
            where = (quota.subject, quota.kind, quota.period)
            run("INSERT INTO quotas (subject, kind, period) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", *where)
            found = (
                f"SELECT used, leased FROM quotas WHERE subject = ? AND kind = ? AND period = ?{self._database.locking}"
            )
            used, leased = run(found, *where)[0]
            left = limit - used - leased
            amount = max(need, min(slice_, left // share))
            if amount > left:
                run(
                    "UPDATE quotas SET wanted_at = ? WHERE subject = ? AND kind = ? AND period = ?",
                    self._clock(),
                    *where,
                )
                return Grant(0, used, leased)
            # Invariant: used + leased <= limit.
            update = (
                "UPDATE quotas SET leased = leased + ?, touched_at = ? WHERE subject = ? AND kind = ? AND period = ?"
            )
            run(update, amount, self._clock(), *where)
            run(
                "INSERT INTO leases VALUES (?, ?, ?, ?, ?) ON CONFLICT (holder, subject, kind, period) "
                "DO UPDATE SET amount = leases.amount + excluded.amount",
                self.holder,
                *where,
                amount,
            )
            return Grant(amount, used, leased + amount)

    def book(self, bookings: Iterable[Booking]) -> None:
        """Books what was spent and gives back what was not, all of it or nothing."""
        with self._database.writing() as run:
            self._beat(run)
            for booking in sorted(
                bookings, key=lambda booking: booking.quota
            ):  # always in the same order, so that no two wait for each other
                quota, freed = booking.quota, booking.spent - booking.beyond + booking.returned
                where = (quota.subject, quota.kind, quota.period)
                run("INSERT INTO quotas (subject, kind, period) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", *where)
                lease = (
                    "UPDATE leases SET amount = amount - ? WHERE holder = ? AND subject = ? AND kind = ? AND period = ?"
                )
                run(lease, freed, self.holder, *where)
                run(
                    "UPDATE quotas SET used = used + ?, leased = leased - ?, touched_at = ? WHERE subject = ? AND kind "
                    "= ? AND period = ?",
                    0 if quota.kind == CONCURRENCY else booking.spent,
                    freed,
                    self._clock(),
                    *where,
                )

    def beat(self) -> None:
        """Says that this process lives."""
        with self._database.writing() as run:
            self._beat(run)

    def wanted(self) -> set[Quota]:
        """Quotas of which somebody was refused a moment ago: give back what you do not use."""
        rows = self._database.read(
            "SELECT subject, kind, period FROM quotas WHERE wanted_at > ?", self._clock() - WANTED_S
        )
        return {Quota(*row) for row in rows}

    def bury(self) -> int:
        """Books the leases of holders whose heart stopped at their worst case; returns how many holders that were."""
        buried = 0
        for holder, beat_at in self._stopped():
            with self._database.writing() as run:
                dead = f"SELECT id FROM holders WHERE id = ? AND beat_at <= ?{self._database.locking}"
                if not run(dead, holder, beat_at):
                    continue  # it was only slow, or somebody else was faster
                for subject, kind, period, amount in run(
                    "SELECT subject, kind, period, amount FROM leases WHERE holder = ?", holder
                ):
                    update = (
                        "UPDATE quotas SET used = used + ?, leased = leased - ? WHERE subject = ? AND kind = ? "
                        "AND period = ?"
                    )
                    run(update, 0 if kind == CONCURRENCY else amount, amount, subject, kind, period)
                run("DELETE FROM leases WHERE holder = ?", holder)
                run("DELETE FROM holders WHERE id = ?", holder)
                buried += 1
        return buried

    def _stopped(self) -> list[tuple[str, float]]:
        """Holders whose heart did not beat for `HOLDER_S`, and when it last did.

        A beat that lies in the future was made before a clock was set back: it counts from when it was first seen here.
        """
        now = self._clock()
        beats = {str(holder): float(at) for holder, at in self._database.read("SELECT id, beat_at FROM holders")}
        ahead = {holder: at for holder, at in beats.items() if at > now}
        self._ahead = {holder: self._ahead.get(holder, (at, now)) for holder, at in ahead.items()}
        self._ahead = {
            holder: seen if seen[0] == ahead[holder] else (ahead[holder], now) for holder, seen in self._ahead.items()
        }
        unmoved = [(holder, at) for holder, (at, since) in self._ahead.items() if now - since > HOLDER_S]
        return [(holder, at) for holder, at in beats.items() if at < now - HOLDER_S] + unmoved

    def clear(self) -> None:
        """Deletes minutes long past, of which nothing is leased any more."""
        with self._database.writing() as run:
            old = self._clock() - KEPT_S
            run("DELETE FROM quotas WHERE touched_at < ? AND leased = 0 AND kind IN ('requests', 'tokens')", old)

    def standing(self, quota: Quota) -> tuple[int, int]:
        """(used, leased) of a quota."""
        rows = self._database.read(
            "SELECT used, leased FROM quotas WHERE subject = ? AND kind = ? AND period = ?", *quota
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def _beat(self, run: Run) -> None:
        if not run("UPDATE holders SET beat_at = ? WHERE id = ? RETURNING id", self._clock(), self.holder):
            raise Buried
