"""Recorded models.

Serve the answers that real models once gave, word for word (parquet tables of questions and answers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.testing.simulated import SimulatedReply, question_key
from orchestrator.errors import BackendRejected, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What a model said to one question when it was recorded, with its tokens."""

    text: str
    input_tokens: int
    output_tokens: int
    calls: tuple[JsonObject, ...] = ()


class RecordedModel:
    """One model's recorded answers, by question."""

    def __init__(self, profile: ModelProfile, answers: Mapping[str, RecordedAnswer]) -> None:
        self.profile = profile
        self._answers = answers

    def answer_to(self, question: str) -> RecordedAnswer:
        """What was recorded. Raises `BackendRejected` (404) when there is no recording of this question."""
        answer = self._answers.get(question.strip())
        if answer is None:
            raise BackendRejected(
                f"{self.profile.name} has no recorded answer to this question",
                remedy="Ask one of the recorded questions",
                status=404,
            )
        return answer

    def reply(self, question: str, prefill_tokens: int, draw: int = 0) -> SimulatedReply:
        """The recorded answer, with its own tokens and not `prefill_tokens`. Raises as `answer_to`."""
        answer = self.answer_to(question)
        return SimulatedReply(answer.text, answer.input_tokens, answer.output_tokens, calls=answer.calls)


class RecordedBackend(LocalBackend):
    """A recorded model inside this process."""

    def __init__(self, model: RecordedModel) -> None:
        super().__init__(model.profile)
        self._model = model

    async def complete(self, request: Request) -> Completion:
        """The recorded answer, as fast as it was."""
        reply = self._model.reply(question_key(request.question, request.tools), 0)
        calls = tuple(ToolCall.parse(call) for call in reply.calls)
        usage = Usage(reply.prefill_tokens, reply.output_tokens)
        return Completion(self.profile.name, reply.text, usage, calls=calls)


def load_recorded(folder: str | Path, task: str) -> list[RecordedModel]:
    """Every model of a recorded fleet.

    `{task}_questions.parquet`, `{task}_answers.parquet`, and its prices in `folder`.

    Prices stand in `{task}_prices.json`, or in `prices.json` for all tasks. Raises `ConfigError` when a file or pyarrow
    is missing.
    """
    folder = Path(folder)
    questions, answers = (_table(folder / f"{task}_{part}.parquet") for part in ("questions", "answers"))
    prompt_of = {row["query_id"]: row["prompt"].strip() for row in questions}
    prices = _prices(folder, task)
    by_model: dict[str, dict[str, RecordedAnswer]] = {}
    for row in answers:
        recorded = RecordedAnswer(row["output"] or "", int(row["input_tokens"]), int(row["output_tokens"]))
        by_model.setdefault(row["model"], {})[prompt_of[row["query_id"]]] = recorded
    return [
        RecordedModel(_profile(name, by_prompt, prices.get(name, {})), by_prompt)
        for name, by_prompt in sorted(by_model.items())
    ]


def load_recorded_calls(folder: str | Path) -> list[RecordedModel]:
    """Every model of a fleet whose calls of tools were recorded.

    `tool_questions.parquet`, `tool_answers.parquet` and `prices.json` in `folder`. Raises as `load_recorded`.
    """
    folder = Path(folder)
    questions = _table(folder / "tool_questions.parquet")
    asked = {row["id"]: question_key(row["question"], json.loads(row["tools"])) for row in questions}
    prices = _prices(folder, "tool")
    by_model: dict[str, dict[str, RecordedAnswer]] = {}
    for row in _table(folder / "tool_answers.parquet"):
        calls = tuple(
            {"id": f"call_{number}", "type": "function", "function": _function(call)}
            for number, call in enumerate(json.loads(row["calls"]) if row["calls"] else ())
        )
        recorded = RecordedAnswer(row["text"] or "", int(row["prompt_tokens"]), int(row["output_tokens"]), calls)
        by_model.setdefault(row["model"], {})[asked[row["id"]]] = recorded
    return [RecordedModel(_profile(name, said, prices.get(name, {})), said) for name, said in sorted(by_model.items())]


def _function(call: Mapping[str, Any]) -> JsonObject:
    written = call.get("arguments")
    return {"name": call["name"], "arguments": written if isinstance(written, str) else json.dumps(written)}


def _prices(folder: Path, task: str) -> dict[str, dict[str, float]]:
    """USD per million tokens by model; empty where no file tells prices."""
    for path in (folder / f"{task}_prices.json", folder / "prices.json"):
        if path.exists():
            prices: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
            return prices
    return {}


def _profile(name: str, answers: Mapping[str, RecordedAnswer], prices: Mapping[str, float]) -> ModelProfile:
    mean_output = sum(answer.output_tokens for answer in answers.values()) / max(len(answers), 1)
    return ModelProfile(
        name,
        input_usd_per_mtok=prices.get("input_usd_per_mtok"),
        output_usd_per_mtok=prices.get("output_usd_per_mtok"),
        output_tokens=mean_output,
        ttft_s=0.0,
        tokens_per_s=1e6,
    )


def _table(path: Path) -> list[JsonObject]:
    try:
        import pyarrow.parquet as parquet  # optional and heavy: extra `train`
    except ImportError:
        raise ConfigError(
            "reading recorded answers needs pyarrow", remedy="pip install 'compound-orchestrator[train]'"
        ) from None
    if not path.exists():
        raise ConfigError(f"{path} not found", remedy="Pass the folder that holds the recorded fleet with --data")
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows
