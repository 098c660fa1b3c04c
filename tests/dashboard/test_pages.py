"""The pages over a real socket: what they show, to whom, and in which form."""

from __future__ import annotations

import html
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.dashboard.routes import ROUTES
from orchestrator.storage.account_types import NewKey
from tests.dashboard.conftest import HOSTILE, Site
from tests.support.gateway import reply, running_gateway

PAGES = sorted({each.path for each in ROUTES if each.method == "GET" and "{" not in each.path})
TOKEN = re.compile(r'name="token" value="([0-9a-f]{64})"')


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def token_of(page: str) -> str:
    found = TOKEN.search(page)
    assert found is not None
    return found[1]


def test_the_root_leads_to_the_overview(site: Site) -> None:
    answer = httpx.get(site.run.url + "/", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")


def test_who_is_not_signed_in_is_asked_to(site: Site) -> None:
    with site.browser() as browser:
        answer = browser.get("/ui/traces?model=small")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/ui/sign-in?next=/ui/traces%3Fmodel%3Dsmall"
        assert "Sign in" in browser.get(answer.headers["location"]).text
        assert browser.get("/ui/traces", headers={"accept": "application/json"}).status_code == 401


def test_signing_in_leads_back_to_where_one_wanted_to_go(site: Site) -> None:
    with site.browser() as browser:
        answer = browser.post("/ui/sign-in", data={"key": site.keys["member"], "next": "/ui/traces?model=small"})
        assert answer.headers["location"] == "/ui/traces?model=small"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert site.keys["member"] not in answer.headers["set-cookie"]
        assert browser.get("/ui/traces?model=small").status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/ui//evil.example", "javascript:alert(1)"],
)
def test_nobody_is_sent_elsewhere_after_signing_in(site: Site, elsewhere: str) -> None:
    with site.browser() as browser:
        answer = browser.post("/ui/sign-in", data={"key": site.keys["member"], "next": elsewhere})
        assert answer.headers["location"] == "/ui/"


def test_a_wrong_key_is_told(site: Site) -> None:
    with site.browser() as browser:
        answer = browser.post("/ui/sign-in", data={"key": "orc-nonsense"})
        assert answer.status_code == 401
        assert "the API key is not known here" in answer.text


def test_signing_out_ends_the_session(site: Site) -> None:
    with site.browser("member") as browser:
        token = token_of(browser.get("/ui/").text)
        assert browser.post("/ui/sign-out", data={"token": token}).status_code == 303
        assert browser.get("/ui/").status_code == 303


def test_a_session_ends_with_its_key(site: Site) -> None:
    key, secret = site.run.accounts.add_key(NewKey("leaver", site.run.org))
    site.keys["leaver"] = secret
    with site.browser("leaver") as browser:
        assert browser.get("/ui/").status_code == 200
        site.run.accounts.revoke_key(key.id)
        answer = browser.get("/ui/")
        assert answer.status_code == 303
        assert "ended=1" in answer.headers["location"]
        assert "session has ended" in browser.get(answer.headers["location"]).text


def test_a_session_of_somebody_elses_making_opens_nothing(site: Site) -> None:
    with site.browser("member") as browser:
        told, _, signature = browser.cookies["orchestrator_session"].rpartition(".")
    for cookie in ("x", ".", f"{told}.{'0' * 64}", f"{told}x.{signature}", f"e30=.{signature}", ""):
        answer = httpx.get(site.run.url + "/ui/", headers={"cookie": f"orchestrator_session={cookie}"}, trust_env=False)
        assert answer.status_code == 303


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("role", ["operator", "organisation", "team", "member", "stranger"])
def test_every_page_is_html_and_json_at_one_address(site: Site, role: str, path: str) -> None:
    with site.browser(role) as browser:
        page = browser.get(f"/ui{path}")
    found = site.json(role, f"/ui{path}")
    assert page.status_code == found.status_code
    assert found.headers["content-type"] == "application/json"
    if page.status_code == 200:
        assert "<h1>" in page.text
        assert isinstance(found.json(), dict)
        dotted = httpx.get(
            site.run.url + f"/ui{path if path != '/' else '/index'}.json",
            headers={"authorization": f"Bearer {site.keys[role]}"},
            trust_env=False,
        )
        assert dotted.json().keys() == found.json().keys()
    else:
        assert page.status_code == 403
        assert found.json()["error"]["code"] == "forbidden"


