"""Graded answers as arrays, and the belief of `belief.vote` for all questions at once: what calibration is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.belief import chance_of, ease_of_bits, start
from orchestrator.search.guessing import information_bits
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.wrong_answers import Array, Indices, class_masks, strays, wrong_shares
from orchestrator.verifiers import Ensemble, Verdict, group_answers, read_answer

Flags = NDArray[np.bool_]
NO_ANSWER = -1
LEAST_EVIDENCE = 1e-3  # the likelihood ratio of what a check rules out: what was then done is not on record


@dataclass(frozen=True, slots=True)
class GradedQuestion:
    """One calibration question.

    For each model the group key of its answer (`None`: it is none), whether it was right, and what it cost.

    `expected_usd` is what the engine expected it to cost before asking (empty: what it cost): decisions are made on
    that. `verdicts` are what checks said of each model's answer.
    """

    keys: Mapping[str, str | None]
    right: Mapping[str, bool]
    cost_usd: Mapping[str, float]
    expected_usd: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[str, Sequence[Verdict]] = field(default_factory=dict)

    @classmethod
    def of_texts(
        cls,
        question: str,
        answers: Mapping[str, str],
        right: Mapping[str, bool],
        cost_usd: Mapping[str, float],
        expected_usd: Mapping[str, float] | None = None,
    ) -> GradedQuestion:
        """From what each model wrote, and whether that was right.

        Answers that are the same are found by reading them.
        """
        keys = group_answers([read_answer(text, question) for text in answers.values()], question).keys
        return cls(dict(zip(answers, keys, strict=True)), dict(right), dict(cost_usd), dict(expected_usd or {}))


@dataclass(frozen=True)
class VoteTable:
    """Graded questions of one fleet. All but `chance` and `bits` have shape (questions, models).

    `groups` numbers a question's answers in order of `models`; -1 is no answer. `keys` are those of each question's
    groups, `chance` and `bits` what is known of them, shape (questions, models). `evidence` is the likelihood ratio of
    what checks say of each model's answer.
    """

    models: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    groups: Indices
    right: Flags
    usd: Array
    expected_usd: Array
    chance: Array
    bits: Array
    evidence: Array

    @classmethod
    def of(cls, questions: Sequence[GradedQuestion], ensemble: Ensemble | None = None) -> VoteTable:
        """Graded questions as arrays; `ensemble` says what verdicts are worth (`None`: nothing).

        Raises `ValueError` without questions, and where they do not name the same models.
        """
        if not questions:
            raise ValueError("calibration needs at least one graded question")
        models = tuple(sorted(questions[0].keys))
        if any(not (set(models) == set(q.keys) == set(q.right) == set(q.cost_usd)) for q in questions):
            raise ValueError("every graded question must name the same models")
        if not all(key is None or isinstance(key, str) for q in questions for key in q.keys.values()):
            raise ValueError("the keys of answers must be text, or None for what is none")
        if not models:
            raise ValueError("a graded question must name at least one model")
        prices = (usd for q in questions for named in (q.cost_usd, q.expected_usd) for usd in named.values())
        if not all(isinstance(usd, int | float) and math.isfinite(usd) and usd >= 0 for usd in prices):
            raise ValueError("what an answer costs must be a number of USD, at least 0")
        shape = len(questions), len(models)
        groups, chance, bits = np.full(shape, NO_ANSWER), np.zeros(shape), np.ones(shape)
        keys: list[tuple[str, ...]] = []
        for row, question in enumerate(questions):
            number: dict[str, int] = {}
            for column, model in enumerate(models):
                key = question.keys[model]
                if key is None:
                    continue
                group = groups[row, column] = number.setdefault(key, len(number))
                chance[row, group], bits[row, group] = chance_of(key), information_bits(key)
            keys.append(tuple(number))
        right = np.array(
            [[q.right[model] and q.keys[model] is not None for model in models] for q in questions], dtype=bool
        )
        usd = np.array([[q.cost_usd[model] for model in models] for q in questions], dtype=float)
        expected = np.array(
            [[q.expected_usd.get(model, q.cost_usd[model]) for model in models] for q in questions], dtype=float
        )
        evidence = np.array([[_worth(q.verdicts.get(model, ()), ensemble) for model in models] for q in questions])
        return cls(models, tuple(keys), groups, right, usd, expected, chance, bits, evidence)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def p_success(self) -> Array:
        """The share of right answers of each model, with one of two imagined ones right; shape (models,)."""
        return np.asarray((self.right.sum(axis=0) + 1.0) / (len(self) + 2.0))

    @property
    def mean_usd(self) -> Array:
        """What an answer of each model cost in the mean, in USD; shape (models,)."""
        return np.asarray(self.usd.mean(axis=0))

    def rows(self, rows: Indices) -> VoteTable:
        """The questions number `rows`."""
        keys = tuple(self.keys[row] for row in rows)
        return VoteTable(
            self.models,
            keys,
            self.groups[rows],
            self.right[rows],
            self.usd[rows],
            self.expected_usd[rows],
            self.chance[rows],
            self.bits[rows],
            self.evidence[rows],
        )

    def only(self, columns: Sequence[int]) -> VoteTable:
        """The models number `columns`, in that order. A group has the number of the first of them that says so."""
        said = self.groups[:, columns]
        first = (said[:, :, None] == said[:, None, :]).argmax(axis=2)
        rows = np.arange(len(self))[:, None]
        keys = tuple(
            tuple("" if group == NO_ANSWER else known[group] for group in row)
            for known, row in zip(self.keys, said.tolist(), strict=True)
        )
        return VoteTable(
            tuple(self.models[column] for column in columns),
            keys,
            np.where(said == NO_ANSWER, NO_ANSWER, first),
            self.right[:, columns],
            self.usd[:, columns],
            self.expected_usd[:, columns],
            self.chance[rows, said],
            self.bits[rows, said],
            self.evidence[:, columns],
        )

    def right_hypotheses(self) -> Flags:
        """Which groups are right, and last whether none is; shape (questions, models + 1).

        Graders sometimes call two forms right.
        """
        questions, models = self.groups.shape
        found = np.zeros((questions, models + 1), dtype=bool)
        rows, columns = np.nonzero(self.right & (self.groups != NO_ANSWER))
        found[rows, self.groups[rows, columns]] = True
        found[:, -1] = ~found.any(axis=1)
        return found


def _worth(verdicts: Sequence[Verdict], ensemble: Ensemble | None) -> float:
    """The likelihood ratio of verdicts on one answer."""
    return 1.0 if ensemble is None else max(ensemble.ratio(verdicts), LEAST_EVIDENCE)


class Votes:
    """Votes on all rows of a table, model by model.

    The weights of every hypothesis, shape (questions, models + 1, nodes).

    Rows of groups that nobody voted for yet are zero; the last is "none of them". See `belief.vote`.
    """

    def __init__(self, table: VoteTable, model: VoteModel) -> None:
        questions, groups = table.groups.shape
        self._table, self._model = table, model
        begin = start(model).weights
        self.weights = np.zeros((questions, groups + 1, begin.shape[1]))
        self.weights[:, -1] = begin
        self._sizes = np.zeros((questions, groups))
        self._seen = np.zeros((questions, groups), dtype=bool)
        self._concentration = np.full(questions, model.concentration)
        self._asked = np.zeros((questions, groups), dtype=bool)
        self._classes = np.zeros((questions, groups), dtype=np.intp)
        if model.classes:
            for row, keys in enumerate(table.keys):
                self._classes[row, : len(keys)] = [model.class_of(key) for key in keys]

    def add(self, column: int, right: Array, rows: Flags | None = None) -> None:
        """The vote of model number `column`, whose P(right | ease) is `right`, shape (nodes,), on those of `rows`
        (default: all).
        """
        table, model = self._table, self._model
        asked = np.ones(len(table), dtype=bool) if rows is None else rows
        said = table.groups[:, column]
        silent = asked & (said == NO_ANSWER)
        self.weights[silent] *= 1.0 - right
        at = np.flatnonzero(asked & (said != NO_ANSWER))
        group = said[at]
        first = ~self._seen[at].any(axis=1)
        for row, bits in zip(at[first].tolist(), table.bits[at[first], group[first]].tolist(), strict=True):
            self._concentration[row] = model.concentration_of(bits)
            self.weights[row] *= ease_of_bits(bits, model)
        pull = model.pull(table.models[column])
        concentration = self._concentration[at] / pull
        weights, sizes, seen = self.weights[at], self._sizes[at], self._seen[at]
        each = np.arange(len(at))
        kind = self._classes[at, group]
        alike = seen & (self._classes[at] == kind[:, None])
        joined, new = wrong_shares(sizes * alike, table.chance[at] * alike, concentration)
        is_new = ~seen[each, group]
        share = np.where(is_new[:, None], new, joined[each, group])
        likelihood = share[:, :, None] * ((1.0 - right) * (1.0 - model.p_silent(table.models[column])))
        if model.classes:
            likelihood *= strays(table.models[column], model)[kind][:, None]
        likelihood[each, group] = right
        p_copy, is_copied = self._copies(at, column, group)
        likelihood *= (1.0 - p_copy)[:, None, None]
        likelihood += (p_copy * is_copied)[:, None, None]
        opened = weights[:, -1] * class_masks(len(model.shares))[kind] * table.evidence[at, column][:, None]
        weights[each, group] = np.where(is_new[:, None], opened, weights[each, group])
        self.weights[at] = weights * likelihood
        self._sizes[at, group] += pull
        self._seen[at, group] = True
        self._asked[at, column] = True

    def _copies(self, at: Indices, column: int, group: Indices) -> tuple[Array, Flags]:
        """For each row P(the vote is a copy), and whether it says what it would then say."""
        table = self._table
        p_copy, is_copied = np.zeros(len(at)), np.zeros(len(at), dtype=bool)
        for other, name in enumerate(table.models):
            p = self._model.p_copies(table.models[column], name)
            said = table.groups[at, other]
            likelier = self._asked[at, other] & (p > p_copy)
            p_copy, is_copied = np.where(likelier, p, p_copy), np.where(likelier, said == group, is_copied)
        return p_copy, is_copied

    def believed(self) -> tuple[Indices, Array]:
        """The leading group of each row (-1 without any), and its posterior."""
        shares = self.weights.sum(axis=2)
        leader = np.argmax(shares[:, :-1], axis=1)
        p = shares[np.arange(len(shares)), leader] / shares.sum(axis=1)
        return np.where(self._seen.any(axis=1), leader, NO_ANSWER), p
