"""The decision: the cheapest model that is likely enough to be right and satisfies every hard constraint, with the reason for each rejection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.profile import ModelProfile


@dataclass(frozen=True, slots=True)
class Needs:
    """What a query demands of a model: tokens to read, tokens it may write, and capabilities such as `tools`, `vision`, `json`."""

    prefill_tokens: int = 0
    output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Constraints:
    """Hard limits on one call: price in USD, latency in seconds, and the models that may be used (`None`: all)."""

    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One model as the router sees it for this query. `rejected` says why it was not chosen ("" for the chosen one)."""

    model: str
    p_success: float
    cost_usd: float | None
    latency_s: float
    rejected: str = ""
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """The decision and everything that it weighed. `chosen` is `None` when no model satisfies the hard constraints.

    `adequate` says whether the chosen model reaches `quality`; if none does, the most promising one is chosen as best effort.
    """

    chosen: str | None
    adequate: bool
    quality: float
    options: tuple[Option, ...]
    reason: str

    def option(self, model: str) -> Option:
        return next(option for option in self.options if option.model == model)

    @property
    def usable(self) -> tuple[Option, ...]:
        """Options that satisfy the hard constraints, cheapest first."""
        return tuple(sorted((o for o in self.options if not o.excluded), key=_price_then_latency))


def choose(
    profiles: Iterable[ModelProfile],
    p_success: Mapping[str, float],
    *,
    quality: float = 0.8,
    needs: Needs | None = None,
    constraints: Constraints | None = None,
) -> Route:
    """Pure function: same values in, same route out. `p_success` maps every model's name to a probability in [0, 1]; 0 rules a model out."""
    needs, constraints = needs or Needs(), constraints or Constraints()
    options = [_weigh(profile, p_success[profile.name], needs, constraints) for profile in profiles]
    usable = [option for option in options if not option.excluded]
    if not usable:
        reason = "every model is ruled out" if options else "no models"
        return Route(None, False, quality, tuple(options), reason)
    adequate = [option for option in usable if option.p_success >= quality]
    best = min(adequate, key=_price_then_latency) if adequate else max(usable, key=lambda o: (o.p_success, -(o.cost_usd or 0.0)))
    if adequate:
        reason = f"{best.model} is the cheapest with P(right) >= {quality:.2f}"
    else:
        reason = f"no model reaches P(right) >= {quality:.2f}; {best.model} comes closest with {best.p_success:.2f}"
    explained = tuple(option if option is best or option.excluded else _explain(option, best, quality) for option in options)
    return Route(best.model, bool(adequate), quality, explained, reason)


def _weigh(profile: ModelProfile, p: float, needs: Needs, constraints: Constraints) -> Option:
    answer_tokens = profile.output_tokens if needs.output_tokens is None else min(needs.output_tokens, profile.output_tokens)
    cost = profile.cost_usd(needs.prefill_tokens, answer_tokens)
    latency = profile.latency_s(answer_tokens)
    missing = sorted(needs.capabilities - profile.capabilities)
    why = ""
    if constraints.allowed is not None and profile.name not in constraints.allowed:
        why = "not among the allowed models"
    elif p == 0.0:
        why = "cannot answer this"
    elif needs.prefill_tokens + answer_tokens > profile.context_tokens:
        why = f"needs {needs.prefill_tokens + answer_tokens:,.0f} tokens, window holds {profile.context_tokens:,}"
    elif missing:
        why = f"lacks {', '.join(missing)}"
    elif constraints.max_cost_usd is not None and cost is None:
        why = "price unknown, so a money limit cannot be kept"
    elif constraints.max_cost_usd is not None and cost is not None and cost > constraints.max_cost_usd:
        why = f"would cost {cost:.6f} USD, limit {constraints.max_cost_usd:.6f}"
    elif constraints.max_latency_s is not None and latency > constraints.max_latency_s:
        why = f"would take {latency:.1f} s, limit {constraints.max_latency_s:.1f}"
    return Option(profile.name, p, cost, latency, why, excluded=bool(why))


def _explain(option: Option, best: Option, quality: float) -> Option:
    if option.p_success < quality:
        why = f"P(right) {option.p_success:.2f} is below {quality:.2f}"
    elif (option.cost_usd or 0.0) > (best.cost_usd or 0.0):
        why = f"adequate, but dearer than {best.model}"
    else:
        why = f"adequate at the same price, but slower than {best.model}"
    return Option(option.model, option.p_success, option.cost_usd, option.latency_s, why)


def _price_then_latency(option: Option) -> tuple[float, float]:
    # An unknown price sorts last: it may be anything.
    return (float("inf") if option.cost_usd is None else option.cost_usd, option.latency_s)
