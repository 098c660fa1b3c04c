"""How models err together: guessable answers, pulls, copies, hopeless questions.

One vote after the other and all questions at once.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.search.belief import VoteState, believe, replay, start, success_given_ease, vote
from orchestrator.search.calibration.vote_fitting import fit_vote_model, scaled
from orchestrator.search.guessing import information_bits
from orchestrator.search.vote_model import VoteModel
from orchestrator.search.vote_table import GradedQuestion, Votes, VoteTable
from orchestrator.search.wrong_answers import wrong_shares
from orchestrator.verifiers import group_answers, read_answer

MODELS = ("a", "b", "c", "d")
KEYS = (
    "literal:True",
    "literal:False",
    "number:7",
    "number:540",
    "choice:B of 4",
    "text:a long answer that nobody guesses",
    "g1",
    "g2",
)

probabilities = st.floats(0.05, 0.95)
vote_models = st.builds(
    VoteModel,
    spread=st.floats(0, 4),
    concentration=st.floats(0.5, 16),
    guessing=st.floats(0, 1),
    hopeless=st.floats(0, 0.2),
    easier=st.floats(0, 0.8),
    pulls=st.tuples(*(st.tuples(st.just(name), st.floats(0.2, 3)) for name in MODELS)),
    copying=st.tuples(
        st.tuples(st.just("a"), st.just("b"), st.floats(0, 0.95)),
        st.tuples(st.just("b"), st.just("d"), st.floats(0, 0.5)),
    ),
)
classes = ("calls:none", "calls:one", "calls:several")
CALL_KEYS = ("calls:none", "calls:one:5,4#1", "calls:one:7#2", "calls:several:Bern,Rom#3", "calls:several:Bern#4")
call_models = st.builds(
    lambda model, shares, shift, none, one: replace(
        model,
        classes=tuple(zip(classes, shares, strict=True)),
        ability=(("a", "calls:none", shift), ("b", "calls:several", -shift)),
        strays=tuple(
            (who, truth, said, p)
            for who in ("a", "*")
            for truth, row in zip(
                classes, ((0.0, one, 1 - one), (none, 1 - none, 0.0), (none, 0.2, 0.8 - none)), strict=True
            )
            for said, p in zip(classes, row, strict=True)
        ),
    ),
    vote_models,
    st.tuples(*[st.floats(0.1, 1)] * 3),
    st.floats(-2, 2),
    st.floats(0.1, 0.7),
    st.floats(0.1, 0.9),
)
call_questions = st.lists(
    st.lists(st.tuples(st.one_of(st.none(), st.sampled_from(CALL_KEYS)), st.booleans()), min_size=4, max_size=4),
    min_size=1,
    max_size=5,
)
questions = st.lists(
    st.lists(st.tuples(st.one_of(st.none(), st.sampled_from(KEYS)), st.booleans()), min_size=4, max_size=4),
    min_size=1,
    max_size=5,
)


def graded(cells: list[tuple[str | None, bool]]) -> GradedQuestion:
    keys, right = ({name: cell[i] for name, cell in zip(MODELS, cells, strict=True)} for i in (0, 1))
    return GradedQuestion(keys, right, dict.fromkeys(MODELS, 0.001))


def agreed(key: str, model: VoteModel, voters: tuple[str, ...] = ("a", "b"), p: float = 0.7) -> float:
    state = replay([(key, p)] * len(voters), model, voters=list(voters))
    return state.best


# ---- guessing ----


def test_an_answer_takes_as_many_bits_as_others_were_possible() -> None:
    assert information_bits("literal:True") == information_bits("yes_no:no") == 1.0
    assert information_bits("choice:C of 4") == 2.0
    assert information_bits("choice:C of 10") == pytest.approx(np.log2(10))
    rising = [
        information_bits(key)
        for key in ("literal:3", "number:42", "number:540", "literal:[1, 2, 3, 4, 5]", "text:" + "x" * 60)
    ]
    assert all(low < high for low, high in pairwise(rising))
    assert information_bits("behaviour:1f3a") == information_bits("") == 10.0


def test_an_option_tells_of_how_many_it_is_one() -> None:
    question = "Which is a metal?\n(A) Oxygen\n(B) Iron\n(C) Neon\n(D) Helium"
    readings = [read_answer(text, question) for text in ("The answer is (B).", "B", "The answer is (C).")]
    assert group_answers(readings, question).keys == ("choice:B of 4", "choice:B of 4", "choice:C of 4")


@pytest.mark.parametrize("easier", [0.0, 0.3])
def test_agreement_on_a_guessable_answer_is_weaker(easier: float) -> None:
    model = VoteModel(easier=easier, typical_bits=12.0)
    gain = {
        key: agreed(key, model) - replay([(key, 0.7)], model).best
        for key in ("literal:True", "number:7", "text:" + "long " * 20)
    }
    assert gain["literal:True"] < gain["number:7"] < gain["text:" + "long " * 20]


def test_short_answers_are_easier_where_that_was_learned() -> None:
    model = VoteModel(easier=0.3, typical_bits=12.0)
    one = {key: replay([(key, 0.6)], model).best for key in ("literal:True", "text:" + "long " * 20)}
    assert one["literal:True"] > 0.6 > one["text:" + "long " * 20]


# ---- copies ----


def test_agreement_grows_with_no_number_of_models_that_copy_each_other() -> None:
    names = tuple(f"copy{i}" for i in range(12))
    model = VoteModel(copying=tuple((one, other, 0.99) for i, one in enumerate(names) for other in names[:i]))
    alone, of_all = agreed("number:540", model, names[:1]), agreed("number:540", model, names)
    assert of_all == pytest.approx(alone, abs=0.02)
    assert agreed("number:540", VoteModel(), names) > 0.95


def test_who_contradicts_a_model_that_it_copies_is_heard_in_full() -> None:
    model = VoteModel(copying=(("a", "b", 0.9),))
    copied, independent = (
        replay([("number:1", 0.7), ("number:2", 0.7)], m, voters=["a", "b"]) for m in (model, VoteModel())
    )
    shares = [state.weights.sum(axis=1) / state.total for state in (copied, independent)]
    assert shares[0] == pytest.approx(shares[1])


def test_a_weak_model_that_agrees_with_a_strong_one_tells_more_than_another_strong_one_of_equal_skill() -> None:
    model = VoteModel(pulls=(("strong", 2.0), ("alike", 2.0), ("odd", 0.4)))
    assert agreed("number:540", model, ("strong", "odd")) > agreed("number:540", model, ("strong", "alike"))


# ---- the model as a whole ----


@given(vote_models, st.lists(st.tuples(st.sampled_from(KEYS), probabilities, st.sampled_from(MODELS)), max_size=5))
@settings(max_examples=60, deadline=None)
def test_what_may_come_next_adds_up(model: VoteModel, cast: list[tuple[str, float, str]]) -> None:
    """Under every hypothesis a wrong vote goes somewhere, and outcomes of one more vote add up to what was before."""
    state = replay([(key, p) for key, p, _ in cast], model, voters=[voter for *_, voter in cast])
    joined, new = wrong_shares(np.array(state.sizes), state.by_chance, np.array(state.concentration(model)))
    assert joined.sum(axis=0) - np.append(np.diagonal(joined), 0.0) + new == pytest.approx(1.0)
    if state.keys:
        right = success_given_ease(np.array([0.6]), model)[0]
        after = [vote(state, key, right, model, voter="c").total for key in (*state.keys, "g3")]
        assert sum(after) == pytest.approx(state.total, rel=0.01)


@given(
    call_models,
    st.lists(st.tuples(st.sampled_from(CALL_KEYS), probabilities, st.sampled_from(MODELS)), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_what_may_come_next_adds_up_where_answers_have_classes(
    model: VoteModel, cast: list[tuple[str, float, str]]
) -> None:
    state = replay([(key, p) for key, p, _ in cast], model, voters=[voter for *_, voter in cast])
    right = success_given_ease(np.array([0.6]), model, ["c"])[0]
    unseen = [f"{name}:new" for name in classes[1:]] + ["calls:none"]
    after = [vote(state, key, right, model, voter="c").total for key in dict.fromkeys((*state.keys, *unseen))]
    assert sum(after) == pytest.approx(state.total, rel=0.03)  # but for what is left for answers not yet seen


@given(st.one_of(st.tuples(vote_models, questions), st.tuples(call_models, call_questions)))
@settings(max_examples=120, deadline=None)
def test_all_questions_at_once_are_believed_as_one_after_the_other(
    drawn: tuple[VoteModel, list[list[tuple[str | None, bool]]]],
) -> None:
    model, cells = drawn
    table = VoteTable.of([graded(row) for row in cells])
    right = success_given_ease(np.array([0.5, 0.6, 0.7, 0.8]), model, MODELS)
    rng = np.random.default_rng(0)
    order, asked = rng.permutation(4), rng.random((len(table), 4)) < 0.8
    votes = Votes(table, model)
    for column in order:
        votes.add(int(column), right[column], asked[:, column])
    leaders, believed = votes.believed()
    for row, question in enumerate(cells):
        state: VoteState = start(model)
        for column in order:
            if asked[row, column]:
                state = vote(state, question[column][0], right[column], model, voter=MODELS[column])
        assert votes.weights[row].sum() == pytest.approx(state.total)
        if state.keys:
            assert believed[row] == pytest.approx(state.best)
            shares = dict(zip(state.keys, state.weights[:-1].sum(axis=1), strict=True))
            assert shares[table.keys[row][leaders[row]]] == pytest.approx(max(shares.values()))
        else:
            assert leaders[row] == -1


@given(st.one_of(vote_models, call_models))
def test_a_vote_model_survives_a_file(model: VoteModel) -> None:
    import json

    assert VoteModel(**json.loads(json.dumps(asdict(model)))) == model


@pytest.mark.parametrize(
    "wrong",
    [
        {"slope": float("nan")},
        {"spread": float("inf")},
        {"guessing": "x"},
        {"pulls": ((1, 0.5),)},
        {"pulls": (("a", 0.0),)},
        {"copying": (("a", "b", 1.0),)},
        {"hopeless": 1.0},
        {"hopeless": -0.1},
        {"typical_bits": 0.0},
        {"spread": -1.0},
    ],
)
def test_a_vote_model_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|lie"):
        VoteModel(**wrong)  # type: ignore[arg-type]


# ---- fitting ----


def simulated(n: int, *, seed: int = 0, copies: float = 0.0, hopeless: float = 0.0) -> list[GradedQuestion]:
    """Four models of a one-dimensional ease; `b` says with P(copies) what `a` says.

    Wrong answers are spread over twenty.
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        ease = -9.0 if rng.random() < hopeless else rng.normal(0, 1.5)
        right = {
            name: bool(rng.random() < 1 / (1 + np.exp(-(bias + ease))))
            for name, bias in zip(MODELS, (0.5, 0.6, 1.0, 2.5), strict=True)
        }
        keys = {name: "number:100" if ok else f"number:{101 + int(rng.integers(20))}" for name, ok in right.items()}
        if rng.random() < copies:
            right["b"], keys["b"] = right["a"], keys["a"]
        found.append(GradedQuestion(keys, right, {"a": 0.0001, "b": 0.0002, "c": 0.0005, "d": 0.01}))
    return found


