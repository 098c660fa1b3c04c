"""The decision of a query, before any model is asked.

Route, preference, trimming, strategy, and the state in which its search begins.

Everything here is a pure function of what was recalled, assessed and observed; `orchestrator.engine.planner` gathers
that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.backends.base import Backend, Request, estimate_prompt_tokens
from orchestrator.budget import Budget
from orchestrator.engine.trimming import trimmed
from orchestrator.router import Constraints, ModelProfile, Needs, Preference, Route
from orchestrator.router.features.conversation import judged_text
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.policy import Option
from orchestrator.router.router import Assessed, decide
from orchestrator.search.actions import Draft, Stop
from orchestrator.search.recording import Change
from orchestrator.search.state import Choice, SearchState, Strategy
from orchestrator.search.strategies.adaptive import adaptive
from orchestrator.search.strategies.plugins import strategy_named
from orchestrator.search.strategies.registry import STRATEGIES, single
from orchestrator.types import Candidate, Completion, Query
from orchestrator.types.lazy import lazy
from orchestrator.verification.from_query import GroundingWhenCited
from orchestrator.verifiers import Verifier
from orchestrator.verifiers.answers.questions import asks_for_value

if TYPE_CHECKING:
    from orchestrator.memory import Recall

SHORT, PROSE = "7", "A sentence that nobody would write twice in just this way, so that it is compared with nothing."
LONE_QUALITY = 0.95  # of a draft to an unfamiliar question that nothing else is compared with
MIN_CACHED_TOKENS = 1_024  # shorter prompts no provider's prefix cache keeps


@dataclass(frozen=True)
class Plan:
    """`strategy` decides from `state` on.

    `is_promised`: within a guarantee, if there is one. `asked_first` and `propensity` are what the decision log needs
    (see `orchestrator.learning.online`).
    """

    query: Query
    recall: Recall | None
    request: Request
    route: Route
    checks: Sequence[Verifier]
    begin: Callable[[], SearchState]
    strategy: Strategy
    budget: Budget
    is_promised: bool = False
    asked_first: str = ""
    propensity: float = 1.0
    fallbacks: tuple[str, ...] = ()
    """Models that are asked, in this order, when those of the route have failed."""

    @lazy
    def state(self) -> SearchState:
        """Where a search begins; made when it is first looked at, because one draft needs none."""
        return self.begin()

    @property
    def is_choice_bound(self) -> bool:
        """Whether the caller says which tool must be called, or how many: a draft may then be ruled out."""
        return self.query.tool_choice not in (None, "auto") or self.query.parallel_tool_calls is False

    def single_draft_model(self) -> str | None:
        """The model whose one draft will be the answer, whatever it says.

        `None` if the draft may be checked or followed by another.

        Then nobody needs to wait for the search: the draft can be passed on as it is written.
        """
        checks = [check for check in self.checks if not getattr(check, "reads_calls", False) or self.is_choice_bound]
        if checks or self.query.may_abstain or self.strategy not in (single, adaptive):
            return None
        if self.strategy is single:
            return self.route.chosen
        actions = list(self.strategy(self.state))
        if len(actions) != 1 or not isinstance(actions[0], Draft) or actions[0].several > 1:
            return None
        if self.state.priors[actions[0].model] < self.state.enough:
            return None
        return actions[0].model if all(_ends_after(self, actions[0], text) for text in (SHORT, PROSE)) else None


def is_shown_live(plan: Plan, *, keeps: bool) -> bool:
    """Whether the route is one draft, whose text may be shown as it is written.

    Not where the answer may be withheld or is JSON, and not where drafts will be compared: the strategy begins with one
    draft, which is believed enough already, or after which it ends if it is prose, as the question lets expect. Where
    what is shown is kept, the caller must have asked for no check that could rule it out.
    """
    if plan.query.may_abstain or plan.query.schema is not None or plan.query.tools or plan.route.chosen is None:
        return False
    if keeps and any(not isinstance(check, GroundingWhenCited) for check in plan.checks):
        return False
    actions = list(plan.strategy(plan.state))
    if len(actions) != 1 or not isinstance(actions[0], Draft) or actions[0].several > 1:
        return False
    if plan.strategy is single or plan.state.priors[actions[0].model] >= plan.state.enough:
        return True
    expected = (SHORT, PROSE) if asks_for_value(plan.query.text) else (PROSE,)
    return all(_ends_after(plan, actions[0], text) for text in expected)


def _ends_after(plan: Plan, draft: Draft, text: str) -> bool:
    """Whether the search would end with this draft, if it said `text`."""
    said = Change((Candidate(Completion(draft.model, text)),))
    return any(isinstance(action, Stop) for action in plan.strategy(said.applied(plan.state.after_beginning(draft))))


def choice_of(option: Option, profile: ModelProfile, prompt_tokens: int) -> Choice:
    """A model as the search sees it."""
    prompt_usd = profile.cost_usd(prompt_tokens, 0.0) or 0.0
    token_usd = (profile.cost_usd(prompt_tokens, 1.0) or 0.0) - prompt_usd
    is_kept = profile.cached_usd_per_mtok is not None and prompt_tokens >= MIN_CACHED_TOKENS
    return Choice(
        option.model,
        option.p_success,
        option.cost_usd,
        option.latency_s,
        prompt_usd,
        profile.cost_usd(prompt_tokens, 0.0, prompt_tokens) if is_kept else None,
        "n" in profile.capabilities,
        max((option.cost_usd or 0.0) - prompt_usd, 0.0) / token_usd if token_usd > 0 else 0.0,
    )


def first_state(
    query: Query, route: Route, request: Request, backends: Mapping[str, Backend], settings: SearchState
) -> SearchState:
    """The state in which a search begins; `settings` holds what does not depend on the query."""
    tokens = estimate_prompt_tokens(request.messages, list(request.tools) or None)
    choices = tuple(choice_of(option, backends[option.model].profile, tokens) for option in route.usable)
    return settings.changed(
        question=query.text,
        choices=choices,
        priors={choice.model: choice.p_success for choice in choices},
        quality=route.quality,
        lone_quality=LONE_QUALITY if route.unfamiliar else 0.0,
        value_usd=settings.value_usd if query.value_usd is None else query.value_usd,
        usd_per_second=settings.usd_per_second if query.usd_per_second is None else query.usd_per_second,
        criteria=query.criteria,
        chosen=route.chosen,
        may_abstain=query.may_abstain,
        tools=query.tools,
        vote_model=settings.vote_model.for_calls if query.tools else settings.vote_model,
    )


@dataclass(frozen=True, slots=True)
class FleetState:
    """What is known of the models that may answer one query.

    `profiles` as observed, `known` P(correct) of those that can tell by themselves.

    `cached_tokens` are expected to be in a provider's prefix cache already; `unavailable` models may not be asked at
    the moment.
    """

    profiles: Sequence[ModelProfile]
    known: Mapping[str, float] = field(default_factory=dict)
    cached_tokens: Mapping[str, int] = field(default_factory=dict)
    unavailable: frozenset[str] = frozenset()


def route_query(
    assessed: Assessed,
    request: Request,
    fleet: FleetState,
    preference: Preference,
    *,
    capabilities: frozenset[str] = frozenset(),
    seconds: float | None = None,
) -> Route:
    """The model for a request. A limit of `seconds` is left aside only where no model can keep it."""
    needs = Needs(
        estimate_prompt_tokens(request.messages, list(request.tools) or None),
        capabilities=capabilities,
        cached_tokens=fleet.cached_tokens,
        unavailable=fleet.unavailable,
    )
    if seconds is not None:
        in_time = Constraints(max_latency_s=seconds)
        route = decide(
            assessed, fleet.profiles, needs=needs, known=fleet.known, preference=preference, constraints=in_time
        )
        if route.chosen is not None:
            return route
    return decide(assessed, fleet.profiles, needs=needs, known=fleet.known, preference=preference)


def prefer(query: Query, quality: float, guard: Guard | None) -> Preference:
    """By what models are compared.

    The quality that a query names, else the promise that holds, else the fleet's `quality`.
    """
    if guard is None or query.quality is not None:
        return Preference(quality=quality if query.quality is None else query.quality)
    reference = guard.certificate.promise.vs
    if guard.threshold is None:
        return Preference("close", quality=1.0, reference=reference, gap=-1.0)
    if guard.certificate.promise.covers == "search":
        return Preference(quality=1.0 - guard.threshold)
    return Preference("close", quality=quality, reference=reference, gap=guard.threshold)


def trim_to_fit(
    request: Request, query: Query, route: Route, prompt_tokens: Mapping[str, int]
) -> tuple[Request, int] | None:
    """The request cut to what the model with the longest context uses well, and how many tokens were dropped.

    `prompt_tokens` is how long a prompt each model may have. `None` unless all models are ruled out by the length of
    the prompt.
    """
    too_long = [weighed.model for weighed in route.weighed if set(weighed.broken) == {"context"}]
    if not too_long:
        return None
    room = max(prompt_tokens[name] for name in too_long)
    fitting = trimmed(request.messages, query.text, room)
    return (replace(request, messages=fitting.messages), fitting.dropped_tokens) if fitting.dropped_tokens else None


def choose_strategy(query: Query, named: str | Strategy | None, default: Strategy, guard: Guard | None) -> Strategy:
    """The strategy that a query names, else the fleet's.

    Under a certificate of routing one draft, because it speaks of nothing else.
    """
    if named is not None:
        return find_strategy(named)
    if guard is None or query.quality is not None:
        return default
    promises_one_draft = guard.certificate.promise.covers == "routing" or guard.threshold is None
    return STRATEGIES["single"] if promises_one_draft else default


def find_strategy(strategy: str | Strategy) -> Strategy:
    """A strategy, or the one of this name. Raises `ConfigError`."""
    return strategy if callable(strategy) else strategy_named(strategy)


def is_promised(query: Query, strategy: str | Strategy | None, preference: Preference | None) -> bool:
    """Whether a guarantee speaks of this query: its caller overrules nothing that the guarantee rests on."""
    return strategy is None and query.quality is None and preference is None


def text_to_judge(query: Query) -> str:
    """What the router looks at: the query with what of the conversation bears on it."""
    return judged_text(query.text, [(message.role, message.content) for message in query.history])
