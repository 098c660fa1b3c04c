"""POST {base_url}/systemone: SGLang, Ollama, llama.cpp, Hugging Face (transformers 5, cli/serving/systemone.py).

All questions in one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.decisions.http import OverHttp, posted
from orchestrator.decisions.question import Decision, Decisions, Question, decision, yes_or_no
from orchestrator.errors import BadResponse
from orchestrator.jsontypes import JsonMapping, JsonObject

PATH = "/systemone"


class SystemOne(OverHttp):
    """Decisions of servers with /systemone."""

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        """Asks all questions in one call."""
        body = {"state": state, "questions": {name: asked(question) for name, question in questions.items()}}
        payload, usage = await posted(self._backend, PATH, body, deadline_s)
        try:
            answers = {name: answered(question, payload["answers"][name]) for name, question in questions.items()}
        except (KeyError, TypeError, ValueError) as error:
            where = self._backend.upstream.where
            raise BadResponse(f"{where}: a decision cannot be read: {error}", remedy="Check the server") from None
        return Decisions(answers, usage or self.estimated(state, questions), self.profile.name)


def asked(question: Question) -> JsonObject:
    """A question in this format."""
    found: dict[str, Any] = {
        "type": "noul" if question.kind == "predicate" else question.kind,
        "instructions": question.ask,
    }
    if question.kind == "choice":
        found["criteria"] = {label: about or label for label, about in question.options.items()}
    elif question.kind == "score":
        found["criteria"] = [about or label for label, about in question.options.items()]
    return found


def answered(question: Question, answer: JsonMapping) -> Decision:
    """An answer in this format. Raises `KeyError`, `TypeError` or `ValueError` on what is none."""
    if question.kind == "predicate":
        return yes_or_no(question, float(answer["noul"]))
    told = answer["probabilities"]
    if isinstance(told, list):
        return decision(question, dict(zip(question.labels, told, strict=True)))
    if question.kind == "score" and not set(told) <= set(question.labels):  # by the number of the level
        return decision(question, {label: told[str(level)] for level, label in enumerate(question.labels)})
    return decision(question, told)
