"""How honest the confidence of quotations from memory is: `python -m benchmarks.extractive --data DIR --json FILE`.

Each question is answered by the extractive model from what memory recalls in 1,000 tokens; right is a quotation of a
record that holds evidence. Keys: `answered` (share of questions), `right` (share of the answers), `mean_confidence`,
`ece` (expected calibration error, ten bins of equal size) and `auc`, of the conversations written for this project
(`own`: small memories, half of them without the answer, one for each conversation, and one of all; each with weights
that were learned from the other conversations) and of LoCoMo (`locomo`, with the shipped weights, which
never saw it); `curve` are mean confidence and share right by bin. `--fit` prints weights learned from all of the former
(extra `train`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import judged_of, load
from benchmarks.output import write_json
from orchestrator.backends.local import extractive
from orchestrator.memory import Memory
from orchestrator.memory.evaluation import EvidenceQuestion, JudgedConversation
from orchestrator.memory.training.tune import CONVERSATIONS, read_conversations

BINS = 10
SIGNS = [name for name in extractive.WEIGHTS if name != "start"]
INVERSE_PENALTY = 1.0
Recalled = tuple[str, str, set[int], Any]


def own_conversations() -> dict[str, JudgedConversation]:
    found = {}
    for each in read_conversations(CONVERSATIONS.read_text(encoding="utf-8").splitlines()):
        asked = [EvidenceQuestion(text, frozenset(map(str, turns))) for text, turns in each.questions]
        found[each.name] = JudgedConversation({str(i): turn for i, turn in enumerate(each.turns)}, asked)
    return found


def recalled_for(conversations: dict[str, JudgedConversation], *, together: bool) -> Iterator[Recalled]:
    """(conversation, question, ids of its evidence, what is recalled); in one scope or one for each conversation."""
    with Memory() as memory:
        ids_of, scope_of = {}, {}
        for number, (name, each) in enumerate(conversations.items()):
            scope_of[name] = "all" if together else f"own/{number}"
            stored = memory.remember_many(list(each.turns.values()), scope_of[name])
            ids_of[name] = {turn: record.id for turn, record in zip(each.turns, stored, strict=True)}
        for name, each in conversations.items():
            for asked in each.questions:
                items = memory.recall(asked.text, scope_of[name], token_budget=1_000).items
                yield name, asked.text, {ids_of[name][turn] for turn in asked.evidence}, items


def recalled_of_few(conversations: dict[str, JudgedConversation]) -> Iterator[Recalled]:
    """The same of small memories: what answers, for every second question only, and three turns that do not."""
    with Memory() as memory:
        for name, each in conversations.items():
            turns = list(each.turns)
            for number, asked in enumerate(each.questions):
                others = [turn for turn in turns if turn not in asked.evidence][number % 7 :: max(len(turns) // 4, 1)][
                    :3
                ]
                held = [turn for turn in turns if turn in others or (turn in asked.evidence and number % 2 == 0)]
                scope = f"few/{name.replace(' ', '-')}/{number}"
                stored = memory.remember_many([each.turns[turn] for turn in held], scope)
                right = {record.id for turn, record in zip(held, stored, strict=True) if turn in asked.evidence}
                yield name, asked.text, right, memory.recall(asked.text, scope, token_budget=1_000).items


def own_recalled() -> list[Recalled]:
    """Small memories, memories of one conversation, and one of all together."""
    own = own_conversations()
    return [*recalled_of_few(own), *recalled_for(own, together=False), *recalled_for(own, together=True)]


def examples(recalled: list[Recalled]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Signs of what is chosen and plainly said, and whether its record is evidence."""
    x, y = [], []
    for _, question, right, items in recalled:
        chosen = extractive.choose(question, items)
        if chosen is not None and chosen[2]:
            x.append([chosen[1][sign] for sign in SIGNS])
            y.append(chosen[0].record.id in right)
    return np.array(x), np.array(y, dtype=float)


def fitted(recalled: list[Recalled]) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression  # optional: extra `train`

    x, y = examples(recalled)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=5_000).fit(x, y)
    weights = dict(zip(SIGNS, model.coef_[0].tolist(), strict=True))
    return {"start": float(model.intercept_[0]), **weights}


def answered(recalled: list[Recalled], weights: dict[str, float]) -> list[tuple[float, bool]]:
    """Confidence and rightness of each answer."""
    before = dict(extractive.WEIGHTS)
    extractive.WEIGHTS.update(weights)
    try:
        found = ((extractive.extract(question, items), right) for _, question, right, items in recalled)
        return [(quoted.confidence, quoted.record.id in right) for quoted, right in found if quoted is not None]
    finally:
        extractive.WEIGHTS.update(before)


def told(answers: list[tuple[float, bool]], questions: int) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score  # optional: extra `train`

    order = sorted(answers, key=lambda answer: answer[0])
    bins = [order[len(order) * i // BINS : len(order) * (i + 1) // BINS] for i in range(BINS)]
    curve = [(float(np.mean([p for p, _ in each])), float(np.mean([r for _, r in each]))) for each in bins if each]
    sizes = [len(each) for each in bins if each]
    ece = float(np.average([abs(p - r) for p, r in curve], weights=sizes))
    return {
        "questions": questions,
        "answered": round(len(answers) / questions, 4),
        "right": round(float(np.mean([r for _, r in answers])), 4),
        "mean_confidence": round(float(np.mean([p for p, _ in answers])), 4),
        "ece": round(ece, 4),
        "auc": round(float(roc_auc_score([r for _, r in answers], [p for p, _ in answers])), 4),
        "curve": [[round(p, 3), round(r, 3)] for p, r in curve],
    }


def measure(data: Path) -> dict[str, Any]:
    own = own_recalled()
    answers = []
    for left_out in dict.fromkeys(name for name, *_ in own):
        others = [each for each in own if each[0] != left_out]
        answers += answered([each for each in own if each[0] == left_out], fitted(others))
    judged = {str(i): judged_of(conversation) for i, conversation in enumerate(load(data))}
    locomo = list(recalled_for(judged, together=False))
    shipped = answered(locomo, dict(extractive.WEIGHTS))
    return {"own": told(answers, len(own)), "locomo": told(shipped, len(locomo))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    if arguments.fit:
        for name, weight in fitted(own_recalled()).items():
            print(f'    "{name}": {weight:.3f},')
        return
    write_json(measure(arguments.data), arguments.json)


if __name__ == "__main__":
    main()
