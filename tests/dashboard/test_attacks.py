"""What an attacker found: each of these failed once."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator import Orchestrator
from orchestrator.dashboard.app import Dashboard
from orchestrator.dashboard.local import LocalDashboardHost
from orchestrator.dashboard.pages.traces import _difference
from orchestrator.engine.trace_log import TraceLog
from orchestrator.memory import Memory
from orchestrator.storage.account_types import NewKey
from orchestrator.storage.audit_log import AuditEntry, AuditLog
from orchestrator.storage.database import open_database
from orchestrator.storage.requests import Requests, ServedRequest
from orchestrator.storage.rollups import RollupWindow
from orchestrator.storage.trace_policy import TracePolicy
from orchestrator.testing import ScriptedBackend
from tests.dashboard.conftest import Site, filled
from tests.dashboard.test_pages import token_of
from tests.support.gateway import begin_stream, chunk, delta, reply, running_gateway, served, settled
from tests.support.postgres import postgres_server

NOW = 1_795_000_000.0


def test_the_dashboard_lives_on_postgresql(tmp_path: Path) -> None:
    with postgres_server(tmp_path / "pg") as url, running_gateway(tmp_path, gateway={"database": url}) as run:
        site = filled(run)
        for path in ("/ui/", "/ui/traces", "/ui/models", "/ui/router", "/ui/keys", "/ui/audit", "/ui/live"):
            with site.browser("organisation") as browser:
                assert browser.get(path).status_code == 200, path
        run.chat(model="no\u0000such", key=site.keys["member"])
        id = run.chat("after", model="small", key=site.keys["member"]).headers["x-orchestrator-trace-id"]
        assert site.json("member", f"/ui/traces/{id}").status_code == 200
        assert site.json("member", "/ui/traces", scope="a\0b").status_code == 200
        days = run.get("/v1/usage", key=site.keys["operator"], by="day").json()["data"]
        assert [row["day"] for row in days] == [time.strftime("%Y-%m-%d", time.gmtime())]


def test_one_record_that_no_database_takes_keeps_no_other_waiting(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as run:
        database = run.gateway.services.database
        with database.writing() as do:
            do("CREATE TRIGGER poison BEFORE INSERT ON requests WHEN NEW.asked = 'poison' "
               "BEGIN SELECT RAISE(ABORT, 'no'); END")  # fmt: skip
        bad = ServedRequest("0" * 32, time.time(), run.org, None, "k", "chat", "poison")
        run.gateway.services.recorder.add(bad)
        id = run.chat().headers["x-orchestrator-trace-id"]
        assert run.get(f"/v1/traces/{id}").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01&until=9999-12-31",
        "since=1000-01-01",
        "until=9999-12-31T23:59:59-23:00",
        "since=1971-01-01",
        "min_usd=1e10",
        "limit=0.5",
        "limit=0",
    ],
)
def test_no_address_freezes_or_breaks_a_page(site: Site, query: str) -> None:
    for path in ("/ui/", "/ui/traces", "/ui/models", "/ui/router", "/ui/quality"):
        began = time.monotonic()
        answer = httpx.get(
            f"{site.run.url}{path}?{query}", headers={"authorization": f"Bearer {site.keys['member']}"}, trust_env=False
        )
        assert answer.status_code in (200, 400), answer.text
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("id", ["12 ", "²", "1" * 5_000, "-1", "1;", ""])
def test_forgetting_an_odd_id_forgets_nothing(site: Site, id: str) -> None:
    key = site.keys["member"]
    site.run.post("/v1/memories", {"text": "Keep me.", "scope": "odd"}, key=key)
    with site.browser("member") as browser:
        token = token_of(browser.get("/ui/memory?scope=odd").text)
        assert browser.post("/ui/memory/forget", data={"scope": "odd", "id": id, "token": token}).status_code == 400
        assert browser.post("/ui/memory/forget", data={"scope": "odd", "token": token}).status_code == 400
        assert browser.get("/ui/memory", params={"scope": "odd", "id": id}).status_code < 500
    assert len(site.run.get("/v1/memories", key=key, scope="odd").json()["data"]) == 1


def test_forgetting_reaches_what_was_asked_just_now(tmp_path: Path) -> None:
    with running_gateway(tmp_path, traces={"content": True}) as run:
        run.post("/v1/memories", {"text": "The codeword is quixotry.", "scope": "ann"})
        for _ in range(3):
            run.chat("The codeword is quixotry.", model="auto", orchestrator={"scope": "ann"})
            run.send("DELETE", "/v1/memories?scope=ann")
        database = open_database(tmp_path / "gateway.db")
        assert database.read("SELECT count(*) FROM trace_contents") == [(0,)]
        assert database.read("SELECT count(*) FROM trace_parts WHERE part >= 0") == [(0,)]
        database.close()


def test_a_rotated_key_ends_its_sessions_and_signing_out_ends_copies(site: Site) -> None:
    key, secret = site.run.accounts.add_key(NewKey("rotating", site.run.org))
    site.keys["rotating"] = secret
    with site.browser("rotating") as browser:
        page = browser.get("/ui/")
        assert page.status_code == 200
        copied = {"cookie": f"orchestrator_session={browser.cookies['orchestrator_session']}"}
        assert httpx.get(site.run.url + "/ui/", headers=copied, trust_env=False).status_code == 200
        browser.post("/ui/sign-out", data={"token": token_of(page.text)})
        assert httpx.get(site.run.url + "/ui/", headers=copied, trust_env=False).status_code == 303
    with site.browser("rotating") as browser:
        site.run.accounts.rotate_key(key.id)
        site.run.gateway.services.keyring.forget()
        assert browser.get("/ui/").status_code == 303


def test_a_key_of_some_scopes_sees_its_own_requests_alone(site: Site) -> None:
    team = site.run.accounts.teams(site.run.org)[0]
    permissions = ("usage", "traces", "inference", "memory", "team", "admin")
    new = NewKey("narrow", site.run.org, team.id, permissions, ("calculator",), ("bob/*",))
    site.keys["narrow"] = site.run.accounts.add_key(new)[1]
    assert site.json("narrow", "/ui/traces").json()["traces"] == []
    assert site.json("narrow", f"/ui/traces/{site.ids['member']}").status_code == 404
    assert {each["name"] for each in site.json("narrow", "/ui/models").json()["models"]} == {"calculator"}
    assert "large" not in site.json("narrow", "/ui/playground").json()["models"]


def test_without_content_no_file_holds_a_prompt(tmp_path: Path) -> None:
    async def echo(body: dict[str, Any], send: Any) -> None:
        await reply(send, 400, {"error": {"message": f"cannot read: {body['messages'][-1]['content']}"}})

    with running_gateway(tmp_path, echo) as run:
        run.chat("The codeword is quixotry", model="auto", orchestrator={"strategy": "self_consistency"})
        run.get("/v1/usage")
        database = open_database(tmp_path / "gateway.db")
        requests = Requests(database)
        found = requests.find(run.org, requests.recent(run.org, 1)[0]["id"])
        assert "HTTP 400" in str(found)
        assert "quixotry" not in str(found)
        database.close()


def test_a_slow_hook_keeps_no_writer_waiting(tmp_path: Path) -> None:
    database = open_database(tmp_path / "r.db")
    requests = Requests(database)
    began, written = threading.Event(), threading.Event()
    is_free: list[bool] = []

    def slow(text: str) -> str:
        began.set()
        is_free.append(written.wait(20))  # the other write ends while this one takes its time
        return text

    one = ServedRequest("0" * 32, NOW, "o", None, "k", "chat", "auto", content={"question": "a", "answer": "b"})
    with ThreadPoolExecutor() as pool:
        adding = pool.submit(requests.add, [one], TracePolicy(content=True, redact=slow))
        assert began.wait(20)
        with database.writing() as run:
            run("INSERT INTO parts VALUES ('x', 1)")
        written.set()
        adding.result()
    assert is_free
    assert all(is_free)
    assert requests.content("0" * 32) is not None
    database.close()


def test_redaction_sees_the_whole_text_and_names_of_a_clients_json() -> None:
    card = "4111111111111111"
    policy = TracePolicy(content=True, redact=lambda text: text.replace(card, "[card]"))
    kept = policy.redacted({"question": [{"content": "x" * 19_990 + card, card: 1}], "answer": card})
    assert "4111" not in str(kept)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_hook_that_fails_costs_only_the_texts(tmp_path: Path, error: type[BaseException]) -> None:
    def broken(text: str) -> str:
        raise error(text)

    log = TraceLog(open_database(tmp_path / "t.db"), TracePolicy(content=True, redact=broken))
    with Orchestrator("calculator", traces=log) as fleet:
        ids = [fleet.answer_sync(f"{n} + 1").id for n in range(3)]
        log.flush()
    assert all(log.requests.head(None, id) is not None for id in ids)
    log.close()


def test_a_log_that_two_fleets_share_outlives_the_first(tmp_path: Path) -> None:
    log = TraceLog(open_database(tmp_path / "t.db"))
    for number in range(3):
        with Orchestrator("calculator", traces=log) as fleet:
            fleet.answer_sync(f"{number} + 1")
    assert len(log.requests.newest(10, since=0)) == 3
    log.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_traces_of_a_child_are_kept(tmp_path: Path) -> None:
    log = TraceLog(open_database(tmp_path / "t.db"))
    fleet = Orchestrator(ScriptedBackend("one", "Paris"), traces=log)
    asyncio.run(fleet.answer("Where is the Louvre?"))
    log.flush()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            asyncio.run(fleet.answer("And the Tate?"))
            log.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert len(log.requests.newest(10, since=0)) == 2
    log.close()


def test_the_same_id_twice_in_one_batch_counts_once(tmp_path: Path) -> None:
    requests = Requests(open_database(tmp_path / "r.db"))
    one = ServedRequest("0" * 32, NOW, "o", None, "k", "chat", "auto")
    requests.add([one, one])
    assert requests.rollups.sums(RollupWindow(NOW, NOW + 60))[0]["requests"] == 1
    requests.database.close()


def test_a_store_that_is_away_for_a_while_loses_no_trace(tmp_path: Path) -> None:
    database = open_database(tmp_path / "t.db")
    log = TraceLog(database)
    with Orchestrator("calculator", traces=log) as fleet:
        with database.writing() as run:
            run("ALTER TABLE requests RENAME TO away")
        fleet.answer_sync("1 + 1")
        log.flush()
        with database.writing() as run:
            run("ALTER TABLE away RENAME TO requests")
        log.flush()
    assert len(log.requests.newest(10, since=0)) == 1
    log.close()


def test_damaged_and_odd_spans_break_no_page(tmp_path: Path) -> None:
    requests = Requests(open_database(tmp_path / "t.db"))
    odd: list[Any] = [
        {"name": "route", "attributes": {"options": [{"model": "m", "p": 0.5}, {"p": "x"}, None, 3]}},
        {"n": 1, "attributes": {"cost_usd": "dear", "prefill_tokens": None, "options": {}}, "depth": "x"},
        {"name": None, "start_s": None, "duration_s": "long", "attributes": [1]},
    ]
    now = time.time()
    one = ServedRequest("1" * 32, now, "local", None, "sdk", "answer", "auto", model="m", spans=odd, reference_nano=5)
    requests.add([one, ServedRequest("2" * 32, now, "local", None, "sdk", "answer", "auto", spans=[{"name": "draft"}])])
    with requests.database.writing() as run:
        run("UPDATE trace_parts SET content = ? WHERE request = ?", b"\x78\x9cbroken", "2" * 32)
    with served(Dashboard(LocalDashboardHost(requests.database))) as url:
        for path in (f"/ui/traces/{'1' * 32}", f"/ui/traces/{'2' * 32}", "/ui/router", "/ui/traces", "/ui/"):
            assert httpx.get(url + path, trust_env=False).status_code == 200, path


def test_a_local_store_does_not_take_what_only_a_gateway_does(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "m.db")
    memory.remember("Keep me.")
    fleet = Orchestrator("calculator", memory=memory)
    site = Dashboard(LocalDashboardHost(open_database(tmp_path / "t.db"), fleet))
    with served(site) as url:
        for path, form in (
            ("/ui/runs/whatever/change", {"action": "delete"}),
            ("/ui/accounts/orgs", {"name": "x"}),
            ("/ui/accounts/orgs/x", {"usd": "1"}),
            ("/ui/playground/saved", {"comparison": "{}"}),
        ):
            assert httpx.post(url + path, data=form, trust_env=False).status_code == 404, path
        for origin in ("https://evil.example", "null"):
            answer = httpx.post(
                url + "/ui/memory/forget", data={"scope": "default", "whole": "1"}, headers={"origin": origin},
                trust_env=False,
            )  # fmt: skip
            assert answer.status_code == 403
    assert memory.count() == 1
    memory.close()


def test_differences_of_long_texts_are_quick() -> None:
    before = "\n".join(f"line {n} of a long answer that says {'much ' * 12}" for n in range(200))
    began = time.monotonic()
    found = _difference(before, before.replace("much", "more"))
    assert time.monotonic() - began < 5
    assert found


def test_a_reader_who_leaves_ends_the_request_at_the_provider(tmp_path: Path) -> None:
    async def endless(body: dict[str, Any], send: Any) -> None:
        await begin_stream(send)
        while True:
            await chunk(send, delta({"content": "more "}))
            await asyncio.sleep(0.01)

    with running_gateway(tmp_path, endless) as run:
        headers = {"authorization": f"Bearer {run.key}"}
        asked = {"question": "Tell me everything", "model": "small"}
        with httpx.stream(
            "POST", f"{run.url}/ui/playground/ask", data=asked, headers=headers, timeout=30, trust_env=False
        ) as answer:
            lines = answer.iter_lines()
            assert any("more" in next(lines) for _ in range(40))
        assert settled(lambda: run.provider.cancelled == 1 and not run.gateway.services.running)


def test_entries_of_one_moment_are_all_listed(tmp_path: Path) -> None:
    log = AuditLog(open_database(tmp_path / "a.db"))
    for number in range(150):
        log.add(AuditEntry(NOW, "o", "k", "n", "POST /x", f"{number}" * 2_000, 200, {}))
    first = log.recent(None, limit=100)
    second = log.recent(None, limit=100, before=(first[-1]["at"], first[-1]["id"]))
    assert len({each["id"] for each in (*first, *second)}) == 150
    assert max(len(each["subject"]) for each in first) <= 200


def test_what_the_operator_does_stands_in_the_organisations_log(site: Site) -> None:
    key, _ = site.run.accounts.add_key(NewKey("watched", site.run.org))
    site.run.send("DELETE", f"/v1/admin/keys/{key.id}", key=site.run.admin)
    entries = site.json("organisation", "/ui/audit").json()["entries"]
    assert any(each["subject"] == key.id and each["name"] == "admin" for each in entries)


@pytest.mark.parametrize(("name", "value"), [("usd", "1,000"), ("usd", "1_000"), ("usd", "nan"), ("usd", "1e999")])
def test_numbers_that_could_be_read_in_two_ways_are_refused(site: Site, name: str, value: str) -> None:
    with site.browser("organisation") as browser:
        token = token_of(browser.get("/ui/keys").text)
        assert browser.post("/ui/keys", data={"name": "x", name: value, "token": token}).status_code == 400
    with site.browser("member") as browser:
        token = token_of(browser.get("/ui/playground").text)
        body = {"question": "x", "max_cost_usd": value}
        headers = {"x-form-token": token, "accept": "application/json"}
        assert browser.post("/ui/playground/ask", json=body, headers=headers).status_code == 400
        kept = browser.post("/ui/playground/saved", data={"comparison": '{"question": 5}', "token": token})
        assert kept.status_code == 400
        assert browser.get("/ui/playground").status_code == 200


def test_slow_requests_are_told_when_they_end(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as run:
        now = time.time()
        slow = ServedRequest("5" * 32, now - 70, run.org, None, "k", "chat", "auto", model="large", latency_s=69.0)
        run.gateway.services.requests.add([slow])
        with httpx.stream(
            "GET", run.url + "/ui/live/events", headers={"authorization": f"Bearer {run.admin}"}, trust_env=False
        ) as events:
            told = next(line for line in events.iter_lines() if line.startswith("data: "))
        assert "5" * 32 in told
