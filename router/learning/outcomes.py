"""Graded outcomes from files, to train and judge routers on. Never unpickles.

- .jsonl: one object a line, {"query", "model", "score"} or {"query", "outcomes": {model: score or {"score": ...}}}.
  `prompt` or `messages` (the conversation is condensed) will do for `query`. Beside a score may stand `output_tokens`
  and the text of the `answer`. A line without outcomes is a query without labels.
- .csv, .parquet: the same columns, or one row a query with a column of scores for each model (RouteLLM, RouterBench;
  columns like `model|total_cost` are passed over). .parquet needs the extra `train`.
- .json: {"model_name", "records": [{"prompt" or "origin_query", "score"}, ...]} (LLMRouterBench, AvengersPro).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping
from orchestrator.router.features.conversation import judged_text
from orchestrator.router.learning.replay import ReplayedDecision
from orchestrator.router.success import Outcome, reliability_weight

QUERY_NAMES = ("query", "prompt", "question", "origin_query")
TOKEN_NAMES = ("output_tokens", "out_tokens", "tokens", "completion_tokens")
NOT_MODELS = frozenset(
    (
        *QUERY_NAMES,
        *TOKEN_NAMES,
        "id",
        "query_id",
        "sample_id",
        "eval_name",
        "dataset",
        "subset",
        "domain",
        "split",
        "group",
        "ts",
        "tags",
        "oracle_model_to_route_to",
    )
)


class LogError(OrchestratorError, ValueError):
    """A log that cannot be read: says which file and row, and what is wrong."""

    code = "outcomes"


@dataclass(slots=True)
class Log:
    """What a file held: graded outcomes, and queries without any."""

    outcomes: list[Outcome] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)


def read_log(path: str | Path) -> Log:
    """Reads one file by its suffix. Raises `LogError`; a row that cannot be read is an error, never skipped."""
    path = Path(path)
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".json": _records}
    if path.suffix not in readers:
        raise LogError(f"{path}: logs end in {', '.join(readers)}, not {path.suffix!r}")
    if not path.exists():
        raise LogError(f"{path}: no such file")
    log = Log()
    for where, row in readers[path.suffix](path):
        _add(log, where, row)
    if not log.outcomes and not log.unlabelled:
        raise LogError(f"{path}: holds no rows")
    return log


def read_decisions(path: str | Path) -> list[ReplayedDecision]:
    """Logged decisions of a .jsonl file: {"query", "model", "propensity", "score", "cost_usd"} a line.

    Raises `LogError`.
    """
    path = Path(path)
    if not path.exists():
        raise LogError(f"{path}: no such file")
    decisions = []
    for where, row in _jsonl(path):
        model = row.get("model")
        if not isinstance(model, str):
            raise LogError(f"{where}: no model")
        numbers = {}
        for name in ("propensity", "cost_usd"):
            value = row.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise LogError(f"{where}: {name} is {value!r}, not a number")
            numbers[name] = float(value)
        decisions.append(
            ReplayedDecision(
                _query(where, row),
                model,
                numbers["propensity"],
                _score(where, model, row.get("score")),
                numbers["cost_usd"],
            )
        )
    return decisions


def _add(log: Log, where: str, row: JsonMapping) -> None:
    query = _query(where, row)
    graded: dict[str, Mapping[str, Any]]
    if "model" in row:
        graded = {str(row["model"]): row}
    elif isinstance(row.get("outcomes"), Mapping):
        graded = {
            str(model): found if isinstance(found, Mapping) else {"score": found}
            for model, found in row["outcomes"].items()
        }
    else:
        graded = {
            name: {"score": value}
            for name, value in row.items()
            if name not in NOT_MODELS and "|" not in name and _is_number(value)
        }
    known = {model: found for model, found in graded.items() if found.get("score") is not None and found["score"] != ""}
    if not known:
        log.unlabelled.append(query)
    for model, found in known.items():
        answer = found.get("answer")
        log.outcomes.append(
            Outcome(
                query,
                model,
                _score(where, model, found["score"]),
                _weight(where, row),
                _tokens(where, model, found),
                answer if isinstance(answer, str) else None,
            )
        )


def _tokens(where: str, model: str, found: JsonMapping) -> float | None:
    value = next((found[name] for name in TOKEN_NAMES if found.get(name) not in (None, "")), None)
    if value is None:
        return None
    try:
        tokens = float(value)
    except (TypeError, ValueError):
        tokens = math.nan
    if not 0.0 <= tokens < math.inf:
        raise LogError(f"{where}: the output tokens of {model!r} are {value!r}, not a number of at least 0")
    return tokens


def _query(where: str, row: JsonMapping) -> str:
    for name in QUERY_NAMES:
        if isinstance(row.get(name), str) and row[name].strip():
            return str(row[name])
    messages = row.get("messages")
    if isinstance(messages, list):
        turns = [
            (str(m.get("role")), m["content"])
            for m in messages
            if isinstance(m, Mapping) and isinstance(m.get("content"), str)
        ]
        asks = [index for index, (role, _) in enumerate(turns) if role == "user"]
        if asks:
            return judged_text(turns[asks[-1]][1], turns[: asks[-1]])
    raise LogError(f"{where}: no text under any of {', '.join(QUERY_NAMES)}, messages")


def _score(where: str, model: str, value: Any) -> float:
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value.lower(), value)
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise LogError(f"{where}: the score of {model!r} is {value!r}, not a number in [0, 1]") from None
    if not 0.0 <= score <= 1.0:
        raise LogError(f"{where}: the score of {model!r} is {score!r}, not a number in [0, 1]")
    return score


def _weight(where: str, row: JsonMapping) -> float:
    """What the row's grader is worth: `reliability` is the probability that it is right, 1 if it is not stated."""
    stated = row.get("reliability")
    if stated is None or stated == "":
        return 1.0
    try:
        weight = reliability_weight(float(stated))
    except (TypeError, ValueError):
        raise LogError(f"{where}: reliability is {stated!r}, not a number in [0, 1]") from None
    if weight == 0.0:
        raise LogError(f"{where}: a reliability of 0.5 is a coin's: leave the row out")
    return weight


def _is_number(value: Any) -> bool:
    """Whether a cell of a wide table can be a score at all: numbers, booleans, their spellings."""
    if isinstance(value, str):
        return value.lower() in ("true", "false") or value.replace(".", "", 1).isdigit()
    return isinstance(value, int | float) and math.isfinite(value)


def _jsonl(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise LogError(f"{path}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise LogError(f"{path}:{number}: not a JSON object")
            yield f"{path}:{number}", row


def _csv(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            yield f"{path}:{number}", row


def _parquet(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    try:
        import pyarrow.parquet as parquet  # optional and heavy: extra `train`
    except ImportError:
        raise LogError(f"{path}: reading parquet needs the extra `train`") from None
    for number, row in enumerate(parquet.read_table(path).to_pylist()):
        yield f"{path}, row {number}", row


def _records(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LogError(f"{path}: not JSON: {error}") from None
    records = found.get("records") if isinstance(found, dict) else None
    name = found.get("model_name") or found.get("model") if isinstance(found, dict) else None
    if not isinstance(records, list) or not name:
        raise LogError(f"{path}: expected an object with `model_name` and a list `records`")
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise LogError(f"{path}, record {number}: not an object")
        yield f"{path}, record {number}", {**record, "model": name}
