"""Which of the known labels an answer gives, however a model words it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from orchestrator.jsontypes import JsonObject
from orchestrator.students.task import StudentTask

_DENIED = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no way|nicht|kein\w*|ni|pas|jamais|nunca|no es|non)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_SIGNS = re.compile(r"^[\s\"'`*_.,:;!()\[\]{}<>]+|[\s\"'`*_.,:;!()\[\]{}<>]+$")


def read_label(answer: str, labels: Sequence[str], task: StudentTask) -> str | None:
    """The label in an answer, as it is spelt among `labels`; `None` where there is none, or more than one.

    The whole answer, or what stands in the task's form, is a label: as it is spelt, else in whatever case and between
    whatever signs; else exactly one label stands at the beginning or the end of the answer, or between quotes, and
    nothing in it is denied. Without `labels`, the trimmed answer itself is the label.
    """
    for said in (task.label_of(answer), answer):
        if said is None:
            continue
        if not labels:
            return _SIGNS.sub("", said) or said.strip() or None
        if said.strip() in labels:
            return said.strip()
        alike = [label for label in labels if _bare(label) and _bare(label) == _bare(said)]
        if len(alike) == 1:
            return alike[0]
    if not labels or _DENIED.search(answer):
        return None
    found = {_bare(each) for each in _pattern(tuple(labels)).findall(answer)}
    told = [label for label in labels if _bare(label) in found and _is_stated(label, answer)]
    return told[0] if len(found) == 1 and len(told) == 1 else None


def _is_stated(label: str, answer: str) -> bool:
    """Whether a label begins or ends an answer, or stands in it between quotes or marks."""
    bare, whole = re.escape(_bare(label)), _SIGNS.sub("", answer).casefold()
    marks = "[\"'`*\u201c\u201d\u2018\u2019:=]"
    return bool(re.search(rf"^{bare}(?!\w)|(?<!\w){bare}$|{marks}\s*{bare}\s*{marks}", whole))


def read_record(answer: str) -> JsonObject | None:
    """The JSON object in an answer, also between marks of code or in the middle of words; `None` without one."""
    begin, end = answer.find("{"), answer.rfind("}")
    if begin < 0 or end < begin:
        return None
    try:
        found = json.loads(answer[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_same_record(one: Mapping[str, object], other: Mapping[str, object], fields: Sequence[str]) -> bool:
    """Whether two records say the same in every field; texts are compared without case, what is missing is `None`."""
    return all(_plain(one.get(name)) == _plain(other.get(name)) for name in fields)


def _plain(value: object) -> object:
    return value.strip().casefold() or None if isinstance(value, str) else value


def _bare(text: str) -> str:
    return _SIGNS.sub("", text).casefold()


@lru_cache(maxsize=64)
def _pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Every label as words of its own, the longest first."""
    ordered = sorted((_bare(label) for label in labels), key=len, reverse=True)
    words = "|".join(map(re.escape, filter(None, ordered)))
    return re.compile(rf"(?<![\w]){'(?:' + words + ')'}(?![\w])", re.IGNORECASE)
