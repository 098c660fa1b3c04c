"""Graded outcomes from files, to train and judge routers on. Never unpickles.

- .jsonl: one object a line, {"query", "model", "score"} or {"query", "outcomes": {model: score or {"score": ...}}}.
  `prompt` or `messages` (the conversation is condensed) will do for `query`. Beside a score may stand `output_tokens`
  and the text of the `answer`. A line without outcomes is a query without labels.
- .csv, .parquet: the same columns, or one row a query with a column of scores for each model (RouteLLM, RouterBench;
  columns like `model|total_cost`, and those that measure something else (latency, temperature), are passed over).
  .parquet needs the extra `train`.
- .json: {"model_name", "records": [{"prompt" or "origin_query", "score"}, ...]} (LLMRouterBench, AvengersPro).

Scores are numbers in [0, 1] as people write them: 1, 0.5, 0,5, 1e0, 50%, yes, no, right, wrong. Files are UTF-8, or
UTF-16 with its mark. A row that cannot be read is an error; what is left out (columns that are no models, cells without
a score) is counted in `Log.left_out`.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.router.features.conversation import judged_text
from orchestrator.router.learning.replay import ReplayedDecision
from orchestrator.router.outcome import Outcome, reliability_weight

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
        "reliability",
    )
)
_MEASURES = re.compile(  # columns of a wide table that are no models; models' names part their words with - and .
    r"(?:.*[_ ])?(?:latency|temperature|cost|usd|price|tokens?|length|duration|elapsed|seconds|ms|seed"
    r"|difficulty|timestamp"
    r"|similarity|top_p|top_k)(?:[_ (].*)?|.*_s",
    re.IGNORECASE,
)
_SPELLED = {
    **dict.fromkeys(("true", "yes", "y", "right", "correct", "pass", "passed"), 1.0),
    **dict.fromkeys(("false", "no", "n", "wrong", "incorrect", "fail", "failed"), 0.0),
}
_MISSING = frozenset(("", "nan", "null", "none", "n/a", "na", "-", "?"))
_NUMBER = re.compile(r"([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d+)?)\s*(%?)", re.IGNORECASE)
MAX_CELL_CHARS = 50_000_000


class LogError(OrchestratorError, ValueError):
    """A log that cannot be read: says which file and row, and what is wrong."""

    code = "outcomes"


@dataclass(slots=True)
class Log:
    """What a file held: graded outcomes, queries without any, and how often what was left out, and why."""

    outcomes: list[Outcome] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def read_log(path: str | Path) -> Log:
    """Reads one file by its suffix. Raises `LogError`; a row that cannot be read is an error, never skipped."""
    path = Path(path)
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".json": _records}
    if path.suffix not in readers:
        raise LogError(f"{path}: logs end in {', '.join(readers)}, not {path.suffix!r}")
    if not path.exists():
        raise LogError(f"{path}: no such file", remedy="Check the path")
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
        raise LogError(f"{path}: no such file", remedy="Check the path")
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
    graded = _graded(log, where, row)
    known = {model: found for model, found in graded.items() if found.get("score") not in (None, "")}
    log.left_out.update(f"no score of {model}" for model in graded.keys() - known.keys())
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


def _graded(log: Log, where: str, row: JsonMapping) -> dict[str, Mapping[str, Any]]:
    """What a row says of each model."""
    if "model" in row:
        if not isinstance(row["model"], str) or not row["model"].strip():
            raise LogError(f"{where}: the model is {row['model']!r}, not a name")
        return {row["model"]: row}
    outcomes = row.get("outcomes")
    if isinstance(outcomes, str) and outcomes.lstrip().startswith(("{", "[")):  # nested in a cell of a table
        try:
            outcomes = json.loads(outcomes)
        except ValueError as error:
            raise LogError(f"{where}: its outcomes are not JSON: {error}") from None
    if isinstance(outcomes, list):
        if not all(isinstance(each, Mapping) and isinstance(each.get("model"), str) for each in outcomes):
            raise LogError(f"{where}: each of its outcomes needs a model and a score")
        return {each["model"]: each for each in outcomes}
    if isinstance(outcomes, Mapping):
        return {str(m): found if isinstance(found, Mapping) else {"score": found} for m, found in outcomes.items()}
    if "outcomes" in row:
        raise LogError(f"{where}: its outcomes are {outcomes!r}, not a score for each model")
    wide: dict[str, Mapping[str, Any]] = {}
    for name, value in row.items():
        if not isinstance(name, str) or name in NOT_MODELS or "|" in name:
            continue
        if _MEASURES.fullmatch(name):
            log.left_out[f"column {name}: a measure, no model"] += 1
        elif _is_missing(value) or _looks_graded(value):
            wide[name] = {"score": None if _is_missing(value) else value}
        else:
            log.left_out[f"column {name}: text, no score"] += 1
    return wide


def _is_missing(value: object) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return True
    return value is None or (isinstance(value, str) and value.strip().casefold() in _MISSING)


def _looks_graded(value: object) -> bool:
    """Whether a cell is meant as a score: a number, or a spelling of right and wrong."""
    if isinstance(value, str):
        bare = value.strip().casefold()
        return bare in _SPELLED or _NUMBER.fullmatch(bare) is not None
    return isinstance(value, bool | int | float)


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
        turns = [(str(m.get("role")), _said(m.get("content"))) for m in messages if isinstance(m, Mapping)]
        asks = [index for index, (role, said) in enumerate(turns) if role == "user" and said.strip()]
        if asks:
            return judged_text(turns[asks[-1]][1], turns[: asks[-1]])
    raise LogError(f"{where}: no text under any of {', '.join(QUERY_NAMES)}, messages")


def _score(where: str, model: str, value: Any) -> float:
    try:
        score = _number(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        raise LogError(f"{where}: the score of {model!r} is {value!r}, not a number in [0, 1]") from None
    if not 0.0 <= score <= 1.0:
        raise LogError(f"{where}: the score of {model!r} is {score!r}, not a number in [0, 1]")
    return score


def _number(written: str) -> float:
    """A number as people write it. Raises `ValueError` on anything else."""
    bare = written.strip().casefold()
    if bare in _SPELLED:
        return _SPELLED[bare]
    found = _NUMBER.fullmatch(bare)
    if found is None:
        raise ValueError(written)
    return float(found[1].replace(",", ".")) / (100.0 if found[2] else 1.0)


def _said(content: JsonValue) -> str:
    """The text of a message: itself, or that of its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


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


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, however long the file. Raises `LogError` where it is not UTF-8 or UTF-16."""
    with path.open("rb") as file:
        mark = file.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as lines:
            for number, line in enumerate(lines):
                yield line if number else line.lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise LogError(
            f"{path}: not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'} text (byte {error.start} of a block): "
            f"save it "
            "as UTF-8"
        ) from None


def _jsonl(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LogError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise LogError(f"{path}:{number}: not a JSON object")
        yield f"{path}:{number}", row


def _csv(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    csv.field_size_limit(MAX_CELL_CHARS)
    lines = _lines(path)
    header = next(lines, "")
    delimiter = max(",;\t", key=header.count)
    try:
        for number, row in enumerate(csv.DictReader(chain([header], lines), delimiter=delimiter), start=2):
            if None in row:
                raise LogError(f"{path}:{number}: more cells than the header has: quote text that holds {delimiter!r}")
            yield f"{path}:{number}", row
    except csv.Error as error:
        raise LogError(f"{path}: no table: {error}") from None


def _parquet(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    try:
        import pyarrow.parquet as parquet  # optional and heavy: extra `train`
    except ImportError:
        raise LogError(f"{path}: reading parquet needs the extra `train`") from None
    number = 0
    for batch in parquet.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            yield f"{path}, row {number}", row
            number += 1


def _records(path: Path) -> Iterable[tuple[str, JsonMapping]]:
    try:
        found = json.loads("".join(_lines(path)))
    except (ValueError, RecursionError) as error:
        raise LogError(f"{path}: not JSON: {error}") from None
    records = found.get("records") if isinstance(found, dict) else None
    name = found.get("model_name") or found.get("model") if isinstance(found, dict) else None
    if not isinstance(records, list) or not name:
        raise LogError(f"{path}: expected an object with `model_name` and a list `records`")
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise LogError(f"{path}, record {number}: not an object")
        yield f"{path}, record {number}", {**record, "model": name}
