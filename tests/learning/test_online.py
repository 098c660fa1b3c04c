"""Learning from one's own traffic.

The decision log, feedback, exploration, observed speeds, and audits that move a certificate by themselves.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import ConfigError, InvalidQuery, OnlineConfig, Orchestrator, StorageError, UnknownAnswer
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.errors import BadResponse
from orchestrator.router import ModelProfile, Router, SuccessModel
from orchestrator.router.guarantee.certificate import Certificate, Promise
from orchestrator.router.guarantee.monitor import Guard
from orchestrator.router.learning.replay import replay
from orchestrator.storage import DecisionLog
from orchestrator.types import Completion, Usage

SCHEMA = {"type": "object", "required": ["n"]}


class Says(LocalBackend):
    """A model at the network's edge that gives one answer to everything, after a while."""

    def __init__(self, name: str, text: str, price: float = 1.0, *, skill: float = 0.7, latency_s: float = 0.0) -> None:
        super().__init__(ModelProfile(name, price, price, skill=skill))
        self.text, self.calls, self._latency_s = text, 0, latency_s

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        return Completion(self.profile.name, self.text, Usage(20, 50), self._latency_s)


def fleet(*backends: Says, path: Path | str = ":memory:", seed: int = 0, **settings: object) -> Orchestrator:
    named = {name: settings.pop(name) for name in list(settings) if name in OnlineConfig.model_fields}
    online = OnlineConfig(path=str(path), **named)  # type: ignore[arg-type]
    router = settings.pop("router", None) or Router(SuccessModel())
    return Orchestrator(
        {b.profile.name: b for b in backends}, online=online, router=router, rng=random.Random(seed), **settings
    )  # type: ignore[arg-type]


def p_right(orchestrator: Orchestrator, name: str) -> float:
    return orchestrator.route("How many lamps are there?").option(name).p_success


def test_feedback_moves_the_router_and_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with fleet(Says("a", "The answer is 1"), Says("b", "The answer is 2"), path=path, strategy="single") as first:
        before = p_right(first, "a")
        for number in range(12):
            answer = first.answer_sync(f"How many lamps are in crate {number}?", models=["a"])
            assert first.feedback_sync(answer, 0.0) == {"a": 0.0}
        moved = p_right(first, "a")
        assert moved < before - 0.2
    with fleet(Says("a", "The answer is 1"), Says("b", "The answer is 2"), path=path) as second:
        assert p_right(second, "a") == pytest.approx(moved, abs=1e-6)
        assert p_right(second, "b") == pytest.approx(before)


def test_feedback_grades_the_other_drafts_of_the_answer_too() -> None:
    backends = Says("a", "The answer is 1"), Says("b", "The answer is 2"), Says("c", "The answer is 2")
    with fleet(*backends, strategy="cascade", quality=1.0) as orchestrator:
        answer = orchestrator.answer_sync("How many lamps are there?")
        assert answer.text == "The answer is 2"
        assert orchestrator.feedback_sync(answer.id, 1.0) == {"a": 0.0, "b": 1.0, "c": 1.0}
        again = orchestrator.answer_sync("How many lamps are there now?")
        assert orchestrator.feedback_sync(again, 0.0) == {
            "b": 0.0,
            "c": 0.0,
        }  # `a` may be wrong as well: nothing is known of it
        third = orchestrator.answer_sync("How many lamps are there then?")
        assert orchestrator.feedback_sync(third, expected="1") == {"a": 1.0, "b": 0.0, "c": 0.0}


def test_a_short_sentence_that_holds_the_expected_answer_is_right() -> None:
    with fleet(Says("a", "The cat is called Bosun."), strategy="single") as orchestrator:
        answer = orchestrator.answer_sync("What is the cat called?")
        assert orchestrator.feedback_sync(answer, expected="Bosun") == {"a": 1.0}
        assert orchestrator.feedback_sync(answer, expected="Bo") == {"a": 0.0}


def test_a_corrected_grade_replaces_what_was_learned_and_a_worse_grader_does_not() -> None:
    with fleet(Says("a", "The answer is 1"), strategy="single") as orchestrator:
        before = p_right(orchestrator, "a")
        answer = orchestrator.answer_sync("How many lamps are there?")
        orchestrator.feedback_sync(answer, 0.0, reliability=0.9)
        assert p_right(orchestrator, "a") < before
        orchestrator.feedback_sync(answer, 1.0, reliability=0.95)
        corrected = p_right(orchestrator, "a")
        assert corrected > before
        orchestrator.feedback_sync(answer, 0.0, reliability=0.6)
        assert p_right(orchestrator, "a") == pytest.approx(corrected)


