"""How well a memory finds what a question needs: on conversations of one's own, with the turns that answer.

One JSON object a line: turns, `{"conversation", "id", "text", "speaker", "time", "session"}` (all but id and text
optional), and questions, `{"conversation", "question", "evidence": [ids], "category"}`. LoCoMo (Maharana et al. 2024),
LongMemEval (Wu et al. 2025) and others are brought into this form by a few lines of a script.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.encodings import read_decoded
from orchestrator.memory.memory import Memory
from orchestrator.memory.record import NewRecord, Scope

CUTS = (5, 10, 25, 50)
BUDGETS = (200, 400, 600, 800, 1_000, 1_300, 1_700, 2_500, 4_000)  # tokens
USUAL_BUDGET = 1_000
SESSIONS = 5  # of the ranking of sessions
WANTED_EVIDENCE = 0.9
MAX_TOLD = 5


@dataclass(frozen=True, slots=True)
class EvidenceQuestion:
    """A question, and the ids of the turns of its conversation that answer it. `category` groups questions."""

    text: str
    evidence: frozenset[str]
    category: str = ""


@dataclass(slots=True)
class JudgedConversation:
    """Turns by their ids, in order, and questions about them."""

    turns: dict[str, NewRecord] = field(default_factory=dict)
    questions: list[EvidenceQuestion] = field(default_factory=list)


def read_conversations(path: str | Path) -> dict[str, JudgedConversation]:
    """Conversations of a .jsonl file by name. Raises `InvalidRecord` with the line that cannot be read, or where a
    question names turns that are not there.
    """
    found: dict[str, JudgedConversation] = {}
    for number, line in enumerate(read_decoded(Path(path)).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            of = found.setdefault(str(row.get("conversation", "")), JudgedConversation())
            _add_row(of, row)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidRecord(
                f"{path}:{number}: {_reason(error)}. A turn is {{id, text, speaker, time, session}}, a question "
                f"{{question, evidence: [ids]}}"
            ) from None
    _check_questions(path, found)
    return found


def _check_questions(path: str | Path, found: Mapping[str, JudgedConversation]) -> None:
    unknown = [
        f"{', '.join(sorted(asked.evidence - each.turns.keys()))} of {asked.text!r}" + (f" in {name}" if name else "")
        for name, each in found.items()
        for asked in each.questions
        if not asked.evidence <= each.turns.keys()
    ]
    if unknown:
        raise InvalidRecord(f"{path}: evidence that is the id of no turn: {'; '.join(unknown[:MAX_TOLD])}")
    if not any(each.questions for each in found.values()):
        raise InvalidRecord(f"{path}: holds no question with evidence")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error}" if " " not in str(error) else str(error).strip("'")
    return str(error)


def _add_row(of: JudgedConversation, row: JsonMapping) -> None:
    if "question" in row:
        stated = row["evidence"]
        evidence = frozenset([stated] if isinstance(stated, str) else map(str, stated))
        if not isinstance(row["question"], str) or not row["question"].strip():
            raise ValueError("a question is a text that is not empty")
        if evidence:
            of.questions.append(EvidenceQuestion(row["question"], evidence, str(row.get("category", ""))))
        return
    when = datetime.fromisoformat(row["time"]) if row.get("time") else None
    if str(row["id"]) in of.turns:
        raise KeyError(f"turn {row['id']} is there twice")
    speaker, session = str(row.get("speaker") or row.get("role") or ""), str(row.get("session") or "")
    of.turns[str(row["id"])] = NewRecord(row["text"], speaker, when, session)


def evaluate_recall(memory: Memory, conversations: Mapping[str, JudgedConversation]) -> dict[str, JsonValue]:
    """What a memory finds, after it was given the turns, each conversation in a scope of its own.

    Returns:
        recall_at_5, 10, 25, 50: mean share of a question's evidence among the first so many turns.
        recall_in_1000_tokens: in a context of at most so many tokens. tokens_for_90: how many tokens the context has on
        average when it holds 90 % of the evidence, over budgets between 200 and 4,000 (`None` if it never does).
        session_ndcg_at_5, session_recall_at_5: of the sessions in the order of their best turns.
        by_category: recall at 10 and the number of questions. recall_p50_ms: median time of a recall. questions.
    """
    asked = [
        (scope, question, ids) for scope, ids, each in _stored(memory, conversations) for question in each.questions
    ]
    found: dict[str, list[float]] = {}
    by_category: dict[str, list[float]] = {}
    packed: list[list[_Packed]] = []
    for scope, question, ids in asked:
        wanted = {ids[turn] for turn in question.evidence}
        for name, value in _ranked(memory, scope, question.text, wanted).items():
            found.setdefault(name, []).append(value)
        by_category.setdefault(question.category, []).append(found["recall_at_10"][-1])
        packed.append([_packed(memory, scope, question.text, wanted, budget) for budget in BUDGETS])
    usual = [each[BUDGETS.index(USUAL_BUDGET)] for each in packed]
    columns = list(zip(*packed, strict=True))
    curve = [(_mean(each.tokens for each in at), _mean(each.share for each in at)) for at in columns]
    return {
        **{name: round(_mean(values), 4) for name, values in found.items()},
        "recall_in_1000_tokens": round(_mean(each.share for each in usual), 4),
        "tokens_for_90": tokens_for(WANTED_EVIDENCE, curve),
        "by_category": {
            name: {"recall_at_10": round(_mean(values), 4), "questions": len(values)}
            for name, values in sorted(by_category.items())
        },
        "recall_p50_ms": round(statistics.median(each.ms for each in usual), 3),
        "questions": len(asked),
    }


class _Packed(NamedTuple):
    """What a context holds of the evidence, its size, and how long it took."""

    share: float
    tokens: int
    ms: float


def _packed(memory: Memory, scope: str, question: str, wanted: set[int], budget: int) -> _Packed:
    start = time.perf_counter()
    context = memory.recall(question, scope, token_budget=budget)
    ms = (time.perf_counter() - start) * 1_000
    return _Packed(len(wanted & {item.record.id for item in context.items}) / len(wanted), context.tokens, ms)


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _ranked(memory: Memory, scope: str, question: str, wanted: set[int]) -> dict[str, float]:
    """What is found among the first turns, and sessions."""
    items = memory.recall(question, scope, token_budget=10**9, limit=max(CUTS)).items
    ranking = [item.record.id for item in items]
    found = {f"recall_at_{k}": len(wanted & set(ranking[:k])) / len(wanted) for k in CUTS}
    ndcg, recalled = _by_session(memory, scope, wanted, [item.record.session for item in items])
    return found | {"session_ndcg_at_5": ndcg, "session_recall_at_5": recalled}


def tokens_for(evidence: float, curve: Sequence[Sequence[float]]) -> int | None:
    """The tokens at which a curve of (mean tokens, mean share of the evidence) reaches a share; `None` if nowhere."""
    for (tokens, share), (more, larger) in pairwise(curve):
        if share < evidence <= larger:
            return round(tokens + (more - tokens) * (evidence - share) / (larger - share))
    return round(curve[0][0]) if curve and curve[0][1] >= evidence else None


def _stored(
    memory: Memory, conversations: Mapping[str, JudgedConversation]
) -> Iterable[tuple[str, dict[str, int], JudgedConversation]]:
    for number, each in enumerate(conversations.values()):
        scope = f"evaluation/{number}"
        stored = memory.remember_many(list(each.turns.values()), scope)
        yield scope, {turn: record.id for turn, record in zip(each.turns, stored, strict=True)}, each


def _by_session(memory: Memory, scope: str, wanted: set[int], sessions: Sequence[str]) -> tuple[float, float]:
    """nDCG@5 and recall@5 of sessions in the order of their best turns."""
    right = {record.session for record in memory.store.get(Scope.parse(scope), wanted).values()}
    first = list(dict.fromkeys(sessions))[:SESSIONS]
    gain = sum(1 / math.log2(place + 2) for place, session in enumerate(first) if session in right)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(right), SESSIONS)))
    return gain / ideal, len(right & set(first)) / len(right)