def test_roles_see_as_far_as_they_may(site: Site) -> None:
    def seen(role: str) -> set[str]:
        return {row["id"] for row in site.json(role, "/ui/traces", limit="500").json()["traces"]}

    ids = site.ids
    assert {ids["member"], ids["alone"], ids["stranger"]} <= seen("operator")
    assert {ids["member"], ids["alone"]} <= seen("organisation")
    assert ids["stranger"] not in seen("organisation")
    assert ids["member"] in seen("team")
    assert not {ids["alone"], ids["stranger"]} & seen("team")
    assert ids["member"] in seen("member")
    assert not {ids["alone"], ids["stranger"]} & seen("member")
    assert seen("stranger") == {ids["stranger"]}


def test_sums_are_of_what_one_may_see(site: Site) -> None:
    total = {
        role: site.json(role, "/ui/").json()["total"]["requests"] for role in ("operator", "organisation", "stranger")
    }
    assert total["operator"] == total["organisation"] + total["stranger"]
    assert total["stranger"] == 1


@pytest.mark.parametrize("name", ["org", "team", "key"])
def test_nobody_asks_for_more_than_they_may_see(site: Site, name: str) -> None:
    answer = site.json("member", "/ui/traces", **{name: "somebody-else"})
    if name == "team":  # a member is bound by its key
        assert answer.json()["traces"] == []
    else:
        assert answer.status_code == 403


def test_a_trace_of_others_is_not_there(site: Site) -> None:
    for role in ("member", "team", "stranger"):
        for path in (f"/ui/traces/{site.ids['alone']}", f"/ui/traces/{site.ids['alone']}/replay"):
            assert site.json(role, path).status_code == 404
    assert site.json("member", "/ui/compare", a=site.ids["member"], b=site.ids["alone"]).status_code == 404
    assert site.json("member", "/ui/traces", q=site.ids["alone"]).status_code == 200


def test_a_key_without_the_permission_sees_no_page_of_it(site: Site) -> None:
    answer = site.json("blind", "/ui/traces")
    assert answer.status_code == 403
    assert "no permission 'traces'" in answer.json()["error"]["remedy"]


@pytest.mark.parametrize("path", ["/ui/traces", "/ui/keys", "/ui/memory?scope=ann", "/ui/", "/ui/live"])
def test_hostile_text_is_shown_as_text(site: Site, path: str) -> None:
    role = "member" if "memory" in path else "organisation"
    with site.browser(role) as browser:
        page = browser.get(path).text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert html.escape(HOSTILE[:20]) in page


def test_a_hostile_question_is_shown_as_text(site: Site) -> None:
    with site.browser("organisation") as browser:
        page = browser.get(f"/ui/traces/{site.ids['hostile']}").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize("path", [*(f"/ui{each}" for each in PAGES), "/ui/sign-in", "/ui/none", "/docs"])
def test_no_page_lets_anything_else_in(site: Site, path: str) -> None:
    with site.browser("operator") as browser:
        answer = browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    tags = Tags()
    tags.feed(answer.text)
    assert not [name for _, names in tags.found for name in names if name.startswith("on") or name == "style"]
    for scripts in (names for tag, names in tags.found if tag == "script"):
        assert (scripts.get("src") or "/ui/static/").startswith("/ui/static/")
        assert "src" in scripts or scripts["type"] == "application/json"
    assert "http://" not in answer.text.replace(site.run.url, "").replace("http://localhost:8090", "").replace(
        "http://www.w3.org/2000/svg", ""
    )
    assert answer.headers["cache-control"] == "no-store"


