"""Which queries are a student's own, and how its answers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TEXT = "{text}"
LABEL = "{label}"
Kind = Literal["classification", "extraction"]


class TaskError(ValueError):
    """A task that cannot be."""


@dataclass(frozen=True, slots=True)
class StudentTask:
    """What a student was made for.

    A query is the student's own when it has the words of `prompt` around the text, and the conversation's system
    message is `system`. Without a prompt any text may be, and only the novelty gate keeps foreign queries away.

    Attributes:
        prompt: The query with `{text}` where the text stands, `"{text}"` where there is nothing around it.
        system: The system message under which it answers; `None` for any.
        answer: How a label becomes an answer: `{label}` in it stands for the label.
        kind: What is answered.
    """

    prompt: str = TEXT
    system: str | None = None
    answer: str = LABEL
    kind: Kind = "classification"

    def __post_init__(self) -> None:
        for name, value, mark in (("prompt", self.prompt, TEXT), ("answer", self.answer, LABEL)):
            if value.count(mark) != 1:
                raise TaskError(f"{name} must hold {mark} exactly once, not {value.count(mark)} times: {value!r:.80}")

    def query_of(self, text: str) -> str:
        """The query that asks for a text's answer."""
        return self.prompt.replace(TEXT, text)

    def text_of(self, query: str) -> str | None:
        """The text inside a query, or `None` if the query is not of this task."""
        before, after = self.prompt.split(TEXT)
        before, after, stripped = before.lstrip(), after.rstrip(), query.strip()
        if len(stripped) < len(before) + len(after) or not (
            stripped.startswith(before.lstrip()) and stripped.endswith(after.rstrip())
        ):
            return None
        text = stripped[len(before) : len(stripped) - len(after)].strip()
        return text or None

    def answer_of(self, label: str) -> str:
        """What is answered for a label."""
        return self.answer.replace(LABEL, label)

    def label_of(self, answer: str) -> str | None:
        """The label that an answer stands for, or `None` if it has another form."""
        before, after = self.answer.split(LABEL)
        stripped = answer.strip()
        if not (stripped.startswith(before.strip()) and stripped.endswith(after.strip())):
            return None
        return stripped[len(before.strip()) : len(stripped) - len(after.strip())].strip() or None
