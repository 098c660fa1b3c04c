"""Keywords that a call does not take, told with what was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TypeVar

from orchestrator.errors import InvalidArgument, closest

T = TypeVar("T")


OF_CHECKS = frozenset(("check", "checks", "verifier", "verifiers", "verify"))
OF_A_MODEL = frozenset(
    ("base_url", "api_key", "alias", "rpm", "headers", "skill", "input_usd_per_mtok", "output_usd_per_mtok")
)


def unknown_keyword(name: str, stated: Mapping[str, object], known: frozenset[str]) -> InvalidArgument:
    """The error of a call with a keyword that the method `name` does not take."""
    wrong = next(each for each in stated if each not in known)
    close = closest(wrong, sorted(known))
    remedy = f"Did you mean {close!r}?" if close else f"It takes: {', '.join(sorted(known))}"
    if name == "Orchestrator" and wrong in ("model", "models"):
        remedy = 'Write models without a name: Orchestrator("openai/gpt-5-mini", "anthropic/claude-haiku-4-5")'
    if name != "Orchestrator" and wrong in OF_CHECKS:
        remedy = (
            "Checks are of the fleet: Orchestrator(..., verifiers=[...]); a shape of the answer is output= or schema="
        )
    if name == "Orchestrator" and wrong in OF_A_MODEL:
        remedy = f"It is a setting of a model: Orchestrator(Model('provider/model', {wrong}=...))"
    return InvalidArgument(f"{name}() has no setting {wrong!r}", remedy=remedy)


def tells_keywords(kind: type[T]) -> type[T]:
    """Decorates a dataclass: a keyword that it does not take raises `InvalidArgument` with a suggestion."""
    known = frozenset(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    init: Callable[..., None] = kind.__init__

    @wraps(init)
    def checked(self: T, *args: object, **kwargs: object) -> None:
        if not kwargs.keys() <= known:
            raise unknown_keyword(kind.__name__, kwargs, known)
        init(self, *args, **kwargs)

    setattr(kind, "__init__", checked)  # noqa: B010 - a checker would not allow the assignment
    return kind
