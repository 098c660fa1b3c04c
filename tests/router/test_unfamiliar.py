"""Queries unlike all that was graded: they are called so, judged by what is stated of their kind, and learned fast."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from orchestrator.router import Constraints, Learner, ModelProfile, Outcome, Router, SuccessModel
from orchestrator.router.difficulty import stated_difficulty
from orchestrator.router.features.conversation import judged_text
from orchestrator.router.learning.kinds import fit_prior, stated_queries
from orchestrator.router.learning.train import train
from orchestrator.text.static_encoder import static_encoder
from tests.support.pages import in_page

ORDINARY = ModelProfile("ordinary", 0.1, 0.4, skill=0.8)
STRONG = ModelProfile("strong", 3.0, 15.0, skill=0.92)
# Five easy questions and four hard ones, none of which the stated kinds hold.
PARALLEL = json.loads((Path(__file__).parent / "questions_in_eleven_languages.json").read_text(encoding="utf-8"))
LANGUAGES = [name for name in PARALLEL[0] if name != "hard"]
HARDER = [
    ("Tell me a joke.", "Prove that the group of units of a finite field is cyclic."),
    ("What is 12 + 30?", "What is 83,412,907 x 61,988,034?"),
    ("Write a thank-you note to my aunt.", "Write a lock-free queue in C++ and prove that it is linearizable."),
    ("Who painted the Mona Lisa?", "Who was the second treasurer of the town of Narva in 1874?"),
    ("How do I boil rice?", "8/5k2/3p4/1p1Pp2p/pP2Pp1P/P4P1K/8/8 b - - 99 50 What is the best move?"),
]


def p_right(*queries: str, model: ModelProfile = ORDINARY) -> list[float]:
    """P(correct) of a model by the shipped router."""
    return Router().success.predict_many(queries, [model])[:, 0].tolist()


def by_difficulty(language: str) -> tuple[list[str], list[str]]:
    """The easy questions in that language, and the hard ones."""
    easy, hard = ([row[language] for row in PARALLEL if row["hard"] is is_hard] for is_hard in (False, True))
    return easy, hard


@pytest.mark.parametrize("language", LANGUAGES)
def test_hard_questions_are_harder_than_easy_ones_in_every_language(language: str) -> None:
    easy, hard = (p_right(*texts) for texts in by_difficulty(language))
    assert np.mean(easy) - np.mean(hard) > 0.08, (easy, hard)


def test_the_languages_of_the_page_are_as_measured() -> None:
    rows = ["| language | easy | hard |", "|---|---|---|"]
    for language in LANGUAGES:
        easy, hard = (np.mean(p_right(*texts)) for texts in by_difficulty(language))
        rows.append(f"| {language} | {easy:.2f} | {hard:.2f} |")
    table = "\n".join(rows) + "\n"
    assert in_page("router.md", "languages", table) == table


@pytest.mark.parametrize("row", PARALLEL, ids=[row["en"][:30] for row in PARALLEL])
def test_translating_a_question_moves_the_judgement_little(row: dict[str, str]) -> None:
    found = dict(zip(LANGUAGES, p_right(*(row[name] for name in LANGUAGES)), strict=True))
    assert max(abs(p - found["en"]) for p in found.values()) < 0.35, found


@pytest.mark.parametrize(("easy", "hard"), HARDER)
def test_harder_questions_of_no_known_kind_are_rated_harder(easy: str, hard: str) -> None:
    p_easy, p_hard = p_right(easy, hard)
    assert p_easy - p_hard > 0.1


@pytest.mark.parametrize("question", [row["en"] for row in PARALLEL])
def test_politeness_moves_the_judgement_little(question: str) -> None:
    plain, *polite = p_right(
        question,
        f"Hello! {question}",
        f"{question} Thank you very much in advance!",
        f"Could you please help me with this? {question} That would be great.",
    )
    assert max(abs(p - plain) for p in polite) < 0.15


@pytest.mark.parametrize("question", ["What is the capital of France?", *(hard for _, hard in HARDER[:3])])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_long_document_around_a_question_moves_the_judgement_little(question: str, place: str) -> None:
    sections = (f"Section {n}. The valve of pump {n} is opened by hand, and closed after {n} turns." for n in range(60))
    manual = "\n\n".join(sections)
    asked = f"{manual}\n\n{question}" if place == "before" else f"{question}\n\n{manual}"
    plain, within = p_right(question, judged_text(asked))
    assert abs(plain - within) < 0.05


def test_a_passage_that_belongs_to_its_question_is_read_with_it() -> None:
    passage = "Read this.\n\nThe river rose at night. It took the bridge.\n\nWhat did it take?"
    assert judged_text(passage) == passage


def test_a_model_of_more_skill_is_expected_to_do_better_on_anything() -> None:
    queries = [row[name] for row in PARALLEL for name in LANGUAGES]
    assert (np.array(p_right(*queries, model=STRONG)) > np.array(p_right(*queries))).all()


@pytest.mark.parametrize("text", ["", " ", "?", "\x00", "🤖" * 500, "a" * 5_000, "ß\u200d" * 50, "1" * 400])
def test_odd_texts_get_an_ordinary_probability(text: str) -> None:
    assert 0.02 < p_right(text)[0] < 0.99


def exam_questions(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    subjects = ["the liver", "inflation", "Kant's ethics", "covalent bonds", "the French Revolution", "osmosis"]
    verbs = ["best describes", "is caused by", "is an example of", "was first studied in", "depends on"]
    return [
        f"Which of the following {rng.choice(verbs)} {rng.choice(subjects)}?\nA. rise {i}\nB. fall\nC. trade\nD. heat"
        for i in range(n)
    ]


def trained_on_exams() -> SuccessModel:
    outcomes = [Outcome(text, "known", float(i % 10 < 8)) for i, text in enumerate(exam_questions(240))]
    return train(outcomes, encoder=static_encoder(), buckets=1 << 10, domains=20)


TOPICS = ("a crow", "the harbour", "my first bicycle", "snow in May", "an old clock", "leaving home")
POEMS = [f"Write a {form} about {topic}." for form in ("sonnet", "ballad", "villanelle", "rhyme") for topic in TOPICS]


def test_a_route_says_that_a_query_is_unlike_what_was_graded() -> None:
    router = Router(trained_on_exams())
    known = [router.route(text, [ORDINARY, STRONG]) for text in exam_questions(60, seed=1)]
    strange = [router.route(text, [ORDINARY, STRONG]) for text in POEMS]
    assert np.mean([route.unfamiliar for route in known]) <= 0.15
    assert np.mean([route.unfamiliar for route in strange]) >= 0.8
    assert "unlike those that were graded" in strange[0].reason
    assert strange[0].as_dict()["unfamiliar"] is True


def test_the_chance_of_an_unfamiliar_query_is_nearer_to_the_middle() -> None:
    model = trained_on_exams()
    star = ModelProfile("star", skill=0.99)
    assert model.predict(exam_questions(1)[0], [star])["star"] > model.predict(POEMS[0], [star])["star"] > 0.5
    hopeless = ModelProfile("hopeless", skill=0.02)
    assert model.predict(exam_questions(1)[0], [hopeless])["hopeless"] < model.predict(POEMS[0], [hopeless])["hopeless"]


def test_tens_of_outcomes_of_any_models_teach_how_hard_a_kind_is() -> None:
    base = trained_on_exams()
    exam, others = exam_questions(1, seed=9)[0], POEMS[::2]
    before = base.predict_many(others, [ORDINARY, STRONG])
    failures = [Outcome(text, name, 0.0) for text in POEMS[1::2] for name in ("known", "ordinary")]
    learned = Learner(base).learn(failures, {"ordinary": ORDINARY})
    after = learned.predict_many(others, [ORDINARY, STRONG])
    ordinary, strong = (before - after).mean(axis=0)
    assert ordinary > 0.25
    assert strong > 0.1  # nobody asked the strong one, but the kind turned out hard
    assert abs(learned.predict(exam, [STRONG])["strong"] - base.predict(exam, [STRONG])["strong"]) < 0.1
    assert learned.familiarity(others[0]) > base.familiarity(others[0])


def test_what_was_learned_of_kinds_survives_saving(tmp_path: Path) -> None:
    outcomes = [Outcome(text, name, float(i % 2)) for i, text in enumerate(POEMS) for name in ("known", "ordinary")]
    learned = Learner(trained_on_exams()).learn(outcomes, {"ordinary": ORDINARY})
    learned.save(tmp_path)
    again = SuccessModel.load(tmp_path)
    models = [ModelProfile("known"), ORDINARY, STRONG]
    assert again.predict_many(POEMS[:5], models) == pytest.approx(learned.predict_many(POEMS[:5], models), abs=0.01)
    assert again.familiarity(POEMS[0]) == pytest.approx(learned.familiarity(POEMS[0]), abs=0.01)


def test_learning_goes_on_where_saved_learning_ended(tmp_path: Path) -> None:
    failures = [Outcome(text, name, 0.0) for text in POEMS for name in ("known", "ordinary")]
    learned = Learner(trained_on_exams()).learn(failures, {"ordinary": ORDINARY})
    learned.save(tmp_path)
    before = learned.predict_many(POEMS, [ORDINARY, STRONG])
    for base in (SuccessModel.load(tmp_path), learned):
        more = Learner(base).learn([Outcome("What is osmosis good for?", "ordinary", 1.0)], {"ordinary": ORDINARY})
        assert np.abs(more.predict_many(POEMS, [ORDINARY, STRONG]) - before).max() < 0.12
        more.save(tmp_path / "again")
        again = SuccessModel.load(tmp_path / "again")
        assert again.predict_many(POEMS[:3], [STRONG]) == pytest.approx(
            more.predict_many(POEMS[:3], [STRONG]), abs=0.01
        )


def test_what_is_learned_of_a_kind_hardly_moves_others_for_models_that_were_not_asked() -> None:
    base = trained_on_exams()
    failures = [Outcome(text, name, 0.0) for text in POEMS for name in ("known", "ordinary")]
    learned = Learner(base).learn(failures, {"ordinary": ORDINARY})
    others = ["How does a knight move in chess?", "法国的首都是什么？", "def f(x): return x + 1  # what is f(3)?"]
    assert np.abs(learned.predict_many(others, [STRONG]) - base.predict_many(others, [STRONG])).max() < 0.2


def test_one_more_success_never_lowers_what_is_expected_of_its_query() -> None:
    base = trained_on_exams()
    failures = [Outcome(text, "ordinary", 0.0) for text in POEMS[:8]]
    for query in ("Rewrite this paragraph politely.", POEMS[10], "Was ist eine Ñandú?"):
        p = [
            Learner(base).learn(outcomes, {"ordinary": ORDINARY}).predict(query, [ORDINARY])["ordinary"]
            for outcomes in (failures, [*failures, Outcome(query, "ordinary", 1.0)])
        ]
        assert p[1] > p[0]
        faint = [*failures, Outcome(query, "ordinary", 1.0, weight=1e-9)]
        learned = Learner(base).learn(faint, {"ordinary": ORDINARY})
        assert learned.predict(query, [ORDINARY])["ordinary"] == pytest.approx(p[0], abs=0.05)


def test_threads_may_learn_at_once() -> None:
    router = Router(trained_on_exams())

    def teach(name: str) -> None:
        for n in range(10):
            router.learn([Outcome(POEMS[n], name, n % 2)], {name: ModelProfile(name, skill=0.7)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(teach, ["a", "b", "a", "b"]))
    assert {"a", "b"} <= set(router.success.abilities)


@pytest.mark.parametrize("ending", ["\n" * 1_000, " " * 500, "\u200b", "\ufeff", "\u00a0", "\n\n\n\n"])
def test_what_nobody_sees_does_not_count(ending: str) -> None:
    question = "Find all n such that n^2+1 divides n!+1."
    plain, dressed = p_right(question, question + ending)
    assert dressed == pytest.approx(plain, abs=0.01)


@pytest.mark.parametrize("question", ["What is the capital of France?", "Prove that e is irrational."])
@pytest.mark.parametrize("mark", ["|", "@", ",", "<", "?", "=", "."])
def test_rows_of_one_mark_move_little(question: str, mark: str) -> None:
    plain, *padded = p_right(question, question + mark * 30, question + mark * 1_000)
    assert max(abs(p - plain) for p in padded) < 0.25


def test_bad_numbers_of_profiles_limits_and_fleets_are_refused() -> None:
    with pytest.raises(ValueError, match="output_tokens"):
        ModelProfile("odd", output_tokens=float("nan"))
    with pytest.raises(ValueError, match="max_cost_usd"):
        Constraints(max_cost_usd=float("nan"))
    with pytest.raises(ValueError, match="one name"):
        Router().route("q", [ModelProfile("a", skill=0.5), ModelProfile("a", skill=0.9)])
    assert Router().route("q", (profile for profile in [ORDINARY])).chosen == "ordinary"


def test_a_known_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="known"):
        Router(trained_on_exams()).route("q", [ORDINARY], known={"ordinary": 2.0})


def test_numbers_do_not_make_a_query_strange() -> None:
    model = trained_on_exams()
    one, other = (f"Which of the following best describes inflation?\nA. rise {n}\nB. fall" for n in (17, 987_654))
    assert model.familiarity(other) == pytest.approx(model.familiarity(one), abs=0.1)


def test_the_shipped_prior_is_the_one_that_the_stated_kinds_give() -> None:
    queries = stated_queries()
    assert len({query.kind for query in queries}) > 40
    space = trained_on_exams().space
    assert space is not None
    looks = space.points([row["en"] for row in PARALLEL]).looks
    shipped = stated_difficulty()
    assert shipped is not None
    # Clusters may fall differently on another processor: the same to good approximation.
    assert np.abs(shipped.ease(looks, space.encoder) - fit_prior(queries).ease(looks, space.encoder)).max() < 0.5


def test_a_bad_share_in_the_stated_kinds_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "kinds.txt"
    path.write_text("# kinds\n## small talk | 1.2\nhello\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2.*strictly between 0 and 1"):
        stated_queries(path)


def test_alternatives_are_filled_and_repeatable(tmp_path: Path) -> None:
    path = tmp_path / "kinds.txt"
    path.write_text("## small talk | 0.9\n[hi|hello [there|you]], what is x[0]?\n", encoding="utf-8")
    texts = {query.text for query in stated_queries(path)}
    assert texts == {"hi, what is x[0]?", "hello there, what is x[0]?", "hello you, what is x[0]?"}
    assert stated_queries(path) == stated_queries(path)