def test_a_form_needs_the_token_of_its_session(site: Site) -> None:
    with site.browser("organisation") as browser, site.browser("organisation") as other:
        foreign = token_of(other.get("/ui/keys").text)
        for token in ("", "x", foreign):
            answer = browser.post("/ui/keys", data={"name": "sneaked", "token": token})
            assert answer.status_code == 403
            assert "not of this session" in html.unescape(answer.text)
        own = token_of(browser.get("/ui/keys").text)
        answer = browser.post("/ui/keys", data={"name": "s", "token": own}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403
    assert "sneaked" not in {key.name for key in site.run.accounts.keys(None)}


def test_keys_are_made_limited_rotated_and_revoked(site: Site) -> None:
    with site.browser("organisation") as browser:
        token = token_of(browser.get("/ui/keys").text)
        form = {
            "name": "mail bot",
            "usd": "0.5",
            "period": "day",
            "may_inference": "1",
            "may_usage": "1",
            "token": token,
        }
        page = browser.post("/ui/keys", data=form).text
        secret = re.search(r'id="secret">([^<]+)<', page)
        assert secret is not None
        assert secret[1] not in browser.get("/ui/keys").text  # shown once
        key = site.run.accounts.key_called(secret[1])
        assert (key.limits.usd, key.limits.period, key.permissions) == (0.5, "day", ("inference", "usage"))
        assert site.run.chat("hello", key=secret[1]).status_code == 200
        rotated = browser.post(f"/ui/keys/{key.id}", data={"action": "rotate", "token": token}).text
        fresh = re.search(r'id="secret">([^<]+)<', rotated)
        assert fresh is not None
        assert site.run.chat("hello", key=secret[1]).status_code == 401
        assert site.run.chat("hello", key=fresh[1]).status_code == 200
        browser.post(f"/ui/keys/{key.id}", data={"action": "limit", "usd": "", "concurrency": "3", "token": token})
        assert site.run.accounts.key(key.id).limits.usd is None
        assert site.run.accounts.key(key.id).limits.concurrency == 3
        browser.post(f"/ui/keys/{key.id}", data={"action": "revoke", "token": token})
        assert site.run.chat("hello", key=fresh[1]).status_code == 401
        page = browser.get("/ui/audit").text
    assert "POST /v1/admin/keys" in page
    assert "DELETE /v1/admin/keys/{id}" in page
    assert secret[1] not in page


@pytest.mark.parametrize("role", ["member", "team"])
def test_a_role_that_asks_too_much_is_refused(site: Site, role: str) -> None:
    with site.browser(role) as browser:
        token = token_of(browser.get("/ui/").text)
        assert browser.post("/ui/keys", data={"name": "more", "token": token}).status_code == 403
        assert browser.post("/ui/accounts/orgs", data={"name": "more", "token": token}).status_code == 403
        assert browser.get("/ui/audit").status_code == 403
    with site.browser("organisation") as browser:
        token = token_of(browser.get("/ui/").text)
        assert browser.post("/ui/accounts/orgs", data={"name": "more", "token": token}).status_code == 403
        other = next(org for org in site.run.accounts.orgs() if org.name == "umbrella")
        answer = browser.post(f"/ui/accounts/orgs/{other.id}", data={"usd": "9", "token": token})
        assert answer.status_code == 404


def test_the_operator_adds_organisations_and_teams(site: Site) -> None:
    with site.browser("operator") as browser:
        token = token_of(browser.get("/ui/keys").text)
        assert browser.post("/ui/accounts/orgs", data={"name": "initech", "token": token}).status_code == 303
        org = next(org for org in site.run.accounts.orgs() if org.name == "initech")
        browser.post("/ui/accounts/teams", data={"name": "printers", "org": org.id, "token": token})
        assert [team.name for team in site.run.accounts.teams(org.id)] == ["printers"]
        page = browser.get("/ui/keys").text
    assert "is added" in page


def test_wrong_numbers_in_forms_are_told(site: Site) -> None:
    with site.browser("organisation") as browser:
        token = token_of(browser.get("/ui/keys").text)
        for usd in ("-1", "many", "1e99", "nan"):
            answer = browser.post("/ui/keys", data={"name": "x", "usd": usd, "token": token})
            assert answer.status_code == 400
            assert "usd must be a number of at least 0" in answer.text


def test_memory_is_searched_with_reasons_and_forgotten_with_a_receipt(site: Site) -> None:
    with site.browser("member") as browser:
        kept = site.run.post(
            "/v1/memories", {"text": "Petra plays the oboe.", "scope": "music"}, key=site.keys["member"]
        )
        asked = site.run.chat(
            "What does Petra play?", model="auto", key=site.keys["member"], orchestrator={"scope": "music"}
        )
        trace = asked.headers["x-orchestrator-trace-id"]
        page = browser.get("/ui/memory", params={"scope": "music", "q": "What does Petra play?"}).text
        assert "oboe" in page
        assert "No model was asked" in page
        id = kept.json()["id"]
        record = browser.get("/ui/memory", params={"scope": "music", "id": str(id)}).text
        assert site.json("member", f"/ui/traces/{trace}").json()["question"] is not None
        receipt = browser.post(
            "/ui/memory/forget", data={"scope": "music", "id": str(id), "token": token_of(record)}
        ).text
        assert "Receipt" in receipt
        assert f"m:{id}" in receipt
        gone = browser.get("/ui/memory", params={"scope": "music", "id": str(id)})
        assert gone.status_code == 404
    assert site.json("member", f"/ui/traces/{trace}").json()["question"] is None  # kept texts of the scope went, too


def test_memory_of_another_organisation_is_not_shown(site: Site) -> None:
    assert "umbrella" not in site.json("member", "/ui/memory", scope="ann").text
    listed = {each["scope"] for each in site.json("stranger", "/ui/memory").json()["scopes"]}
    assert listed == {"ann"}
    assert site.json("operator", "/ui/memory").status_code == 403


def test_a_key_of_one_scope_sees_no_other(site: Site) -> None:
    site.keys["scoped"] = site.run.new_key(name="scoped", scopes=("bob/*", "bob"))
    site.run.post("/v1/memories", {"text": "Bob is here.", "scope": "bob"}, key=site.keys["scoped"])
    listed = {each["scope"] for each in site.json("scoped", "/ui/memory").json()["scopes"]}
    assert listed == {"bob"}
    assert site.json("scoped", "/ui/memory", scope="ann").status_code == 403


def test_a_fact_shows_its_history(site: Site) -> None:
    key = site.keys["member"]
    old = site.run.post("/v1/memories", {"text": "The keeper is Silas.", "scope": "keeper"}, key=key).json()["id"]
    new = site.run.send(
        "PATCH", f"/v1/memories/{old}", key=key, json={"text": "The keeper is Odalys.", "scope": "keeper"}
    ).json()["id"]
    found = site.json("member", "/ui/memory", scope="keeper", id=str(new)).json()["record"]
    assert [each["id"] for each in found["earlier"]] == [old]
    found = site.json("member", "/ui/memory", scope="keeper", id=str(old)).json()["record"]
    assert [each["id"] for each in found["later"]] == [new]


def test_a_trace_tells_everything(site: Site) -> None:
    found = site.json("member", f"/ui/traces/{site.ids['searched']}").json()
    assert found["question"][0]["content"] == "What is 17 * 23?"
    names = [step["name"] for step in found["steps"]]
    assert names.count("draft") >= 2
    assert found["drafts"] == names.count("draft")
    assert found["rounds"][0]["asked"]
    assert found["rounds"][0]["candidates"][0]["text"]
    assert sum(found["rounds"][-1]["belief"].values()) + found["rounds"][-1]["none"] == pytest.approx(1.0, abs=0.01)
    named = site.json("member", f"/ui/traces/{site.ids['named']}").json()
    assert [step["attributes"]["model"] for step in named["steps"]] == ["small"]
    assert named["answer"] == "Paris"


def test_addresses_of_providers_are_the_operators_business(tmp_path: Path) -> None:
    async def away(body: dict[str, Any], send: Any) -> None:
        message = "connect to https://inner.example.internal:8443/v1 failed"
        await reply(send, 400, {"error": {"message": message}})  # neither tried again nor counted as an outage

    with running_gateway(tmp_path, away, traces={"content": True}) as run:
        id = run.chat(model="auto", orchestrator={"strategy": "self_consistency"}).headers.get(
            "x-orchestrator-trace-id"
        )
        listed = run.get("/ui/traces.json").json()["traces"]
        path = f"/ui/traces/{id or listed[0]['id']}.json"
        told = run.get(path).text
        assert "failed" in told
        assert "inner.example" not in told
        assert "inner.example" in run.get(path, key=run.admin).text


def test_a_search_is_replayed(site: Site) -> None:
    found = site.json("member", f"/ui/traces/{site.ids['searched']}/replay").json()
    assert found["same"] is False  # another strategy than the default decided then
    assert "step 1" in found["message"]
    assert site.json("member", f"/ui/traces/{site.ids['named']}/replay").status_code == 404


def test_two_traces_stand_side_by_side(site: Site) -> None:
    found = site.json("member", "/ui/compare", a=site.ids["member"], b=site.ids["named"]).json()
    assert [one["id"] for one in found["traces"]] == [site.ids["member"], site.ids["named"]]


def test_filters_are_in_the_address(site: Site) -> None:
    def ids(**params: str) -> set[str]:
        return {row["id"] for row in site.json("organisation", "/ui/traces", **params).json()["traces"]}

    assert site.ids["named"] in ids(model="small")
    assert ids(error="any") == ids(error="model_not_found") != set()
    assert ids(error="timeout") == set()
    assert ids(min_usd="999") == set()
    assert site.ids["member"] in ids(order="cost")
    assert site.json("organisation", "/ui/traces", order="zigzag").status_code == 400
    assert site.json("organisation", "/ui/traces", cursor="zigzag").status_code == 400


def test_an_exact_id_is_found_whatever_the_range(site: Site) -> None:
    with site.browser("member") as browser:
        answer = browser.get("/ui/traces", params={"q": f" {site.ids['named'].upper()} ", "range": "1h"})
        assert answer.headers["location"] == f"/ui/traces/{site.ids['named']}"
        answer = browser.get("/ui/traces", params={"q": site.ids["named"][:12]})
        assert answer.headers["location"] == f"/ui/traces/{site.ids['named']}"
        for wrong in ("f" * 32, "ffff", "zz", site.ids["alone"], site.ids["stranger"][:10]):
            page = browser.get("/ui/traces", params={"q": wrong}).text
            assert "No trace that you may see has the id" in page
            assert "/ui/traces/" not in page.replace("/ui/traces/'", "")


def test_moments_of_other_zones_are_understood(site: Site) -> None:
    now = time.time()

    def count(since: str, until: str) -> int:
        return len(site.json("member", "/ui/traces", since=since, until=until).json()["traces"])

    utc = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(now - 3_600))
    ahead = time.strftime("%Y-%m-%dT%H:%M+05:30", time.gmtime(now - 3_600 + 19_800))
    later = f"{now + 60:.0f}"
    assert count(utc, later) == count(ahead, later) > 0
    wrong = ("yesterday", "99999999999999999", "2026-13-45", "1e400")
    for since in wrong:
        assert site.json("member", "/ui/traces", since=since).status_code == 400
    assert site.json("member", "/ui/traces", since=later, until=f"{now:.0f}").status_code == 400
    assert site.json("member", "/ui/traces", range="1y").status_code == 400


