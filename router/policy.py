"""The decision: which model, given P(correct), price and time of each, and why not the others.

Pure: same values in, same route out.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from orchestrator.jsontypes import JsonObject
from orchestrator.router.profile import ModelProfile

Objective = Literal["cheapest", "best", "utility", "close"]
INFINITE = float("inf")
UNFAMILIAR = " (a guess: the query is unlike those that were graded)"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a query demands of a model.

    Tokens to read, tokens it may write, and capabilities such as `tools`, `vision`, `json`.

    `cached_tokens` says how many of the tokens to read each model's prefix cache holds: a model that holds the
    conversation reads it at the cached price, any other pays for all of it again. `current` is the model that answered
    last; leaving it also gives up what its cache is worth. `unavailable` are models that cannot be asked right now.
    """

    prefill_tokens: int = 0
    output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    cached_tokens: Mapping[str, int] = field(default_factory=dict)
    current: str | None = None
    unavailable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Constraints:
    """Hard limits on one call: price in USD, latency in seconds, and the models that may be used (`None`: all)."""

    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    allowed: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in ("max_cost_usd", "max_latency_s"):
            limit = getattr(self, name)
            if limit is not None and math.isnan(limit):
                raise ValueError(f"{name} is not a number; leave it out for no limit")


@dataclass(frozen=True, slots=True)
class Preference:
    """What to look for among the models that satisfy every constraint.

    Ties go to the cheaper, then to the faster model.

    `cheapest`: the cheapest whose P(correct) reaches `quality`. `best`: the highest P(correct), under the price in the
    constraints. `utility`: the most of value_usd * P(correct) - price - second_usd * seconds. `close`: the cheapest
    whose P(correct) is at most `gap` below that of `reference`.
    """

    objective: Objective = "cheapest"
    quality: float = 0.8
    value_usd: float = 0.05
    second_usd: float = 0.0
    reference: str | None = None
    gap: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.quality <= 1.0:
            raise ValueError(f"quality must lie in [0, 1], not {self.quality!r}")
        if self.objective not in get_args(Objective):
            raise ValueError(f"unknown objective {self.objective!r}: choose one of {', '.join(get_args(Objective))}")
        if self.objective == "close" and self.reference is None:
            raise ValueError("the objective 'close' needs a reference model")


@dataclass(frozen=True, slots=True)
class Option:
    """One model as the router sees it for this query. `rejected` says why it was not chosen ("" for the chosen one).

    `excluded`: a hard constraint rules it out. `cost_usd` contains what leaving the current model's cache costs; `None`
    is an unknown price.
    """

    model: str
    p_success: float
    cost_usd: float | None
    latency_s: float
    rejected: str = ""
    excluded: bool = False


class _Weighed(NamedTuple):
    """A model before it is explained; `broken` maps each constraint that it breaks to how."""

    model: str
    p: float
    cost_usd: float | None
    latency_s: float
    broken: dict[str, str]

    @property
    def price(self) -> float:
        """Price of the call in USD; infinite where it is unknown, because it may be anything."""
        return INFINITE if self.cost_usd is None else self.cost_usd


