"""Money, tokens, calls and time: limits, and the ledger that cannot overspend."""

from orchestrator.budget.ledger import Ledger, Reservation
from orchestrator.budget.limits import Budget, BudgetLike
from orchestrator.budget.money import NANO, from_nano, to_nano

__all__ = ["NANO", "Budget", "BudgetLike", "Ledger", "Reservation", "from_nano", "to_nano"]