def test_the_router_page_replays_thresholds(site: Site) -> None:
    found = site.json("organisation", "/ui/router").json()
    assert found["replayed"] >= 2
    steps = found["thresholds"]
    assert [step["threshold"] for step in steps] == sorted(step["threshold"] for step in steps)
    assert all(abs(sum(step["shares"].values()) - 1) < 1e-9 for step in steps)
    assert steps[0]["usd"] <= steps[-1]["usd"]


def test_the_quality_page_holds_confidence_against_feedback(site: Site) -> None:
    found = site.json("organisation", "/ui/quality").json()
    assert found["judged"] == 1
    assert found["sources"] == {"user": 1}
    assert site.json("stranger", "/ui/quality").json()["judged"] == 0


def test_the_models_page_shows_health_and_prices(site: Site) -> None:
    found = {each["name"]: each for each in site.json("member", "/ui/models").json()["models"]}
    assert found["small"]["health"]["state"] == "ok"
    assert found["small"]["profile"]["input_usd_per_mtok"] == 1.0
    assert found["calculator"]["health"]["state"] == "local"
    assert "http" not in str(found["small"]["health"])


def test_the_playground_streams_the_search(site: Site) -> None:
    with site.browser("member") as browser:
        token = token_of(browser.get("/ui/playground").text)
        body = {"question": "What is 17 * 23?", "strategy": "self_consistency", "model": "auto"}
        answer = browser.post("/ui/playground/ask", json=body, headers={"x-form-token": token})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "event: orchestrator.progress" in answer.text
        assert "drafted" in answer.text
        assert "data: [DONE]" in answer.text
        refused = browser.post("/ui/playground/ask", json=body, headers={"accept": "application/json"})
        assert refused.status_code == 403
        empty = {"question": "  "}
        headers = {"x-form-token": token, "accept": "application/json"}
        assert browser.post("/ui/playground/ask", json=empty, headers=headers).status_code == 400
        wrong = {"question": "x", "quality": "high"}
        assert browser.post("/ui/playground/ask", json=wrong, headers=headers).status_code == 400


