"""What a pipeline will probably cost and how long it will take, step by step, without asking any model.

`orchestrator plan`.

Prompts are taken at their stated length plus a guess for each value that is filled in; which model answers, and how
often one must go on to the next, is the router's estimate. Expected figures are estimates; the worst case is what the
budget is held against.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.backends.base import Request
from orchestrator.config import defaults
from orchestrator.config.names import STRATEGY_ALIASES
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.compiled import Block, CompiledPipeline, Node
from orchestrator.pipeline.language.checked import CheckedPipeline
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.step import Step
from orchestrator.router import Needs, Preference
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Message

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.router.policy import Option

GUESSED_TOKENS = 200  # of a value that is filled into a prompt
GUESSED_ITEMS = 10  # of a list that a map goes over
SAMPLES = 5
OVERHEAD_S = 0.0002


@dataclass(frozen=True, slots=True)
class Row:
    """One step of the plan.

    `gives` is the type of its value; `is_critical`: the run takes as long as this and the others that are.
    """

    path: str
    verb: str
    depth: int
    starts_s: float
    forecast: Forecast
    gives: str
    is_critical: bool
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """The plan of a whole pipeline."""

    rows: tuple[Row, ...]
    total: Forecast
    budget_usd: float | None

    def as_dict(self) -> JsonObject:
        """The plan as JSON values."""
        rows = [
            {
                "path": row.path,
                "verb": row.verb,
                "starts_s": round(row.starts_s, 3),
                "critical": row.is_critical,
                "gives": row.gives,
                "needs": list(row.needs),
                **_figures(row.forecast),
            }
            for row in self.rows
        ]
        return {"steps": rows, "total": _figures(self.total), "budget_usd": self.budget_usd}


def _figures(one: Forecast) -> JsonObject:
    return {
        "calls": round(one.calls, 2),
        "prefill_tokens": round(one.prefill_tokens),
        "output_tokens": round(one.output_tokens),
        "usd": one.usd,
        "worst_usd": one.worst_usd,
        "seconds": round(one.seconds, 3),
        "model": one.model,
        "guesses": list(one.guesses),
    }


def outlined(pipeline: CompiledPipeline, engine: Orchestrator, inputs: JsonMapping | None = None) -> Outline:
    """The plan of a pipeline on a fleet; `inputs`, where they are known, are what the router looks at."""
    said = " ".join(value for value in (inputs or {}).values() if isinstance(value, str))
    block = _Block(_Fleet(engine, said), pipeline.block, "", 0, _known_values(pipeline, inputs or {}))
    return Outline(tuple(block.rows), block.whole, pipeline.document.budget.usd)


def _known_values(pipeline: CompiledPipeline, inputs: JsonMapping) -> JsonObject:
    """What a run begins with, as far as it is known."""
    defaults = {name: one["default"] for name, one in pipeline.schema["properties"].items() if "default" in one}
    return {"inputs": {**defaults, **inputs}, "env": pipeline.env}


class Outlook:
    """One step's view, for its verb to say what it will be like.

    `values` is what is known before the run; `None` where a step waits for others.
    """

    def __init__(self, fleet: _Fleet, node: Node, inner: Mapping[str, _Block], values: JsonMapping | None) -> None:
        self._fleet = fleet
        self.node = node
        self._inner = inner
        self._values = values

    def of_search(self, step: Step, strategy: str, models: Sequence[str] | None) -> Forecast:
        """One search by a strategy."""
        return self._fleet.search(_said(step), strategy, models, getattr(step, "max_tokens", None))

    def of_block(self) -> Forecast:
        """The steps within the step, once."""
        return next((block.whole for block in self._inner.values()), Forecast())

    def of_map(self, step: JsonValue, at_once: int) -> Forecast:
        """The steps within it for every item; their number is guessed where it is not known."""
        items = step.map if isinstance(step.map, list) else self._known("map")
        count = len(items) if isinstance(items, list) else GUESSED_ITEMS
        found = self.of_block().times(count, rounds=math.ceil(count / at_once))
        return found if isinstance(items, list) else _guessing(found, f"{GUESSED_ITEMS} items")

    def _known(self, field: str) -> Any:
        """What a field will be given, if that follows from the inputs alone; else `None`."""
        if self._values is None:
            return None
        try:
            return self.node.fields[field](self._values)
        except Exception:  # an input that was not given, or a value of a step around
            return None

    def of_loop(self, most: int, has_end: bool) -> Forecast:
        """The steps within it: half of the rounds are expected where a condition ends them."""
        rounds = (most + 1) / 2 if has_end else most
        found = self.of_block().times(rounds, worst=most, rounds=rounds)
        return _guessing(found, f"{rounds:g} of {most} rounds") if has_end else found

    def of_branch(self) -> Forecast:
        """One of the arms: each is taken to be as likely."""
        arms = [block.whole for block in self._inner.values()]
        if not arms:
            return Forecast()
        share = 1 / len(arms)
        both = Forecast()
        for arm in arms:
            both = both.and_(arm.times(share), seconds=max(both.seconds, arm.seconds))
        prices = [arm.worst_usd for arm in arms]
        return _guessing(
            replace(both, worst_usd=None if None in prices else max(p or 0.0 for p in prices)), "each arm is as likely"
        )

    def of_pipeline(self, called: CheckedPipeline) -> Forecast:
        """Another pipeline, its inputs unknown."""
        assert isinstance(called, CompiledPipeline)
        return _Block(self._fleet, called.block, "", 0, None).whole


class _Fleet:
    def __init__(self, engine: Orchestrator, said: str) -> None:
        self._engine = engine
        self._said = said
        self._profiles = {name: backend.profile for name, backend in engine.backends.items()}

    def search(self, text: str, strategy: str, models: Sequence[str] | None, max_tokens: int | None) -> Forecast:
        prompt = estimate_tokens(text) + text.count("${") * GUESSED_TOKENS + 60
        profiles = [profile for name, profile in self._profiles.items() if models is None or name in models]
        if not profiles:
            return _guessing(Forecast(calls=1, usd=None, worst_usd=None), "models that are not in this fleet")
        route = self._engine.router.route(
            self._said or text,
            profiles,
            needs=Needs(prompt, max_tokens or defaults.MAX_TOKENS),
            preference=Preference(quality=defaults.QUALITY),
            known=self._known(),
        )
        options = sorted(route.usable, key=lambda option: math.inf if option.cost_usd is None else option.cost_usd)
        if not options:
            return _guessing(Forecast(calls=1, usd=None, worst_usd=None), "no model may take this")
        chosen = next(option for option in options if option.model == route.chosen)
        most = max_tokens or defaults.MAX_TOKENS
        strategy = STRATEGY_ALIASES.get(strategy, strategy)
        if strategy == "single":
            return self._calls([(chosen, 1.0)], prompt, most, 1)
        if strategy in ("best_of_n", "self_consistency"):
            return self._calls([(chosen, float(SAMPLES))], prompt, most, SAMPLES, at_once=True)
        reached, left = [], 1.0
        for option in [chosen, *(each for each in options if each is not chosen and each.p_success > chosen.p_success)]:
            reached.append((option, left))
            left *= 1 - option.p_success
        return self._calls(reached, prompt, most, len(reached))

    def _known(self) -> dict[str, float]:
        """Models that can tell by themselves: the text is not known yet, so they are taken not to be able to answer."""
        request = Request((Message("user", self._said),), self._said)
        return {
            name: p for name, backend in self._engine.backends.items() if (p := backend.estimate(request)) is not None
        }

    def _calls(
        self, asked: Sequence[tuple[Option, float]], prompt: int, most: int, worst_calls: int, *, at_once: bool = False
    ) -> Forecast:
        found = Forecast(model=asked[0][0].model, guesses=("lengths of values",))
        for option, times in asked:
            profile = self._profiles[option.model]
            written = min(profile.output_tokens, most)
            one = Forecast(
                1.0,
                prompt,
                written,
                profile.cost_usd(prompt, written),
                profile.cost_usd(prompt * 2, most),
                option.latency_s,
            )
            worst = worst_calls if len(asked) == 1 else 1.0
            part = one.times(times, worst=worst)
            found = found.and_(part, seconds=found.seconds + (one.seconds if at_once else one.seconds * times))
        return found


@dataclass
class _Block:
    """Steps that run together, with when each begins."""

    fleet: _Fleet
    block: Block
    prefix: str
    depth: int
    values: Mapping[str, Any] | None
    rows: list[Row] = field(default_factory=list)
    whole: Forecast = field(default_factory=Forecast)

    def __post_init__(self) -> None:
        nodes = self.block.nodes
        inner = [self._within(node) for node in nodes]
        known = [None if self.block.before(index) else self.values for index in range(len(nodes))]
        outlooks = [Outlook(self.fleet, *each) for each in zip(nodes, inner, known, strict=True)]
        forecasts = [outlook.node.step.forecast(outlook) for outlook in outlooks]
        starts, ends = self._times(forecasts)
        critical = self._critical(starts, ends)
        for index, node in enumerate(nodes):
            self.whole = self.whole.and_(forecasts[index], seconds=max(ends, default=0.0))
            needs = tuple(nodes[other].name for other in self.block.before(index))
            row = Row(
                f"{self.prefix}{node.name}",
                node.step.verb,
                self.depth,
                starts[index],
                forecasts[index],
                str(node.type),
                index in critical,
                needs,
            )
            self.rows += [row, *(each for part in inner[index].values() for each in part.rows)]

    def _within(self, node: Node) -> dict[str, _Block]:
        prefix = f"{self.prefix}{node.name}."
        return {
            name: _Block(self.fleet, each, prefix, self.depth + 1, self.values) for name, each in node.blocks.items()
        }

    def _times(self, forecasts: Sequence[Forecast]) -> tuple[list[float], list[float]]:
        starts = [0.0] * len(forecasts)
        ends = [0.0] * len(forecasts)
        for index in range(len(forecasts)):  # nodes stand in an order in which each comes after all it waits for
            starts[index] = max((ends[other] for other in self.block.before(index)), default=0.0)
            ends[index] = starts[index] + forecasts[index].seconds + OVERHEAD_S
        return starts, ends

    def _critical(self, starts: Sequence[float], ends: Sequence[float]) -> set[int]:
        """The chain of steps that the run is waiting for all the time."""
        found: set[int] = set()
        at = max(self.block.needed, key=lambda index: ends[index], default=None)
        while at is not None:
            found.add(at)
            at = max(self.block.before(at), key=lambda index: ends[index], default=None)
        return found


_SAID = {"prompt", "system", "extract", "classify", "state", "instructions", "schema_", "with_", "labels", "decide"}


def _said(step: Step) -> str:
    """What a step tells a model in every run."""
    ready = getattr(step, "ready", None)
    file = ready.file if ready is not None else None
    stated = step.model_dump(mode="json", include=_SAID)
    told = [str(each) for each in stated.values() if each]
    return "\n".join([*told, file.source if file is not None else ""])


def _guessing(found: Forecast, what: str) -> Forecast:
    return replace(found, guesses=tuple(dict.fromkeys([*found.guesses, what])))
