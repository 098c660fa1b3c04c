"""Running the gateway.

Starting, what it refuses to start with, health, metrics, spans, logs, reload, shedding, draining, workers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.gateway.observability.metrics import Metrics
from orchestrator.gateway.serve import JsonLines
from orchestrator.storage.account_types import AccountLimits, NewKey
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.database import open_database
from orchestrator.storage.requests import ServedRequest
from tests.support.gateway import (
    Provider,
    Send,
    begin_stream,
    chunk,
    completion,
    delta,
    reply,
    running_gateway,
    served,
    settled,
    usual,
)


@contextmanager
def command(
    folder: Path, *options: str, upstream: str, **gateway: Any
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`orchestrator serve` as a process of its own, and what it said of itself."""
    model = {
        "provider": "compatible",
        "base_url": f"{upstream}/v1",
        "input_usd_per_mtok": 1.0,
        "output_usd_per_mtok": 2.0,
    }
    config = {
        "models": {"small": model},
        "memory": {"path": str(folder / "m.db")},
        "gateway": {"database": str(folder / "g.db"), **gateway},
    }
    (folder / "orchestrator.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "orchestrator", "serve", "--json", "--port", str(port), *options]
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        address = told["url"].removesuffix("/v1")
        assert settled(lambda: _answers(f"{address}/readyz"), 30)
        yield process, {**told, "address": address}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def ask(told: dict[str, Any], **fields: Any) -> httpx.Response:
    body = {"model": "small", "messages": [{"role": "user", "content": "Where is the Louvre?"}], **fields}
    headers = {"authorization": f"Bearer {told['first_key']}"}
    return httpx.post(f"{told['url']}/chat/completions", json=body, headers=headers, timeout=30, trust_env=False)


def test_the_first_start_makes_keys_and_the_next_one_does_not(tmp_path: Path) -> None:
    with served(Provider(usual)) as upstream:
        with command(tmp_path, upstream=upstream) as (_, told):
            assert ask(told).json()["choices"][0]["message"]["content"] == "Paris"
        with command(tmp_path, upstream=upstream) as (_, again):
            assert (again["first_key"], again["admin_key"]) == ("", "")
            assert ask({**again, "first_key": told["first_key"]}).status_code == 200
    text = (tmp_path / "g.db").read_bytes()
    assert told["first_key"].encode() not in text
    assert told["admin_key"].encode() not in text


@pytest.mark.parametrize(
    ("options", "environment", "told"),
    [
        ([], {"ORCHESTRATOR_ADMIN_KEY": "sk-1234"}, "can be guessed"),
        ([], {"ORCHESTRATOR_ADMIN_KEY": "a" * 64}, "can be guessed"),
        ([], {"ORCHESTRATOR_ADMIN_KEY": "my-secret-password-2026"}, "can be guessed"),
        (["--host", "0.0.0.0"], {}, "in the clear"),
        (["--host", "example.org"], {}, "in the clear"),
        (["--tls-cert", "cert.pem"], {}, "belong together"),
    ],
)
def test_what_is_unsafe_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], environment: dict[str, str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cert.pem").write_text("x")
    ran = CliRunner().invoke(main, ["serve", "--check", *options], env=environment)
    assert ran.exit_code == 2
    assert told in ran.output


def test_a_good_admin_key_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    key = "kV3x9QpZr7TtLm2WnB8sYc4HdJ6gFa1E"
    monkeypatch.chdir(tmp_path)
    ran = runner.invoke(main, ["serve", "--check", "--json"], env={"ORCHESTRATOR_ADMIN_KEY": key})
    assert ran.exit_code == 0
    assert json.loads(ran.output)["admin_key"] == ""
    assert key not in ran.output
    again = runner.invoke(
        main, ["serve", "--check", "--host", "0.0.0.0", "--behind-proxy"], env={"ORCHESTRATOR_ADMIN_KEY": key}
    )
    assert again.exit_code == 0


def test_keys_from_the_command_line(tmp_path: Path) -> None:
    runner = CliRunner()
    database = str(tmp_path / "g.db")
    made = runner.invoke(
        main,
        [
            "keys",
            "add",
            "app",
            "--database",
            database,
            "--usd",
            "5",
            "--rpm",
            "60",
            "--models",
            "small,large*",
            "--json",
        ],
    )
    key = json.loads(made.output)
    assert (key["limits"]["usd"], key["limits"]["requests_per_minute"], key["models"]) == (5.0, 60, ["small", "large*"])
    listed = runner.invoke(main, ["keys", "list", "--database", database])
    assert key["id"] in listed.output
    assert key["key"] not in listed.output
    rotated = runner.invoke(main, ["keys", "rotate", key["id"], "--database", database]).stdout.strip()
    assert rotated.startswith("orc-")
    assert rotated != key["key"]
    assert "revoked" in runner.invoke(main, ["keys", "revoke", key["id"], "--database", database]).output
    accounts = Accounts(open_database(database))
    assert accounts.key(key["id"]).revoked_at is not None
    wrong = runner.invoke(main, ["keys", "add", "app", "--database", database, "--permissions", "everything"])
    assert wrong.exit_code == 2
    assert "everything" in wrong.output


def test_listing_keys_makes_nothing_and_says_how_to_begin(tmp_path: Path) -> None:
    runner = CliRunner()
    database = str(tmp_path / "g.db")
    for group in ("keys", "orgs", "teams"):
        listed = runner.invoke(main, [group, "list", "--database", database])
        assert (listed.exit_code, "add" in listed.output) == (0, True)
    lost = runner.invoke(main, ["keys", "revoke", "app", "--database", database])
    assert lost.exit_code == 1
    assert "orchestrator keys add" in lost.output
    assert not Path(database).exists()


def test_organisations_teams_and_keys_by_name_from_the_command_line(tmp_path: Path) -> None:
    runner = CliRunner()
    database = str(tmp_path / "g.db")

    def run(*arguments: str, status: int = 0) -> str:
        ran = runner.invoke(main, [*arguments, "--database", database])
        assert ran.exit_code == status, ran.output
        return ran.output

    run("orgs", "add", "Acme Ltd", "--usd", "100", "--period", "month")
    run("teams", "add", "search", "--org", "Acme Ltd", "--rpm", "60")
    secret = run("keys", "add", "app", "--org", "Acme Ltd", "--team", "search", "--days", "30").splitlines()[0]
    run("keys", "add", "spare", "--org", "Acme Ltd")
    limited = json.loads(run("orgs", "limit", "Acme Ltd", "--rpm", "10", "--json"))["limits"]
    assert (limited["usd"], limited["period"], limited["requests_per_minute"]) == (100.0, "month", 10)
    assert "10 requests a minute" in run("orgs", "list")
    assert "60 requests a minute" in run("teams", "list", "--org", "Acme Ltd")
    told = run("keys", "list")
    assert "Acme Ltd/search" in told
    assert "never" in told
    run("keys", "rotate", "app")
    run("keys", "revoke", secret, status=1)  # the old secret is no key any more
    assert "app" in run("keys", "revoke", "app")
    assert [key["name"] for key in json.loads(run("keys", "list", "--json")) if key["revoked_at"] is None] == ["spare"]
    run("keys", "add", "spare", "--org", "Acme Ltd")
    assert "2 keys are named" in run("keys", "revoke", "spare", status=1)
    assert "no memory scope" in run("keys", "add", "x", "--scopes", "ann, b b", status=1)


def test_a_key_of_a_mistyped_organisation_is_refused(tmp_path: Path) -> None:
    database = str(tmp_path / "g.db")

    def add(*options: str) -> Any:
        return CliRunner().invoke(main, ["keys", "add", *options, "--database", database])

    assert add("first", "--org", "acme", "--team", "search").stderr.count("is new") == 0
    assert add("second").stderr.count("organisation 'default' is new, and has no limits") == 1
    for options in (["--org", "acm"], ["--org", "acme", "--team", "searhc"]):
        refused = add("third", *options)
        assert refused.exit_code == 1
        assert "Did you mean" in refused.stderr
        assert refused.stdout == ""
    assert "team 'billing' is new, and has no limits" in add("fourth", "--org", "acme", "--team", "billing").stderr
    listed = json.loads(CliRunner().invoke(main, ["orgs", "list", "--database", database, "--json"]).stdout)
    assert sorted(each["name"] for each in listed) == ["acme", "default"]


@pytest.mark.parametrize(
    ("name", "meant", "is_slip"),
    [
        ("acm", "acme", True),
        ("acmee", "acme", True),
        ("Acme", "acme", True),
        ("axme", "acme", True),
        ("searhc", "search", True),
        ("team-2", "team-1", False),
        ("team-12", "team-1", False),
        ("acme-eu", "acme-us", False),
        ("sales", "search", False),
        ("ab", "ba", True),
        ("abcd", "badc", False),
    ],
)
def test_what_is_a_slip_of_the_fingers(name: str, meant: str, is_slip: bool) -> None:
    from orchestrator.cli.keys import _is_slip

    assert _is_slip(name, meant) is _is_slip(meant, name) is is_slip


def test_keys_have_names_and_models_that_are_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = {"provider": "compatible", "base_url": "http://127.0.0.1:9/v1"}
    config = {"version": 1, "models": {"fast": model}, "gateway": {"database": "g.db"}}
    Path("orchestrator.yaml").write_text(json.dumps(config))
    for options in (["", "--org", "a"], ["x" * 129], ["a\nb"], ["app", "--org", ""], ["app", "--team", " "]):
        refused = CliRunner().invoke(main, ["keys", "add", *options])
        assert refused.exit_code == 1
        assert "characters, none of them a control character" in refused.stderr
    slipped = CliRunner().invoke(main, ["keys", "add", "app", "--models", "fats,auto"])
    assert (slipped.exit_code, slipped.stdout) == (2, "")
    assert "no model 'fats'. Did you mean 'fast'?" in slipped.stderr
    assert json.loads(CliRunner().invoke(main, ["keys", "list", "--json"]).stdout) == []
    for options in ((), ("--json",)):
        made = CliRunner().invoke(main, ["keys", "add", "app", "--models", "other,auto,fas*,auto:cheap", *options])
        assert made.exit_code == 0
        assert "orc-" in made.stdout
        assert made.stderr.count("the configuration has no model 'other'") == 1


def test_a_list_of_keys_tells_all_that_they_are_held_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["keys", *arguments, "--database", "g.db"])

    refused = run("add", "early", "--period", "day")
    assert refused.exit_code == 2
    assert "a period is that of a budget" in refused.stderr
    assert not Path("g.db").exists()
    for option in ("--models", "--scopes", "--permissions"):
        for text, said in (("", "names nothing"), (" , ", "names nothing"), ("sm*ll", "a * ends a name")):
            nothing = run("add", "early", option, text)
            assert (nothing.exit_code, nothing.stdout) == (2, "")
            assert said in nothing.stderr
    assert run("add", "bot", "--models", "small,auto:cheap", "--usd", "5", "--period", "day").exit_code == 0
    assert run("add", "eye", "--permissions", "usage,traces", "--scopes", "ann/*").exit_code == 0
    assert run("add", "free").exit_code == 0
    told = run("list").stdout
    assert "5 USD a day; models small, auto:cheap" in told
    assert "scopes ann/*; may usage, traces" in told
    free = next(line for line in told.splitlines() if line.startswith("free"))
    assert not {"models", "scopes", "may"} & set(free.split())


