"""Pipelines behind the gateway: as models, as runs, and within what a key may do and spend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from orchestrator.errors import ConfigError
from orchestrator.gateway.app import build
from orchestrator.storage.account_types import AccountLimits
from tests.support.gateway import Running, running_gateway, settled, usual

DESK = """\
version: 1
name: desk
release: 3
description: answers
inputs: {question: text, tone: {type: text, default: kind}, history: {type: list, default: []}}
budget: {usd: 0.02}
steps:
  reply: {ask: small, prompt: "${inputs.tone}: ${inputs.question} (${len(inputs.history)})", max_tokens: 100}
  noted: {memory: remember, text: "asked ${inputs.question}", scope: "${inputs.tone}", background: true}
output: "${reply.text}!"
"""
BROKEN = """\
version: 1
name: broken
inputs: {n: number}
steps: {a: {ask: small, prompt: x}, b: {say: "${10 / inputs.n}", after: [a]}}
output: {b: "${b}", a: "${a.text}"}
"""
TOOL = (
    "version: 1\nname: tool\ntools: {t: {http: 'http://127.0.0.1:9/secret-place', private: true}}\nsteps: {a: "
    "{tool: t}}\n"
)
SLOW = "version: 1\nname: slow\nsteps: {a: {ask: large, prompt: slow}}\noutput: '${a.text}'\n"


async def play(body: dict[str, Any], send: Any) -> None:
    import asyncio

    if "slow" in json.dumps(body["messages"]):
        await asyncio.sleep(30)
    await usual(body, send)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    files = {}
    for name, text in (("desk", DESK), ("broken", BROKEN), ("tool", TOOL), ("slow", SLOW)):
        (folder / f"{name}.yaml").write_text(text)
        files[name] = str(folder / f"{name}.yaml")
    with running_gateway(folder, play, pipelines=files) as running:
        yield running


def test_a_pipeline_is_a_model_for_openais_client(gateway: Running) -> None:
    client = OpenAI(base_url=gateway.url + "/v1", api_key=gateway.key, max_retries=0)
    assert "pipeline:desk" in [model.id for model in client.models.list()]
    messages: Any = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Where is the Louvre?"},
    ]
    found = client.chat.completions.create(
        model="pipeline:desk", messages=messages, extra_body={"orchestrator": {"inputs": {"tone": "dry"}}}
    )
    assert found.choices[0].message.content == "Paris!"
    assert found.model == "pipeline:desk"
    assert gateway.provider.bodies[-1]["messages"][-1]["content"] == "dry: Where is the Louvre? (2)"
    assert found.model_extra is not None
    assert found.model_extra["orchestrator"]["cost_usd"] == pytest.approx((20 * 1 + 10 * 2) / 1e6)
    run = gateway.get(f"/v1/runs/{found.model_extra['orchestrator']['run']}").json()
    assert run["inputs"]["tone"] == "dry"
    stream = client.chat.completions.create(
        model="pipeline:desk", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Paris!"
    assert chunks[-1].usage is not None
    assert client.responses.create(model="pipeline:desk", input="Where?").output_text == "Paris!"


def test_pipelines_are_described(gateway: Running) -> None:
    listed = gateway.get("/v1/pipelines").json()["data"]
    assert sorted(each["name"] for each in listed) == ["broken", "desk", "slow", "tool"]
    desk = gateway.get("/v1/pipelines/desk").json()
    assert desk in listed
    assert (desk["model"], desk["release"]) == ("pipeline:desk", 3)
    assert desk["inputs"]["required"] == ["question"]
    assert gateway.get("/v1/pipelines/nothing").status_code == 404


def test_a_run_with_everything_that_its_steps_gave(gateway: Running) -> None:
    found = gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "Where?"}}).json()
    assert (found["status"], found["output"], found["partial"]) == ("done", "Paris!", False)
    assert "reply" in [step["path"] for step in found["steps"]]
    told = gateway.get(f"/v1/runs/{found['id']}").json()
    assert told["output"] == "Paris!"
    assert settled(lambda: len(gateway.get(f"/v1/runs/{found['id']}").json()["steps"]) == 2)
    assert told["cost_usd"] == pytest.approx(4e-5)
    assert found["id"] in [run["id"] for run in gateway.get("/v1/pipelines/desk/runs").json()["data"]]
    org = gateway.org
    memory = gateway.gateway.services.engine.memory
    assert memory is not None
    assert settled(lambda: any(r.text == "asked Where?" for r in memory.export(f"{org}/kind")))
    usage = gateway.get("/v1/usage").json()["data"]
    assert next(row for row in usage if row["model"] == "pipeline:desk")["requests"] >= 1
    assert gateway.send("DELETE", f"/v1/runs/{found['id']}").json() == {"id": found["id"], "deleted": True}
    assert gateway.get(f"/v1/runs/{found['id']}").status_code == 404


def test_wrong_inputs_are_a_400_that_says_what_is_taken(gateway: Running) -> None:
    for body in (
        {},
        {"inputs": {}},
        {"inputs": {"question": 3}},
        {"inputs": {"question": "x", "nothing": 1}},
        {"input": {}},
    ):
        reply = gateway.post("/v1/pipelines/desk/runs", body)
        assert reply.status_code == 400, body
    assert "It takes: question, tone, history" in gateway.post("/v1/pipelines/desk/runs", {}).json()["error"]["message"]
    assert gateway.chat("x", model="pipeline:tool").json()["error"]["code"] == "no_input_for_messages"
    assert gateway.chat("x", model="pipeline:nothing").status_code == 404


def test_a_run_that_failed_is_resumed(gateway: Running) -> None:
    before = len(gateway.provider.bodies)
    failed = gateway.post("/v1/pipelines/broken/runs", {"inputs": {"n": 0}})
    assert failed.status_code == 502
    message = failed.json()["error"]["message"]
    assert "step 'b' of the pipeline failed" in message
    run = gateway.get("/v1/pipelines/broken/runs").json()["data"][0]
    assert (run["status"], run["error"]) == ("failed", "step 'b' failed")
    assert run["id"] in message
    again = gateway.post(f"/v1/runs/{run['id']}/resume", {})
    assert again.status_code == 502
    assert len(gateway.provider.bodies) == before + 1, "the step that had finished is not asked again"


def test_what_tools_say_stays_with_the_operator(gateway: Running) -> None:
    reply = gateway.post("/v1/pipelines/tool/runs", {})
    assert reply.status_code == 502
    stored = gateway.get("/v1/pipelines/tool/runs").json()["data"][0]
    streamed = gateway.post("/v1/pipelines/tool/runs", {"stream": True})
    pages = [gateway.get(path).text for path in (f"/ui/runs/{stored['id']}.json", f"/ui/runs/{stored['id']}")]
    for told in (reply.text, json.dumps(stored), streamed.text, *pages):
        assert "secret-place" not in told
        assert "127.0.0.1" not in told


def test_a_run_streams_its_events(gateway: Running) -> None:
    reply = gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "Where?"}, "stream": True})
    events = [line.removeprefix("event: ") for line in reply.text.splitlines() if line.startswith("event: ")]
    assert events[-1] == "orchestrator.run"
    assert set(events[:-1]) == {"orchestrator.progress"}
    data = [json.loads(line.removeprefix("data: ")) for line in reply.text.splitlines() if line.startswith("data: {")]
    assert [each["kind"] for each in data[:-1]][:2] == ["run_started", "step_started"]
    assert data[-1]["output"] == "Paris!"
    assert reply.text.rstrip().endswith("data: [DONE]")


def test_a_run_in_the_background_is_cancelled(gateway: Running) -> None:
    found = gateway.post("/v1/pipelines/slow/runs", {"background": True}).json()
    assert found["status"] == "running"
    assert settled(lambda: gateway.get(f"/v1/runs/{found['id']}").status_code == 200)
    assert gateway.send("POST", f"/v1/runs/{found['id']}/cancel").json()["status"] == "cancelling"
    assert settled(lambda: gateway.get(f"/v1/runs/{found['id']}").json()["status"] == "cancelled")
    assert gateway.send("POST", f"/v1/runs/{found['id']}/cancel").status_code == 409


def test_a_key_runs_what_it_may_and_sees_its_own_runs(gateway: Running) -> None:
    run = gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "x"}}).json()
    other = gateway.new_key(models=("pipeline:desk",), scopes=("ann/*",))
    assert [each["name"] for each in gateway.get("/v1/pipelines", key=other).json()["data"]] == ["desk"]
    assert gateway.get(f"/v1/runs/{run['id']}", key=other).status_code == 404
    assert gateway.post(f"/v1/runs/{run['id']}/resume", {}, key=other).status_code == 404
    assert gateway.post("/v1/pipelines/broken/runs", {"inputs": {"n": 1}}, key=other).status_code == 403
    assert gateway.chat("x", model="pipeline:broken", key=other).status_code == 403
    assert gateway.chat("x", model="small", key=other).status_code == 403
    answered = gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "x", "tone": "bob"}}, key=other).json()
    assert answered["output"] == "Paris!"
    memory = gateway.gateway.services.engine.memory
    assert memory is not None
    assert list(memory.export(f"{gateway.org}/bob")) == [], (
        "a key that may not use a scope cannot reach it through a pipeline"
    )


def test_runs_spend_the_budget_of_their_key(gateway: Running) -> None:
    poor = gateway.new_key(limits=AccountLimits(usd=0.0004))
    runs = [gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "x"}}, key=poor).json() for _ in range(8)]
    spent = sum(run["cost_usd"] for run in runs)
    assert runs[0]["output"] == "Paris!"
    assert (runs[-1]["partial"], runs[-1]["stopped"], runs[-1]["cost_usd"]) == (True, "usd", 0)
    assert 0 < spent <= 0.0004
    (budget,) = [each for each in gateway.get("/v1/usage", key=poor).json()["budgets"] if each["limit_usd"] == 0.0004]
    assert budget["spent_usd"] == pytest.approx(spent)
    assert gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "x"}, "budget": {"usd": 0.0}}).json()[
        "partial"
    ]


def test_a_pipeline_that_is_wrong_is_told_when_the_gateway_starts(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: 1\nname: p\nsteps: {a: {ask: nobody, prompt: x}}\n")
    config = {
        "models": {"calculator": {"provider": "calculator"}},
        "memory": {"path": str(tmp_path / "m.db")},
        "gateway": {"database": str(tmp_path / "g.db")},
        "pipelines": {"p": str(tmp_path / "p.yaml")},
    }
    (tmp_path / "o.yaml").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="there is no model 'nobody'"):
        build(tmp_path / "o.yaml")


def test_a_pipeline_is_neither_routed_nor_answered_natively(gateway: Running) -> None:
    for path in ("/v1/answer", "/v1/route"):
        assert gateway.post(path, {"query": "x", "model": "pipeline:desk"}).json()["error"]["code"] == "is_a_pipeline"


def test_what_a_pipeline_read_and_wrote_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\nname: p\ninputs: {question: text}\nsteps:\n"
        "  a: {ask: small, prompt: 'Answer ${inputs.question}'}\n  b: {ask: small, prompt: 'Check ${a.text}'}\noutput: "
        "${b.text}\n"
    )
    with running_gateway(tmp_path, pipelines={"p": str(tmp_path / "p.yaml")}) as gateway:
        usage = gateway.chat("Where is the Louvre?", model="pipeline:p").json()["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (40, 20)
        assert settled(lambda: bool(gateway.get("/v1/usage").json()["data"]))
        (row,) = gateway.get("/v1/usage").json()["data"]
        assert (row["model"], row["prefill_tokens"], row["output_tokens"]) == ("pipeline:p", 40, 20)


def test_what_is_refused_is_told_under_the_model_that_was_named(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        assert gateway.chat(model="small", max_tokens=900, orchestrator={"budget": {"usd": 0.0}}).status_code == 402
        assert gateway.chat(model="auto", orchestrator={"budget": {"usd": 0.0}}).status_code in (402, 404)
        assert gateway.chat(model="nothing of ours").status_code == 404
        assert gateway.chat(model="auto:made up").status_code == 404
        assert settled(lambda: sum(row["errors"] for row in gateway.get("/v1/usage").json()["data"]) == 4)
        rows = {row["model"]: row["errors"] for row in gateway.get("/v1/usage").json()["data"]}
        assert rows == {"small": 1, "auto": 1, "": 2}  # names that strangers make up are kept out of the labels


def test_a_run_is_replayed_from_a_step(gateway: Running) -> None:
    first = gateway.post("/v1/pipelines/desk/runs", {"inputs": {"question": "Where is it?"}}).json()
    asked = len(gateway.provider.bodies)
    same = gateway.post(f"/v1/runs/{first['id']}/replay", {}).json()
    assert same["id"] != first["id"]
    assert same["output"] == first["output"]
    assert same["cost_usd"] == 0.0
    assert len(gateway.provider.bodies) == asked  # nobody was asked again
    again = gateway.post(f"/v1/runs/{first['id']}/replay", {"from": "reply"}).json()
    assert again["cost_usd"] > 0
    assert len(gateway.provider.bodies) == asked + 1
    wrong = gateway.post(f"/v1/runs/{first['id']}/replay", {"from": "nothing"})
    assert wrong.status_code == 400
    assert "there is no step 'nothing'" in wrong.text
    other = gateway.new_key(name="another")
    assert gateway.post(f"/v1/runs/{first['id']}/replay", {}, key=other).status_code == 404
