"""Which model will do?

Predicts each model's success, cost and latency on a query and picks the cheapest adequate one. Usable alone.
"""

from orchestrator.router.features.feature_space import Encoder, FeatureSpace
from orchestrator.router.learning.learner import Learner
from orchestrator.router.outcome import Outcome, reliability_weight
from orchestrator.router.policy import Constraints, Needs, Option, Preference, Route, choose
from orchestrator.router.profile import ModelProfile
from orchestrator.router.router import Router
from orchestrator.router.success import SuccessModel

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

if __name__ == "router":  # the old name of this package, which a checkout on the path still offers
    from importlib import import_module

    import_module("orchestrator._deprecated").replace_package(__name__)
