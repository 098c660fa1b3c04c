"""Conversations whose prompts stay short: LoCoMo's, replayed turn by turn, with their questions asked along the way.

`python -m benchmarks.conversation --data DIR --json FILE`

Each turn of one speaker is sent to an engine whose model answers with the other's recorded words; each question is
asked once its evidence has been said, at a random later turn (by seed), without becoming part of the conversation. No
model is called. Prices and the cache are those of `openai/gpt-4o-mini` in 2024: a cached token costs half, prefixes are
kept in steps of 128 from 1,024 tokens on, and for as long as a session lasts (the sessions are days apart).

`evidence_in_prompt` is the share of evidence turns that stand in the prompt word for word, among the last turns or as a
note; `window_evidence` the same for the last turns alone, filled up to as many tokens. `cached_share` is the share of
the prompts' tokens that the cache holds, `cost_ratio` the price of all prompts over that of prompts with the whole
history. `own_ms_per_turn` is the time of a turn beside its model, `prompt_tokens_p95` counts whole prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import load, parse_time
from benchmarks.output import write_json
from orchestrator.backends.base import LocalBackend, Request, estimate_prompt_tokens
from orchestrator.engine.conversation import Conversation
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.memory import Memory
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import family_of
from orchestrator.types import Completion, Message, Usage

CONTEXT_TOKENS = 1_970  # the new message comes on top: 2,000 in all
INPUT_USD, CACHED_USD = 0.15e-6, 0.075e-6
MIN_CACHED, CACHE_STEP = 1_024, 128
FAMILY = family_of("gpt-4o-mini")
PROFILE = ModelProfile("gpt-4o-mini", 0.15, 0.6, cached_usd_per_mtok=0.075, skill=0.9, ttft_s=0.0, tokens_per_s=1e6)


class Recorded(LocalBackend):
    """Answers with the other speaker's recorded words."""

    def __init__(self) -> None:
        super().__init__(PROFILE)
        self.reply = ""
        self.asked: Request | None = None

    async def complete(self, request: Request) -> Completion:
        self.asked = request
        return Completion("gpt-4o-mini", self.reply, Usage(1, 1))


@dataclass
class Cache:
    """A provider's prefix cache, and what reading through it costs."""

    read: float = 0.0
    cached: float = 0.0
    usd: float = 0.0
    _held: list[tuple[str, int]] = field(default_factory=list)

    def expire(self) -> None:
        self._held = []

    def prompt(self, parts: Sequence[tuple[str, int]]) -> None:
        """Reads a prompt, message by message with its tokens."""
        same = 0
        for one, other in zip(self._held, parts, strict=False):
            if one != other:
                break
            same += one[1]
        hit = same // CACHE_STEP * CACHE_STEP if same >= MIN_CACHED else 0
        total = sum(tokens for _, tokens in parts)
        self.read += total
        self.cached += hit
        self.usd += hit * CACHED_USD + (total - hit) * INPUT_USD
        self._held = list(parts)


@dataclass
class Found:
    """What was measured."""

    prompts: list[int] = field(default_factory=list)
    evidence: list[float] = field(default_factory=list)
    window: list[float] = field(default_factory=list)
    own_ms: list[float] = field(default_factory=list)
    ours: Cache = field(default_factory=Cache)
    whole: Cache = field(default_factory=Cache)


def parts_of(messages: Sequence[Message]) -> list[tuple[str, int]]:
    return [(message.content, estimate_prompt_tokens([message], None, FAMILY)) for message in messages]


def said(turn: dict[str, Any]) -> str:
    caption = f" [shares a picture: {turn['caption']}]" if turn.get("caption") else ""
    return f"{turn['text']}{caption}"


def names_of(first: dict[str, Any], conversation: dict[str, Any]) -> dict[str, str]:
    """Who has which role in a session: the one who begins it is the user."""
    other = next(turn["speaker"] for turn in conversation["turns"] if turn["speaker"] != first["speaker"])
    return {"user": first["speaker"], "assistant": other}