def test_comparisons_are_their_keys_own(site: Site) -> None:
    with site.browser("member") as browser, site.browser("alone") as other:
        token = token_of(browser.get("/ui/playground").text)
        form = {"comparison": f'{{"question": {HOSTILE!r}}}'.replace("'", '"').replace('" OR', "' OR"), "token": token}
        assert browser.post("/ui/playground/saved", data={"comparison": "[1]", "token": token}).status_code == 400
        assert browser.post("/ui/playground/saved", data=form).status_code == 303
        page = browser.get("/ui/playground").text
        assert "<script>alert" not in page
        saved = site.json("member", "/ui/playground").json()["saved"]
        assert len(saved) == 1
        assert site.json("alone", "/ui/playground").json()["saved"] == []
        foreign = token_of(other.get("/ui/playground").text)
        other.post(f"/ui/playground/saved/{saved[0]['id']}", data={"token": foreign})
        assert len(site.json("member", "/ui/playground").json()["saved"]) == 1
        browser.post(f"/ui/playground/saved/{saved[0]['id']}", data={"token": token})
        assert site.json("member", "/ui/playground").json()["saved"] == []


def test_live_tells_of_what_ended(site: Site) -> None:
    headers = {"authorization": f"Bearer {site.keys['member']}"}
    with httpx.stream("GET", site.run.url + "/ui/live/events", headers=headers, trust_env=False, timeout=10) as events:
        lines = events.iter_lines()
        assert next(lines) == "retry: 500"
        first = next(line for line in lines if line.startswith("data: "))
        id = site.run.chat("Hello again", model="small", key=site.keys["member"]).headers["x-orchestrator-trace-id"]
        assert id not in first
        other = site.run.chat("Hello", model="small", key=site.keys["alone"]).headers["x-orchestrator-trace-id"]
        found = next(line for line in lines if id in line)
        assert other not in found
        assert set(json.loads(found.removeprefix("data: "))["names"].values()) == {"ann"}