def test_fitting_finds_who_copies_whom_and_nobody_else() -> None:
    found = {(one, other): p for one, other, p in fit_vote_model(VoteTable.of(simulated(500, copies=0.7))).copying}
    assert 0.4 < found.pop(("a", "b")) < 0.85
    assert max(found.values(), default=0.0) < 0.1
    independent = fit_vote_model(VoteTable.of(simulated(500))).copying
    assert max((p for *_, p in independent), default=0.0) < 0.1


@pytest.mark.parametrize("copies", [1, 2, 4, 8])
def test_one_model_under_many_names_is_believed_like_one(copies: int) -> None:
    rng, questions = np.random.default_rng(0), []
    names = [f"x{i}" for i in range(copies)]
    for _ in range(200):
        ok, other = rng.random() < 0.7, rng.random() < 0.6
        key = "number:100" if ok else f"number:{101 + int(rng.integers(20))}"
        keys = {**dict.fromkeys(names, key), "y": "number:100" if other else f"number:{101 + int(rng.integers(20))}"}
        questions.append(
            GradedQuestion(keys, {**dict.fromkeys(names, bool(ok)), "y": bool(other)}, dict.fromkeys(keys, 0.001))
        )
    model = fit_vote_model(VoteTable.of(questions))
    assert replay([("number:100", 0.7)] * copies, model, voters=names).best == pytest.approx(0.7, abs=0.05)


