"""What will be done for a query, before any model is asked: the route, the request, the checks and the search's first state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.backends.base import Backend, Request, estimate_prompt_tokens
from orchestrator.budget import Budget
from orchestrator.router import ModelProfile, Route
from orchestrator.router.policy import Option
from orchestrator.search.actions import Draft, Stop
from orchestrator.search.recording import Change
from orchestrator.search.state import Choice, SearchState, Strategy
from orchestrator.search.strategies.adaptive import adaptive
from orchestrator.search.strategies.registry import single
from orchestrator.types import Candidate, Completion, Query
from orchestrator.verifiers import Verifier

if TYPE_CHECKING:
    from orchestrator.memory import Recall

LEAST_CACHED_TOKENS = 1_024  # shorter prompts no provider's prefix cache keeps


@dataclass(frozen=True)
class Plan:
    """`strategy` decides from `state` on. `is_promised`: within a guarantee, if there is one. `asked_first` and `propensity` are what the decision
    log needs (see `orchestrator.learning.online`).
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

    @cached_property
    def state(self) -> SearchState:
        """Where a search begins; made when it is first looked at, because one draft needs none."""
        return self.begin()

    def only_draft(self) -> str | None:
        """The model whose one draft will be the answer, whatever it says; `None` if the draft may be checked or followed by another.

        Then nobody needs to wait for the search: the draft can be passed on as it is written.
        """
        if self.checks or self.query.may_abstain or self.strategy not in (single, adaptive):
            return None
        if self.strategy is single:
            return self.route.chosen
        actions = list(self.strategy(self.state))
        if len(actions) != 1 or not isinstance(actions[0], Draft) or actions[0].several > 1:
            return None
        model = actions[0].model
        if self.state.priors[model] < self.state.quality:
            return None
        begun = self.state.after_beginning(actions[0])
        for text in ("7", "A sentence that nobody would write twice in just this way, so that it is compared with nothing."):
            after = Change((Candidate(Completion(model, text)),)).applied(begun)
            if not any(isinstance(action, Stop) for action in self.strategy(after)):
                return None
        return model


def choice_of(option: Option, profile: ModelProfile, prompt_tokens: int) -> Choice:
    """A model as the search sees it."""
    prompt_usd = profile.cost_usd(prompt_tokens, 0.0) or 0.0
    token_usd = (profile.cost_usd(prompt_tokens, 1.0) or 0.0) - prompt_usd
    is_kept = profile.cached_usd_per_mtok is not None and prompt_tokens >= LEAST_CACHED_TOKENS
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


def first_state(query: Query, route: Route, request: Request, backends: Mapping[str, Backend], settings: SearchState) -> SearchState:
    """The state in which a search begins; `settings` holds what does not depend on the query."""
    tokens = estimate_prompt_tokens(request.messages)
    choices = tuple(choice_of(option, backends[option.model].profile, tokens) for option in route.usable)
    return replace(
        settings,
        question=query.text,
        choices=choices,
        priors={choice.model: choice.p_success for choice in choices},
        quality=route.quality,
        value_usd=settings.value_usd if query.value_usd is None else query.value_usd,
        usd_per_second=settings.usd_per_second if query.usd_per_second is None else query.usd_per_second,
        criteria=query.criteria,
        chosen=route.chosen,
        may_abstain=query.may_abstain,
    )