def test_feedback_that_makes_no_sense_is_refused() -> None:
    with fleet(Says("a", "The answer is 1")) as orchestrator:
        answer = orchestrator.answer_sync("How many lamps are there?")
        for arguments in (
            {},
            {"score": 1.0, "expected": "1"},
            {"score": 1.5},
            {"score": float("nan")},
            {"score": 1.0, "reliability": 0.5},
        ):
            with pytest.raises(InvalidQuery):
                orchestrator.feedback_sync(answer, **arguments)
        with pytest.raises(UnknownAnswer, match="no answer 'nobody'"):
            orchestrator.feedback_sync("nobody", 1.0)
        assert orchestrator.decisions is not None
        assert orchestrator.decisions.counts()["outcomes"] == 0
    with Orchestrator({"a": Says("a", "1")}) as without, pytest.raises(ConfigError, match="decision log"):
        without.feedback_sync("x", 1.0)


def test_free_text_is_graded_by_score_and_not_by_comparison() -> None:
    essay = "It depends on many things, among them the wind, the season and what the harbour master had for breakfast."
    with fleet(Says("a", essay), strategy="single") as orchestrator:
        answer = orchestrator.answer_sync("What makes a good harbour?")
        with pytest.raises(InvalidQuery, match="free text"):
            orchestrator.feedback_sync(answer, expected="the wind")
        assert orchestrator.feedback_sync(answer, 0.5) == {"a": 0.5}
        assert orchestrator.decisions is not None
        stored = orchestrator.decisions.find(answer.id)
        assert stored is not None
        assert "harbour master" not in repr(stored)  # answers are not kept


def test_a_failed_schema_teaches_without_anybody_saying_so() -> None:
    with fleet(Says("a", "no json"), Says("b", '{"n": 1}', 2.0), strategy="cascade", quality=1.0) as orchestrator:
        before = p_right(orchestrator, "a")
        for number in range(8):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?", schema=SCHEMA)
        assert p_right(orchestrator, "a") < before - 0.05
        assert p_right(orchestrator, "b") > p_right(orchestrator, "a") + 0.1


def test_exploring_asks_others_first_at_the_logged_rate_and_replay_can_use_it() -> None:
    with fleet(
        Says("a", "The answer is 1", 1.0),
        Says("b", "The answer is 2", 2.0),
        strategy="single",
        explore=0.3,
        learn=False,
    ) as orchestrator:
        for number in range(200):
            answer = orchestrator.answer_sync(f"How many lamps are in crate {number}?")
            orchestrator.feedback_sync(answer, expected="2")
        assert orchestrator.decisions is not None
        decisions = orchestrator.decisions.decisions()
    explored = [d for d in decisions if d.model == "b"]
    assert {round(d.propensity, 6) for d in explored} == {0.3}
    assert {round(d.propensity, 6) for d in decisions if d.model == "a"} == {0.7}
    assert 35 <= len(explored) <= 90
    found = replay(decisions, lambda query: "b", lambda query, model: 0.5, lambda query, model: 0.0)
    assert found.quality.low < 1.0 < found.quality.high + 0.05  # `b` is always right, though the log asked it seldom
    assert found.quality.value > 0.85


def test_exploration_keeps_its_price_limit() -> None:
    dear = Says("dear", "The answer is 2", 1_000.0)
    with fleet(
        Says("a", "The answer is 1"), dear, strategy="single", explore=0.9, explore_extra_usd=0.001
    ) as orchestrator:
        for number in range(30):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?")
    assert dear.calls == 0


def test_observed_speed_and_length_change_what_is_expected() -> None:
    with Orchestrator({"slow": Says("slow", "The answer is 1", latency_s=40.0)}, strategy="single") as orchestrator:
        before = orchestrator.route("How many?").option("slow")
        for number in range(40):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?")
        after = orchestrator.route("How many?").option("slow")
    assert after.latency_s > 3 * before.latency_s
    assert after.cost_usd is not None
    assert before.cost_usd is not None
    assert after.cost_usd < before.cost_usd / 2  # 50 tokens an answer instead of the stated 250