def test_fitting_finds_that_some_questions_are_hopeless() -> None:
    without, some = (fit_vote_model(VoteTable.of(simulated(800, hopeless=h))).hopeless for h in (0.0, 0.1))
    assert some > 0.04
    assert without < some


def test_a_fitted_belief_holds_on_other_questions() -> None:
    train, test = VoteTable.of(simulated(600, copies=0.6)), VoteTable.of(simulated(3_000, seed=1, copies=0.6))
    model = fit_vote_model(train)
    votes = Votes(test, model)
    for column, right in enumerate(success_given_ease(train.p_success, model)):
        votes.add(column, right)
    leaders, believed = votes.believed()
    right = test.right_hypotheses()[np.arange(len(test)), leaders]
    order = np.argsort(believed)
    for part in np.array_split(order, 4):
        assert right[part].mean() == pytest.approx(believed[part].mean(), abs=0.06)


def test_without_any_wrong_pair_the_model_stays_as_it_was_assumed() -> None:
    right = [GradedQuestion(dict.fromkeys("ab", "number:1"), dict.fromkeys("ab", True), dict.fromkeys("ab", 0.1))] * 3
    fitted = fit_vote_model(VoteTable.of(right))
    assert fitted.concentration == pytest.approx(4.0, rel=0.05)
    assert all(pull == pytest.approx(1.0) for _, pull in fitted.pulls)


