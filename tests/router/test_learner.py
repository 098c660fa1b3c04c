"""Learning from outcomes as they come in: abilities, heads that must earn their place, and independence of order."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.router import Learner, ModelProfile, Outcome, Router, SuccessModel
from orchestrator.router.learning.train import train

NEW = ModelProfile("new", skill=0.5)
SUMS = [f"What is {a} plus {a * 7 + 3}? Add the two numbers." for a in range(300)]
LAW = [f"May the landlord in case {a} keep the deposit of the tenant under the statute?" for a in range(300)]


def trained() -> SuccessModel:
    """Two models of which one knows sums and the other law."""
    texts = [*SUMS[:60], *LAW[:60]]
    outcomes = [Outcome(t, "adder", float("plus" in t)) for t in texts] + [
        Outcome(t, "lawyer", float("statute" in t)) for t in texts
    ]
    return train(outcomes, buckets=1 << 12)


def outcomes_of_the_new_model(n: int, seed: int = 0) -> list[Outcome]:
    """Right on 95 % of the sums and 10 % of the law."""
    rng = np.random.default_rng(seed)
    texts = [str(t) for t in rng.permutation([*SUMS[60:], *LAW[60:]])[:n]]
    return [Outcome(t, "new", float(rng.random() < (0.95 if "plus" in t else 0.1))) for t in texts]


def test_a_model_that_differs_by_domain_earns_a_head_of_its_own() -> None:
    learner = Learner(trained())
    few = learner.learn(outcomes_of_the_new_model(30))
    assert learner.own_heads == ()
    many = learner.learn(outcomes_of_the_new_model(300, seed=1))
    assert learner.own_heads == ("new",)
    apart = [model.predict(SUMS[5], [NEW])["new"] - model.predict(LAW[5], [NEW])["new"] for model in (few, many)]
    assert apart[1] > 0.6 > apart[0]
    assert many.predict(SUMS[5], [ModelProfile("adder")]) == pytest.approx(
        few.predict(SUMS[5], [ModelProfile("adder")]), abs=0.01
    )


def test_a_model_whose_outcomes_follow_no_pattern_earns_none() -> None:
    rng = np.random.default_rng(3)
    learner = Learner(trained())
    model = learner.learn([Outcome(t, "new", float(rng.random() < 0.7)) for t in [*SUMS[60:180], *LAW[60:180]]])
    assert learner.own_heads == ()
    assert model.predict(SUMS[5], [NEW])["new"] == pytest.approx(0.7, abs=0.12)


def test_outcomes_in_two_halves_teach_what_they_teach_at_once() -> None:
    outcomes, base = outcomes_of_the_new_model(40), trained()
    at_once, halves = Learner(base), Learner(base)
    whole = at_once.learn(outcomes)
    halves.learn(outcomes[20:])
    assert halves.learn(outcomes[:20]).abilities["new"].bias == pytest.approx(whole.abilities["new"].bias, abs=1e-6)


def test_a_bad_score_is_refused_and_nothing_is_forgotten() -> None:
    learner = Learner(SuccessModel())
    before = learner.learn([Outcome("q", "new", 0.0)] * 10, {"new": NEW})
    with pytest.raises(ValueError, match="score nan is not"):
        learner.learn([Outcome("q", "new", 1.0), Outcome("q", "new", float("nan"))], {"new": NEW})
    assert learner.learn([]) is before


def test_a_learned_head_survives_saving(tmp_path: object) -> None:
    learner = Learner(trained())
    model = learner.learn(outcomes_of_the_new_model(300))
    model.save(str(tmp_path))
    loaded = SuccessModel.load(str(tmp_path))
    assert loaded.predict(LAW[5], [NEW])["new"] == pytest.approx(model.predict(LAW[5], [NEW])["new"], abs=0.01)


def test_a_swapped_model_begins_to_learn_anew() -> None:
    router = Router(SuccessModel())
    router.learn([Outcome("q", "new", 0.0)] * 20, {"new": NEW})
    router.success = SuccessModel()
    router.learn([Outcome("q", "new", 1.0)], {"new": NEW})
    assert router.success.predict("q", [NEW])["new"] > 0.5
