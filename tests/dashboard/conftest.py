"""A gateway with some traffic of two organisations, for the tests of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from orchestrator.storage.account_types import NewKey
from tests.support.gateway import Running, running_gateway

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> ' OR 1=1 --"


@dataclass
class Site:
    """The gateway, keys of each role, and the ids of some requests. Texts are kept."""

    run: Running
    keys: dict[str, str]
    ids: dict[str, str]

    @contextmanager
    def browser(self, role: str | None = None) -> Iterator[httpx.Client]:
        """A client that keeps cookies; signed in, if a role is named."""
        headers = {"accept": "text/html"}
        with httpx.Client(base_url=self.run.url, trust_env=False, headers=headers, timeout=30) as client:
            if role is not None:
                answer = client.post("/ui/sign-in", data={"key": self.keys[role]})
                assert answer.status_code == 303, answer.text
            yield client

    def json(self, role: str, path: str, **params: str) -> httpx.Response:
        """A page as JSON, asked for with a key as programs do."""
        headers = {"authorization": f"Bearer {self.keys[role]}", "accept": "application/json"}
        return httpx.get(self.run.url + path, params=params, headers=headers, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with running_gateway(
        folder, traces={"content": True}, online={"path": str(folder / "decisions.db")}, quality=0.9
    ) as run:
        yield filled(run)


def filled(run: Running) -> Site:
    accounts = run.accounts
    team = accounts.add_team(run.org, "search")
    other = accounts.add_org("umbrella")
    keys = {
        "operator": run.admin,
        "organisation": run.new_key(name="boss", permissions=("usage", "traces", "memory", "inference", "admin")),
        "team": accounts.add_key(NewKey("lead", run.org, team.id, ("usage", "traces", "memory", "inference", "team")))[
            1
        ],
        "member": accounts.add_key(NewKey("ann", run.org, team.id))[1],
        "alone": run.key,
        "stranger": accounts.add_key(NewKey("mallory", other.id))[1],
        "blind": run.new_key(name="blind", permissions=("inference",)),
        HOSTILE[:60]: run.new_key(name=HOSTILE[:60]),
    }
    ids = {}
    for role in ("member", "alone", "stranger"):
        answer = run.chat("Where is the Louvre?", model="auto", key=keys[role])
        ids[role] = answer.headers["x-orchestrator-trace-id"]
    ids["named"] = run.chat("Hello", model="small", key=keys["member"]).headers["x-orchestrator-trace-id"]
    ids["searched"] = run.chat(
        "What is 17 * 23?", model="auto", key=keys["member"], orchestrator={"strategy": "self_consistency"}
    ).headers["x-orchestrator-trace-id"]
    hostile = run.chat(HOSTILE, model="auto", key=keys[HOSTILE[:60]])
    ids["hostile"] = hostile.headers["x-orchestrator-trace-id"]
    run.chat("x", model="no-such-model", key=keys["member"])
    run.post("/v1/memories", {"text": HOSTILE, "scope": "ann"}, key=keys["member"])
    run.post("/v1/memories", {"text": "The shop opens at nine.", "scope": "ann"}, key=keys["member"])
    run.post("/v1/memories", {"text": "A secret of umbrella.", "scope": "ann"}, key=keys["stranger"])
    run.post("/v1/feedback", {"trace_id": ids["member"], "score": 1}, key=keys["member"])
    return Site(run, keys, ids)
