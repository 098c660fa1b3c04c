"""An answer that must be JSON of a given form.

The first draft breaks the schema, the verifier says how, the revision mends it.
"""

import asyncio

from orchestrator import Completion, LocalBackend, Orchestrator, Request
from orchestrator.router import ModelProfile

SCHEMA = {
    "type": "object",
    "required": ["town", "year"],
    "properties": {"town": {"type": "string"}, "year": {"type": "integer"}},
}


class Forgetful(LocalBackend):
    """A stand-in for a model: it forgets the year until it is told so. Any object with these methods is a backend."""

    async def complete(self, request: Request) -> Completion:
        told = '"year" is a required property' in request.messages[-1].content
        return Completion(
            self.profile.name, '{"town": "Skerry Bay", "year": 1874}' if told else '{"town": "Skerry Bay"}'
        )


async def main() -> None:
    async with Orchestrator({"forgetful": Forgetful(ModelProfile("forgetful", 0.0, 0.0, skill=0.8))}) as orchestrator:
        answer = await orchestrator.answer(
            "Where and when was the lighthouse lit first?", schema=SCHEMA, strategy="draft_critique_revise"
        )
    for candidate in answer.candidates:
        print(
            "draft   " if candidate.revises is None else "revision",
            candidate.text,
            "-",
            candidate.verdicts[0].feedback or "fits the schema",
        )
    print("answer  ", answer.text)


asyncio.run(main())
