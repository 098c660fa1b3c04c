"""Simulated models: NOT real ones.

Each has a stated skill, price and speed, and is labelled a simulation wherever its answers show.

Whether a simulated model gets a problem right follows an item response model, P(correct) = sigmoid(ability -
difficulty), decided by a hash of the model's seed and the problem: the same question gets the same answer in every run
and in any order.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.backends.base import LocalBackend, Request, estimate_prompt_tokens
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Completion, Usage

WRONG_ANSWERS = 6


@dataclass(frozen=True, slots=True)
class SimulatedProblem:
    """A question whose right answer is known; `difficulty` in log-odds, 0 is average."""

    question: str
    answer: str
    difficulty: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """What a served model says to one question, the tools that it calls (in OpenAI's form), and its time in seconds."""

    text: str
    prefill_tokens: int
    output_tokens: int
    ttft_s: float = 0.0
    decode_s: float = 0.0
    simulated: bool = False
    calls: tuple[JsonObject, ...] = ()


def question_key(question: str, tools: Sequence[JsonMapping] = ()) -> str:
    """What recorded answers are found by: the question, and the names of the tools that were offered with it."""
    names = sorted(str((tool.get("function") or {}).get("name")) for tool in tools)
    return f"{question.strip()}\ntools: {', '.join(names)}" if names else question.strip()


class SimulatedModel:
    """Answers the problems that it is given; to any other question it says that it is a simulation and cannot know."""

    def __init__(
        self, profile: ModelProfile, problems: Mapping[str, SimulatedProblem] | None = None, *, seed: int = 0
    ) -> None:
        if profile.skill is None:
            raise ValueError(f"simulated model {profile.name!r} needs a skill in (0, 1)")
        self.profile = profile
        self._problems = problems or {}
        self._seed = seed
        self._ability = 1.7 * math.log(profile.skill / (1 - profile.skill))

    def reply(self, question: str, prefill_tokens: int, draw: int = 0) -> SimulatedReply:
        """`draw` tells repeated samples of one question apart."""
        problem = self._problems.get(question.strip())
        text = (
            self._solve(problem, draw)
            if problem
            else "This is a simulated model: it knows only its generated problems. [simulated]"
        )
        output_tokens = max(
            estimate_tokens(text),
            int(self.profile.output_tokens * (0.7 + 0.6 * self._chance(question, "length", draw))),
        )
        speed = 0.8 + 0.4 * self._chance(question, "speed", draw)
        ttft_s, decode_s = self.profile.ttft_s * speed, output_tokens / self.profile.tokens_per_s * speed
        return SimulatedReply(text, prefill_tokens, output_tokens, ttft_s, decode_s, simulated=True)

    def _solve(self, problem: SimulatedProblem, draw: int) -> str:
        p_right = 1 / (1 + math.exp(-(self._ability - problem.difficulty)))
        answer = problem.answer
        if self._chance(problem.question, "right", draw) >= p_right:
            answer = _distractor(
                problem.answer, int(self._chance(problem.question, "wrong", draw) ** 2 * WRONG_ANSWERS)
            )
        return f"[simulated] Working it through step by step.\nThe answer is {answer}"

    def _chance(self, question: str, what: str, draw: int) -> float:
        """A number in [0, 1) that depends on nothing but its arguments and the model."""
        # Right or wrong partly hangs on the question itself: models stumble over the same problems.
        key = f"{self._seed}|{self.profile.name}|{what}|{draw}|{question}"
        return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=7).digest()) / 2**56


def _distractor(answer: str, which: int) -> str:
    """A plausible wrong answer; low `which` are the common slips, so that wrong models sometimes agree."""
    try:
        value = int(answer)
    except ValueError:
        return f"not {answer} ({which})"
    slips = (value + 1, value - 1, value + 10, value * 2, value - 10, value + 7)
    wrong = slips[which % len(slips)]
    return str(wrong if wrong != value else value + 3)


class SimulatedBackend(LocalBackend):
    """A simulated model inside this process.

    `sleep` waits out its latency; pass one that returns at once to skip it.
    """

    def __init__(self, model: SimulatedModel, *, sleep: Callable[[float], object] | None = None) -> None:
        super().__init__(model.profile)
        self._model = model
        self._sleep = sleep or asyncio.sleep

    async def complete(self, request: Request) -> Completion:
        """The simulated answer, after the time that the model would have taken."""
        reply = self._model.reply(request.question, estimate_prompt_tokens(request.messages), request.seed or 0)
        waiting = self._sleep(reply.ttft_s + reply.decode_s)
        if asyncio.iscoroutine(waiting):
            await waiting
        usage = Usage(reply.prefill_tokens, reply.output_tokens)
        return Completion(
            self.profile.name, reply.text, usage, reply.ttft_s + reply.decode_s, reply.ttft_s, simulated=True
        )
