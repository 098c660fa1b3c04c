"""Names that must be known without loading what they name."""

from __future__ import annotations

DEFAULT_NAME = "orchestrator.yaml"
PLACEHOLDER = "MODEL"
"""Stands for the name of a model where `orchestrator init` cannot ask which ones a server has."""
STRATEGY_GROUP = "orchestrator.strategies"  # entry points of other packages
STRATEGY_NAMES = (
    "single",
    "best_of_n",
    "self_consistency",
    "cascade",
    "draft_critique_revise",
    "tree",
    "mixture",
    "debate",
    "two_ways",
    "judged_pairs",
    "adaptive",
)
STRATEGY_ALIASES = {"vote": "self_consistency", "revise": "draft_critique_revise"}
"""Shorter names, wherever a strategy is named."""
