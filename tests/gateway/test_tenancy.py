"""Tenants are walled off from each other; keys expire, rotate and end; limits and budgets hold at every level."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.storage.account_types import AccountLimits, NewKey
from tests.support.gateway import (
    Provider,
    Running,
    Send,
    begin_stream,
    chunk,
    completion,
    delta,
    leave_room_in_the_minute,
    reply,
    running_gateway,
    served,
    settled,
    usual,
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with running_gateway(tmp_path, online={"path": str(tmp_path / "decisions.db")}) as running:
        yield running


def other_tenant(gateway: Running) -> str:
    return gateway.new_key(org=gateway.accounts.add_org("other").id)


def test_nothing_of_a_tenant_is_there_for_another(gateway: Running) -> None:
    other = other_tenant(gateway)
    kept = gateway.post("/v1/memories", {"text": "The safe code is 4711", "scope": "ann"}).json()
    trace = gateway.chat().headers["x-orchestrator-trace-id"]
    file = gateway.send("POST", "/v1/files", files={"file": ("a", b"{}")}, data={"purpose": "batch"}).json()["id"]
    response = gateway.post("/v1/responses", {"model": "small", "input": "hello"}).json()["id"]
    for path in (
        f"/v1/memories/{kept['id']}?scope=ann",
        f"/v1/traces/{trace}",
        f"/v1/files/{file}",
        f"/v1/files/{file}/content",
        f"/v1/responses/{response}",
    ):
        assert gateway.get(path).status_code == 200, path
        assert gateway.get(path, key=other).status_code == 404, path
    assert gateway.post("/v1/memories/search", {"query": "safe code", "scope": "ann"}, key=other).json()["items"] == []
    assert gateway.get("/v1/memories", key=other, scope="ann").json()["data"] == []
    assert gateway.get("/v1/usage", key=other).json()["data"] == []
    assert (
        gateway.post(
            "/v1/responses", {"model": "small", "input": "x", "previous_response_id": response}, key=other
        ).status_code
        == 404
    )
    assert gateway.post("/v1/feedback", {"trace_id": trace, "score": 1}, key=other).status_code == 404


def test_a_key_keeps_to_its_scopes(gateway: Running) -> None:
    narrow = gateway.new_key(scopes=("ann", "ann/*"))
    assert gateway.post("/v1/memories", {"text": "Ann likes tea", "scope": "ann/chat-1"}, key=narrow).status_code == 201
    assert gateway.post("/v1/memories", {"text": "Ann likes tea"}, key=narrow).json()["scope"] == "ann"
    assert gateway.get("/v1/memories", key=narrow, scope="bob").status_code == 403
    assert gateway.chat(key=narrow, orchestrator={"scope": "bob"}).status_code == 403
    assert gateway.get("/v1/memories", scope="../other").status_code == 400


def test_memory_reaches_answers_only_when_it_is_wanted(gateway: Running) -> None:
    gateway.post("/v1/memories", {"text": "The Gale lantern costs 79 euros.", "scope": "ann"})
    ask = "How much does the Gale lantern cost?"
    gateway.chat(ask, model="auto", orchestrator={"scope": "ann", "strategy": "single"})
    assert "79 euros" in str(gateway.provider.bodies[-1]["messages"])
    gateway.chat(ask, model="auto", orchestrator={"scope": "ann", "memory": False, "strategy": "single"})
    assert "79 euros" not in str(gateway.provider.bodies[-1]["messages"])


def test_what_is_remembered_can_be_changed_exported_and_forgotten(gateway: Running) -> None:
    kept = gateway.post("/v1/memories", {"text": "The shop opens at nine", "scope": "ann", "time": "2026-01-02"}).json()
    changed = gateway.send(
        "PATCH", f"/v1/memories/{kept['id']}", json={"text": "The shop opens at ten", "scope": "ann"}
    ).json()
    assert gateway.get(f"/v1/memories/{kept['id']}", scope="ann").json()["superseded_by"] == changed["id"]
    lines = gateway.get("/v1/memories/export", scope="ann").text.splitlines()
    assert len(lines) == 2
    found = gateway.post("/v1/memories/search", {"query": "When does the shop open?", "scope": "ann"}).json()
    assert [item["text"] for item in found["items"]] == ["The shop opens at ten"]
    gone = gateway.send("DELETE", "/v1/memories?scope=ann").json()
    assert sorted(gone["forgotten"]) == sorted([kept["id"], changed["id"]])
    assert gateway.get("/v1/memories", scope="ann").json()["data"] == []


def test_keys_that_are_wrong_expired_revoked_or_replaced(gateway: Running) -> None:
    assert gateway.chat(key="orc-nobody").status_code == 401
    assert gateway.chat(key="").status_code == 401
    expired = gateway.new_key(expires_at=time.time() - 1)
    assert "expired" in gateway.chat(key=expired).json()["error"]["message"]
    made = gateway.post("/v1/admin/keys", {"name": "app", "org": gateway.org}, key=gateway.admin).json()
    assert gateway.chat(key=made["key"]).status_code == 200
    rotated = gateway.post(f"/v1/admin/keys/{made['id']}/rotate", {"grace_seconds": 0.3}, key=gateway.admin).json()
    assert gateway.chat(key=made["key"]).status_code == gateway.chat(key=rotated["key"]).status_code == 200
    assert settled(lambda: gateway.chat(key=made["key"]).status_code == 401)
    gateway.send("DELETE", f"/v1/admin/keys/{made['id']}", key=gateway.admin)
    assert gateway.chat(key=rotated["key"]).status_code == 401
    assert made["key"] not in gateway.get(f"/v1/admin/keys/{made['id']}", key=gateway.admin).text


def test_what_another_process_revokes_ends_here_too(gateway: Running) -> None:
    made = gateway.post("/v1/admin/keys", {"name": "app", "org": gateway.org}, key=gateway.admin).json()
    assert gateway.chat(key=made["key"]).status_code == 200
    gateway.accounts.revoke_key(made["id"])  # past this process's memory of keys
    assert settled(lambda: gateway.chat(key=made["key"]).status_code == 401, 5)


def test_a_key_manages_no_more_than_its_organisation(gateway: Running) -> None:
    manager = gateway.new_key(permissions=("admin",))
    theirs = gateway.accounts.add_org("other").id
    assert gateway.post("/v1/admin/keys", {"name": "a", "org": gateway.org}, key=manager).status_code == 201
    assert gateway.post("/v1/admin/keys", {"name": "a", "org": theirs}, key=manager).status_code == 404
    assert gateway.get(f"/v1/admin/orgs/{theirs}", key=manager).status_code == 404
    assert [org["id"] for org in gateway.get("/v1/admin/orgs", key=manager).json()["data"]] == [gateway.org]
    assert gateway.post("/v1/admin/orgs", {"name": "mine"}, key=manager).status_code == 403
    assert (
        gateway.send("PATCH", f"/v1/admin/orgs/{gateway.org}", key=manager, json={"limits": {"usd": 1e6}}).status_code
        == 403
    )
    assert gateway.get("/v1/admin/keys").status_code == 403  # an ordinary key
    assert gateway.chat(key=manager).status_code == 403


def test_a_key_is_not_told_its_own_requests_for_those_of_another(gateway: Running) -> None:
    manager = gateway.new_key(permissions=("admin", "usage", "traces"))
    mine = gateway.post("/v1/admin/keys", {"name": "mine", "org": gateway.org}, key=manager).json()
    others = gateway.post("/v1/admin/keys", {"name": "others", "org": gateway.org}, key=manager).json()
    assert gateway.chat(key=mine["key"]).status_code == 200
    for path in ("/v1/usage", "/v1/traces"):
        refused = gateway.get(f"{path}?key={others['id']}", key=mine["key"])
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "key")
        assert len(gateway.get(f"{path}?key={mine['id']}", key=mine["key"]).json()["data"]) == 1
        assert gateway.get(f"{path}?key={others['id']}", key=manager).json()["data"] == []


def test_the_operator_sees_what_all_spend_and_names_organisations(gateway: Running) -> None:
    gateway.accounts.add_org("Other Ltd")
    made = gateway.post("/v1/admin/keys", {"name": "app", "org": "Other Ltd"}, key=gateway.admin).json()
    assert gateway.chat(key=made["key"]).status_code == gateway.chat().status_code == 200
    everything = gateway.get("/v1/usage?by=org", key=gateway.admin).json()["data"]
    assert {row["org"]: row["requests"] for row in everything if row["org"] != "operator"} == {
        gateway.org: 1,
        made["org"]: 1,
    }
    of_one = gateway.get("/v1/usage?by=key&org=Other%20Ltd", key=gateway.admin).json()["data"]
    assert [row["key"] for row in of_one] == [made["id"]]
    assert [row["org"] for row in gateway.get(f"/v1/usage?by=org&org={gateway.org}").json()["data"]] == [gateway.org]
    refused = [gateway.get(f"/v1/usage?by=org&org={other}") for other in (made["org"], "Other%20Ltd", "nobody")]
    assert {(each.status_code, each.json()["error"]["message"]) for each in refused} == {
        (403, "this key is told of its own organisation alone: leave out 'org', or ask with the operator's key")
    }  # no way past the wall, and no telling what is behind it
    assert gateway.get("/v1/admin/keys?org=acme", key=gateway.admin).json()["data"]
    assert gateway.get("/v1/admin/orgs/acme", key=gateway.admin).json()["id"] == gateway.org
    manager = gateway.new_key(permissions=("admin",))
    assert gateway.post("/v1/admin/keys", {"name": "a", "org": "Other Ltd"}, key=manager).status_code == 404
    team = gateway.post("/v1/admin/teams", {"name": "search", "org": "acme"}, key=manager).json()
    assert (
        gateway.post("/v1/admin/keys", {"name": "a", "org": "acme", "team": "search"}, key=manager).json()["team"]
        == team["id"]
    )
    limited = gateway.send("PATCH", "/v1/admin/teams/search", key=manager, json={"limits": {"requests_per_minute": 5}})
    assert limited.json()["limits"]["requests_per_minute"] == 5
    assert gateway.get("/v1/admin/keys/a", key=manager).json()["team"] == team["id"]
    assert gateway.get("/v1/admin/keys/app", key=manager).status_code == 404  # another organisation's


def test_a_spent_budget_is_told_as_each_apis_clients_know_it(gateway: Running) -> None:
    key = gateway.new_key(limits=AccountLimits(usd=0.0))
    chat = gateway.chat(key=key, max_tokens=50)
    assert (chat.status_code, chat.json()["error"]["code"], chat.headers["x-should-retry"]) == (
        402,
        "insufficient_quota",
        "false",
    )
    asked = {"model": "small", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    spent = gateway.post("/v1/messages", asked, key=key)
    assert (spent.status_code, spent.json()["error"]["type"]) == (402, "billing_error")


def test_what_a_large_request_held_goes_back_but_for_a_slice(gateway: Running) -> None:
    org = gateway.accounts.add_org("large", AccountLimits(usd=5.0))
    key = gateway.new_key(org=org.id)
    assert (
        gateway.chat(key=key, max_tokens=1_000_000).status_code == 200
    )  # holds two dollars, and costs next to nothing

    def reserved() -> float:
        return float(gateway.get("/v1/usage", key=key).json()["budgets"][0]["reserved_usd"])

    assert settled(lambda: reserved() <= 5.0 / 50 + 1e-9, 5)  # what a killed process would lose


def test_calls_that_failed_are_told_under_their_model(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await reply(send, 500, {"error": {"message": "boom"}})

    with running_gateway(tmp_path, play) as gateway:
        assert gateway.chat(model="small").status_code == 503
        assert [row["model"] for row in gateway.get("/v1/usage").json()["data"]] == ["small"]


def test_a_key_is_limited_to_scopes_that_there_can_be(gateway: Running) -> None:
    for scope in ("\x9e\x15", "a b", "a/b/c", "../x", "", "a/", "*a"):
        refused = gateway.post("/v1/admin/keys", {"name": "a", "org": "acme", "scopes": [scope]}, key=gateway.admin)
        assert refused.status_code == 400, scope
    for scope in ("ann", "ann/chat-7", "ann/*", "an*", "*", "ann/ch*"):
        made = gateway.post(
            "/v1/admin/keys",
            {"name": "a", "org": "acme", "scopes": [scope], "permissions": ["memory"]},
            key=gateway.admin,
        )
        assert gateway.get("/v1/memories", key=made.json()["key"]).status_code == 200, scope


async def _slow(body: dict[str, Any], send: Send) -> None:
    await asyncio.sleep(0.05)
    await reply(send, 200, completion(prompt=10, output=100))


def test_a_hundred_at_once_spend_no_more_than_the_budget(tmp_path: Path) -> None:
    # Each call costs 10 + 200 = 210 millionths of a dollar, and may cost at most 300-odd: the budget allows for ten, at
    # most.
    with running_gateway(tmp_path, _slow) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=0.0021))
        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(lambda _: gateway.chat(key=key, max_tokens=100).status_code, range(100)))
        served = statuses.count(200)
        assert set(statuses) <= {200, 402, 429}  # 429: others hold what they may give back
        assert 1 <= served <= 10
        assert len(gateway.provider.bodies) == served
        left = gateway.get("/v1/usage", key=key).json()["budgets"][0]
        assert left["spent_usd"] == pytest.approx(served * 0.00021)
        again = gateway.chat(key=key, max_tokens=100)
        assert (again.status_code == 200) == (left["left_usd"] > 0.0003)


def test_money_that_a_running_request_holds_may_come_back_and_spent_money_does_not(tmp_path: Path) -> None:
    may_answer = threading.Event()

    async def play(body: dict[str, Any], send: Send) -> None:
        await asyncio.to_thread(may_answer.wait, 30)
        await reply(send, 200, completion(prompt=10, output=100))

    with running_gateway(tmp_path, play) as gateway, ThreadPoolExecutor(1) as pool:
        key = gateway.new_key(limits=AccountLimits(usd=0.0004))
        first = pool.submit(gateway.chat, key=key, max_tokens=100)
        assert settled(lambda: bool(gateway.provider.bodies))
        waits = gateway.chat(key=key, max_tokens=100)
        assert (waits.status_code, waits.json()["error"]["code"], waits.headers["retry-after"]) == (
            429,
            "insufficient_quota",
            "1",
        )
        assert "x-should-retry" not in waits.headers
        may_answer.set()
        assert first.result().status_code == 200
        assert settled(lambda: gateway.chat(key=key, max_tokens=100).status_code == 402)


def key_with_tight_budget(gateway: Running, level: str) -> str:
    """A key whose own budget, or that of its team or organisation, is next to nothing."""
    tight, wide = AccountLimits(usd=0.00001), AccountLimits(usd=1.0)
    org = gateway.accounts.add_org("o", tight if level == "org" else wide)
    team = gateway.accounts.add_team(org.id, "t", tight if level == "team" else wide)
    return gateway.new_key(org=org.id, team=team.id, limits=tight if level == "key" else wide)


@pytest.mark.parametrize("level", ["org", "team", "key"])
def test_a_budget_holds_at_every_level(tmp_path: Path, level: str) -> None:
    with running_gateway(tmp_path) as gateway:
        key = key_with_tight_budget(gateway, level)
        refused = gateway.chat(key=key, max_tokens=100)
        assert refused.status_code == 402
        assert {"org": "organisation"}.get(level, level) in refused.json()["error"]["message"]
        assert gateway.provider.bodies == []


def test_what_a_request_may_cost_at_most_fits_into_the_window(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        stated = gateway.config.read_text()
        gateway.config.write_text(stated.replace("skill: 0.7", "skill: 0.7\n    context_tokens: 2048", 1))
        assert gateway.post("/v1/admin/reload", None, key=gateway.admin).status_code == 200
        key = gateway.new_key(limits=AccountLimits(usd=0.006))  # 2,048 tokens at 2 USD a million: 0.004
        assert gateway.chat(model="small", key=key).status_code == 200
        assert 1_900 < gateway.provider.bodies[-1]["max_tokens"] < 2_048
        assert gateway.chat(model="small", key=gateway.new_key(limits=AccountLimits(usd=0.001))).status_code == 402


@pytest.mark.parametrize("level", ["org", "team", "key"])
def test_a_search_that_the_budget_of_an_account_ends_says_whose_it_is(tmp_path: Path, level: str) -> None:
    with running_gateway(tmp_path) as gateway:
        key = key_with_tight_budget(gateway, level)
        refused = gateway.chat(model="auto", key=key, max_tokens=100, orchestrator={"strategy": "best_of_n"})
        told = refused.json()["error"]["message"]
        assert refused.status_code == 402
        whose = "organisation" if level == "org" else level
        assert f"the budget of the {whose} " in told
        assert "have the budget raised" in told
        assert "budget.usd" not in told
        own = {"strategy": "best_of_n", "budget": {"usd": 0.000001}}
        refused = gateway.chat(model="auto", key=gateway.key, max_tokens=100, orchestrator=own)
        assert (refused.status_code, "budget.usd" in refused.json()["error"]["message"]) == (402, True)


def test_the_requests_own_budget(gateway: Running) -> None:
    refused = gateway.chat(max_tokens=1000, orchestrator={"budget": {"usd": 0.000001}})
    assert (refused.status_code, refused.json()["error"]["code"], refused.headers["x-should-retry"]) == (
        402,
        "insufficient_quota",
        "false",
    )
    assert gateway.chat(max_tokens=10, headers={"x-orchestrator-budget-usd": "0.01"}).status_code == 200


def test_a_model_without_a_known_price_is_refused_under_a_budget(tmp_path: Path) -> None:
    with running_gateway(
        tmp_path,
        models={
            "free": {"provider": "compatible", "base_url": "http://127.0.0.1:1/v1"},
            "calculator": {"provider": "calculator"},
        },
    ) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=1.0))
        assert "price" in gateway.chat(model="free", key=key).json()["error"]["message"]


def test_a_model_without_a_price_is_told_to_need_one_under_a_budget_of_the_request(tmp_path: Path) -> None:
    free = {"provider": "compatible", "base_url": "http://127.0.0.1:1/v1"}
    with running_gateway(tmp_path, models={"free": free}, budget={"usd": 0.05}) as gateway:
        refused = gateway.chat(model="free")
        assert refused.status_code == 402
        assert "State its prices (input_usd_per_mtok" in refused.json()["error"]["message"]
        assert "fewer tokens" not in refused.json()["error"]["message"]


def test_a_key_of_no_scope_is_refused_and_no_fault_of_the_gateway(gateway: Running) -> None:
    key = gateway.new_key(scopes=())
    for refused in (gateway.chat(model="auto", key=key), gateway.get("/v1/memories", key=key)):
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "scope_not_allowed"


def test_limits_of_a_minute_and_their_headers(gateway: Running) -> None:
    key = gateway.new_key(limits=AccountLimits(requests_per_minute=3, tokens_per_minute=100_000))
    leave_room_in_the_minute()
    answers = [gateway.chat(key=key, max_tokens=10) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    assert answers[2].headers["x-ratelimit-remaining-requests"] == "0"
    assert int(answers[0].headers["x-ratelimit-remaining-tokens"]) < 100_000
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[3].json()["error"]["code"] == "rate_limit_exceeded"


def test_too_many_tokens_for_one_minute_are_refused_for_good(gateway: Running) -> None:
    key = gateway.new_key(limits=AccountLimits(tokens_per_minute=100))
    refused = gateway.chat(key=key, max_tokens=1000)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (413, "false")


def test_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    was_refused = threading.Event()

    async def held(body: dict[str, Any], send: Send) -> None:
        await asyncio.to_thread(was_refused.wait, 20)
        await reply(send, 200, completion())

    with running_gateway(tmp_path, held) as gateway:
        key = gateway.new_key(limits=AccountLimits(concurrency=2))

        def ask(_: int) -> int:
            status = gateway.chat(key=key, max_tokens=10).status_code
            was_refused.set()
            return status

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(8)))
        assert statuses.count(200) >= 2
        assert statuses.count(429) >= 1
        assert gateway.chat(key=key, max_tokens=10).status_code == 200  # what ended gave its place back


def test_a_raised_budget_counts_at_once(gateway: Running) -> None:
    made = gateway.post(
        "/v1/admin/keys", {"name": "poor", "org": gateway.org, "limits": {"usd": 0.0}}, key=gateway.admin
    ).json()
    assert gateway.chat(key=made["key"], max_tokens=10).status_code == 402
    changed = gateway.send("PATCH", f"/v1/admin/keys/{made['id']}", key=gateway.admin, json={"limits": {"usd": 1.0}})
    assert changed.json()["limits"]["usd"] == 1.0
    assert gateway.chat(key=made["key"], max_tokens=10).status_code == 200


def test_what_was_spent_is_still_spent_after_a_restart(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=0.0002))
        for _ in range(3):
            assert gateway.chat(key=key, max_tokens=20).status_code == 200  # 40 millionths each, at most 90
    from orchestrator.storage.database import open_database
    from orchestrator.storage.quotas import Quotas

    database = open_database(tmp_path / "gateway.db")
    rows = database.read("SELECT used, leased FROM quotas WHERE kind = 'usd'")
    assert rows == [(3 * 40_000, 0)]
    assert Quotas(database, "later").bury() == 0
    database.close()


def test_a_search_is_held_to_what_the_accounts_have_left(tmp_path: Path) -> None:
    with running_gateway(tmp_path, quality=0.999) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=0.002))
        answers = [gateway.chat(f"Question {i}: name a city", model="auto", max_tokens=50, key=key) for i in range(8)]
        # 402: on a slow machine the last answer's money may still be held when the next question comes.
        assert {answer.status_code for answer in answers} <= {200, 402, 429}
        spent = sum(entry["cost_usd"] for entry in gateway.get("/v1/usage", key=key).json()["data"])
        assert 0 < spent <= 0.002
        booked = gateway.get("/v1/usage", key=key).json()["budgets"][0]["spent_usd"]
        assert booked == pytest.approx(spent)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_caller_who_leaves_cuts_the_upstream_off_and_pays_what_came(tmp_path: Path, path: str) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        for index in range(1000):
            await chunk(send, delta({"content": f"word{index} "}))
            await asyncio.sleep(0.01)

    asked = (
        {"input": "Tell me a long story"}
        if path == "/v1/responses"
        else {"messages": [{"role": "user", "content": "Tell me a long story"}]}
    )
    most = {"max_output_tokens": 5000} if path == "/v1/responses" else {"max_tokens": 5000}
    with running_gateway(tmp_path, play, gateway={"cache": {}}) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=1.0, concurrency=5))
        body = {"model": "small", "stream": True, **most, **asked}
        headers = {"authorization": f"Bearer {key}"}
        with httpx.stream("POST", gateway.url + path, json=body, headers=headers, trust_env=False) as stream:
            received = b""
            for piece in stream.iter_bytes():
                received += piece
                if b"word3" in received:
                    break
        assert settled(lambda: gateway.provider.cancelled == 1)
        assert settled(lambda: bool(gateway.get("/v1/traces", key=key).json()["data"]))
        (trace,) = gateway.get("/v1/traces", key=key).json()["data"]
        assert (trace["status"], trace["error"]) == (499, "client_gone")
        assert 0 < trace["cost_usd"] < 0.001  # not the 0.01 of five thousand tokens
        whole = gateway.get(f"/v1/traces/{trace['id']}", key=key).json()
        assert whole["trace"]["estimated"]
        assert gateway.get("/v1/usage", key=key).json()["budgets"][0]["spent_usd"] == pytest.approx(trace["cost_usd"])


def test_a_caller_who_leaves_before_the_answer_pays_the_worst_case(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await asyncio.sleep(20)

    with running_gateway(tmp_path, play) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=1.0))
        body = {"model": "small", "max_tokens": 5000, "messages": [{"role": "user", "content": "hi"}]}
        gateway.leave_once_asked("/v1/chat/completions", body, key=key)
        assert settled(lambda: gateway.provider.cancelled == 1)
        assert settled(lambda: gateway.get("/v1/usage", key=key).json()["budgets"][0]["spent_usd"] >= 0.01)


@pytest.mark.parametrize("budget", [{"tokens": 50}, {"calls": 0}, {"usd": 0.0}])
def test_every_limit_of_a_request_is_kept_when_it_is_passed_through(gateway: Running, budget: dict[str, float]) -> None:
    refused = gateway.chat(max_tokens=1000, orchestrator={"budget": budget})
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_quota")
    assert gateway.provider.bodies == []


def test_the_fleets_own_budget_is_for_every_request(tmp_path: Path) -> None:
    with running_gateway(tmp_path, budget={"usd": 0.0001}) as gateway:
        assert gateway.chat(max_tokens=1000).status_code == 402
        assert gateway.chat(max_tokens=10).status_code == 200


def test_feedback_by_trace_id_moves_the_router(gateway: Running) -> None:
    answer = gateway.chat("Name the capital of France", model="auto", orchestrator={"strategy": "single"})
    trace = answer.headers["x-orchestrator-trace-id"]
    model = answer.headers["x-orchestrator-model"]
    before = {
        o["model"]: o["p_success"]
        for o in gateway.post("/v1/route", {"query": "Name the capital of France"}).json()["options"]
    }
    assert settled(lambda: gateway.post("/v1/feedback", {"trace_id": trace, "score": 0.0}).status_code == 200)
    after = {
        o["model"]: o["p_success"]
        for o in gateway.post("/v1/route", {"query": "Name the capital of France"}).json()["options"]
    }
    assert after[model] < before[model]


def test_an_operators_key_made_twice_is_one(gateway: Running) -> None:
    with pytest.raises(Exception, match="exists"):
        gateway.accounts.add_key(NewKey("again", gateway.org), gateway.key)


def test_prefixes_of_others_are_kept_apart_where_a_server_can(tmp_path: Path) -> None:
    """What is kept of one tenant's prompts would show to another by its time.

    VLLM and SGLang look for it under a salt (CVE-2025-46570).
    """

    def salts(key: str, model: str = "vllm", **fields: Any) -> set[str]:
        began = len(gateway.provider.bodies)
        for path, asked in (
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Where is the Louvre?"}]}),
            ("/v1/messages", {"messages": [{"role": "user", "content": "Where is the Louvre?"}], "max_tokens": 9}),
            ("/v1/responses", {"input": "Where is the Louvre?"}),
            ("/v1/completions", {"prompt": "Where is the Louvre?"}),
        ):
            assert gateway.post(path, {"model": model, **asked, **fields}, key=key).status_code == 200
        sent = gateway.provider.bodies[began:]
        assert len(sent) >= 4
        return {body.get("cache_salt", "") for body in sent}

    with running_gateway(tmp_path) as first:
        models = {
            name: {
                "provider": name,
                "base_url": f"{first.provider.url}/v1",
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 2.0,
            }
            for name in ("vllm", "llamacpp")
        }
        (tmp_path / "b").mkdir()
        with running_gateway(tmp_path / "b", models=models) as gateway:
            gateway.provider = first.provider
            ours, stranger = gateway.key, gateway.new_key(org=gateway.accounts.add_org("stranger").id)
            ann, ben = gateway.new_key(scopes=("ann", "ann/*")), gateway.new_key(scopes=("ben", "ben/*"))
            found = [salts(key) for key in (ours, stranger, ann, ben)]
            assert all(len(each) == 1 and each != {""} for each in found)  # one for each, through every address
            assert len(set.union(*found)) == 4
            assert salts(gateway.new_key()) == found[0]
            assert (
                salts(ann, orchestrator={"scope": "ann/chat-7"}) == found[2]
            )  # rules are shared over the sessions of one user
            only = gateway.new_key(models=("vllm",))
            assert salts(only, orchestrator={"strategy": "best_of_n"}, model="auto") == found[0]
            body = {"messages": [{"role": "user", "content": "hi"}], "cache_salt": "mine"}
            for key in (ours, stranger):
                gateway.post("/v1/chat/completions", {"model": "vllm", **body}, key=key)
            assert (
                len({*(sent["cache_salt"] for sent in gateway.provider.bodies[-2:]), "mine", *found[0], *found[1]}) == 5
            )
            assert salts(ours, model="llamacpp") == {""}


DEAR = {"input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10.0}


@pytest.mark.parametrize("model", ["dear", "auto"])
@pytest.mark.parametrize("stream", [False, True])
def test_who_states_no_length_gets_one_that_the_money_pays(tmp_path: Path, model: str, stream: bool) -> None:
    provider = Provider(usual)
    with served(provider) as upstream:
        dear = {"provider": "compatible", "base_url": f"{upstream}/v1", "model": "upstream", "skill": 0.95, **DEAR}
        with running_gateway(tmp_path, models={"dear": dear}, budget={"usd": 0.05}) as gateway:
            answered = gateway.chat("Hello", model=model, stream=stream)
            assert answered.status_code == 200, answered.text
            # 0.05 USD pay for fewer than the 8,192 tokens of the model's longest answer.
            assert 4_500 < provider.bodies[-1]["max_tokens"] < 5_000
            assert gateway.chat("Hello", model=model, stream=stream, max_tokens=8_192).status_code == 402
            poor = gateway.new_key(limits=AccountLimits(usd=0.02))
            assert gateway.chat("Hello", model=model, stream=stream, key=poor).status_code == 200
            assert 1_024 < provider.bodies[-1]["max_tokens"] < 2_000
            poorer = gateway.new_key(limits=AccountLimits(usd=0.005))  # not even `max_tokens` of the configuration
            assert gateway.chat("Hello", model=model, stream=stream, key=poorer).status_code == 402