def exchanges(turns: Sequence[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """(what one speaker says, what the other answers), in order; a session begins a new one."""
    found: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []
    first = ""
    for turn in turns:
        if not found or found[-1][0][0]["session"] != turn["session"]:
            first = turn["speaker"]
            found.append(([turn], []))
        elif turn["speaker"] != first:
            found[-1][1].append(turn)
        elif found[-1][1]:
            found.append(([turn], []))
        else:
            found[-1][0].append(turn)
    return found


async def replay(conversation: dict[str, Any], folder: Path, rng: random.Random, found: Found) -> None:
    model = Recorded()
    memory = Memory(folder / "memory.db")
    rounds = exchanges(conversation["turns"])
    place = {turn["id"]: number for number, (one, other) in enumerate(rounds) for turn in (*one, *other)}
    asked: dict[int, list[dict[str, Any]]] = {}
    for question in conversation["qa"]:
        evidence = [place[turn] for turn in question["evidence"] if turn in place]
        if evidence:
            asked.setdefault(rng.randint(max(evidence), len(rounds) - 1), []).append(question)
    history: list[Message] = []
    session = None
    fleet = Orchestrator({PROFILE.name: model}, memory=memory, strategy="single", storage=folder / "chat.db")
    async with fleet as engine:
        for number, (one, other) in enumerate(rounds):
            if one[0]["session"] != session:
                session = one[0]["session"]
                chat = engine.conversation(
                    "locomo", session="c", context_tokens=CONTEXT_TOKENS, speakers=names_of(one[0], conversation)
                )
                found.ours.expire()
                found.whole.expire()
            text = "\n".join(map(said, one))
            model.reply = "\n".join(map(said, other)) or "..."
            start = time.perf_counter()
            await chat.send(text, time=parse_time(one[0].get("time")) or datetime.now())
            found.own_ms.append(1_000 * (time.perf_counter() - start))
            assert model.asked is not None
            prompted(found, model.asked.messages, [*history, Message("user", text)])
            history += [Message("user", text), Message("assistant", model.reply)]
            for question in asked.get(number, ()):
                await ask(chat, question, conversation, history, found)


async def ask(
    chat: Conversation,
    question: dict[str, Any],
    conversation: dict[str, Any],
    history: Sequence[Message],
    found: Found,
) -> None:
    messages = await chat.preview(question["question"])
    whole = [*history, Message("user", question["question"])]
    prompted(found, messages, whole)
    wanted = [said(turn) for turn in conversation["turns"] if turn["id"] in question["evidence"]]
    notes = _unquoted("\n".join(message.content for message in messages if not is_summary(message)))
    found.evidence.append(statistics.fmean(_unquoted(text) in notes for text in wanted))
    room, window = sum(tokens for _, tokens in parts_of(messages[:-1])), ""
    for message in reversed(history):
        room -= estimate_prompt_tokens([message], None, FAMILY)
        if room < 0:
            break
        window = f"{message.content}\n{window}"
    found.window.append(statistics.fmean(_unquoted(text) in _unquoted(window) for text in wanted))


def is_summary(message: Message) -> bool:
    return message.role == "system" and message.content.startswith("What was said before, in short")


def _unquoted(text: str) -> str:
    """A text without its blanks, and without the dates that a note adds in brackets."""
    return re.sub(r"\s+", "", re.sub(r" \[[^\[\]]*\d{4}[^\[\]]*\]", "", text))


def prompted(found: Found, messages: Sequence[Message], whole: Sequence[Message]) -> None:
    parts = parts_of(messages)
    found.prompts.append(sum(tokens for _, tokens in parts))
    found.ours.prompt(parts)
    found.whole.prompt(parts_of(whole))


def measure(conversations: Sequence[dict[str, Any]], seed: int) -> dict[str, float]:
    found, rng = Found(), random.Random(seed)
    for conversation in conversations:
        found.ours.expire()
        found.whole.expire()
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(replay(conversation, Path(folder), rng, found))
    return {
        "prompt_tokens_p95": float(np.percentile(found.prompts, 95)),
        "evidence_in_prompt": round(statistics.fmean(found.evidence), 4),
        "cached_share": round(found.ours.cached / found.ours.read, 4),
        "cost_ratio": round(found.ours.usd / found.whole.usd, 4),
        "window_evidence": round(statistics.fmean(found.window), 4),
        "own_ms_per_turn": round(statistics.fmean(found.own_ms), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    write_json(measure(load(arguments.data), arguments.seed), arguments.json)


if __name__ == "__main__":
    main()
