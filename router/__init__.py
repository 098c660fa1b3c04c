"""Which model will do? Predicts each model's success, cost and latency on a query and picks the cheapest adequate one. Usable alone."""

from router.learner import Learner
from router.policy import Constraints, Needs, Option, Preference, Route, choose
from router.profile import ModelProfile
from router.router import Router
from router.space import Encoder, FeatureSpace
from router.success import Outcome, SuccessModel, reliability_weight

__all__ = [
    "Constraints",
    "Encoder",
    "FeatureSpace",
    "Learner",
    "ModelProfile",
    "Needs",
    "Option",
    "Outcome",
    "Preference",
    "Route",
    "Router",
    "SuccessModel",
    "choose",
    "reliability_weight",
]
