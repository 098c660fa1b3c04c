"""Money under strangers.

Limits written twice or as null, callers who leave, servers that bill more or tell nothing, restarts, clocks that jump.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator import Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.dialects import dialect_named
from orchestrator.backends.dialects.dialect import stated_limit
from orchestrator.backends.http.replicas import Replica
from orchestrator.backends.http.transport_choice import close_transports
from orchestrator.backends.http.upstream import Upstream
from orchestrator.budget import Budget, Ledger
from orchestrator.errors import BackendError, BackendUnavailable, BudgetExceeded
from orchestrator.gateway.accounts.quota_leases import Account, Limiter, LimitReached, QuotaHold, dollars
from orchestrator.gateway.api.nulls import without_nulls
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile
from orchestrator.storage.account_types import AccountLimits
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.quotas import CONCURRENCY, HOLDER_S, Quota, Quotas
from orchestrator.types import Completion, Usage
from tests.support.gateway import (
    Running,
    begin_stream,
    chunk,
    completion,
    delta,
    leave_room_in_the_minute,
    reply,
    running_gateway,
    settled,
)

Q = [{"role": "user", "content": "hi"}]


# ---- Null means absent, and one limit has one value ----


@pytest.mark.parametrize(
    ("stated", "limit"),
    [
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 10}, 10),
        ({"max_tokens": None, "max_completion_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": None}, 10),
        ({"max_tokens": 9_000, "max_completion_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": 9_000}, 10),
        ({"max_tokens": None, "max_completion_tokens": None}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("name", PROVIDERS)
def test_the_limit_that_was_reserved_reaches_every_server(name: str, stated: dict[str, Any], limit: int | None) -> None:
    row = PROVIDERS[name]
    sent = dialect_named(row.dialect).outgoing({"messages": Q, **stated}, row, "m", most_tokens=777).body
    assert stated_limit(stated) == limit
    found = limits_in(sent)
    if limit is None:
        assert found in ([], [777])
    else:
        assert found == [16 if row.dialect == "responses" else limit]


def limits_in(body: Any) -> list[Any]:
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
    found = [body[name] for name in names if name in body]
    return found + [body["generationConfig"][name] for name in names if name in body.get("generationConfig", {})]


def test_null_is_absent_but_where_it_is_a_value_of_somebody_else() -> None:
    body = {
        "model": "m",
        "max_tokens": None,
        "messages": [{"role": "assistant", "content": None, "tool_calls": None, "name": None}],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": None, "parameters": {"default": None}}}
        ],
        "stream_options": {"include_usage": None},
        "metadata": {"a": None},
        "orchestrator": {"budget": {"usd": None, "calls": 3}},
    }
    assert without_nulls(body) == {
        "model": "m",
        "messages": [{"role": "assistant", "content": None}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": None}}}],
        "stream_options": {},
        "metadata": {"a": None},
        "orchestrator": {"budget": {"calls": 3}},
    }
    plain = {"model": "m", "messages": Q}
    assert without_nulls(plain) is plain


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/chat/completions",
            {"messages": Q, "max_tokens": None, "max_completion_tokens": 7, "tools": None, "stop": None, "n": None},
        ),
        (
            "/v1/chat/completions",
            {"messages": Q, "max_tokens": 7, "max_completion_tokens": None, "response_format": None, "user": None},
        ),
        (
            "/v1/messages",
            {
                "messages": Q,
                "max_tokens": 7,
                "system": None,
                "tools": None,
                "thinking": None,
                "metadata": None,
                "stop_sequences": None,
            },
        ),
        (
            "/v1/responses",
            {
                "input": "hi",
                "max_output_tokens": 7,
                "instructions": None,
                "tools": None,
                "reasoning": None,
                "previous_response_id": None,
            },
        ),
        (
            "/v1/answer",
            {"query": "hi", "max_tokens": 7, "schema": None, "temperature": None, "options": None, "history": None},
        ),
    ],
)
def test_clients_that_write_null_for_what_they_do_not_say(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    with running_gateway(tmp_path) as run:
        answer = run.post(path, {"model": "small", **body})
        assert answer.status_code == 200, answer.text
        assert limits_in(run.provider.bodies[-1]) == [7]
        embedded = run.post(
            "/v1/embeddings",
            {"model": "embedder", "input": "x", "dimensions": None, "encoding_format": None, "user": None},
        )
        assert embedded.status_code == 200


# ---- Callers who leave, and servers that tell no usage ----


BIG = "look up the order of a customer by its number, " * 400


def called(arguments: str, result: str) -> dict[str, Any]:
    """A conversation in which a tool was called."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    told = {"role": "tool", "tool_call_id": "c", "content": result}
    return {"messages": [*Q, {"role": "assistant", "content": None, "tool_calls": [call]}, told]}


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": BIG}}}
LEAVERS: dict[str, tuple[dict[str, Any], int]] = {
    "tools": ({"tools": [{"type": "function", "function": {"name": "f", "description": BIG}}]}, len(BIG) // 4),
    "pictures": (said([{"type": "text", "text": "hi"}, *[PICTURE] * 9]), 9_000),
    "Chinese": (said("今天天气很好我们去公园散步吧" * 500), 7_000),
    "Thai": (said("มนุษย์ทั้งหลายเกิดมามีอิสระ" * 200), 5_400),
    "schema": ({"response_format": FORM}, len(BIG) // 4),
    "calls": (called(json.dumps({"a": BIG}), "ok"), len(BIG) // 4),
    "result": (called("{}", BIG), len(BIG) // 4),
}


def leave(run: Running, key: str, path: str, body: dict[str, Any], *, after_s: float = 0.5) -> None:
    """Begins a stream, reads of it for a while, and goes away."""
    address, raw = urlsplit(run.url), json.dumps(body, ensure_ascii=False).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: "
        f"application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(head.encode() + raw)
        client.settimeout(0.05)
        end = time.monotonic() + after_s
        while time.monotonic() < end:
            try:
                client.recv(65_536)
            except TimeoutError:
                continue


async def written_slowly(body: Any, send: Any) -> None:
    await begin_stream(send)
    for _ in range(5):
        await chunk(send, delta({"content": "word "}))
    await asyncio.sleep(20)


def used_nano(run: Running, key: str) -> int:
    return run.gateway.services.limiter.quotas.standing(Quota(key, "usd", 0))[0]


@pytest.mark.parametrize("name", LEAVERS)
def test_a_caller_who_leaves_pays_the_whole_prompt(tmp_path: Path, name: str) -> None:
    more, billed_tokens = LEAVERS[name]
    with running_gateway(tmp_path, written_slowly) as run:
        secret = run.new_key(name="leaver", limits=AccountLimits(usd=10.0))
        key = run.accounts.keys()[-1].id
        leave(
            run,
            secret,
            "/v1/chat/completions",
            {"model": "small", "messages": Q, "stream": True, "max_tokens": 50, **more},
        )
        assert settled(lambda: used_nano(run, key) > 0)
        assert used_nano(run, key) >= billed_tokens * 1_000  # 1 USD per million tokens
        assert used_nano(run, key) <= 4 * billed_tokens * 1_000
        assert settled(lambda: run.gateway.services.in_flight == 0)
        assert run.gateway.services.limiter.held == 0


def test_an_answer_without_usage_is_booked_by_all_that_was_sent(tmp_path: Path) -> None:
    async def silent(body: Any, send: Any) -> None:
        told = completion("Paris")
        del told["usage"]
        await reply(send, 200, told)

    with running_gateway(tmp_path, silent) as run:
        for more, tokens in LEAVERS.values():
            cost = run.post("/v1/chat/completions", {"model": "small", "messages": Q, "max_tokens": 50, **more}).json()
            assert cost["orchestrator"]["cost_usd"] >= tokens * 1e-6


def test_a_backend_of_ones_own_that_tells_no_usage_is_not_free() -> None:
    class Own(LocalBackend):
        async def complete(self, request: Request) -> Completion:
            return Completion("own", "The answer is 42, as everybody knows who read the book.", Usage())

    async def ask() -> Any:
        async with Orchestrator(
            {"own": Own(ModelProfile("own", 1.0, 2.0, skill=0.9))}, strategy="single"
        ) as orchestrator:
            return await orchestrator.answer("What is the answer to everything? " * 20)

    answer = asyncio.run(ask())
    assert answer.usage.estimated
    assert answer.cost_usd > 150e-6


# ---- One budget for all attempts ----


def test_a_requests_own_budget_holds_over_its_attempts(tmp_path: Path) -> None:
    asked = 0

    async def broken_off(body: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await reply(send, 200, b"")

    with running_gateway(tmp_path, broken_off) as run:
        refused = run.chat(max_tokens=1_000, orchestrator={"budget": {"usd": 0.003}})  # one try may cost 0.002
        assert asked == 1
        assert refused.status_code in (402, 502)
        asked = 0
        run.chat(max_tokens=1_000, orchestrator={"budget": {"calls": 1}})
        assert asked == 1
        asked = 0
        run.chat(max_tokens=1_000, orchestrator={"budget": {"usd": 0.1}})
        assert asked > 1


# ---- Tokens of a minute ----


def test_the_tokens_of_a_minute_hold_for_searches_and_pipelines(tmp_path: Path) -> None:
    counted = 0

    async def play(body: Any, send: Any) -> None:
        nonlocal counted
        counted += 420
        await asyncio.sleep(0.05)
        await reply(send, 200, completion("Paris", prompt=20, output=400))

    steps = "".join(f'  s{n}: {{ask: small, prompt: "{n} ${{inputs.question}}", max_tokens: 400}}\n' for n in range(10))
    (tmp_path / "p.yaml").write_text(
        f'version: 1\nname: p\ninputs: {{question: text}}\nsteps:\n{steps}output: "${{s0.text}}"\n'
    )
    with running_gateway(tmp_path, play, pipelines={"p": str(tmp_path / "p.yaml")}) as run:

        def search(key: str, n: int) -> int:
            return run.chat(
                f"Who wrote book {n} of the trilogy?",
                model="auto",
                key=key,
                max_tokens=400,
                orchestrator={"strategy": "best_of_n"},
            ).status_code

        def pipeline(key: str, n: int) -> int:
            return run.post("/v1/pipelines/p/runs", {"inputs": {"question": f"{n}"}}, key=key).status_code

        for ask in (search, pipeline):
            leave_room_in_the_minute()
            key, counted = run.new_key(limits=AccountLimits(tokens_per_minute=3_000)), 0
            statuses = [ask(key, n) for n in range(12)]
            assert statuses[0] == 200
            assert set(statuses) <= {200, 429}  # a run that gets no further gives what it has
            assert 0 < counted <= 3_000


# ---- Bills larger than what was held ----


def greedy(tokens: int) -> Any:
    async def play(body: Any, send: Any) -> None:
        await reply(send, 200, completion(prompt=tokens, output=10))

    return play


def test_an_overrun_is_told_before_its_answer_and_survives_every_end(tmp_path: Path) -> None:
    quota: Quota | None = None
    with running_gateway(tmp_path, greedy(100_000)) as run:
        secret = run.new_key(name="victim", limits=AccountLimits(usd=1.0))
        quota = Quota(run.accounts.keys()[-1].id, "usd", 0)
        assert run.chat(key=secret, max_tokens=10).status_code == 200
        database = open_database(str(tmp_path / "gateway.db"))
        assert (
            Quotas(database, "looks").standing(quota)[0] == 100_020_000
        )  # at once: whoever kills this process now loses nothing
    later = Quotas(database, "later", clock=lambda: time.time() + HOLDER_S + 5)
    later.bury()
    assert later.standing(quota) == (100_020_000, 0)
    database.close()


def test_forty_restarts_spend_no_more_than_the_limit_and_one_overrun(tmp_path: Path) -> None:
    """Each process serves a request whose bill is ten times what was held, and is killed."""
    database = open_database(str(tmp_path / "g.db"))
    chain = (Account.of("key", "key", AccountLimits(usd=1e-6)),)  # 1,000 nano-dollars
    now, billed = 1_000.0, 0

    def clock() -> float:
        return now

    async def life(number: int) -> None:
        nonlocal billed
        limiter = Limiter(Quotas(database, f"life-{number}", clock=clock), is_shared=True, clock=clock)
        hold = await limiter.hold(chain, usd_nano=10, tokens=0)
        hold.settle({"usd": 100})
        await limiter.book()
        billed += 100

    for number in range(40):
        now += HOLDER_S + 1
        Quotas(database, f"undertaker-{number}", clock=clock).bury()
        try:
            asyncio.run(life(number))
        except LimitReached:
            continue
    used, _ = Quotas(database, "looks", clock=lambda: now).standing(Quota("key", "usd", 0))
    assert used >= billed
    assert billed <= 1_000 + 100
    database.close()


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_was_held_and_given_back_is_left_again(tmp_path: Path, is_shared: bool) -> None:
    """A search holds all that is left of a small budget, and uses next to nothing of it."""
    database = open_database(str(tmp_path / "g.db"))
    chain = (Account.of("key", "key", AccountLimits(usd=1e-6)),)  # 1,000 nano-dollars

    async def live() -> None:
        one, other = (Limiter(Quotas(database, name), is_shared=is_shared) for name in ("one", "other"))
        for spent in range(0, 50, 10):
            left = one.left_nano(chain) or 0
            assert left == 1_000 - spent
            hold = await one.hold(chain, usd_nano=left, tokens=0)
            with suppress(LimitReached):
                await other.hold(chain, usd_nano=500, tokens=0)
            if is_shared and spent == 0:  # later it is refused without a look for a moment
                assert other.left_nano(chain) == 0
            hold.settle({"usd": 10})
            await one.book()
            await other.look_again(chain)
            if is_shared:
                assert (other.left_nano(chain) or 0) >= 900
        await one.aclose()
        await other.aclose()

    asyncio.run(live())
    database.close()


def test_searches_side_by_side_wait_for_money_that_is_only_held(tmp_path: Path) -> None:
    """Each search holds what an answer may be worth, which is all that such a key has."""
    with running_gateway(tmp_path, strategy="cascade") as run:
        key = run.new_key(limits=AccountLimits(usd=0.03))

        def ask(n: int) -> Any:
            return run.chat(f"Who wrote book {n} of the trilogy?", model="auto", key=key, max_tokens=50)

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(ask, range(40)))
        told = {answer.status_code: answer for answer in answers}
        assert told.keys() <= {200, 429}, told[402].text
        if 429 in told:
            assert told[429].headers["retry-after"] == "1"
            assert "requests that are running may give some back" in told[429].json()["error"]["message"]
        assert settled(lambda: ask(50).status_code == 200)
        assert [ask(n).status_code for n in range(60, 66)] == [200] * 6


def test_amounts_are_told_with_the_digits_that_they_need() -> None:
    assert [dollars(n) for n in (0, 1_000_000_000, 1_500_000, 12_345_678_900)] == [
        "0.00",
        "1.00",
        "0.0015",
        "12.345679",
    ]


def test_who_is_refused_for_money_is_told_what_to_change(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as run:
        secret = run.new_key(limits=AccountLimits(usd=0.002))
        told = run.chat(key=secret, max_tokens=60_000).json()["error"]["message"]
        assert "0.002 of 0.002 are left" in told
        assert "max_tokens" in told


# ---- Connections that were closed already ----


def test_a_connection_that_was_closed_already_costs_nothing_and_is_replaced() -> None:
    """llama.cpp, for one, closes after a stream without saying so."""
    body = json.dumps(completion()).encode()
    heads = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        with closing(writer), suppress(asyncio.IncompleteReadError):
            for number in range(2):
                await reader.readuntil(b"\r\n\r\n")
                await reader.read(65_536)
                heads += 1
                if number == 1:  # the second call on each connection finds it closed
                    return
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                    + body
                )

    async def ask() -> list[int]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            upstream = Upstream("m", PROVIDERS["compatible"], "m", [Replica(f"http://127.0.0.1:{port}/v1")])
            found = []
            for _ in range(6):
                answering = await upstream.ask({"messages": Q}, timeout_s=10.0)
                found.append(len(await answering.read()))
            await close_transports()
            return found

    assert asyncio.run(ask()) == [len(body)] * 6


def test_a_new_connection_that_breaks_off_is_booked() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def ask() -> Exception:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            upstream = Upstream("m", PROVIDERS["compatible"], "m", [Replica(f"http://127.0.0.1:{port}/v1")])
            try:
                await upstream.ask({"messages": Q}, timeout_s=10.0)
            except BackendError as error:
                return error
            finally:
                await close_transports()
            raise AssertionError

    assert getattr(asyncio.run(ask()), "may_be_billed", False)


# ---- Everything at random ----


class World:
    """Replicas that hold, settle, overrun, are cancelled, sleep, die and come back, over one database and a clock that
    jumps; and the truth.
    """

    def __init__(self, seed: int, database: Database) -> None:
        self.rng = random.Random(seed)
        self.database = database
        self.now = 1_000_000.0
        self.subject = f"key-{seed}"
        self.limits = AccountLimits(usd=1e-6, tokens_per_minute=5_000, concurrency=6)
        self.chain = (Account.of(self.subject, "key", self.limits),)
        self.lives = 0
        self.replicas = [self.born() for _ in range(3)]
        self.holds: list[list[tuple[QuotaHold, int]]] = [[], [], []]
        self.billed = self.overruns = 0

    def born(self) -> Limiter:
        self.lives += 1
        quotas = Quotas(self.database, f"{self.subject}-{self.lives}", clock=lambda: self.now)
        return Limiter(quotas, is_shared=True, clock=lambda: self.now, patience_s=0.0)

    @property
    def quota(self) -> Quota:
        return Quota(self.subject, "usd", 0)

    async def step(self) -> None:
        who = self.rng.randrange(3)
        limiter, holds = self.replicas[who], self.holds[who]
        move = self.rng.random()
        if move < 0.4:
            amount = self.rng.randrange(1, 200)
            with suppress(LimitReached):
                holds.append((await limiter.hold(self.chain, usd_nano=amount, tokens=amount), amount))
        elif move < 0.7 and holds:
            hold, amount = holds.pop(self.rng.randrange(len(holds)))
            really = self.rng.choice(
                [0, amount // 2, amount, amount, amount * 3 if self.rng.random() < 0.2 else amount]
            )
            self.billed += really
            self.overruns += max(really - amount, 0)
            if hold.settle({"usd": really, "tokens": really}):
                await limiter.book()
        elif move < 0.85:
            await limiter.book()
        elif move < 0.9:  # killed: what it held may have been billed, at most as it was held
            self.billed += sum(self.rng.choice([0, amount]) for _, amount in holds)
            self.replicas[who], self.holds[who] = self.born(), []
        elif move < 0.95:
            self.now += self.rng.choice([1.0, 5.0, HOLDER_S + 1, 61.0])
            await limiter.bury()
        else:
            self.now -= self.rng.choice([0.5, 30.0])  # a clock that is set back

    async def ended(self) -> tuple[int, int]:
        """(used, leased) after every call has ended, every process has closed, and the dead were buried."""
        for limiter, holds in zip(self.replicas, self.holds, strict=True):
            for hold, amount in holds:
                self.billed += amount
                hold.settle({"usd": amount})
            await limiter.aclose()
        self.now += 10 * HOLDER_S
        undertaker = Quotas(self.database, f"{self.subject}-undertaker", clock=lambda: self.now)
        undertaker.bury()
        self.now += 2 * HOLDER_S  # for those whose last beat lies in the future of a clock that was set back
        undertaker.bury()
        leased = self.database.read("SELECT coalesce(sum(leased), 0) FROM quotas WHERE subject = ?", self.subject)[0][0]
        return undertaker.standing(self.quota)[0], int(leased)


@contextmanager
def in_memory() -> Iterator[Database]:
    database = open_database(":memory:")
    yield database
    database.close()


@pytest.mark.parametrize("block", range(20))
def test_no_overspend_no_lost_overrun_and_nothing_left_reserved(block: int) -> None:
    """2,000 worlds.

    What is booked is never less than what was billed, what was billed never more than the limit and the overruns.
    """

    async def live(world: World) -> None:
        for _ in range(40):
            await world.step()
            used, leased = world.replicas[0].quotas.standing(world.quota)
            assert used >= 0
            assert leased >= 0
            assert used + leased <= 1_000 + world.overruns
        used, leased = await world.ended()
        assert leased == 0
        assert used >= world.billed
        assert world.billed <= 1_000 + world.overruns

    for seed in range(block * 100, block * 100 + 100):
        with in_memory() as database:
            try:
                asyncio.run(live(World(seed, database)))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("block", range(10))
def test_ledgers_within_ledgers_at_random(block: int) -> None:
    """2,000 trees of accounts.

    Whatever fails, is cancelled or overruns, every account adds up and nothing stays reserved.
    """
    for seed in range(block * 200, block * 200 + 200):
        rng = random.Random(seed)
        outer = Ledger(Budget(usd=1e-6, tokens=rng.choice([None, 3_000]), calls=rng.choice([None, 30])))
        inner = [Ledger(Budget(usd=rng.choice([None, 3e-7, 2e-6])), within=outer) for _ in range(3)]
        held: list[tuple[Ledger, Any, int]] = []
        overruns = 0
        for _ in range(60):
            ledger = rng.choice([outer, *inner])
            if rng.random() < 0.5:
                nano = rng.randrange(300)
                try:
                    held.append((ledger, ledger.hold(nano, nano), nano))
                except BudgetExceeded:
                    continue
            elif held:
                ledger, reservation, nano = held.pop(rng.randrange(len(held)))
                kind = rng.randrange(4)
                if kind == 0:
                    ledger.failed(reservation, BackendUnavailable("x", remedy="", may_be_billed=rng.random() < 0.5))
                elif kind == 1:
                    ledger.failed(reservation, asyncio.CancelledError())
                else:
                    really = nano * rng.choice([0, 1, 1, 4]) // rng.choice([1, 2])
                    ledger.close(reservation, really, really)
                    overruns += max(really - nano, 0)
            assert outer.settled_nano + outer.reserved_nano <= 1_000 + overruns
        for ledger, reservation, _ in held:
            ledger.release(reservation)
        assert outer.reserved_nano == 0
        assert all(ledger.reserved_nano == 0 for ledger in inner)
        assert outer.overrun_nano == overruns
        assert sum(ledger.settled_nano for ledger in inner) <= outer.settled_nano


def test_calls_at_once_are_given_back_whatever_happens() -> None:
    async def live() -> int:
        with in_memory() as database:
            limiter = Limiter(Quotas(database, "one"), is_shared=True)
            chain = (Account.of("key", "key", AccountLimits(concurrency=2)),)
            for _ in range(50):
                hold = await limiter.hold(chain, usd_nano=0, tokens=0)
                random.choice([hold.release, lambda hold=hold: hold.settle({})])()
            await limiter.aclose()
            return sum(Quotas(database, "two").standing(Quota("key", CONCURRENCY, 0)))

    assert asyncio.run(live()) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_are_booked_where_their_server_tells_the_usage_of_one(tmp_path: Path, stream: bool) -> None:
    """llama.cpp does, for n and for lists of prompts."""
    words = "The Louvre is a museum in Paris, on the right bank of the river. " * 4
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}

    async def play(body: dict[str, Any], send: Any) -> None:
        count = len(body["prompt"]) if isinstance(body.get("prompt"), list) else body.get("n") or 1
        is_text = "prompt" in body
        said: Any = {"text": words} if is_text else {"message": {"role": "assistant", "content": words}}
        choices = [{"index": number, **said, "finish_reason": "stop"} for number in range(count)]
        head = {"id": "c", "object": "text_completion" if is_text else "chat.completion", "created": 1, "model": "m"}
        if not body.get("stream"):
            return await reply(send, 200, {**head, "choices": choices, "usage": usage})
        await begin_stream(send)
        for choice in choices:
            for piece in words.split(" "):
                told = {"text": piece + " "} if is_text else {"delta": {"content": piece + " "}}
                await chunk(send, {**head, "choices": [{"index": choice["index"], **told, "finish_reason": None}]})
        await chunk(
            send, {**head, "choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": "stop"}], "usage": usage}
        )
        await chunk(send, b"data: [DONE]\n\n", more=False)
        return None

    with running_gateway(tmp_path, play) as run:
        asked = {"model": "small", "prompt": ["Where is it?"] * 10, "max_tokens": 100, "stream": stream}
        assert run.post("/v1/completions", asked).status_code == 200
        assert run.chat(n=4, max_tokens=100, stream=stream).status_code == 200
        assert settled(lambda: sum(row["requests"] for row in run.get("/v1/usage").json()["data"]) == 2)
        (row,) = run.get("/v1/usage").json()["data"]
        assert row["output_tokens"] > 10 * 40 + 4 * 40
        assert row["prefill_tokens"] > 10 * 3
        run.chat(max_tokens=100, stream=stream)  # one answer: what its server tells counts
        assert settled(lambda: sum(row["requests"] for row in run.get("/v1/usage").json()["data"]) == 3)
        assert run.get("/v1/usage").json()["data"][0]["output_tokens"] == row["output_tokens"] + 5
