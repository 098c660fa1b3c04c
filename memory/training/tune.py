"""Learns how much each sign of relevance counts: `python -m orchestrator.memory.training.tune` (extra `train`).

From memory/training/conversations.txt alone: invented conversations, all in one scope, so that each question has to
find its turns among everybody's. Strongly regularised, because they are few: a weight that they do not speak clearly
about stays small.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from orchestrator.memory.encoders.encoder import default_encoder
from orchestrator.memory.memory import Memory
from orchestrator.memory.record import NewRecord, Scope
from orchestrator.memory.retrieval.ranking import first_links
from orchestrator.memory.retrieval.relevance import LINKED, SIGNALS, WEIGHTS, Asked, Scores, Weights, signals_of
from orchestrator.memory.retrieval.scope_index import ScopeIndex

CONVERSATIONS = Path(__file__).with_name("conversations.txt")
INVERSE_PENALTY = 0.02
_TURN = re.compile(r"(?P<speaker>[^:]+): (?P<text>.*?)(?: \{(?P<label>\w+)\})?")


@dataclass(slots=True)
class Conversation:
    """Turns in order, and questions with the indices of the turns that answer them."""

    name: str
    turns: list[NewRecord] = field(default_factory=list)
    questions: list[tuple[str, list[int]]] = field(default_factory=list)


def read_conversations(lines: Iterable[str]) -> Iterator[Conversation]:
    """The format is explained at the head of the file. Raises `ValueError` on a line that does not follow it."""
    current, labels, session = Conversation(""), dict[str, int](), ""
    for number, line in enumerate((line.rstrip("\n") for line in lines), start=1):
        turn = _TURN.fullmatch(line)
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            if current.turns:
                yield current
            current, labels = Conversation(line[3:]), {}
        elif line.startswith("-- "):
            session = line[3:]
        elif line.startswith("? "):
            question, _, wanted = line[2:].partition(" -> ")
            current.questions.append((question, [labels[label] for label in wanted.split(", ")]))
        elif turn is not None:
            if turn["label"]:
                labels[turn["label"]] = len(current.turns)
            time = datetime.fromisoformat(session).replace(tzinfo=UTC)
            current.turns.append(NewRecord(turn["text"], turn["speaker"], time, f"{current.name} {session}"))
        else:
            raise ValueError(f"line {number} is no conversation, session, turn or question: {line!r}")
    yield current


def fitted(conversations: list[Conversation]) -> tuple[Weights, int]:
    """The weights, and from how many pairs.

    What is linked is linked to what is found first: so first all other signs are weighed, then all.
    """
    n_records = sum(len(c.turns) for c in conversations)
    first = _fitted(*examples(conversations, None), n_records)
    x, y = examples(conversations, first)
    return _fitted(x, y, n_records), len(y)


def _fitted(x: Scores, y: Scores, n_records: int) -> Weights:
    from sklearn.linear_model import LogisticRegression  # optional and heavy: extra `train`

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=5_000).fit(x, y)
    return Weights(float(model.intercept_[0]), tuple(model.coef_[0].tolist()), n_records)


def examples(conversations: Iterable[Conversation], first: Weights | None) -> tuple[Scores, Scores]:
    """Signals of every record to every question, shape (pairs, signals), and whether the record answers it, shape
    (pairs,).

    Without weights for a `first` look, nothing is linked.
    """
    encoder = default_encoder()
    scope = Scope.parse("training")
    x, y = [], []
    with Memory(encoder=encoder) as memory:
        asked_of: list[tuple[str, list[int]]] = []
        for conversation in conversations:
            ids = [record.id for record in memory.remember_many(conversation.turns, scope)]
            asked_of += [(question, [ids[i] for i in turns]) for question, turns in conversation.questions]
        index = ScopeIndex(memory.store, scope, encoder)
        index.refresh()
        for question, right in asked_of:
            asked, everything = Asked.of(question, encoder, index, float(index.times.max())), np.arange(len(index))
            signals = signals_of(index, asked, everything)
            if first is not None:
                signals[:, LINKED] = first_links(index, asked, everything, first.log_odds(signals, len(index)))
            x.append(signals)
            y.append(np.isin(index.ids, right))
    return np.concatenate(x), np.concatenate(y).astype(float)


def main() -> None:
    """The command line: learns the weights and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    conversations = list(read_conversations(CONVERSATIONS.read_text(encoding="utf-8").splitlines()))
    learned, n_pairs = fitted(conversations)
    weights = {"intercept": learned.intercept, **dict(zip(SIGNALS, learned.weights, strict=True))}
    n_questions = sum(len(c.questions) for c in conversations)
    rounded = {name: round(weight, 4) for name, weight in weights.items()}
    made = {
        "made_by": "python -m orchestrator.memory.training.tune",
        "questions": n_questions,
        "records": learned.records,
        "weights": rounded,
    }
    arguments.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{n_questions} questions, {n_pairs} pairs; saved to {arguments.out}")
    for name, weight in rounded.items():
        print(f"  {name:16} {weight:+.3f}")


if __name__ == "__main__":
    main()
