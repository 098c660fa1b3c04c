"""Which checks an answer gets, from what the query itself asks for.

A schema, a choice among options, sources to be cited.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidQuery
from orchestrator.types import Query
from orchestrator.verifiers import (
    ChoiceVerifier,
    GroundingVerifier,
    JsonSchemaVerifier,
    Source,
    Verdict,
    Verifier,
    offered_choices,
)
from orchestrator.verifiers.calls.evidence import call_verifiers

if TYPE_CHECKING:
    from orchestrator.memory import Recall


def checks_for(query: Query, recall: Recall | None) -> list[Verifier]:
    """Raises `InvalidQuery` on a schema that is none."""
    checks: list[Verifier] = []
    if query.schema is not None:
        try:
            checks.append(JsonSchemaVerifier(query.schema))
        except ValueError as error:
            raise InvalidQuery(str(error), remedy="Check the schema") from None
    if query.tools:
        checks += call_verifiers(
            query.tools, _conversation_of(query), choice=query.tool_choice, parallel=query.parallel_tool_calls
        )
    if offered_choices(query.text):
        checks.append(ChoiceVerifier())
    if recall:
        from orchestrator.memory.retrieval.packing import render  # numpy

        # As the model was given them: with their dates, and with what "yesterday" meant.
        checks.append(GroundingWhenCited([Source(item.record.citation, render(item.record)) for item in recall.items]))
    return checks


def _conversation_of(query: Query) -> list[str]:
    """All that a model was told when it proposed calls."""
    before, after = ([each.content for each in said] for said in (query.history, query.continued))
    return [text for text in (query.system, *before, query.prompt, query.text, *after) if text]


_CITATION = re.compile(r"\[m:\d+\]")


class GroundingWhenCited:
    """Grounding for answers that cite recalled notes.

    An answer from the model's own knowledge is not held against the notes.
    """

    name = "grounding"

    def __init__(self, sources: Sequence[Source]) -> None:
        self._verifier = GroundingVerifier(sources)
        self._texts = [" ".join(source.text.split()) for source in sources]

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Holds the answer against the notes, if it cites any."""
        if "[m:" not in candidate:
            return Verdict.abstain(self.name, "the answer cites no recalled note")
        bare = " ".join(_CITATION.sub(" ", candidate).split())
        if bare and any(bare in text for text in self._texts):
            return Verdict.abstain(self.name, "the answer is a quotation, which says nothing about whether it answers")
        return await self._verifier.verify(query, candidate)