def test_a_scope_can_be_forgotten_with_all_that_is_known_of_it() -> None:
    with fleet(Says("a", "The answer is 1"), strategy="single") as orchestrator:
        mine = orchestrator.answer_sync("How many secrets are there?", scope="acme/ann")
        orchestrator.feedback_sync(mine, 1.0)
        orchestrator.answer_sync("How many lamps are there?", scope="acme/bob")
        log = orchestrator.decisions
        assert log is not None
        assert log.forget(scope="acme/ann") == 1
        assert log.counts() == {"decisions": 1, "outcomes": 0, "audits": 0}
        assert log.find(mine.id) is None
        assert [d.scope for d in log.recent(10)] == ["acme/bob"]


def test_the_log_refuses_files_that_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello " * 1_000)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    DecisionLog(tmp_path / "newer.db").close()
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for name, why in (("text.db", "not a database"), ("other.db", "no decision log"), ("newer.db", "schema 99")):
        with pytest.raises(StorageError, match=why):
            DecisionLog(tmp_path / name)
    with pytest.raises(StorageError, match="cannot open"):
        DecisionLog(tmp_path / "text.db" / "below.db")


def test_an_answer_is_not_lost_when_its_log_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with fleet(Says("a", "The answer is 1"), path=tmp_path / "log.db") as orchestrator:
        other = sqlite3.connect(tmp_path / "log.db")
        other.execute("DROP TABLE decisions")
        other.close()
        assert orchestrator.answer_sync("How many lamps are there?").text == "The answer is 1"
    assert "a decision was not logged" in caplog.text


def test_many_writers_share_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    def write() -> None:
        with fleet(Says("a", "The answer is 1"), path=path, strategy="single") as orchestrator:
            for number in range(10):
                orchestrator.feedback_sync(orchestrator.answer_sync(f"How many lamps are in crate {number}?"), 1.0)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = DecisionLog(path)
    assert log.counts() == {"decisions": 40, "outcomes": 40, "audits": 0}
    assert len(log.outcomes(15)) == 15
    log.close()


def certificate(cheap_share: float = 0.5, max_loss: float = 0.05) -> Certificate:
    promise = Promise(max_loss, 0.9, "strong")
    return Certificate(
        0.3,
        cheap_share,
        0.04,
        0.0,
        promise,
        500,
        "data",
        "policy",
        {},
        "2026-01-01T00:00:00+00:00",
        "2099-01-01T00:00:00+00:00",
    )


def promised(cheap: str, *more: Says, path: Path | str = ":memory:", **settings: object) -> tuple[Orchestrator, Says]:
    strong = Says("strong", "The answer is 7", 5.0, skill=0.9)
    everyone = Says("cheap", cheap, 0.1), strong, *more
    return fleet(*everyone, path=path, guarantee=Guard.of(certificate()), audit=1.0, **settings), strong


def test_audits_withdraw_a_promise_that_is_not_kept_and_a_restart_does_not_forget_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    third = Says("third", "The answer is 7", 2.0, skill=0.8)
    orchestrator, strong = promised("The answer is 3", third, path=path)
    with orchestrator:
        assert orchestrator.answer_sync("How many lamps?").model == "cheap"
        for number in range(120):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?")
    assert orchestrator.guarantee is not None
    assert orchestrator.guarantee.state == "withdrawn"
    again, _ = promised("The answer is 3", path=path)
    with again:
        assert again.guarantee is not None
        assert again.guarantee.state == "withdrawn"
        assert again.answer_sync("How many lamps?").model == "strong"
    assert strong.calls > 10


def test_audits_that_find_the_same_answer_keep_the_promise() -> None:
    orchestrator, strong = promised("I make it 7. The answer is 7")
    with orchestrator:
        for number in range(60):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?")
    assert orchestrator.guarantee is not None
    assert (orchestrator.guarantee.state, orchestrator.guarantee.audit.audits) == ("holds", 60)
    assert strong.calls == 60


def test_audits_stop_when_the_days_money_is_spent() -> None:
    orchestrator, strong = promised("The answer is 7", audit_usd_per_day=0.012, max_tokens=1_000)
    with orchestrator:
        for number in range(60):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?")
    assert 0 < strong.calls < 60
    assert strong.calls * 5.0 * 70 / 1e6 <= 0.012


class Breaks(Says):
    """A model that breaks off after the provider has begun to bill."""

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        raise BadResponse("broke off")


