"""Batches and the gateway on a real Ray of this machine (`make ray`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.postgres import postgres_server

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/ray/bin/python"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (ROOT / "build/ray/.ready").exists(), reason="Ray is not installed: make ray"),
    pytest.mark.xdist_group("ray"),
]


def test_the_command_writes_each_row_once_as_parquet(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": f"r{number}", "n": number}) + "\n" for number in range(200)) + "no json\n"
    (tmp_path / "in.jsonl").write_text(rows)
    command = [str(PYTHON), "-m", "orchestrator", "batch", "in.jsonl", "--ask", "What is {n} * 3?", "--out", "out"]
    options = ["--engine", "ray", "--workers", "2", "--format", "parquet", "--json"]
    run = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    told = json.loads(run.stdout)
    assert (told["rows"], told["errors"], told["stopped"]) == (200, 1, "")
    import pyarrow.parquet as parquet

    found = parquet.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()
    assert {row["id"]: row["answer"] for row in found} == {f"r{number}": str(3 * number) for number in range(200)}


def test_workers_that_are_killed_lose_and_repeat_no_row(tmp_path: Path) -> None:
    command = [str(PYTHON), "-m", "benchmarks.ray_batch", "kills", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert json.loads(run.stdout.splitlines()[-1]) == {"rows": 300, "missing": 0, "duplicated": 0}, run.stderr[-2_000:]


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"n": 1}\n')
    command = [str(PYTHON), "-m", "orchestrator", "batch", "in.jsonl", "--ask", "{n}", "--out", "out"]
    options = ["--engine", "ray", "--address", "127.0.0.1:1"]
    run = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert run.returncode == 2
    assert "there is no Ray cluster at 127.0.0.1:1" in run.stderr


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    with postgres_server(tmp_path / "pg") as url:
        yield url


def test_the_gateway_serves_from_replicas_with_one_account(tmp_path: Path, database: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PYTHON), "-m", "orchestrator", "serve", "--engine", "ray", "--port", str(port), "--json"]
    options = ["--database", database, "--min-replicas", "2", "--max-replicas", "2"]
    serving = subprocess.Popen(
        [*command, *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert serving.stdout is not None
        key = json.loads(serving.stdout.readline())["first_key"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            _until_it_serves(client, serving)
            asked = {"model": "auto", "messages": [{"role": "user", "content": "What is 17 * 23?"}]}
            for _ in range(10):
                reply = client.post("/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {key}"})
                assert reply.status_code == 200, reply.text
                assert "391" in reply.json()["choices"][0]["message"]["content"]
            assert client.post("/v1/chat/completions", json=asked).status_code == 401
    finally:
        if serving.stdout is not None:
            serving.stdout.close()
        serving.send_signal(signal.SIGTERM)
        try:
            serving.wait(60)
        except subprocess.TimeoutExpired:
            os.kill(serving.pid, signal.SIGKILL)
            serving.wait()


def _until_it_serves(client: httpx.Client, serving: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        assert serving.poll() is None, "it ended before it served"
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError("it does not serve")