def test_the_api_is_documented(site: Site) -> None:
    answer = httpx.get(site.run.url + "/docs", trust_env=False)
    assert answer.status_code == 200
    assert "/v1/chat/completions" in answer.text
    assert "temperature" in answer.text


def test_judged_answers_of_others_do_not_count(site: Site) -> None:
    assert site.json("member", "/ui/quality").json()["judged"] == 1
    assert site.json("team", "/ui/quality").json()["judged"] == 1  # the member is of this team
    assert site.json("alone", "/ui/quality").json()["judged"] == 0
    assert site.json("alone", "/ui/quality").json()["agreement"] is None


def test_names_of_others_are_not_told(site: Site) -> None:
    names = set(site.json("member", "/ui/traces").json()["names"].values())
    assert names == {"ann", "acme", "search"}
    assert "boss" not in site.json("team", "/ui/").text


def test_requests_that_no_model_answered_are_found(site: Site) -> None:
    found = site.json("organisation", "/ui/traces", model="(none)", limit="500").json()["traces"]
    assert all(row["model"] == "" for row in found)
    alone = site.json("organisation", "/ui/traces", team="(none)", limit="500").json()["traces"]
    assert site.ids["alone"] in {row["id"] for row in alone}
    assert site.ids["member"] not in {row["id"] for row in alone}


