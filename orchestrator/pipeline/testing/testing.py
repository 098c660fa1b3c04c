"""The tests that stand in a pipeline's file.

Each is a run on stand-ins for models and tools, held against what it should give.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.compiled import without_items
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.execution.result import RunResult
from orchestrator.pipeline.execution.runtime import Runtime
from orchestrator.pipeline.language.document import Expected, Test
from orchestrator.pipeline.testing.stand_ins import Replies, played_fleet, profiles_for

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline.pipeline import Pipeline
    from orchestrator.router import ModelProfile

MAX_FAILED_STEPS = 5  # that a failing test names
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class TestResult:
    """`problems` is empty when it passed."""

    __test__ = False

    name: str
    problems: tuple[str, ...]
    seconds: float
    cost_usd: float | None
    simulated: bool

    @property
    def passed(self) -> bool:
        """Whether everything was as the test expects."""
        return not self.problems

    def as_dict(self) -> JsonObject:
        """The result as JSON values."""
        return {
            "name": self.name,
            "passed": self.passed,
            "problems": list(self.problems),
            "seconds": round(self.seconds, 4),
            "cost_usd": self.cost_usd,
            "simulated": self.simulated,
        }


async def run_test(
    pipeline: Pipeline,
    test: Test,
    *,
    engine: Callable[[], Orchestrator] | None = None,
    profiles: Mapping[str, ModelProfile] | None = None,
) -> TestResult:
    """Runs one test.

    `engine` makes the fleet of tests with `fleet: configured`; `profiles` are what stand-ins are made after.
    """
    from orchestrator.memory import Memory  # numpy

    began = time.perf_counter()
    memory = Memory(":memory:")
    engines: dict[str, Orchestrator] = {}
    replies = {path: Replies(stated) for path, stated in test.replies.items()}
    made = profiles_for(pipeline, profiles)

    async def engine_of(path: str) -> Orchestrator:
        told = next((name for name in (path, without_items(path)) if name in replies), "")
        if told not in engines:
            if test.fleet == "configured" and not told and engine is not None:
                engines[told] = engine()
            else:
                engines[told] = played_fleet(made, memory, replies.get(told))
        return engines[told]

    for scope, texts in test.memories.items():
        for text in texts:
            memory.remember(text, scope)
    played = {name: _played(name, test) for name in pipeline.tools if test.fleet == "simulated" or name in test.tools}
    try:
        async with Runtime(engine_of=engine_of, played=played) as host:
            found, error = await _run(pipeline, test, host)
    finally:
        for each in engines.values():
            if each.memory is not memory:
                await each.aclose()
        memory.close()
    problems = _problems(test, found, error)
    return TestResult(
        test.name,
        tuple(problems),
        time.perf_counter() - began,
        found.cost_usd if found else None,
        test.fleet == "simulated",
    )


async def _run(pipeline: Pipeline, test: Test, host: Runtime) -> tuple[RunResult | None, str]:
    try:
        found = await pipeline.run(test.inputs, host=host)
        await found.settled()
        return found, ""
    except OrchestratorError as error:
        return None, str(error)


def _played(name: str, test: Test) -> Callable[[], Any]:
    if name not in test.tools:

        def missing() -> Any:
            raise ToolFailed(
                f"a test does not call tools: say what {name} gives", remedy=f"Write tools: {{{name}: ...}} in the test"
            )

        return missing
    stated = test.tools[name]
    values = (
        list(stated)
        if isinstance(stated, list) and stated and all(isinstance(each, list) for each in stated)
        else [stated]
    )
    at = -1

    def play() -> Any:
        nonlocal at
        at = min(at + 1, len(values) - 1)
        return values[at]

    return play


def _problems(test: Test, found: RunResult | None, error: str) -> list[str]:
    problems = []
    if found is None and "error" not in test.expect:
        return [f"the run failed: {error}"]
    for name, wanted in test.expect.items():
        value = error if name == "error" else _looked_up(found, name) if found is not None else _NOTHING
        if value is _NOTHING:
            problems.append(
                f"{name}: there is no such value" if found is not None else f"{name}: the run failed: {error}"
            )
            continue
        told = _mismatch(value, wanted)
        if told:
            problems.append(f"{name} {told}")
    if problems and found is not None:
        problems += [f"step {step.path} failed: {step.error}" for step in found.failed_steps[:MAX_FAILED_STEPS]]
        if found.partial:
            problems.append(f"the run was cut short: {found.why_partial}")
    return problems


def _looked_up(found: RunResult, name: str) -> Any:
    """`output`, `usd`, `seconds`, `partial`, or a step's value.

    The longest path that is a step, then fields of what it gave.
    """
    head, _, rest = name.partition(".")
    simple = {"output": found.output, "usd": found.cost_usd, "seconds": found.seconds, "partial": found.partial}
    if head in simple:
        return _within(simple[head], rest)
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ".".join(parts[:length])
        step = next((each for each in found.steps if path in (each.path, without_items(each.path))), None)
        if step is not None:
            fields = ".".join(parts[length:])
            return step.status if fields == "status" else _within(step.value, fields)
    return _NOTHING


def _within(value: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _NOTHING
    return value


def _mismatch(value: Any, stated: Any) -> str:
    """What is wrong with a value; nothing if it is as it should be."""
    if not isinstance(stated, dict):
        return "" if _same(value, stated) else f"is {_short(value)}, and should be {_short(stated)}"
    try:
        wanted = Expected.model_validate(stated)
    except ValidationError:
        return "" if value == stated else f"is {_short(value)}, and should be {_short(stated)}"
    text = value if isinstance(value, str) else repr(value)
    given = wanted.model_fields_set
    if "equals" in given and not _same(value, wanted.equals):
        return f"is {_short(value)}, and should be {_short(wanted.equals)}"
    if wanted.contains is not None and wanted.contains not in text:
        return f"is {_short(value)}, and should contain {wanted.contains!r}"
    if wanted.lacks is not None and wanted.lacks in text:
        return f"is {_short(value)}, and should not contain {wanted.lacks!r}"
    if wanted.matches is not None and re.search(wanted.matches, text) is None:
        return f"is {_short(value)}, and should match {wanted.matches!r}"
    if wanted.one_of is not None and not any(_same(value, each) for each in wanted.one_of):
        return f"is {_short(value)}, and should be one of {_short(wanted.one_of)}"
    for limit, bound in (("at least", wanted.at_least), ("at most", wanted.at_most)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if bound is not None and not (is_number and (value >= bound if limit == "at least" else value <= bound)):
            return f"is {_short(value)}, and should be {limit} {bound:g}"
    return ""


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, float) and isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return abs(value - wanted) <= 1e-9 * max(abs(value), abs(wanted), 1.0)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
