"""Bounded exploration.

Now and then another model than the chosen one is asked, so that outcomes of all models keep coming in.

The probability of what was asked (its propensity) must be logged with it: replay divides by it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from orchestrator.router.policy import Option, Route


@dataclass(frozen=True, slots=True)
class Explored:
    """The model to ask, and the probability in (0, 1] with which it is asked."""

    model: str
    propensity: float


def explore(route: Route, rng: random.Random, *, rate: float, most_extra_usd: float, most_gap: float = 0.1) -> Explored:
    """The route's model with probability 1 - rate, else one of its usable neighbours, each with the same chance.

    Neighbours cost at most `most_extra_usd` more and have a P(correct) at most `most_gap` below the chosen one's;
    models of unknown price never are. Without neighbours nothing is explored. Raises `ValueError` on a rate outside [0,
    1), or a route without a chosen model.
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"the exploration rate must lie in [0, 1), not {rate!r}")
    if route.chosen is None:
        raise ValueError(f"nothing to explore: {route.reason}")
    chosen = route.option(route.chosen)
    neighbours = [option for option in route.usable if _is_neighbour(option, chosen, most_extra_usd, most_gap)]
    if not neighbours or rate == 0.0:
        return Explored(chosen.model, 1.0)
    if rng.random() >= rate:
        return Explored(chosen.model, 1.0 - rate)
    return Explored(rng.choice(neighbours).model, rate / len(neighbours))


def _is_neighbour(option: Option, chosen: Option, most_extra_usd: float, most_gap: float) -> bool:
    if option.model == chosen.model or option.cost_usd is None:
        return False
    return (
        option.cost_usd - (chosen.cost_usd or 0.0) <= most_extra_usd and chosen.p_success - option.p_success <= most_gap
    )
