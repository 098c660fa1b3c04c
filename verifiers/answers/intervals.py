"""Intervals, inequalities and their unions: `0 < x <= 3`, `(0, 3]`, `x < -2 or x > 2`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from orchestrator.jsontypes import JsonValue
from orchestrator.verifiers.answers.formulas import number_of
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.sentences import end_of_sentence
from orchestrator.verifiers.answers.value_types import Expression, Hints, Intervals, Quantity, Value, Words

Reader = Callable[[str, Hints, int], tuple[Value, int]]  # what reads any value: `values.read_value`

_INEQUALITY = Pattern(
    r"(?P<left>[^<>≤≥=]+?)\s*(?P<op><=|>=|=<|=>|≤|≥|<|>|≠|!=)\s*(?P<middle>[^<>≤≥=]+?)(?:\s*(?P<op2><=|>=|≤|≥|<"
    r"|>)\s*(?P<right>[^<>≤≥=]+))?"
)


def read_inequality(text: str, start: int, hints: Hints, depth: int, read: Reader) -> tuple[Value, int] | None:
    """The inequality, condition or union that `text` has at `start`, and where it ends.

    `read` reads what stands in it.
    """
    if not re.search(r"[<>≤≥≠]|!=|∪|∈", text[start : start + 200]):
        return None
    end = end_of_sentence(text, start)
    said = text[start:end]
    if (condition := re.fullmatch(r"\{\s*[a-zA-Z]\s*(?:∈\s*\w+\s*)?[|:]\s*(.+)\}", said.strip())) is not None:
        said = condition[1]  # {x | -2 ≤ x ≤ 3}
    if "∪" in said and (union := _union(said, hints, depth, read)) is not None:
        return union, end
    if (member := re.match(r"([a-zA-Z])\s*∈\s*(.+)", said)) is not None:
        value, _ = read(member[2].strip(), hints, depth + 1)
        return (replace(value, name=member[1]) if isinstance(value, Intervals) else value), end
    parts = re.split(r"\s+(?:or|oder|o|ou|или)\s+|\s*∨\s*", said)
    if len(parts) > 1 and all(re.search(r"[<>≤≥]", part) for part in parts):
        pieces = [_inequality(part, hints, depth, read) for part in parts]
        if all(piece is not None and not piece.excludes for piece in pieces):
            joined = [part for piece in pieces if piece is not None for part in piece.parts]
            return Intervals(tuple(sorted(joined, key=_low_of)), pieces[0].name if pieces[0] else ""), end
    both = re.split(r"\s+(?:and|und|y|et)\s+|\s*∧\s*", said)
    if len(both) == 2 and all(re.search(r"[<>≤≥]", part) for part in both):
        return (
            (joint, end)
            if (joint := _intersection([_inequality(part, hints, depth, read) for part in both])) is not None
            else None
        )
    single = _inequality(said, hints, depth, read)
    return (single, end) if single is not None else None


NO_BOUND = object()


def bound_of(value: Value) -> JsonValue:
    """An end of an interval.

    A number, `None` for infinity, a key for an irrational number, `NO_BOUND` for anything else.
    """
    if isinstance(value, Quantity):
        return value.base
    if isinstance(value, Words):
        return None if value.folded.strip("+- ") in ("∞", "inf", "infinity", "oo") else NO_BOUND
    if isinstance(value, Expression):
        if value.formula.names == {"∞"}:
            return None
        number = number_of(value.formula)
        return (
            NO_BOUND
            if number is None or isinstance(number, Fraction) or abs(number.imag) > 1e-12
            else round(number.real, 9)
        )
    return NO_BOUND


def _inequality(said: str, hints: Hints, depth: int, read: Reader) -> Intervals | None:
    found = _INEQUALITY.fullmatch(said.strip().rstrip("."))
    if found is None:
        if (unequal := re.fullmatch(r"\s*(?:([a-zA-Z])\s*)?(?:≠|!=)\s*(.+)", said)) is not None:
            value, _ = read(unequal[2].strip(), hints, depth + 1)
            bound = bound_of(value)
            return (
                None
                if bound is NO_BOUND
                else Intervals(((bound, bound, True, True),), name=unequal[1] or "", excludes=True)
            )
        if re.fullmatch(r"\s*(?:<=|>=|≤|≥|<|>)\s*.+", said):
            return _inequality(f"x {said.strip()}", hints, depth, read)
        return None
    sides = [found["left"].strip(), found["middle"].strip(), *([found["right"].strip()] if found["right"] else [])]
    ops = [found["op"], *([found["op2"]] if found["op2"] else [])]
    if ops[0] in ("≠", "!="):
        bound = bound_of(read(sides[1], hints, depth + 1)[0])
        return (
            None
            if bound is NO_BOUND or len(sides) > 2
            else Intervals(((bound, bound, True, True),), name=sides[0], excludes=True)
        )
    if len(sides) == 3:
        if not re.fullmatch(r"[A-Za-zα-ω](?:_\w+)?", sides[1]) or (ops[0][0] in "<≤") != (ops[1][0] in "<≤"):
            return None
        low, high = (bound_of(read(side, hints, depth + 1)[0]) for side in (sides[0], sides[2]))
        closed = ["=" in op or op in "≤≥" for op in ops]
        if ops[0][0] in ">≥":
            low, high, closed = high, low, closed[::-1]
        return (
            None
            if low is NO_BOUND or high is NO_BOUND
            else Intervals(((low, high, closed[0], closed[1]),), name=sides[1])
        )
    is_variable = [bool(re.fullmatch(r"[A-Za-zα-ω](?:_\w+)?", side)) for side in sides]
    if is_variable[0] == is_variable[1]:
        return None
    bound = bound_of(read(sides[1] if is_variable[0] else sides[0], hints, depth + 1)[0])
    if bound is NO_BOUND:
        return None
    is_below = (ops[0][0] in "<≤") == is_variable[0]
    is_closed = "=" in ops[0] or ops[0] in "≤≥"
    part = (None, bound, False, is_closed) if is_below else (bound, None, is_closed, False)
    return Intervals((part,), name=sides[0] if is_variable[0] else sides[1])


def _union(said: str, hints: Hints, depth: int, read: Reader) -> Intervals | None:
    parts: list[tuple[Any, Any, bool, bool]] = []
    name = ""
    if (member := re.match(r"\s*([a-zA-Z])\s*∈\s*", said)) is not None:
        name, said = member[1], said[member.end() :]
    for piece in said.split("∪"):
        value, _ = read(piece.strip(), hints, depth + 1)
        if not isinstance(value, Intervals):
            return None
        parts.extend(value.parts)
    return Intervals(tuple(sorted(parts, key=_low_of)), name)


def _intersection(pieces: list[Intervals | None]) -> Intervals | None:
    """X >= -2 and x <= 3: one bound from below and one from above."""
    first, second = pieces
    if first is None or second is None or first.name != second.name or first.excludes or second.excludes:
        return None
    (low, high), (left, right) = (first.parts[0][:2], second.parts[0][:2])
    if low is None and right is None:
        return _intersection([second, first])
    if high is not None or left is not None:
        return None
    return Intervals(((low, right, first.parts[0][2], second.parts[0][3]),), first.name)


def _low_of(part: tuple[Any, Any, bool, bool]) -> float:
    return float("-inf") if part[0] is None else float(part[0])