@dataclass(frozen=True)
class Route:
    """The decision and everything that it weighed. `chosen` is `None` when no model satisfies the hard constraints.

    `adequate` says whether the chosen model reaches the quality asked for; if none does, the most promising one is
    chosen as best effort. `unfamiliar`: the query is unlike those that were graded, so that P(correct) is a guess; a
    search should compare drafts. `without_skill` names the models of which nothing is known: no outcomes, no stated
    skill; P(correct) of them is a cautious default.
    """

    chosen: str | None
    adequate: bool
    preference: Preference
    reason: str
    weighed: tuple[_Weighed, ...] = field(repr=False)
    unfamiliar: bool = False
    without_skill: frozenset[str] = frozenset()

    @property
    def quality(self) -> float:
        """The quality that was asked for, as P(correct)."""
        return self.preference.quality

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Every model with the reason for its rejection, in the order given."""
        best = next((w for w in self.weighed if w.model == self.chosen), None)
        return tuple(
            Option(w.model, w.p, w.cost_usd, w.latency_s, self._why_not(w, best), bool(w.broken)) for w in self.weighed
        )

    @property
    def usable(self) -> tuple[Option, ...]:
        """Options that satisfy the hard constraints, cheapest first."""
        return tuple(sorted((o for o in self.options if not o.excluded), key=_price_then_latency))

    def p_success(self, model: str) -> float:
        """P(correct) of a model that was weighed."""
        return next(weighed.p for weighed in self.weighed if weighed.model == model)

    def as_dict(self) -> JsonObject:
        """The whole decision as JSON values."""
        return {
            "chosen": self.chosen,
            "adequate": self.adequate,
            "quality": self.quality,
            "reason": self.reason,
            "unfamiliar": self.unfamiliar,
            "without_skill": sorted(self.without_skill),
            "options": [asdict(option) for option in self.options],
        }

    def option(self, model: str) -> Option:
        """What is known of a model in this decision. Raises `StopIteration` on one that was not weighed."""
        return next(option for option in self.options if option.model == model)

    def _why_not(self, weighed: _Weighed, best: _Weighed | None) -> str:
        if weighed is best:
            return ""
        if weighed.broken or best is None:
            return "; ".join(weighed.broken.values())
        if self.preference.objective == "utility":
            return f"worth {self._worth(best) - self._worth(weighed):.6f} USD less than {best.model}"
        if self.preference.objective == "best" and weighed.p < best.p:
            return f"P(correct) {weighed.p:.2f} is below {best.p:.2f} of {best.model}"
        if self.preference.objective == "close" and weighed.price < best.price:
            return f"P(correct) {weighed.p:.2f} is too far below that of {self.preference.reference}"
        if weighed.p < self.quality and self.preference.objective == "cheapest":
            return f"P(correct) {weighed.p:.2f} is below {self.quality:.2f}"
        if weighed.price > best.price:
            return f"adequate, but dearer than {best.model}"
        return f"adequate at the same price, but slower than {best.model}"

    def _worth(self, weighed: _Weighed) -> float:
        return _worth(weighed, self.preference)


_NO_NEEDS, _UNCONSTRAINED = Needs(), Constraints()
_NONE: dict[str, str] = {}


def choose(
    profiles: Iterable[ModelProfile],
    p_success: Mapping[str, float],
    *,
    quality: float = 0.8,
    needs: Needs | None = None,
    constraints: Constraints | None = None,
    preference: Preference | None = None,
    expected_tokens: Sequence[float] | None = None,
    unfamiliar: bool = False,
    certain: Container[str] = (),
    without_skill: frozenset[str] = frozenset(),
) -> Route:
    """The decision. `p_success` maps every model's name to a probability in [0, 1]; 0 rules a model out, so does NaN.

    `preference` outranks `quality`, which alone means: the cheapest model that reaches it. `expected_tokens` says how
    long each model's answer will be, in the order of `profiles`; without it every answer is as long as the profile
    says. `unfamiliar` and `without_skill` are noted in the route; P(correct) of the `certain` models is no guess even
    so.
    """
    preference = preference or Preference(quality=quality)
    needs, constraints = needs or _NO_NEEDS, constraints or _UNCONSTRAINED
    known = list(profiles)
    leaving = _cache_worth(known, needs)
    lengths = [profile.output_tokens for profile in known] if expected_tokens is None else expected_tokens
    weighed = tuple(
        _weigh(profile, p_success[profile.name], tokens, needs, constraints, leaving)
        for profile, tokens in zip(known, lengths, strict=True)
    )
    route = _decision(weighed, preference)
    if not unfamiliar and not without_skill:
        return route
    is_guess = unfamiliar and route.chosen is not None and route.chosen not in certain
    reason = route.reason + UNFAMILIAR if is_guess else route.reason
    unknown = frozenset(name for name in without_skill if name not in certain)
    return Route(route.chosen, route.adequate, preference, reason, weighed, unfamiliar, unknown)


def _decision(weighed: tuple[_Weighed, ...], preference: Preference) -> Route:
    usable = [w for w in weighed if not w.broken]
    if not usable:
        return Route(None, False, preference, _what_to_relax(weighed), weighed)
    if preference.objective == "cheapest":
        return _cheapest(usable, preference, weighed)
    if preference.objective == "close":
        return _close(usable, preference, weighed)
    if preference.objective == "best":
        best = min(usable, key=lambda w: (-w.p, w.price, w.latency_s))
        reason = f"{best.model} has the highest P(correct), {best.p:.2f}"
    else:
        best = min(usable, key=lambda w: (-_worth(w, preference), w.price, w.latency_s))
        reason = f"{best.model} is worth most: P(correct) {best.p:.2f} for its price and time"
    return Route(best.model, best.p >= preference.quality, preference, reason, weighed)


def _cheapest(usable: list[_Weighed], preference: Preference, weighed: tuple[_Weighed, ...]) -> Route:
    adequate = [w for w in usable if w.p >= preference.quality]
    if adequate:
        best = min(adequate, key=lambda w: (w.price, w.latency_s))
        return Route(
            best.model,
            True,
            preference,
            f"{best.model} is the cheapest with P(correct) >= {preference.quality:.2f}",
            weighed,
        )
    best = min(usable, key=lambda w: (-w.p, w.price, w.latency_s))
    reason = f"no model reaches P(correct) >= {preference.quality:.2f}; {best.model} comes closest with {best.p:.2f}"
    return Route(best.model, False, preference, reason, weighed)


def _close(usable: list[_Weighed], preference: Preference, weighed: tuple[_Weighed, ...]) -> Route:
    reference = next((w for w in usable if w.model == preference.reference), None)
    if reference is None:
        best = min(usable, key=lambda w: (-w.p, w.price, w.latency_s))
        reason = (
            f"the reference {preference.reference} cannot be used, so nothing is guaranteed; {best.model} has the "
            "highest P(correct)"
        )
        return Route(best.model, False, preference, reason, weighed)
    close = [w for w in usable if reference.p - w.p <= preference.gap or w is reference]
    best = min(close, key=lambda w: (w.price, w.latency_s))
    bound = f"at most {preference.gap:.3f} below" if preference.gap >= 0 else f"{-preference.gap:.3f} above"
    reason = f"{best.model} is the cheapest whose P(correct) is {bound} that of {reference.model}"
    if best is reference:
        reason = f"{reference.model} is the reference, and no cheaper model's P(correct) is {bound} its own"
    return Route(best.model, True, preference, reason, weighed)


def _weigh(
    profile: ModelProfile, p: float, answer_tokens: float, needs: Needs, constraints: Constraints, leaving_usd: float
) -> _Weighed:
    if needs.output_tokens is not None:
        answer_tokens = min(needs.output_tokens, answer_tokens)
    cached = needs.cached_tokens.get(profile.name, 0) if needs.cached_tokens else 0
    cost = profile.cost_usd(needs.prefill_tokens, answer_tokens, cached)
    if leaving_usd and cost is not None and profile.name != needs.current:
        cost += leaving_usd
    latency = profile.latency_s(answer_tokens, max(needs.prefill_tokens - cached, 0))
    broken = _NONE
    if constraints is not _UNCONSTRAINED:
        broken = _broken_limits(profile.name, cost, latency, constraints)
    tokens = needs.prefill_tokens + answer_tokens
    if tokens > profile.usable_context_tokens:
        room = "uses" if profile.effective_context_tokens else "window holds"
        broken = broken | {"context": f"needs {tokens:,.0f} tokens, {room} {profile.usable_context_tokens:,}"}
    if needs.capabilities and not needs.capabilities <= profile.capabilities:
        broken = broken | {"capabilities": f"lacks {', '.join(sorted(needs.capabilities - profile.capabilities))}"}
    if needs.unavailable and profile.name in needs.unavailable:
        broken = broken | {"available": "cannot be reached: it failed too often"}
    if not p > 0.0:
        broken = broken | {"p": "cannot answer this"}
    return _Weighed(profile.name, p, cost, latency, broken)


def _broken_limits(model: str, cost: float | None, latency: float, constraints: Constraints) -> dict[str, str]:
    broken: dict[str, str] = {}
    if constraints.allowed is not None and model not in constraints.allowed:
        broken["allowed"] = "not among the allowed models"
    if constraints.max_cost_usd is not None and (cost is None or cost > constraints.max_cost_usd):
        unknown = "price unknown, so a money limit cannot be kept"
        broken["max_cost_usd"] = (
            unknown if cost is None else f"would cost {cost:.6f} USD, limit {constraints.max_cost_usd:.6f}"
        )
    if constraints.max_latency_s is not None and latency > constraints.max_latency_s:
        broken["max_latency_s"] = f"would take {latency:.1f} s, limit {constraints.max_latency_s:.1f}"
    return broken


def _cache_worth(profiles: list[ModelProfile], needs: Needs) -> float:
    """What the current model's cache of this conversation saves at its next turn, in USD: lost by going elsewhere."""
    current = next((profile for profile in profiles if profile.name == needs.current), None) if needs.current else None
    if current is None or current.input_usd_per_mtok is None or current.cached_usd_per_mtok is None:
        return 0.0
    return (
        needs.cached_tokens.get(current.name, 0)
        * max(current.input_usd_per_mtok - current.cached_usd_per_mtok, 0.0)
        / 1e6
    )


def _what_to_relax(weighed: tuple[_Weighed, ...]) -> str:
    if not weighed:
        return "no models"
    for constraint in ("max_latency_s", "max_cost_usd", "capabilities", "allowed", "context", "available"):
        freed = [w for w in weighed if set(w.broken) == {constraint}]
        if freed:
            nearest = min(freed, key=lambda w: (w.price, w.latency_s))
            return (
                f"every model is ruled out; relaxing {constraint} alone would allow {nearest.model} "
                f"({nearest.broken[constraint]})"
            )
    return "every model is ruled out, and no single constraint would free one"


def _worth(weighed: _Weighed, preference: Preference) -> float:
    return preference.value_usd * weighed.p - weighed.price - preference.second_usd * weighed.latency_s


def _price_then_latency(option: Option) -> tuple[float, float]:
    return (INFINITE if option.cost_usd is None else option.cost_usd, option.latency_s)
