"""The ledger's invariant, under random histories and under concurrency."""

from __future__ import annotations

import threading
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from orchestrator.budget import Budget, Ledger, Reservation, from_nano, to_nano
from orchestrator.errors import BudgetExceeded, InvalidBudget

LIMIT_USD, LIMIT_TOKENS, LIMIT_CALLS = 1.0, 1_000, 8
amounts = st.floats(0, 0.6, allow_nan=False)


class LedgerMachine(RuleBasedStateMachine):
    """Reservations come and go in any order; settling never exceeds what was held."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(Budget(usd=LIMIT_USD, tokens=LIMIT_TOKENS, calls=LIMIT_CALLS))
        self.open: dict[int, Reservation] = {}
        self.settled_nano = 0

    @rule(target=held, usd=amounts, tokens=st.integers(0, 400))
    def reserve(self, usd: float, tokens: int) -> Reservation | None:
        try:
            reservation = self.ledger.reserve(usd=usd, tokens=tokens)
        except BudgetExceeded:
            return None
        self.open[reservation.id] = reservation
        return reservation

    @rule(reservation=consumes(held), share=st.floats(0, 1))
    def settle(self, reservation: Reservation | None, share: float) -> None:
        if reservation is not None:
            self.ledger.settle(
                reservation, usd=from_nano(int(reservation.nano * share)), tokens=int(reservation.tokens * share)
            )
            self.settled_nano += to_nano(from_nano(int(reservation.nano * share)))
            del self.open[reservation.id]

    @rule(reservation=consumes(held))
    def release(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            self.ledger.release(reservation)
            del self.open[reservation.id]

    @invariant()
    def never_overspent(self) -> None:
        assert self.ledger.settled_nano == self.settled_nano
        assert self.ledger.reserved_nano == sum(r.nano for r in self.open.values())
        assert self.ledger.settled_nano + self.ledger.reserved_nano <= to_nano(LIMIT_USD)
        assert self.ledger.settled_tokens + sum(r.tokens for r in self.open.values()) <= LIMIT_TOKENS
        assert self.ledger.calls + len(self.open) <= LIMIT_CALLS
        assert self.ledger.overrun_nano == 0


TestLedger = LedgerMachine.TestCase


def test_a_hundred_threads_cannot_overspend() -> None:
    ledger = Ledger(Budget(usd=1.0))
    granted, barrier = [], threading.Barrier(100)

    def work() -> None:
        barrier.wait()
        try:
            reservation = ledger.reserve(usd=0.1)
        except BudgetExceeded:
            return
        granted.append(reservation)
        ledger.settle(reservation, usd=0.1)

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 10
    assert ledger.spent_usd == pytest.approx(1.0)


def test_more_than_the_worst_case_is_booked_and_shown_as_overrun() -> None:
    ledger = Ledger(Budget(usd=1.0))
    ledger.settle(ledger.reserve(usd=0.1), usd=0.25)
    assert from_nano(ledger.overrun_nano) == pytest.approx(0.15)
    assert ledger.spent_usd == pytest.approx(0.25)


def test_a_reservation_closes_once() -> None:
    ledger = Ledger()
    reservation = ledger.reserve(usd=0.1)
    ledger.release(reservation)
    with pytest.raises(ValueError, match="already"):
        ledger.settle(reservation, usd=0.1)


def test_an_unknown_price_is_refused_under_a_money_limit_and_noted_without_one() -> None:
    with pytest.raises(BudgetExceeded, match="unknown"):
        Ledger(Budget(usd=1.0)).reserve(usd=None)
    unlimited = Ledger()
    unlimited.reserve(usd=None)
    assert unlimited.price_unknown


@given(st.floats(0, 1e6, allow_nan=False))
def test_money_is_rounded_up_by_less_than_a_nano_dollar(usd: float) -> None:
    assert 0 <= to_nano(usd) / 1e9 - usd <= 1e-9 + usd * 1e-12


@given(
    st.lists(st.tuples(amounts, st.floats(0, 1), st.sampled_from(("settle", "release", "worst", "open"))), max_size=30)
)
def test_what_is_held_within_an_account_is_held_on_it(history: list[tuple[float, float, str]]) -> None:
    outer = Ledger(Budget(usd=1.0))
    inner = [Ledger(Budget(usd=0.7), within=outer), Ledger(Budget(calls=5), within=outer)]
    for index, (usd, share, end) in enumerate(history):
        ledger = inner[index % 2]
        try:
            held = ledger.reserve(usd=usd)
        except BudgetExceeded:
            continue
        if end == "settle":
            ledger.settle(held, usd=from_nano(int(held.nano * share)))
        elif end == "release":
            ledger.release(held)
        elif end == "worst":
            ledger.settle_worst_case(held)
        assert outer.settled_nano == sum(each.settled_nano for each in inner)
        assert outer.reserved_nano == sum(each.reserved_nano for each in inner)
        assert outer.settled_nano + outer.reserved_nano <= to_nano(1.0)
        assert inner[0].settled_nano + inner[0].reserved_nano <= to_nano(0.7)


def test_a_refusal_within_an_account_holds_nothing_on_it() -> None:
    outer = Ledger(Budget(usd=1.0))
    inner = Ledger(Budget(usd=0.1), within=outer)
    with pytest.raises(BudgetExceeded):
        inner.reserve(usd=0.2)
    assert outer.reserved_nano == 0
    assert inner.remaining_usd() == pytest.approx(0.1)


@given(st.integers(0, 10**15))
def test_nano_dollars_survive_being_dollars(nano: int) -> None:
    assert to_nano(from_nano(nano)) == nano


@given(st.decimals(0, 1_000, allow_nan=False, places=12))
def test_a_float_is_rounded_up_as_the_number_that_it_prints(usd: Decimal) -> None:
    exact = int((Decimal(str(float(usd))) * 10**9).to_integral_value(ROUND_CEILING))
    assert to_nano(float(usd)) == exact


@pytest.mark.parametrize("limit", ["usd", "tokens", "seconds", "calls"])
@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["high", "low"])
def test_a_number_that_no_float_holds_is_refused(limit: str, value: int) -> None:
    with pytest.raises(InvalidBudget, match=r"finite|whole number"):
        Budget.parse({limit: value})
