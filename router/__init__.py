"""Which model will do? Predicts each model's success, cost and latency on a query and picks the cheapest adequate one. Usable alone."""

from router.features import Features
from router.policy import Constraints, Needs, Option, Route, choose
from router.profile import ModelProfile
from router.router import Router
from router.success import Outcome, SuccessModel

__all__ = ["Constraints", "Features", "ModelProfile", "Needs", "Option", "Outcome", "Route", "Router", "SuccessModel", "choose"]