def test_the_api_tells_a_team_what_its_pages_tell(site: Site) -> None:
    def ids(key: str) -> set[str]:
        return {row["id"] for row in site.run.get("/v1/traces", key=site.keys[key]).json()["data"]}

    assert site.ids["member"] in ids("team")
    assert site.ids["alone"] not in ids("team")
    assert site.run.get(f"/v1/traces/{site.ids['member']}", key=site.keys["team"]).status_code == 200
    assert site.run.get(f"/v1/traces/{site.ids['alone']}", key=site.keys["team"]).status_code == 404
    assert site.run.get("/v1/usage", key=site.keys["team"]).json()["data"]


def test_metrics_of_all_tenants_are_the_operators(site: Site) -> None:
    assert site.run.get("/metrics", key=site.keys["organisation"]).status_code == 403
    assert site.run.get("/metrics", key=site.keys["operator"]).status_code == 200


def test_who_manages_may_look(site: Site) -> None:
    site.keys["bare admin"] = site.run.new_key(name="bare admin", permissions=("admin",))
    for path in ("/ui/", "/ui/traces", "/ui/keys"):
        assert site.json("bare admin", path).status_code == 200


def test_the_permission_of_a_team_needs_a_team(site: Site) -> None:
    body = {"name": "teamless", "org": site.run.org, "permissions": ["team"]}
    answer = site.run.post("/v1/admin/keys", body, key=site.keys["organisation"])
    assert answer.status_code == 409
    assert "for a key of a team" in answer.text


def test_two_picked_traces_are_compared(site: Site) -> None:
    with site.browser("member") as browser:
        path = f"/ui/compare?pick={site.ids['member']}&pick={site.ids['named']}"
        page = browser.get(path).text
    assert site.ids["member"][:12] in page
    assert site.ids["named"][:12] in page
    assert "ann" in page


def test_a_wrong_key_form_stays_filled(site: Site) -> None:
    with site.browser("organisation") as browser:
        token = token_of(browser.get("/ui/keys").text)
        answer = browser.post("/ui/keys", data={"name": "my bot", "usd": "-3", "token": token})
    assert answer.status_code == 400
    assert 'value="my bot"' in answer.text


def test_what_the_command_line_changes_is_in_the_audit_log(site: Site) -> None:
    ran = CliRunner().invoke(main, ["orgs", "add", "hooli", "--config", str(site.run.config)])
    assert ran.exit_code == 0, ran.output
    entries = site.json("operator", "/ui/audit").json()["entries"]
    entry = next(each for each in entries if each["action"] == "orchestrator orgs add")
    assert (entry["name"], entry["detail"]["name"]) == ("command line", "hooli")


def test_what_is_not_there_is_told(site: Site) -> None:
    with site.browser("member") as browser:
        for path in (
            "/ui/nothing",
            "/ui/static/nothing.js",
            "/ui/static/..%2fapp.py",
            "/ui/traces/zzz",
            "/ui/runs/zzz",
        ):
            assert browser.get(path).status_code == 404
        assert browser.post("/ui/traces").status_code == 405
        assert browser.get("/ui/sign-out").status_code == 405


def test_static_files_are_kept_by_browsers(site: Site) -> None:
    with site.browser() as browser:
        page = browser.get("/ui/sign-in").text
        for path in re.findall(r'"(/ui/static/[^"]+)"', page):
            answer = browser.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]


def test_a_form_that_is_too_large_is_refused(site: Site) -> None:
    with site.browser() as browser:
        assert browser.post("/ui/sign-in", data={"key": "x" * 2_000_000}).status_code == 413
