"""Which of the known labels an answer gives, however a model words it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from orchestrator.jsontypes import JsonObject
from orchestrator.students.task import StudentTask

_SIGNS = re.compile(r"^[\s\"'`*_.,:;!()\[\]{}<>]+|[\s\"'`*_.,:;!()\[\]{}<>]+$")


def read_label(answer: str, labels: Sequence[str], task: StudentTask) -> str | None:
    """The label in an answer, as it is spelt among `labels`; `None` where there is none, or more than one.

    The whole answer, or what stands in the task's form, is a label in whatever case and between whatever signs; else
    exactly one label stands in it as words of its own. Without `labels`, the trimmed answer itself is the label.
    """
    inner = task.label_of(answer)
    for said in (inner, answer):
        bare = None if said is None else _bare(said)
        if bare is None:
            continue
        if not labels:
            return _SIGNS.sub("", said or "") or None
        for label in labels:
            if _bare(label) == bare:
                return label
    if not labels:
        return None
    found = _pattern(tuple(labels)).findall(answer)
    said_labels = {_bare(each) for each in found}
    return next((label for label in labels if _bare(label) in said_labels), None) if len(said_labels) == 1 else None


def read_record(answer: str) -> JsonObject | None:
    """The JSON object in an answer, also between marks of code or in the middle of words; `None` without one."""
    begin, end = answer.find("{"), answer.rfind("}")
    if begin < 0 or end < begin:
        return None
    try:
        found = json.loads(answer[begin : end + 1])
    except ValueError:
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
