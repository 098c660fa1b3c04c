"""`orchestrator probe` and `calibrate` against a server whose speed, cache and memory are known."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from orchestrator import Budget, BudgetExceeded
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Ledger
from orchestrator.cli import main
from orchestrator.config.models import load_config
from orchestrator.fleet.build import fleet_from_config
from orchestrator.fleet.measured_profiles import Measured, load_measured, save_measured
from orchestrator.offline.probe import Probe, ProbePoint, line
from orchestrator.router import ModelProfile
from tests.support.gateway import Provider, begin_stream, chunk, completion, delta, reply, served

SECONDS_PER_TOKEN, WRITE_S, BASE_S = 20e-6, 2e-3, 0.03
REMEMBERS = 6_000  # tokens at the beginning of a prompt that this model uses


def model(*, hangs_on: str | None = None) -> Provider:
    """Reads 50,000 tokens a second, writes 500, keeps the prefixes it has read, and forgets what stands behind its six
    thousandth token. It gives no answer to prompts that hold `hangs_on`.
    """
    seen: set[str] = set()

    async def play(body: dict[str, Any], send: Any) -> None:
        prompt = body["messages"][0]["content"]
        if hangs_on is not None and hangs_on in prompt:
            await asyncio.sleep(60)
        tokens = len(prompt) // 4
        prefix = prompt[: len(prompt) * 9 // 10]
        cached = next((len(old) // 4 for old in seen if prompt.startswith(old)), 0)
        seen.add(prefix)
        await begin_stream(send)
        await asyncio.sleep(BASE_S + (tokens - cached) * SECONDS_PER_TOKEN)
        found = re.search(r"lighthouse is (\d+)", prompt[: REMEMBERS * 4])
        words = [found[1] if found else "yes"] if body["max_tokens"] < 100 else ["word "] * body["max_tokens"]
        for word in words:
            await chunk(send, delta({"content": word}))
            if len(words) > 1:
                await asyncio.sleep(WRITE_S)
        await chunk(send, delta({}, "stop"))
        usage = {"prompt_tokens": tokens, "completion_tokens": len(words), "total_tokens": tokens + len(words)}
        usage["prompt_tokens_details"] = {"cached_tokens": cached}  # type: ignore[assignment]
        await chunk(send, {**delta({}), "choices": [], "usage": usage})
        await chunk(send, b"data: [DONE]\n\n", more=False)

    return Provider(play)


def test_what_is_measured_is_what_is_so() -> None:
    async def run(url: str) -> tuple[Measured, Ledger]:
        backend, ledger = (
            RemoteBackend(ModelProfile("m", 1.0, 2.0, context_tokens=20_000), base_url=url),
            Ledger(Budget(usd=1.0)),
        )
        found = await Probe(backend, ledger, rng=random.Random(7)).run()
        await backend.aclose()
        return found, ledger

    with served(model()) as url:
        found, ledger = asyncio.run(run(url))
    assert found.ttft_s is not None
    assert found.prefill_tokens_per_s is not None
    assert found.tokens_per_s is not None
    # A machine may be slower than the model that it plays, never quicker.
    assert found.ttft_s >= BASE_S * 0.8
    assert found.prefill_tokens_per_s <= 1.5 / SECONDS_PER_TOKEN
    assert found.tokens_per_s <= 1.1 / WRITE_S
    assert found.cached_tokens is not None
    assert found.cached_tokens > 3_000
    assert found.effective_context_tokens == pytest.approx(
        4_096, rel=0.05
    )  # between 2,048, where it finds all, and 8,192
    assert 0 < ledger.spent_usd < 1.0
    assert ledger.reserved_nano == 0


def test_lengths_are_the_providers_own_and_what_is_measured_is_kept_when_time_is_over() -> None:
    """A tokenizer of six characters a token, where four were expected; and a clock that runs ahead."""
    points: list[ProbePoint] = []

    async def play(body: dict[str, Any], send: Any) -> None:
        prompt = body["messages"][0]["content"]
        found = re.search(r"lighthouse is (\d+)", prompt)
        usage = {"prompt_tokens": len(prompt) // 6, "completion_tokens": 10, "total_tokens": 0}
        await begin_stream(send)
        await chunk(send, delta({"content": found[1] if found else "yes"}))
        await chunk(send, {**delta({}, "stop"), "usage": usage})
        await chunk(send, b"data: [DONE]\n\n", more=False)

    async def run(url: str, seconds: float, clock: Callable[[], float], longest: int | None = None) -> Probe:
        backend = RemoteBackend(ModelProfile("m", 1.0, 2.0, context_tokens=9_000), base_url=url)
        ledger, rng = Ledger(Budget(usd=1.0)), random.Random(7)
        probe = Probe(backend, ledger, rng=rng, report=points.append, seconds=seconds, clock=clock, longest=longest)
        try:
            await probe.run()
        finally:
            await backend.aclose()
        return probe

    with served(Provider(play)) as url:
        whole = asyncio.run(run(url, 1_000.0, time.monotonic)).found
        sizes = [point.tokens for point in points if point.what == "needles found"]
        assert sizes == pytest.approx([128, 512, 2_048, 8_100], rel=0.25)
        assert whole.effective_context_tokens == sizes[-1]
        bounded = asyncio.run(run(url, 1_000.0, time.monotonic, longest=700)).found
        assert bounded.ttft_s is not None
        assert bounded.effective_context_tokens is None  # it found all, and might have in more
        ticks = itertools.count()
        stopped = asyncio.run(run(url, 12.0, lambda: float(next(ticks)))).found
        assert stopped.ttft_s is not None
        assert stopped.effective_context_tokens is None
        with pytest.raises(BudgetExceeded):
            asyncio.run(run(url, 1.0, itertools.count().__next__))


def test_a_line_through_points() -> None:
    at_nothing, per_second = line([(100, 0.3), (1_100, 0.5), (2_100, 0.7)])
    assert (at_nothing, per_second) == (pytest.approx(0.28), pytest.approx(5_000))
    assert line([(100, 0.3), (1_000, 0.2)]) == (0.25, None)


def test_a_budget_ends_it_and_what_was_measured_by_then_counts() -> None:
    async def run(url: str, usd: float) -> Measured:
        backend = RemoteBackend(ModelProfile("m", 1.0, 2.0, context_tokens=20_000), base_url=url)
        try:
            return await Probe(backend, Ledger(Budget(usd=usd)), rng=random.Random(7)).run()
        finally:
            await backend.aclose()

    with served(model()) as url:
        found = asyncio.run(run(url, 0.02))
        assert found.ttft_s is not None
        assert found.effective_context_tokens is None
        with pytest.raises(BudgetExceeded):
            asyncio.run(run(url, 1e-6))


def written(folder: Path, url: str, **fields: Any) -> Path:
    """A configuration with one model behind `url`."""
    config = {
        "models": {
            "m": {
                "provider": "compatible",
                "base_url": url,
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 2.0,
                **fields,
            }
        },
        "memory": None,
        "profiles": str(folder / "profiles.json"),
        "calibration": str(folder / "calibration.json"),
    }
    path = folder / "orchestrator.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_command_writes_into_the_profile_what_the_configuration_does_not_state(tmp_path: Path) -> None:
    with served(model()) as url:
        config = written(tmp_path, url, tokens_per_s=77.0)
        ran = CliRunner().invoke(main, ["probe", "m", "--config", str(config), "--longest", "3000", "--usd", "1"])
    assert ran.exit_code == 0, ran.output
    assert "first token" in ran.output
    assert "saved in" in ran.output
    measured = load_measured(tmp_path / "profiles.json")["m"]
    profile = fleet_from_config(load_config(config)).backends["m"].profile
    assert profile.ttft_s == measured.ttft_s
    assert profile.effective_context_tokens == measured.effective_context_tokens
    assert profile.tokens_per_s == 77.0  # stated
    unknown = CliRunner().invoke(main, ["probe", "n", "--config", str(config)])
    assert unknown.exit_code == 2
    assert "This fleet has: m" in unknown.output


def test_a_probe_that_is_interrupted_tells_and_keeps_what_it_measured(tmp_path: Path) -> None:
    with served(model(hangs_on="lighthouse")) as url:
        config = written(tmp_path, url)
        command = [sys.executable, "-m", "orchestrator", "probe", "m", "--config", str(config), "--usd", "1", "--json"]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it in the background
        ) as ran:
            assert ran.stderr is not None
            first = ran.stderr.readline()
            ran.send_signal(signal.SIGINT)
            output, _ = ran.communicate(timeout=60)
    assert first.startswith("first token")
    assert ran.returncode == 130
    told = json.loads(output)
    assert told["ttft_s"] > 0
    assert told["effective_context_tokens"] is None
    assert load_measured(tmp_path / "profiles.json")["m"].ttft_s == told["ttft_s"]


def test_a_later_probe_keeps_what_it_does_not_measure(tmp_path: Path) -> None:
    path = tmp_path / "profiles.json"
    save_measured("m", Measured(0.5, 100.0, 20.0, 4_000, 0.9, 700, "2026-01-01"), path)
    save_measured("m", Measured(0.4, measured_at="2026-01-02"), path, earlier=load_measured(path)["m"])
    assert load_measured(path)["m"] == Measured(0.4, 100.0, 20.0, 4_000, 0.9, 700, "2026-01-02")
    (tmp_path / "orchestrator.yaml").write_text("models: {calculator: {provider: calculator}}\nmemory: null\n")
    ran = CliRunner().invoke(main, ["probe", "calculator", "--config", str(tmp_path / "orchestrator.yaml")])
    assert ran.exit_code == 2
    assert "runs in this process" in ran.output


def test_calibrating_by_examples_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Any) -> None:
        sure = "spam" in body["messages"][0]["content"].split("\n\n")[0]  # always sure, right four times in five
        top = [{"token": "A", "logprob": -0.01 if sure else -5.0}, {"token": "B", "logprob": -5.0 if sure else -0.01}]
        done = completion("A", prompt=30, output=1)
        done["choices"][0]["logprobs"] = {"content": [{"token": "A", "logprob": -0.01, "top_logprobs": top}]}
        await reply(send, 200, done)

    wrong_about = set(random.Random(1).sample(range(40), 8))
    lines = [
        {
            "state": "spam" if n % 2 else "news",
            "ask": "Is it?",
            "answer": "yes" if (n % 2 == 1) != (n in wrong_about) else "no",
        }
        for n in range(40)
    ]
    examples = tmp_path / "e.jsonl"
    examples.write_text("\n".join(map(json.dumps, lines)))
    with served(Provider(play)) as url:
        config = written(tmp_path, url)
        ran = CliRunner().invoke(main, ["calibrate", "m", str(examples), "--config", str(config), "--json"])
        assert ran.exit_code == 0, ran.output
        told = json.loads(ran.output)
        assert told["log_loss_calibrated"] < told["log_loss_stated"] - 0.2
        assert told["examples"] == 40
        assert json.loads((tmp_path / "calibration.json").read_text())["m"]["scale"] < 0.5
        examples.write_text('{"state": "x", "ask": "Is it?"}')
        wrong = CliRunner().invoke(main, ["calibrate", "m", str(examples), "--config", str(config)])
    assert wrong.exit_code == 2
    assert "e.jsonl:1: the field 'answer' is missing" in wrong.output


def test_the_provider_table_is_printed_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    ran = CliRunner().invoke(main, ["doctor", "--providers", "--json"])
    assert ran.exit_code == 0, ran.output
    rows = {row["name"]: row for row in json.loads(ran.output)["providers"]}
    assert rows["groq"]["detail"] == "export GROQ_API_KEY=..."
    assert rows["anthropic"]["dialect"] == "anthropic"
    assert "state base_url" in rows["azure"]["detail"]
    assert "port 30000" in rows["sglang"]["detail"]


def test_a_provider_that_answers_lists_its_models_and_one_that_refuses_says_why_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from orchestrator.fleet.discovery import reach
    from orchestrator.providers.table import PROVIDERS

    monkeypatch.setenv("GEMINI_API_KEY", "sk-secret-key")
    listed = {"models": [{"name": "models/gemini-3-flash"}, {"name": "models/text-embedding-005"}]}

    async def good(_: dict[str, Any], send: Any) -> None:
        await reply(send, 200, listed)

    async def bad(_: dict[str, Any], send: Any) -> None:
        await reply(send, 403, {"error": {"message": "sk-secret-key is not allowed"}})

    with served(Provider(good)) as url:
        found = asyncio.run(reach(PROVIDERS["gemini"], base_url=url))
        assert found.models == ("gemini-3-flash",)
    with served(Provider(bad)) as url:
        problem = asyncio.run(reach(PROVIDERS["gemini"], base_url=url)).problem
    assert "is not allowed" in problem
    assert "sk-secret-key" not in problem


def test_a_server_that_loads_its_model_says_so() -> None:
    from orchestrator.fleet.discovery import reach
    from orchestrator.providers.table import PROVIDERS

    async def loading(_: dict[str, Any], send: Any) -> None:
        is_health = upstream.paths[-1] == "/health"
        await reply(
            send, 503 if is_health else 200, {"error": {"message": "Loading model"}} if is_health else {"data": []}
        )

    upstream = Provider(loading)
    with served(upstream) as url:
        assert "loads its model" in asyncio.run(reach(PROVIDERS["llamacpp"], base_url=f"{url}/v1")).problem
    assert upstream.paths == ["/health"]
