"""Fits how models do in each class of answers (no call of a tool, one, several), after Dawid & Skene 1979."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from orchestrator.search.vote_model import ANY_MODEL, CALL_CLASSES, CALLS, NO_CALL, VoteModel
from orchestrator.search.vote_table import NO_ANSWER, VoteTable
from orchestrator.search.wrong_answers import Array, Indices

IMAGINED_IN_CLASS = 4.0  # answers of a class that are right as often as a model's usual ones, before any outcome
IMAGINED_STRAYS = 3.0  # wrong answers that stray as those of all models do, before any outcome


def with_classes(model: VoteModel, table: VoteTable) -> VoteModel:
    """`model` with how models do in each class of answers; the same where the answers of `table` have one class.

    Which class is right is known where somebody is right. A model's ability and its strays lean on those of all models
    where it answered few questions of a class.
    """
    if not any(key.startswith(CALLS) for keys in table.keys for key in keys):
        return model
    named = VoteModel(classes=tuple((name, 1.0) for name in CALL_CLASSES))
    said = np.full(table.groups.shape, NO_ANSWER)
    for row, keys in enumerate(table.keys):
        classes = [named.class_of(key) for key in keys]
        said[row] = [NO_ANSWER if group == NO_ANSWER else classes[group] for group in table.groups[row]]
    truth = np.where(table.right.any(axis=1), said[np.arange(len(table)), table.right.argmax(axis=1)], NO_ANSWER)
    n = len(CALL_CLASSES)
    known = np.array([(truth == each).sum() for each in range(n)])
    wrong = np.array(
        [[((truth == t)[:, None] & ~table.right & (said == s)).sum(axis=0) for s in range(n)] for t in range(n)]
    )  # (class that is right, class that is said, models)
    shares = ((known + 1.0) / (known.sum() + n)).tolist()
    return replace(
        model,
        classes=tuple(zip(CALL_CLASSES, shares, strict=True)),
        ability=_abilities(table, truth),
        strays=_strays(table.models, wrong.astype(float)),
    )


def _abilities(table: VoteTable, truth: Indices) -> tuple[tuple[str, str, float], ...]:
    found = []
    for column, model in enumerate(table.models):
        p = float(table.p_success[column])
        for number, name in enumerate(CALL_CLASSES):
            of_class = table.right[truth == number, column]
            there = (of_class.sum() + IMAGINED_IN_CLASS * p) / (len(of_class) + IMAGINED_IN_CLASS)
            found.append((model, name, round(float(np.log(there / (1 - there)) - np.log(p / (1 - p))), 4)))
    return tuple(found)


def _strays(models: Sequence[str], wrong: Array) -> tuple[tuple[str, str, str, float], ...]:
    pooled = wrong.sum(axis=2)
    possible = 1.0 - np.eye(len(CALL_CLASSES)) * np.array([name == NO_CALL for name in CALL_CLASSES])
    pooled = (pooled + possible) / (pooled + possible).sum(axis=1, keepdims=True)
    found = []
    for column, model in [*enumerate(models), (None, ANY_MODEL)]:
        counted = 0.0 if column is None else wrong[:, :, column]
        share = counted + IMAGINED_STRAYS * pooled
        share = share / share.sum(axis=1, keepdims=True)
        for t, truth in enumerate(CALL_CLASSES):
            found += [(model, truth, said, round(float(share[t, s]), 4)) for s, said in enumerate(CALL_CLASSES)]
    return tuple(found)
