"""The verbs of steps: which class is behind each.

Other packages add verbs under the entry point `orchestrator.steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.language.step import Step
from orchestrator.plugins.entry_points import STEPS as GROUP
from orchestrator.plugins.entry_points import PluginError, load_plugin, plugin_names, where_from

VERBS: dict[str, str] = {
    "search": "prompted:SearchStep",
    "ask": "prompted:AskStep",
    "agent": "agent:AgentStep",
    "route": "route:RouteStep",
    "decide": "decide:DecideStep",
    "classify": "classify:ClassifyStep",
    "extract": "extract:ExtractStep",
    "verify": "verify:VerifyStep",
    "tool": "tool:ToolStep",
    "map": "map:MapStep",
    "branch": "branch:BranchStep",
    "loop": "loop:LoopStep",
    "parallel": "parallel:ParallelStep",
    "pipeline": "call:CallStep",
    "say": "say:SayStep",
}
MEMORY = {"recall": "RecallStep", "remember": "RememberStep", "forget": "ForgetStep", "summarize": "SummarizeStep"}


@dataclass(frozen=True, slots=True)
class VerbProblem:
    """What is wrong with the verb of a step."""

    code: str
    message: str
    hint: str
    field: tuple[str, ...] = ()
    of_value: bool = False


def find_verb(raw: JsonMapping) -> tuple[type[Step] | None, VerbProblem | None]:
    """The class of a step by the verb that it has. Raises nothing: what is wrong is the second value."""
    found = [name for name in raw if name in VERBS or name == "memory"]
    if "verify" in found and (len(found) > 1 or "text" not in raw):
        found.remove("verify")  # it is a field of other verbs, too
    known = verb_names() if not found else ()
    found = found or [name for name in raw if name in known and name != "verify"]
    if not found:
        near = next(
            (name for name in raw if name not in known and suggestion(name, known).startswith("did you mean")), ""
        )
        hint = suggestion(near, known) if near else f"one of: {', '.join(known)}"
        return None, VerbProblem("E108", "has no verb", hint, (near,) if near else ())
    if len(found) > 1:
        return None, VerbProblem(
            "E108", f"has two verbs: {found[0]} and {found[1]}", "make two steps of it", (found[1],)
        )
    verb = found[0]
    if verb == "memory":
        flavour = raw["memory"]
        if not isinstance(flavour, str) or flavour not in MEMORY:
            told = f"(memory): unknown memory {flavour!r}"
            return None, VerbProblem("E107", told, suggestion(str(flavour), MEMORY), ("memory",), of_value=True)
        return _loaded(f"memory:{MEMORY[flavour]}"), None
    return (_loaded(VERBS[verb]), None) if verb in VERBS else _find_foreign(verb)


def _find_foreign(verb: str) -> tuple[type[Step] | None, VerbProblem | None]:
    try:
        return foreign_verb(verb), None
    except ConfigError as error:
        return None, VerbProblem("E108", f"has a verb that cannot be used: {error.message}", error.remedy, (verb,))


def verb_names() -> tuple[str, ...]:
    """All verbs, those of other packages too."""
    return (*VERBS, "memory", *_points())


def all_steps() -> dict[str, type[Step]]:
    """Every verb, those of memory by their two words."""
    found = {verb: _loaded(where) for verb, where in VERBS.items()}
    found |= {f"memory {flavour}": _loaded(f"memory:{name}") for flavour, name in MEMORY.items()}
    return found | {verb: foreign_verb(verb) for verb in _points()}


def _points() -> tuple[str, ...]:
    """Verbs of other packages; none can take the name of one of ours."""
    return tuple(name for name in plugin_names(GROUP) if name not in VERBS)


@cache
def foreign_verb(verb: str) -> type[Step]:
    """The step of another package behind a verb. Raises `ConfigError` on one that is none."""
    try:
        found: Any = load_plugin(GROUP, verb)
    except PluginError as error:
        raise ConfigError(f"the verb {error}", remedy="Reinstall its package") from None
    if not (isinstance(found, type) and issubclass(found, Step)):
        told = f"the verb {verb!r} ({where_from(GROUP, verb)}) is no Step"
        raise ConfigError(told, remedy="Derive it from orchestrator.pipeline.Step")
    kind: type[Step] = found
    if kind.verb != verb:
        told = f"the verb {verb!r} ({where_from(GROUP, verb)}) says that its verb is {kind.verb!r}"
        raise ConfigError(told, remedy="Give the entry point and the class the same name")
    return kind


@cache
def _loaded(where: str) -> type[Step]:
    module, _, name = where.partition(":")
    found: type[Step] = getattr(import_module(f"orchestrator.pipeline.steps.{module}"), name)
    return found