def test_a_vote_that_fails_loses_no_audit_and_broken_calls_count_as_spent() -> None:
    broken = Breaks("third", "", 2.0, skill=0.8)
    orchestrator, strong = promised("The answer is 3", broken)
    with orchestrator:
        for number in range(5):
            orchestrator.answer_sync(f"How many lamps are in crate {number}?", models=["cheap", "strong", "third"])
    assert orchestrator.guarantee is not None
    assert orchestrator.guarantee.audit.audits == strong.calls == broken.calls == 5  # paid for, so they count
    with fleet(
        Says("cheap", "The answer is 3", 0.1),
        breaking := Breaks("strong", "", 5.0, skill=0.9),
        guarantee=Guard.of(certificate()),
        audit=1.0,
        audit_usd_per_day=0.02,
        max_tokens=1_000,
    ) as limited:
        for number in range(40):
            limited.answer_sync(f"How many lamps are in crate {number}?")
    assert 0 < breaking.calls <= 4  # 0.005 USD each at worst


def test_only_answers_that_the_promise_speaks_of_are_audited() -> None:
    strong = Says("strong", "The answer is 7", 5.0, skill=0.9)
    backends = {"calculator": CalculatorBackend(), "cheap": Says("cheap", "The answer is 3", 0.1), "strong": strong}
    online = OnlineConfig(path=":memory:", audit=1.0)
    with Orchestrator(
        backends, router=Router(SuccessModel()), online=online, guarantee=Guard.of(certificate())
    ) as orchestrator:
        assert orchestrator.answer_sync("What is 17 * 23?").model == "calculator"  # it knows by itself
        assert (
            orchestrator.answer_sync("How many lamps?", models=["cheap"]).model == "cheap"
        )  # the caller ruled the reference out
    assert strong.calls == 0


def test_a_grader_settles_audits_of_free_text() -> None:
    essay = "It depends on many things, among them the wind, the season and what the harbour master had for breakfast."
    seen: list[str] = []

    async def grader(query: str, answer: str, reference: str) -> tuple[float, float]:
        seen.append(query)
        return 0.2, 1.0

    orchestrator, _ = promised(essay, grader=grader)
    with orchestrator:
        for number in range(80):
            orchestrator.answer_sync(f"What makes harbour {number} good?")
    assert orchestrator.guarantee is not None
    assert orchestrator.guarantee.state != "holds"
    ungraded, strong = promised(essay)
    with ungraded:
        ungraded.answer_sync("What makes a good harbour?")
    assert strong.calls == 0  # nobody could compare: nothing is bought
    assert seen


def test_a_promise_freezes_the_router() -> None:
    orchestrator, _ = promised("The answer is 3", explore=0.9)
    with orchestrator:
        before = orchestrator.router.success
        for number in range(20):
            answer = orchestrator.answer_sync(f"How many lamps are in crate {number}?")
            orchestrator.feedback_sync(answer, 0.0)
            assert answer.model == "cheap"
        assert orchestrator.router.success is before
        assert orchestrator.decisions is not None
        assert orchestrator.decisions.counts()["outcomes"] == 20


def test_a_certificate_of_a_whole_search_sets_its_target() -> None:
    covering = replace(certificate(), promise=Promise(0.05, 0.9, "strong", covers="search"), threshold=0.2)
    backends = [Says("cheap", "The answer is 3", 0.1, skill=0.85), Says("strong", "The answer is 7", 5.0, skill=0.9)]
    made = {"guarantee": Guard.of(covering), "strategy": "cascade", "audit": 0.0}
    with fleet(*backends, **made) as orchestrator:
        assert orchestrator.answer_sync("How many lamps?").model == "cheap"  # 0.85 reaches the target of 0.8
    with fleet(*backends, **made | {"guarantee": replace(Guard.of(covering), threshold=0.05)}) as stricter:
        assert len(stricter.answer_sync("How many lamps?").candidates) == 2
    with fleet(
        *backends, **made | {"guarantee": replace(Guard.of(covering), threshold=None, state="withdrawn")}
    ) as withdrawn:
        assert withdrawn.answer_sync("How many lamps?").model == "strong"


def test_feedback_from_many_tasks_at_once_is_all_learned() -> None:
    async def run() -> None:
        async with fleet(Says("a", "The answer is 1"), strategy="single") as orchestrator:
            answers = await asyncio.gather(
                *(orchestrator.answer(f"How many lamps are in crate {n}?") for n in range(50))
            )
            await asyncio.gather(*(orchestrator.feedback(answer, 1.0) for answer in answers))
            assert orchestrator.decisions is not None
            assert orchestrator.decisions.counts()["outcomes"] == 50
            assert orchestrator.route("How many?").option("a").p_success > 0.85

    asyncio.run(run())
