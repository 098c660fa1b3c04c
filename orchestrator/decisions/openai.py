"""POST {base_url}/decisions: OpenAI (openai 3.54, types.decision).

All questions in one call; a question that is refused has no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.decisions.http import OverHttp, posted
from orchestrator.decisions.question import Decision, Decisions, Question, decision, yes_or_no
from orchestrator.errors import BadResponse
from orchestrator.jsontypes import JsonMapping, JsonObject

PATH = "/decisions"


class OpenAIDecisions(OverHttp):
    """Decisions of OpenAI's endpoint."""

    reads_each = False

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        """Asks all questions in one call."""
        body = {"input": state, "questions": [asked(name, question) for name, question in questions.items()]}
        payload, usage = await posted(self._backend, PATH, body, deadline_s)
        where, rows = self._backend.upstream.where, payload["answers"]
        answers: dict[str, Decision] = {}
        try:
            for (name, question), row in zip(questions.items(), rows, strict=True):
                if row["type"] == "refusal":
                    raise BadResponse(
                        f"{where}: it declined to answer {name!r}", remedy="Ask otherwise, or another model"
                    )
                answers[name] = answered(question, row)
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponse(f"{where}: a decision cannot be read: {error}", remedy="Check the server") from None
        return Decisions(answers, usage or self.estimated(state, questions), self.profile.name)


def asked(name: str, question: Question) -> JsonObject:
    """A question in this format."""
    found: dict[str, Any] = {"name": name, "type": question.kind, "instructions": question.ask}
    if question.kind == "choice":
        found["choices"] = [
            {"value": label} | ({"description": about} if about else {}) for label, about in question.options.items()
        ]
    elif question.kind == "score":
        found["levels"] = [
            {"label": label} | ({"description": about} if about else {}) for label, about in question.options.items()
        ]
    return found


def answered(question: Question, row: JsonMapping) -> Decision:
    """The decision in a row of the answer."""
    if question.kind == "predicate":
        return yes_or_no(question, float(row["probability"]))
    name = "value" if question.kind == "choice" else "label"
    return decision(question, {str(one[name]): one["probability"] for one in row["probabilities"]})