def test_check_tells_of_a_pipeline_that_cannot_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orchestrator.yaml").write_text("models: {c: {provider: calculator}}\npipelines: {p: nofile.yaml}\n")
    ran = CliRunner().invoke(main, ["serve", "--check"])
    assert ran.exit_code == 2
    assert "nofile.yaml" in ran.output


def test_what_the_command_line_forgets_no_cache_gives_again(tmp_path: Path) -> None:
    with running_gateway(tmp_path, gateway={"cache": {"seconds": 600}}) as gateway:
        assert gateway.chat("q").status_code == 200
        assert gateway.chat("q").headers.get("x-orchestrator-cached") == "exact"
        scope = f"{gateway.org}/default"
        ran = CliRunner().invoke(main, ["forget", "--all", "--scope", scope, "--config", str(gateway.config)])
        assert ran.exit_code == 0, ran.output
        assert settled(
            lambda: (
                "x-orchestrator-cached" not in gateway.chat("q", headers={"cache-control": "only-if-cached"}).headers
            ),
            5,
        )


def test_health_and_readiness(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        assert gateway.get("/healthz", key="").json() == {"status": "ok"}
        assert gateway.get("/readyz", key="").json() == {"status": "ready"}
        gateway.gateway.services.is_draining = True
        assert gateway.get("/readyz", key="").status_code == 503
        assert gateway.get("/healthz", key="").status_code == 200


def test_metrics_count_what_was_served(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.chat()
        gateway.chat(model="nothing")
        gateway.chat(stream=True)
        text = gateway.get("/metrics", key=gateway.admin).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['orchestrator_requests_total{api="chat",model="small",status="200"}'] == "2.0"
    assert lines['orchestrator_errors_total{api="chat",code="model_not_found"}'] == "1.0"
    assert lines['orchestrator_tokens_total{kind="output",model="small"}'] == "20.0"
    assert float(lines['orchestrator_cost_usd_total{model="small"}']) == pytest.approx(2 * 40e-6)
    assert lines['orchestrator_time_to_first_token_seconds_count{api="chat"}'] == "1.0"
    assert lines['orchestrator_upstream_available{model="small"}'] == "1.0"
    assert lines['orchestrator_upstream_in_flight{model="small"}'] == "0.0"
    assert float(lines['orchestrator_upstream_limit{model="small"}']) >= 1
    assert lines['orchestrator_upstream_cache_hit_rate{model="small"}'] == "0.0"
    assert "Louvre" not in text


def test_the_access_log_holds_no_content(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    with running_gateway(tmp_path, gateway={"access_log": str(path)}) as gateway:
        gateway.chat("A secret question")
        assert settled(lambda: path.read_text() != "")
    line = json.loads(path.read_text())
    assert (line["api"], line["model"], line["status"]) == ("chat", "small", 200)
    assert "secret" not in path.read_text()
    assert gateway.key not in path.read_text()


@pytest.mark.parametrize(("conventions", "name"), [("1.41", "gen_ai.system"), ("latest", "gen_ai.provider.name")])
def test_spans_in_the_genai_conventions(tmp_path: Path, conventions: Any, name: str) -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from orchestrator.gateway.observability.telemetry import Spans

    exporter = InMemorySpanExporter()
    with running_gateway(tmp_path) as gateway:
        gateway.gateway.services.recorder.spans = Spans(
            conventions, gateway.gateway.services.server_of, exporter=exporter
        ).export
        answer = gateway.chat(
            "A secret question", headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        )
        again = gateway.chat(
            "Another one of the same trace",
            headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        )
        assert answer.headers["x-request-id"] != again.headers["x-request-id"]
        assert settled(lambda: len(exporter.get_finished_spans()) == 4)
        assert settled(lambda: len(gateway.get("/v1/traces").json()["data"]) == 2)
    inner, outer = exporter.get_finished_spans()[:2]
    assert outer.name == "chat small"
    assert outer.attributes is not None
    assert outer.parent is not None
    assert outer.parent.span_id == 0xB7AD6B7169203331
    assert outer.attributes["gen_ai.usage.output_tokens"] == 10
    assert name in outer.attributes
    assert outer.context.trace_id == inner.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert "secret" not in str(outer.attributes)
    assert inner.attributes is not None
    told = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.response.id", "gen_ai.response.model")
    assert (
        [inner.attributes[name] for name in told]
        == [outer.attributes[name] for name in told]
        == [20, 10, answer.json()["id"], "small"]
    )
    assert inner.attributes["server.address"] == "127.0.0.1"
    assert f":{inner.attributes['server.port']}" in gateway.provider.url


def test_spans_of_failures_and_of_other_addresses(tmp_path: Path) -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from orchestrator.gateway.observability.telemetry import Spans

    exporter, tries = InMemorySpanExporter(), 0

    async def once_down(body: dict[str, Any], send: Send) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            return await reply(send, 503, {"error": {"message": "busy"}}, ((b"retry-after", b"0"),))
        return await usual(body, send)

    with running_gateway(tmp_path, once_down) as gateway:
        gateway.gateway.services.recorder.spans = Spans(
            "1.41", gateway.gateway.services.server_of, exporter=exporter
        ).export
        message = gateway.post(
            "/v1/messages", {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        ).json()
        stream = gateway.chat(stream=True)
        response = gateway.post("/v1/responses", {"model": "small", "input": "hi"}).json()
        assert settled(lambda: len(exporter.get_finished_spans()) == 7)
    spans = exporter.get_finished_spans()
    assert [span.status.is_ok for span in spans[:2]] == [False, True]
    assert spans[0].attributes is not None
    assert spans[0].attributes["error.type"] == "backend_unavailable"
    assert "gen_ai.usage.input_tokens" not in spans[0].attributes
    assert spans[0].end_time is not None
    assert spans[1].start_time is not None
    assert spans[1].start_time >= spans[0].end_time
    ids = [span.attributes["gen_ai.response.id"] for span in spans if span.attributes and span.kind.name == "SERVER"]
    assert ids == [message["id"], "c1", response["id"]]
    assert '"id":"c1"' in stream.text.replace(" ", "")


def test_a_new_configuration_is_validated_first_and_then_served(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        good = gateway.config.read_text()
        gateway.config.write_text(good.replace("small:", "tiny:"))
        assert gateway.post("/v1/admin/reload", None, key=gateway.admin).json() == {"status": "reloaded"}
        assert gateway.chat(model="tiny").status_code == 200
        assert gateway.chat(model="small").status_code == 404
        gateway.config.write_text(good.replace("gateway:", "gateway:\n  max_in_flight: 7", 1))
        told = gateway.post("/v1/admin/reload", None, key=gateway.admin).json()
        assert told == {"status": "reloaded", "needs_restart": ["gateway.max_in_flight"]}
        gateway.config.write_text(good.replace("small:", "tiny:"))
        assert gateway.post("/v1/admin/reload", None, key=gateway.admin).status_code == 200
        gateway.config.write_text("models: {tiny: {provider: gorq}}")
        refused = gateway.post("/v1/admin/reload", None, key=gateway.admin)
        assert refused.status_code == 400
        assert "Did you mean 'groq'?" in refused.json()["error"]["message"]
        assert gateway.chat(model="tiny").status_code == 200


@pytest.mark.parametrize("content", [b"SQLite format 3\x00" + b"\xff" * 5000, b"no database at all" * 100])
def test_a_check_looks_at_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orchestrator.yaml").write_text("models: {calculator: {provider: calculator}}\ngateway: {database: g.db}\n")
    assert CliRunner().invoke(main, ["serve", "--check", "--port", "0"]).exit_code == 0
    assert not Path("g.db").exists()
    Path("g.db").write_bytes(content)
    for command in (["serve", "--check", "--port", "0"], ["keys", "list"]):
        told = CliRunner().invoke(main, command)
        assert told.exit_code != 0
        assert "restore a backup" in told.output
        assert Path("g.db").read_bytes() == content
    away = ["serve", "--check", "--port", "0", "--database", "postgresql://nobody@127.0.0.1:1/none"]
    assert CliRunner().invoke(main, away).exit_code != 0


def test_a_reload_takes_the_new_key_of_a_provider_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "provider.key"
    secret.write_text("sk-old\n")
    with running_gateway(tmp_path) as gateway:
        stated = gateway.config.read_text()
        gateway.config.write_text(
            stated.replace("provider: compatible", f"provider: compatible\n    key: file:{secret}")
        )
        for key in ("sk-old", "sk-new"):
            secret.write_text(key)
            assert gateway.post("/v1/admin/reload", None, key=gateway.admin).status_code == 200
            assert gateway.chat(model="small").status_code == 200
            assert gateway.provider.headers[-1][b"authorization"] == f"Bearer {key}".encode()


def test_what_runs_when_the_configuration_changes_ends_as_it_began(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        for index in range(20):
            await chunk(send, delta({"content": f"{index} "}))
            await asyncio.sleep(0.03)
        await chunk(send, delta({}, "stop"))
        await chunk(send, b"data: [DONE]\n\n", more=False)

    with running_gateway(tmp_path, play) as gateway:
        texts: list[str] = []
        reading = threading.Thread(target=lambda: texts.append(gateway.chat(stream=True).text))
        reading.start()
        assert settled(lambda: bool(gateway.provider.bodies))
        gateway.config.write_text(gateway.config.read_text().replace("small:", "tiny:"))
        assert gateway.post("/v1/admin/reload", None, key=gateway.admin).status_code == 200
        reading.join(10)
        assert texts[0].rstrip().endswith("[DONE]")
        assert '"19 "' in texts[0]


def test_too_much_at_once_is_told_to_come_again(tmp_path: Path) -> None:
    was_refused = threading.Event()

    async def play(body: dict[str, Any], send: Send) -> None:
        await asyncio.to_thread(was_refused.wait, 20)  # so that the first two are under way till then
        await reply(send, 200, completion())

    with running_gateway(tmp_path, play, gateway={"max_in_flight": 2}) as gateway:
        answers: list[httpx.Response] = []

        def ask_it() -> None:
            answers.append(gateway.chat())
            was_refused.set()

        threads = [threading.Thread(target=ask_it) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(refused) >= 1
        assert sum(answer.status_code == 200 for answer in answers) >= 2
        assert all(
            answer.headers["retry-after"] == "1" and answer.json()["error"]["code"] == "overloaded"
            for answer in refused
        )


async def _slow_stream(body: dict[str, Any], send: Send) -> None:
    await begin_stream(send)
    for index in range(30):
        await chunk(send, delta({"content": f"{index} "}))
        await asyncio.sleep(0.05)
    await chunk(send, delta({}, "stop"))
    await chunk(send, b"data: [DONE]\n\n", more=False)


def test_no_stream_is_dropped_when_it_is_told_to_end(tmp_path: Path) -> None:
    provider = Provider(_slow_stream)
    with served(provider) as upstream, command(tmp_path, upstream=upstream) as (process, told):
        texts: list[str] = []
        reading = threading.Thread(target=lambda: texts.append(ask(told, stream=True).text))
        reading.start()
        assert settled(lambda: len(provider.bodies) == 1)
        process.send_signal(signal.SIGTERM)
        reading.join(20)
        assert texts[0].rstrip().endswith("[DONE]")
        assert '"29 "' in texts[0]
        assert process.wait(20) in (0, -signal.SIGTERM)
    rows = open_database(tmp_path / "g.db").read("SELECT status, error FROM requests")
    assert rows == [(200, "")]


def test_a_batch_goes_on_after_a_restart_and_asks_nothing_twice(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await asyncio.sleep(0.4)
        await reply(send, 200, completion())

    texts = [f"How high is hill {number}?" for number in range(24)]
    provider = Provider(play)
    with served(provider) as upstream:
        with command(tmp_path, upstream=upstream) as (_, told):
            headers = {"authorization": f"Bearer {told['first_key']}"}
            batch = _begin_batch(told, headers, texts)
            assert settled(lambda: len(provider.bodies) > 2)
        assert 2 < len(provider.bodies) < len(texts)
        with command(tmp_path, upstream=upstream) as (_, again):

            def described() -> dict[str, Any]:
                return dict(httpx.get(f"{again['url']}/batches/{batch}", headers=headers, trust_env=False).json())

            assert settled(lambda: described()["status"] == "completed", 25)
            assert described()["request_counts"] == {"total": len(texts), "completed": len(texts), "failed": 0}
    assert sorted(body["messages"][-1]["content"] for body in provider.bodies) == sorted(texts)


def _begin_batch(told: dict[str, Any], headers: dict[str, str], texts: list[str]) -> str:
    lines = [
        {
            "custom_id": text,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "small", "messages": [{"role": "user", "content": text}]},
        }
        for text in texts
    ]
    files = {"file": ("in.jsonl", "\n".join(map(json.dumps, lines)))}
    file = httpx.post(
        f"{told['url']}/files", data={"purpose": "batch"}, files=files, headers=headers, trust_env=False
    ).json()["id"]
    new = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str(httpx.post(f"{told['url']}/batches", json=new, headers=headers, trust_env=False).json()["id"])


def test_workers_share_one_port_and_one_account(tmp_path: Path) -> None:
    with served(Provider(usual)) as upstream, command(tmp_path, "--workers", "2", upstream=upstream) as (_, told):
        admin = {"authorization": f"Bearer {told['admin_key']}"}
        orgs = httpx.get(f"{told['url']}/admin/orgs", headers=admin, trust_env=False).json()["data"]
        new = {"name": "poor", "org": orgs[0]["id"], "limits": {"usd": 0.0005}}
        key = httpx.post(f"{told['url']}/admin/keys", json=new, headers=admin, trust_env=False).json()["key"]
        statuses = [ask({**told, "first_key": key}, max_tokens=20).status_code for _ in range(30)]
        assert set(statuses) == {200, 402}
        assert 5 <= statuses.count(200) <= 12  # 40 millionths each, and at most 90
        metrics = settled(lambda: _counted(told, admin) == statuses.count(200), 10)
        assert metrics


def _counted(told: dict[str, Any], admin: dict[str, str]) -> float:
    """Requests that all workers together served, as any of them tells."""
    text = httpx.get(f"{told['address']}/metrics", headers=admin, trust_env=False).text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("orchestrator_requests_total") and 'status="200"' in line
    )


def test_a_record_that_the_database_cannot_take_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.chat()
        assert settled(lambda: len(gateway.get("/v1/traces").json()["data"]) == 1)
        with gateway.gateway.services.database.writing() as run:
            run("ALTER TABLE requests RENAME TO away")
        gateway.chat()
        assert settled(lambda: "requests were not recorded yet" in caplog.text)
        with gateway.gateway.services.database.writing() as run:
            run("ALTER TABLE away RENAME TO requests")
        assert settled(lambda: len(gateway.get("/v1/traces").json()["data"]) == 2)


def test_a_check_changes_nothing_and_a_port_in_use_is_told(tmp_path: Path) -> None:
    import socket

    from orchestrator.errors import ConfigError
    from orchestrator.gateway.serve import Address, prepared

    config = tmp_path / "orchestrator.yaml"
    database = tmp_path / "kept" / "gateway.db"
    config.write_text("models: {calculator: {provider: calculator}}\n")
    found = prepared(Address("127.0.0.1", 0), config, str(database), only_checks=True)
    assert (found.admin_key, found.first_key, database.exists()) == ("", "", False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen on"):
            prepared(Address("127.0.0.1", taken.getsockname()[1]), config, str(database))
        prepared(Address("127.0.0.1", taken.getsockname()[1]), config, str(database), only_checks=True)
    assert not database.exists()
    assert prepared(Address("127.0.0.1", 0), config, str(database)).first_key
    assert database.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_what_replicas_on_ray_lack_is_told_before_keys_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, ["serve", "--engine", "ray", "--port", "0", "--database", "g.db", *options])
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert "share keys, budgets and records in PostgreSQL" in refused.stderr
    assert "serves" not in refused.stderr
    assert not Path("g.db").exists()


def test_log_lines_tell_when_and_how_grave(capsys: pytest.CaptureFixture[str]) -> None:
    import json
    import logging

    from orchestrator.gateway.serve import JsonLines

    record = logging.LogRecord("orchestrator.x", logging.WARNING, "f", 1, "it %s", ("fails",), None)
    told = json.loads(JsonLines().format(record))
    assert (told["level"], told["logger"], told["message"]) == ("warning", "orchestrator.x", "it fails")
    assert told["time"].endswith("+00:00")


def test_a_database_that_is_locked_is_told_by_readyz_and_hangs_nobody(tmp_path: Path) -> None:
    import sqlite3

    with running_gateway(tmp_path) as run:
        holder = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert run.get("/readyz").status_code == 503
        assert run.get("/healthz").status_code == 200
        holder.execute("ROLLBACK")
        holder.close()
        assert run.get("/readyz").status_code == 200


def test_metrics_tell_of_accounts_searches_and_budgets(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        team = gateway.accounts.add_team(gateway.org, "search")
        limits = AccountLimits(usd=1.0, period="month")
        key, secret = gateway.accounts.add_key(NewKey("mail bot", gateway.org, team.id, limits=limits))
        gateway.chat(key=secret)
        gateway.chat("What is 17 * 23?", model="auto", key=secret, orchestrator={"strategy": "self_consistency"})
        gateway.chat(model="nothing", key=secret)
        text = gateway.get("/metrics", key=gateway.admin).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    account = f'key="{key.id}",org="{gateway.org}",'
    assert lines[f'orchestrator_account_requests_total{{{account}outcome="answered",team="{team.id}"}}'] == "2.0"
    assert lines[f'orchestrator_account_requests_total{{{account}outcome="failed",team="{team.id}"}}'] == "1.0"
    assert float(lines[f'orchestrator_account_cost_usd_total{{{account}team="{team.id}"}}']) > 0
    assert lines[f'orchestrator_account_info{{account="{key.id}",kind="key",name="mail bot"}}'] == "1.0"
    assert 0.9 < float(lines[f'orchestrator_budget_left_usd{{account="{key.id}",kind="key"}}']) < 1.0
    assert float(lines["orchestrator_drafts_sum"]) >= 3
    assert float(lines["orchestrator_confidence_count"]) == 1
    assert all(line.rstrip().endswith(".") for line in text.splitlines() if line.startswith("# HELP"))


def test_keys_beyond_the_bound_are_counted_together() -> None:
    metrics = Metrics(lambda: 0, lambda: 0.0)
    some = [ServedRequest(f"{n:032x}", 0.0, "acme", None, f"key_{n}", "chat", "auto") for n in range(1_205)]
    metrics.count(some)
    text = metrics.text().decode()
    assert text.count("\norchestrator_account_requests_total{") == 1_001
    assert 'orchestrator_account_requests_total{key="other",org="acme",outcome="answered",team=""} 205.0' in text


def test_log_lines_tell_what_was_told_beside_them() -> None:
    record = logging.LogRecord("orchestrator.x", logging.WARNING, "f.py", 1, "a %s happened", ("thing",), None)
    record.request = "abc"
    told = json.loads(JsonLines().format(record))
    assert told.keys() == {"time", "level", "logger", "message", "request"}
    assert (told["level"], told["message"], told["request"]) == ("warning", "a thing happened", "abc")
