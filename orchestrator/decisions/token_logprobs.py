"""Decisions of any chat model that gives log-probabilities: the options get letters, and one token is asked for.

Each question is a call; the prompts begin alike, so that a prefix cache reads the state once: the first question goes
ahead, the others follow together.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from orchestrator.backends.usage import usage_in
from orchestrator.decisions.http import OverHttp
from orchestrator.decisions.question import Decision, Decisions, Question, decision
from orchestrator.errors import BackendRejected, InvalidQuery
from orchestrator.jsontypes import JsonMapping
from orchestrator.tokens.estimate import estimate_tokens, family_of
from orchestrator.types import Usage

MAX_OPTIONS = 20  # so many log-probabilities do servers give for one token
LETTERS = "ABCDEFGHIJKLMNOPQRST"


class TokenDecisions(OverHttp):
    """Decisions of a chat model that gives log-probabilities: one token for each question."""

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        """Asks the first question alone, so that the others find its prefix in the cache."""
        for name, question in questions.items():
            if len(question.labels) > MAX_OPTIONS:
                raise InvalidQuery(
                    f"{name}: at most {MAX_OPTIONS} options for a model's log-probabilities", remedy="Ask in two steps"
                )
        first, *others = questions.values()
        found = [await self._one(state, first, deadline_s)]
        found += await asyncio.gather(*(self._one(state, question, deadline_s) for question in others))
        usage = sum((used for _, used in found), Usage())
        return Decisions(dict(zip(questions, (decided for decided, _ in found), strict=True)), usage, self.profile.name)

    async def _one(self, state: str, question: Question, deadline_s: float | None) -> tuple[Decision, Usage]:
        prompt = prompt_for(state, question)
        asked = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 1, "temperature": 0}
        completion = await self._backend.chat(
            {**asked, "logprobs": True, "top_logprobs": MAX_OPTIONS}, deadline_s=deadline_s
        )
        try:
            decided = decision(question, weights_in(completion, question.labels))
        except ValueError:
            raise BackendRejected(
                f"{self.profile.name} gives no log-probabilities of the options",
                remedy="Choose another model",
                may_be_billed=True,
            ) from None
        return decided, usage_in(completion) or Usage(
            estimate_tokens(prompt, family_of(self._backend.upstream.model)), 1, estimated=True
        )


def prompt_for(state: str, question: Question) -> str:
    """The state first, so that a prefix cache reads it once for all questions."""
    options = question.options
    lines = [
        f"{letter}. {label}" + (f": {options[label]}" if options.get(label) else "")
        for letter, label in zip(LETTERS, question.labels, strict=False)
    ]
    return f"{state}\n\n{question.ask or 'Which one fits?'}\n" + "\n".join(lines) + "\nAnswer with one letter."


def weights_in(completion: JsonMapping, labels: list[str]) -> dict[str, float]:
    """The probability of each option's letter as the first token. Raises `ValueError` where none is told."""
    found = dict.fromkeys(labels, 0.0)
    try:
        for token in completion["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            letter = str(token["token"]).strip().upper()
            if len(letter) == 1 and letter in LETTERS[: len(labels)]:
                found[labels[LETTERS.index(letter)]] += math.exp(min(float(token["logprob"]), 0.0))
    except (KeyError, IndexError, TypeError):
        raise ValueError("no log-probabilities") from None
    return found