def test_the_stated_confidence_is_scaled_to_what_came_of_it() -> None:
    rng = np.random.default_rng(0)
    believed = rng.uniform(0.6, 0.999, 4_000)
    log_odds = np.log(believed / (1 - believed))
    right = rng.random(4_000) < 1 / (1 + np.exp(-(0.4 * log_odds + 0.3)))
    model = scaled(VoteModel(), believed, right)
    assert (model.slope, model.intercept) == (pytest.approx(0.4, abs=0.1), pytest.approx(0.3, abs=0.2))
    assert model.stated(0.99) < 0.93
    assert (model.stated(0.0), model.stated(1.0)) == (0.0, 1.0)
    assert VoteModel().stated(0.987) == 0.987
    few = scaled(VoteModel(), np.array([0.9, 0.9]), np.array([True, True]))
    assert few.stated(0.9) == pytest.approx(0.9, abs=0.05)


def test_believing_needs_no_names() -> None:
    assert believe([("number:540", 0.7), ("number:540", 0.7)]).confidence > 0.8


def test_who_often_says_nothing_is_believed_more_when_it_speaks() -> None:
    """A model that is right on half of all questions, and silent on most others, is right on most that it answers."""
    rng, questions = np.random.default_rng(0), []
    for n in range(300):
        right = bool(rng.random() < 0.5)
        said = "number:100" if right else None if rng.random() < 0.8 else f"number:{200 + n}"
        questions.append(GradedQuestion({"a": said, "b": "number:100"}, {"a": right, "b": True}, {"a": 0.1, "b": 0.1}))
    table = VoteTable.of(questions)
    model = fit_vote_model(table)
    assert dict(model.silence)["a"] == pytest.approx(0.8, abs=0.1)
    assert replay([("number:100", 0.5)], model, voters=["a"]).best == pytest.approx(0.83, abs=0.06)
    assert replay([("number:100", 0.5)], model, voters=["unknown"]).best == pytest.approx(0.5, abs=0.02)


def test_one_vote_is_stated_as_it_is_believed() -> None:
    model = VoteModel(slope=0.5, intercept=1.0)
    assert model.stated(0.7, votes=1) == 0.7
    assert model.stated(0.7, votes=2) != 0.7
