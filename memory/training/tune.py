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
from orchestrator.memory.retrieval.relevance import (
    LINKED,
    SIGNALS,
    WEIGHTS,
    Asked,
    Scores,
    Weights,
    shipped_weights,
    signals_of,
)
from orchestrator.memory.retrieval.scope_index import ScopeIndex

CONVERSATIONS = Path(__file__).with_name("conversations.txt")
INVERSE_PENALTY = 0.1  # what `--validate` chooses most often
PENALTIES = (0.005, 0.02, 0.1, 0.5, 2.0)
MIN_GAIN = 0.002  # in recall@10: what leaves the rest as good is kept, for conversations that are not like these
THINNED = 12  # of the wrong records one in so many is enough to choose
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


def validated(conversations: list[Conversation]) -> Iterator[tuple[str, float, float, tuple[str, ...], float]]:
    """Nested cross-validation over conversations (Varma & Simon 2006): nothing is chosen with what it is measured on.

    For each conversation that is left out: its name, recall@10 with all signs at `INVERSE_PENALTY`, recall@10 with the
    signs and the penalty that are best in cross-validation over the others, the signs that these leave out, and the
    penalty.
    """
    shown = _Shown.of(conversations)
    for left_out in conversations:
        others = [c.name for c in conversations if c.name != left_out.name]
        every = tuple(range(len(SIGNALS)))
        chosen, penalty = _chosen(shown, others, every)
        yield (
            left_out.name,
            shown.recall(left_out.name, others, every, INVERSE_PENALTY),
            shown.recall(left_out.name, others, chosen, penalty),
            tuple(SIGNALS[i] for i in every if i not in chosen),
            penalty,
        )


def _chosen(shown: _Shown, names: list[str], every: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
    """The penalty that is best over `names`, and the signs that are left when those go which nobody misses."""
    penalty = max(PENALTIES, key=lambda strength: shown.mean_recall(names, every, strength))
    signs, best = every, shown.mean_recall(names, every, penalty)
    while len(signs) > 1:
        shorter = [tuple(sign for sign in signs if sign != gone) for gone in signs]
        reached, fewer = max((shown.mean_recall(names, each, penalty), each) for each in shorter)
        if reached < best + MIN_GAIN:
            break
        signs, best = fewer, reached
    return signs, penalty


class _Shown:
    """Signs and answers of each question, by conversation; few of the wrong records, which are most."""

    def __init__(self, questions: dict[str, list[tuple[Scores, Scores]]]) -> None:
        self._questions = questions
        self._known: dict[tuple[object, ...], float] = {}

    @classmethod
    def of(cls, conversations: list[Conversation]) -> _Shown:
        """Everything that choosing needs, worked out once."""
        x, y = examples(conversations, shipped_weights())
        n_records = sum(len(c.turns) for c in conversations)
        names = [c.name for c in conversations for _ in c.questions]
        questions: dict[str, list[tuple[Scores, Scores]]] = {}
        for at, name in enumerate(names):
            rows = slice(at * n_records, (at + 1) * n_records)
            questions.setdefault(name, []).append((x[rows], y[rows]))
        return cls(questions)

    def mean_recall(self, names: list[str], signs: tuple[int, ...], penalty: float) -> float:
        """Recall@10 over `names`, each with weights from the others."""
        found = [self.recall(name, [n for n in names if n != name], signs, penalty) for name in names]
        return float(np.average(found, weights=[len(self._questions[name]) for name in names]))

    def recall(self, name: str, others: list[str], signs: tuple[int, ...], penalty: float) -> float:
        """Recall@10 of one conversation with weights from others."""
        key = (name, tuple(others), signs, penalty)
        if key not in self._known:
            from sklearn.linear_model import LogisticRegression  # optional and heavy: extra `train`

            picked = [_thinned(x, y) for other in others for x, y in self._questions[other]]
            x, y = np.concatenate([x for x, _ in picked]), np.concatenate([y for _, y in picked])
            stands_for = np.where(y > 0, 1.0, THINNED)  # so that the penalty means what it means with all records
            model = LogisticRegression(C=penalty, max_iter=2_000).fit(x[:, signs], y, sample_weight=stands_for)
            scores = [(signals[:, signs] @ model.coef_[0], right) for signals, right in self._questions[name]]
            self._known[key] = float(np.mean([right[np.argsort(-s)[:10]].sum() / right.sum() for s, right in scores]))
        return self._known[key]


def _thinned(x: Scores, y: Scores) -> tuple[Scores, Scores]:
    kept = (y > 0) | (np.arange(len(y)) % THINNED == 0)
    return x[kept], y[kept]


def main() -> None:
    """The command line: learns the weights and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--validate", action="store_true", help="tell what signs and penalty are worth; minutes")
    arguments = parser.parse_args()
    conversations = list(read_conversations(CONVERSATIONS.read_text(encoding="utf-8").splitlines()))
    if arguments.validate:
        for name, all_signs, chosen, gone, penalty in validated(conversations):
            print(
                f"{name:32} {all_signs:.3f} {chosen:.3f} at {penalty}, without {', '.join(gone) or 'none'}", flush=True
            )
        return
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
