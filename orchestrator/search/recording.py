"""A search as it happened, step by step, and the same search again without asking anybody.

What a strategy did can be looked at, and doubted, later.

A strategy is pure, so its decisions follow from what it saw: the state at the start, what ended in which order, and how
much time was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.search.actions import Action, Combine, Compare, Critique, Draft, ModelAction, Revise, Stop
from orchestrator.search.revisions import RevisionOdds
from orchestrator.search.state import Choice, SearchState, Strategy
from orchestrator.search.vote_model import VoteModel
from orchestrator.types import Candidate, Completion, Usage
from orchestrator.verifiers import Ensemble, Verdict

KINDS: dict[str, Any] = {
    "draft": Draft,
    "critique": Critique,
    "revise": Revise,
    "combine": Combine,
    "compare": Compare,
    "stop": Stop,
}
NAMES = {kind: name for name, kind in KINDS.items()}


class Diverged(OrchestratorError):
    """The strategy does not do what was recorded; the message says at which step, and what it does instead."""

    code = "diverged"


@dataclass(frozen=True, slots=True)
class Change:
    """What one call brought: new candidates, or verdicts on old ones (their indices), or nothing."""

    candidates: tuple[Candidate, ...] = ()
    verdicts: tuple[tuple[int, Verdict], ...] = ()

    def applied(self, state: SearchState) -> SearchState:
        """The state with what the change brought."""
        state = state.with_candidates(*self.candidates)
        for index, verdict in self.verdicts:
            state = state.with_verdict(index, verdict)
        return state


@dataclass
class RecordedStep:
    """One decision: the time left, what was decided, and what ended before the next decision.

    `begun` are the calls that were to begin then, with False for one that was not affordable.
    """

    seconds_left: float | None
    actions: tuple[Action, ...]
    begun: list[tuple[ModelAction, bool]] = field(default_factory=list)
    ended: list[tuple[ModelAction, Change]] = field(default_factory=list)


@dataclass
class Recording:
    """Kept by the loop while it runs; `as_dict` is plain JSON, `from_dict` reads it back."""

    start: SearchState | None = None
    steps: list[RecordedStep] = field(default_factory=list)

    def begin(self, state: SearchState) -> None:
        """Notes the state in which the search began."""
        self.start = state

    def decided(self, seconds_left: float | None, actions: Sequence[Action]) -> None:
        """Notes what the strategy decided, and when."""
        self.steps.append(RecordedStep(seconds_left, tuple(actions)))

    def began(self, action: ModelAction, *, affordable: bool) -> None:
        """Notes that an action was begun, or could not be afforded."""
        self.steps[-1].begun.append((action, affordable))

    def ended(self, action: ModelAction, change: Change) -> None:
        """Notes what an action brought."""
        self.steps[-1].ended.append((action, change))

    def as_dict(self) -> JsonObject:
        """The search as JSON values; empty if it never began."""
        if self.start is None:
            return {}
        start = self.start
        return {
            "question": start.question,
            "fleet": [asdict(choice) for choice in start.fleet],
            "choices": [choice.model for choice in start.choices],
            "priors": start.priors,
            "settings": {name: getattr(start, name) for name in (*_SETTINGS, "lone_quality")},
            "criteria": list(start.criteria),
            "vote_model": asdict(start.vote_model),
            "ensemble": start.ensemble.as_dict(),
            "revisions": {kind: asdict(odds) for kind, odds in start.revisions.items()},
            "steps": [_step(step) for step in self.steps],
        }

    @classmethod
    def from_dict(cls, stored: JsonMapping) -> Recording:
        """Raises `ValueError` on what `as_dict` did not make."""
        try:
            fleet = {row["model"]: Choice(**row) for row in stored["fleet"]}
            start = SearchState(
                stored["question"],
                tuple(fleet[name] for name in stored["choices"]),
                dict(stored["priors"]),
                fleet=tuple(fleet.values()),
                vote_model=VoteModel(**stored["vote_model"]),
                ensemble=Ensemble.from_dict(stored["ensemble"]),
                revisions={kind: RevisionOdds(**odds) for kind, odds in stored["revisions"].items()},
                criteria=tuple(stored["criteria"]),
                **{name: stored["settings"][name] for name in _SETTINGS},
                lone_quality=stored["settings"].get("lone_quality", 0.0),  # older recordings know none
            )
            steps = [_read_step(row) for row in stored["steps"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a recorded search: {type(error).__name__}: {error}") from None
        return cls(start, steps)


_SETTINGS = ("quality", "value_usd", "usd_per_second", "chosen", "may_abstain")


def _step(step: RecordedStep) -> JsonObject:
    return {
        "seconds_left": step.seconds_left,
        "actions": [_action(action) for action in step.actions],
        "begun": [{"action": _action(action), "affordable": affordable} for action, affordable in step.begun],
        "ended": [{"action": _action(action), **_change(change)} for action, change in step.ended],
    }


def _read_step(row: JsonMapping) -> RecordedStep:
    return RecordedStep(
        row["seconds_left"],
        tuple(_read_action(action) for action in row["actions"]),
        [(_read_call(begun["action"]), bool(begun["affordable"])) for begun in row["begun"]],
        [(_read_call(ended["action"]), _read_change(ended)) for ended in row["ended"]],
    )


def replayed(recording: Recording, strategy: Strategy) -> tuple[SearchState, str | None]:
    """The search again, by `strategy`, on what the calls brought then.

    Gives the final state and why the search stopped; `None` where a limit ended it. Raises `Diverged` where the
    strategy decides otherwise than was recorded, and `ValueError` on an empty recording.
    """
    if recording.start is None:
        raise ValueError("nothing was recorded")
    state = recording.start
    running: list[ModelAction] = []
    for number, step in enumerate(recording.steps, 1):
        state = replace(state, running=tuple(running), seconds_left=step.seconds_left)
        decided = tuple(strategy(state))
        if decided != step.actions:
            message = f"step {number}: recorded was {list(step.actions)}, now it is {list(decided)}"
            raise Diverged(message, remedy="Use the strategy of then")
        stop = next((action for action in decided if isinstance(action, Stop)), None)
        if stop is not None:
            return state, stop.reason
        for action, affordable in step.begun:
            state = state.after_beginning(action)
            running += [action] * affordable
        for action, change in step.ended:
            running.remove(action)
            state = change.applied(state)
    return state, None


def _action(action: Action) -> JsonObject:
    return {"kind": NAMES[type(action)], **asdict(action)}


def _read_action(stored: JsonMapping) -> Action:
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name != "kind"
    }
    action: Action = KINDS[stored["kind"]](**fields)
    return action


def _read_call(stored: JsonMapping) -> ModelAction:
    action = _read_action(stored)
    if isinstance(action, Stop):
        raise TypeError("a stop ends with the search")
    return action


def _change(change: Change) -> JsonObject:
    if change.candidates:
        return {"candidates": [asdict(candidate) for candidate in change.candidates]}
    return (
        {"verdicts": [{"verdict": asdict(verdict), "on": index} for index, verdict in change.verdicts]}
        if change.verdicts
        else {}
    )


def _read_change(stored: JsonMapping) -> Change:
    if "candidates" in stored:
        return Change(tuple(_read_candidate(told) for told in stored["candidates"]))
    told = stored.get(
        "verdicts", [stored] if "verdict" in stored else []
    )  # one by itself, as it was written before comparisons
    return Change(verdicts=tuple((row["on"], _read_verdict(row["verdict"])) for row in told))


def _read_candidate(stored: JsonMapping) -> Candidate:
    done: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored["completion"].items()
    }
    completion = Completion(**{**done, "usage": Usage(**done["usage"])})
    return Candidate(
        completion,
        tuple(_read_verdict(v) for v in stored["verdicts"]),
        stored["revises"],
        tuple(stored["made_of"]),
        stored["way"],
    )


def _read_verdict(stored: JsonMapping) -> Verdict:
    return Verdict(**{**stored, "evidence": tuple(stored["evidence"])})
