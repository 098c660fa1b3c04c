"""The router: the success model, what it learns, the policy and its reasons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.router import (
    Constraints,
    Learner,
    ModelProfile,
    Needs,
    Outcome,
    Preference,
    Router,
    SuccessModel,
    reliability_weight,
)
from orchestrator.router.calibration import fit_logistic, sigmoid
from orchestrator.router.features.features import SURFACE, clean, grams, surface, words_of
from orchestrator.router.learning.train import train
from orchestrator.router.policy import choose

SMALL = ModelProfile("small", 0.1, 0.4, skill=0.6, context_tokens=8_000)
LARGE = ModelProfile("large", 2.0, 8.0, skill=0.95, capabilities=frozenset({"tools"}))
UNPRICED = ModelProfile("unpriced", skill=0.9)
FLEET = [SMALL, LARGE, UNPRICED]


def test_the_cheapest_adequate_model_is_chosen_and_every_other_one_gets_a_reason() -> None:
    route = choose(FLEET, {"small": 0.9, "large": 0.97, "unpriced": 0.99}, quality=0.85)
    assert (route.chosen, route.adequate) == ("small", True)
    assert route.option("large").rejected == "adequate, but dearer than small"
    assert all(bool(o.rejected) == (o.model != "small") for o in route.options)


def test_without_an_adequate_model_the_most_promising_one_is_a_marked_best_effort() -> None:
    route = choose(FLEET, {"small": 0.3, "large": 0.6, "unpriced": 0.5}, quality=0.85)
    assert (route.chosen, route.adequate) == ("large", False)
    assert "comes closest" in route.reason


@pytest.mark.parametrize(
    ("needs", "constraints", "chosen", "says"),
    [
        (Needs(10_000), None, "large", "window holds 8,000"),
        (Needs(capabilities=frozenset({"tools"})), None, "large", "lacks tools"),
        (None, Constraints(max_cost_usd=0.0005), "small", "would cost"),
        (None, Constraints(max_latency_s=0.1), None, "would take"),
        (None, Constraints(allowed=frozenset({"large"})), "large", "not among the allowed"),
    ],
)
def test_hard_constraints(needs: Needs | None, constraints: Constraints | None, chosen: str | None, says: str) -> None:
    route = choose([SMALL, LARGE], {"small": 0.99, "large": 0.99}, needs=needs, constraints=constraints)
    assert route.chosen == chosen
    assert any(says in option.rejected for option in route.options)
    assert {o.model for o in route.usable} == {o.model for o in route.options if not o.excluded}


@given(
    st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_no_adequate_model_is_cheaper_than_the_chosen_one(
    models: list[tuple[float, float, float]], quality: float
) -> None:
    profiles = [ModelProfile(f"m{i}", price_in, price_out) for i, (_, price_in, price_out) in enumerate(models)]
    route = choose(profiles, {f"m{i}": p for i, (p, _, _) in enumerate(models)}, quality=quality)
    assert route.chosen is not None
    best = route.option(route.chosen)
    for option in route.options:
        if route.adequate and option.p_success >= quality:
            assert (option.cost_usd or 0) >= (best.cost_usd or 0)
        assert option.p_success <= best.p_success or route.adequate


def test_a_model_that_knows_that_it_cannot_answer_is_ruled_out() -> None:
    route = choose([SMALL, LARGE], {"small": 0.0, "large": 0.3})
    assert (route.chosen, route.option("small").rejected) == ("large", "cannot answer this")
    assert choose([SMALL], {"small": 0.0}).chosen is None


def test_harder_questions_get_a_lower_chance_and_better_models_a_higher_one() -> None:
    router = Router()
    models = [ModelProfile("gemma-2-2b-it"), ModelProfile("gpt-4o-2024-08-06")]
    sum_ = "Tom has 3 apples and buys 4 more. How many apples does Tom have?"
    code = "def f(x):\n    for i in range(3):\n        x = x[::-1] + str(i)\n    return x.swapcase()\nWhat is f('aB')?"
    easy, hard = router.success.predict(sum_, models), router.success.predict(code, models)
    assert easy["gpt-4o-2024-08-06"] > easy["gemma-2-2b-it"]
    assert all(easy[m.name] > hard[m.name] for m in models)


def test_an_unknown_model_starts_from_its_stated_skill_or_from_the_model_it_is_like() -> None:
    success = SuccessModel()
    p = success.predict("anything", [ModelProfile("a", skill=0.6), ModelProfile("b", skill=0.9), ModelProfile("c")])
    assert p == pytest.approx({"a": 0.6, "b": 0.9, "c": 0.7})
    pretrained = Router().success
    like = pretrained.predict(
        "Why is the sky blue?",
        [ModelProfile("mine", like="gpt-4o-mini-2024-07-18"), ModelProfile("gpt-4o-mini-2024-07-18")],
    )
    assert like["mine"] == like["gpt-4o-mini-2024-07-18"]


def test_outcomes_move_the_prediction_towards_what_was_seen() -> None:
    router = Router(SuccessModel())
    before = router.success.predict("q", [SMALL])["small"]
    queries = [f"question number {i}" for i in range(60)]
    router.learn([Outcome(q, "small", 0.0) for q in queries], {"small": SMALL})
    after = router.success.predict("q", [SMALL])["small"]
    assert after < 0.1 < before
    router.learn([], {})
    assert router.success.predict("q", [SMALL])["small"] == pytest.approx(after)


def test_outcomes_of_an_unreliable_grader_move_less() -> None:
    assert reliability_weight(1.0) == 1.0
    assert reliability_weight(0.5) == 0.0
    moved = {}
    for accuracy in (0.7, 1.0):
        outcomes = [Outcome(f"q{i}", "small", 0.0, reliability_weight(accuracy)) for i in range(20)]
        moved[accuracy] = Learner(SuccessModel()).learn(outcomes, {"small": SMALL}).predict("q", [SMALL])["small"]
    assert moved[1.0] < moved[0.7] < 0.6
    with pytest.raises(ValueError, match="accuracy"):
        reliability_weight(1.2)
    with pytest.raises(ValueError, match="weight"):
        train([Outcome("q", "m", 1.0, 0.0)])


@pytest.mark.parametrize("score", [float("nan"), 1.5, -0.1])
def test_outcomes_that_are_no_scores_are_refused(score: float) -> None:
    router = Router(SuccessModel())
    with pytest.raises(ValueError, match="not a number in"):
        router.learn([Outcome("q", "small", score)], {"small": SMALL})


def test_known_probabilities_outrank_predictions() -> None:
    route = Router().route("What is 17 * 23?", FLEET, known={"small": 0.999})
    assert route.chosen == "small"
    assert route.option("small").p_success == 0.999
    with pytest.raises(ValueError, match="quality"):
        Router().route("q", FLEET, quality=1.5)


def test_saved_models_load_as_they_were_and_other_versions_are_refused(tmp_path: Path) -> None:
    trained = Router().success
    trained.save(tmp_path)
    again = SuccessModel.load(tmp_path)
    models = [ModelProfile(name) for name in trained.abilities]
    question = "Explain why 17 is prime."
    assert again.predict(question, models) == pytest.approx(trained.predict(question, models), abs=1e-3)
    (tmp_path / "router.json").write_text(json.dumps({"format": 0, "abilities": {}}))
    with pytest.raises(ValueError, match="train again"):
        SuccessModel.load(tmp_path)
    with pytest.raises(ValueError, match="no trained weights"):
        SuccessModel().save(tmp_path)


def test_damaged_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    Router().success.save(tmp_path)
    described, weights = (tmp_path / name for name in ("router.json", "router.npz"))
    good_text, good_bytes = described.read_text(encoding="utf-8"), weights.read_bytes()
    for content in (b"", good_bytes[: len(good_bytes) // 2], b"PK", b"garbage"):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=r"train again|router\.npz|pickle"):
            SuccessModel.load(tmp_path)
    weights.write_bytes(good_bytes)
    for changes in ({"models": []}, {"scales": None}, {"abilities": {"a": None}}, {"buckets": "x"}):
        described.write_text(json.dumps(json.loads(good_text) | changes), encoding="utf-8")
        with pytest.raises(ValueError, match="train again"):
            SuccessModel.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="train-router"):
        SuccessModel.load(tmp_path / "nowhere")
    described.write_text(good_text, encoding="utf-8")
    assert SuccessModel.load(tmp_path).fingerprint == Router().success.fingerprint


def test_the_shipped_weights_stay_small() -> None:
    folder = Path(__file__).parents[2] / "router" / "pretrained"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    assert (folder / "README.md").exists()


@given(st.text(max_size=300))
def test_features_are_finite_for_any_text(text: str) -> None:
    words = words_of(cleaned := clean(text))
    found = surface(cleaned, words)
    assert len(found) == len(SURFACE)
    assert np.isfinite(found).all()
    indices = grams(words, 512)
    assert len(indices) == max(2 * len(words.plain) - 1, 0)
    assert ((indices >= 0) & (indices < 512)).all()


def test_features_of_a_huge_text_read_its_ends_only() -> None:
    text = "start " + "x " * 1_000_000 + " end"
    assert len(clean(text)) < 3_000
    assert {"start", "end"} <= set(words_of(clean(text)).plain)


@pytest.mark.parametrize("dressed", ["HI THERE! {}", "Hello, I hope you are well. {}", "Good morning! {}", "hey,\n{}"])
def test_greetings_and_case_do_not_count(dressed: str) -> None:
    question = "What is the capital of Burkina Faso, and why?"
    assert clean(dressed.format(question)) == clean(question.upper())


def synthetic_outcomes(n: int, seed: int = 0) -> list[Outcome]:
    """Two kinds of query: on sums `good` is better than `bad`, on poems the other way round."""
    rng = np.random.default_rng(seed)
    outcomes = []
    for number in range(n):
        is_sum = number % 2 == 0
        a, b = rng.integers(10, 99, 2)
        query = (
            f"Add {a} to {b} and give the total."
            if is_sum
            else f"Write a poem about the {['sea', 'wind', 'harbour'][number % 3]} and night {a}."
        )
        for model, p in (("good", 0.95 if is_sum else 0.4), ("bad", 0.3 if is_sum else 0.9)):
            outcomes.append(Outcome(query, model, float(rng.random() < p)))
    return outcomes


GOOD, BAD = ModelProfile("good"), ModelProfile("bad")


def test_training_learns_which_model_is_better_at_what_and_survives_saving(tmp_path: Path) -> None:
    model = train(synthetic_outcomes(300), buckets=1 << 12)
    sum_, poem = model.predict_many(
        ["Add 31 to 44 and give the total.", "Write a poem about the wind and night 12."], [GOOD, BAD]
    )
    assert sum_[0] > 0.8 > 0.5 > sum_[1]
    assert poem[1] > 0.75 > 0.6 > poem[0]
    model.save(tmp_path)
    assert SuccessModel.load(tmp_path).predict_many(["Add 31 to 44 and give the total."], [GOOD, BAD])[
        0
    ] == pytest.approx(sum_, abs=5e-3)


def test_a_query_unlike_all_that_was_trained_on_is_judged_by_skill_where_nothing_is_stated() -> None:
    model = train(synthetic_outcomes(300), buckets=1 << 12)
    strange = "\n".join(f'{{"k{i}": [{i}, null, "ß"]}};' for i in range(60))
    usual = [model.familiarity(o.query) for o in synthetic_outcomes(100, seed=5)]
    assert np.mean(usual) > 0.9
    assert model.familiarity(strange) < 0.1
    skill = model.abilities["good"].bias
    plain = SuccessModel(model.space, model.heads, model.abilities)
    assert abs(np.log(p := plain.predict(strange, [GOOD])["good"]) - np.log(1 - p) - skill) < 1.0
    assert 0.05 < model.predict(strange, [GOOD])["good"] < p  # such a text is stated to be harder than sums and poems


def test_batches_predict_what_single_queries_do() -> None:
    model = train(synthetic_outcomes(60), buckets=1 << 12)
    queries = ["Add 1 to 2.", "", "Write a poem about the sea."]
    together = model.predict_many(queries, [GOOD, BAD])
    for row, query in zip(together, queries, strict=True):
        assert list(model.predict(query, [GOOD, BAD]).values()) == pytest.approx(row.tolist(), abs=1e-5)
    assert model.predict_many([], [GOOD]).shape == (0, 1)
    assert model.predict_many(queries, []).shape == (3, 0)


def test_training_bears_missing_graded_repeated_one_sided_and_few_outcomes() -> None:
    few = train([Outcome("a b c", "m", 1.0), Outcome("a b c", "m", 0.5), Outcome("d e f", "n", 0.25)], buckets=64)
    assert set(few.abilities) == {"m", "n"}
    one_sided = train([Outcome(f"question {i}", "m", 1.0) for i in range(10)], buckets=64)
    assert 0.7 < one_sided.predict("question 3", [ModelProfile("m")])["m"] < 1.0
    with pytest.raises(ValueError, match="no outcomes"):
        train([])
    for score in (float("nan"), 2.0):
        with pytest.raises(ValueError, match=r"outcome of .m. on "):
            train([Outcome("q", "m", 1.0), Outcome("q", "m", score)])


class TwoLetters:
    """An encoder of two dimensions."""

    fingerprint = "letters:2"

    def encode(self, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([[text.count("a") + 0.1, text.count("e") + 0.1] for text in texts], dtype=np.float32)


def test_the_encoder_of_training_is_needed_to_load(tmp_path: Path) -> None:
    model = train(synthetic_outcomes(60), encoder=TwoLetters(), buckets=256)  # type: ignore[arg-type]
    model.save(tmp_path)
    with pytest.raises(ValueError, match="letters:2"):
        SuccessModel.load(tmp_path)
    again = SuccessModel.load(tmp_path, encoder=TwoLetters())  # type: ignore[arg-type]
    assert again.predict("Add 1 to 2.", [GOOD])
    assert again.predict_many([], [GOOD]).shape == (0, 1)
    assert Learner(again).learn([]).abilities == again.abilities


@pytest.mark.parametrize(("objective", "chosen"), [("cheapest", "small"), ("best", "large"), ("utility", "large")])
def test_objectives(objective: str, chosen: str) -> None:
    p = {"small": 0.85, "large": 0.97}
    route = choose([SMALL, LARGE], p, preference=Preference(objective, 0.8, value_usd=1.0))  # type: ignore[arg-type]
    assert route.chosen == chosen
    assert all(o.rejected for o in route.options if o.model != chosen)
    poor = choose([SMALL, LARGE], p, preference=Preference("utility", value_usd=0.001))
    assert poor.chosen == "small"
    capped = choose([SMALL, LARGE], p, preference=Preference("best"), constraints=Constraints(max_cost_usd=0.001))
    assert capped.chosen == "small"


def test_leaving_the_model_whose_cache_holds_the_conversation_costs_the_cache() -> None:
    here, there = ModelProfile("here", 3.0, 15.0, 0.3, skill=0.9), ModelProfile("there", 1.5, 7.5, 0.15, skill=0.9)
    p = {"here": 0.9, "there": 0.9}
    fresh = choose([here, there], p, needs=Needs(50_000))
    assert fresh.chosen == "there"
    held = choose([here, there], p, needs=Needs(50_000, cached_tokens={"here": 48_000}, current="here"))
    assert held.chosen == "here"
    assert (held.option("there").cost_usd or 0) > (fresh.option("there").cost_usd or 0)


def test_when_everything_is_ruled_out_the_constraint_to_relax_is_named() -> None:
    p = {"small": 0.9, "large": 0.9}
    route = choose([SMALL, LARGE], p, constraints=Constraints(max_latency_s=0.1))
    assert route.chosen is None
    assert "relaxing max_latency_s alone would allow small" in route.reason
    both = choose([SMALL, LARGE], p, needs=Needs(10**9), constraints=Constraints(max_latency_s=0.1))
    assert "no single constraint" in both.reason
    assert choose([], {}).reason == "no models"


def test_the_effective_context_counts_not_the_window() -> None:
    shallow = ModelProfile("shallow", 1.0, 1.0, context_tokens=128_000, effective_context_tokens=16_000)
    assert choose([shallow], {"shallow": 0.9}, needs=Needs(20_000)).chosen is None
    assert choose([shallow], {"shallow": 0.9}, needs=Needs(10_000)).chosen == "shallow"


def test_nan_predictions_rule_a_model_out() -> None:
    assert choose([SMALL, LARGE], {"small": float("nan"), "large": 0.5}).chosen == "large"


def test_many_routes_are_the_routes_one_by_one() -> None:
    queries = ["What is 2 + 2?", "Prove that there are infinitely many primes."]
    assert [r.chosen for r in Router().route_many(queries, FLEET)] == [Router().route(q, FLEET).chosen for q in queries]


def test_a_logistic_fit_finds_the_coefficients_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(20_000), rng.normal(size=20_000)])
    y = (rng.random(20_000) < sigmoid(x @ np.array([0.5, -1.5]))).astype(float)
    beta = fit_logistic(x, y, prior_mean=np.zeros(2), prior_sd=np.full(2, 10.0))
    assert beta == pytest.approx([0.5, -1.5], abs=0.08)
    # All right: the maximum likelihood is infinite, the prior keeps the fit finite.
    sure = fit_logistic(np.ones((50, 1)), np.ones(50), prior_mean=np.zeros(1), prior_sd=np.ones(1))
    assert 1.0 < sure[0] < 10.0


@pytest.mark.parametrize(
    "field",
    [{"input_usd_per_mtok": -1.0}, {"output_usd_per_mtok": float("nan")}, {"skill": 1.0}, {"tokens_per_s": 0.0}],
)
def test_impossible_profiles_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="model 'm'"):
        ModelProfile("m", **field)  # type: ignore[arg-type]


def test_cached_tokens_have_their_own_price_and_an_unknown_price_stays_unknown() -> None:
    profile = ModelProfile("m", 10.0, 20.0, 1.0)
    assert profile.cost_usd(1_000_000, 0, cached_tokens=500_000) == pytest.approx(5.5)
    assert profile.cost_usd(0, 1_000_000) == pytest.approx(20.0)
    assert UNPRICED.cost_usd(1, 1) is None
