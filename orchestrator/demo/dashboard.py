"""A gateway with the SIMULATED fleet and a week of its traffic, to look at the dashboard with.

What was asked is answered by simulated models of stated skill, through the real engine; moments are spread over a week
as they would be in use. Everything says that it is simulated.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.base import Backend
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.testing.simulated import SimulatedProblem
from orchestrator.budget import to_nano
from orchestrator.config.models import Config
from orchestrator.demo.problems import generate_problems
from orchestrator.demo.simulated_fleet import simulated_fleet
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.engine.trace_log import served_query
from orchestrator.gateway.app import Gateway
from orchestrator.storage.account_types import DEFAULT_PERMISSIONS, AccountLimits, Key, NewKey
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.database import open_database
from orchestrator.storage.quotas import Booking, Quota, Quotas
from orchestrator.storage.requests import Requests, ServedRequest
from orchestrator.storage.trace_policy import TracePolicy
from orchestrator.types import Query
from orchestrator.verifiers import equivalent

DAYS = 7
QUESTIONS = 240
AT_ONCE = 16
GRADED = 0.6
ERRORS = ("rate_limited", "timeout", "context_too_long")


@dataclass(frozen=True, slots=True)
class FilledGateway:
    """A gateway with a week of simulated traffic; the keys to sign in with."""

    gateway: Gateway
    operator_key: str
    organisation_key: str
    team_key: str
    member_key: str


def filled_gateway(folder: Path, fleet_url: str, problems: list[SimulatedProblem]) -> FilledGateway:
    """Makes the gateway in an empty folder; `fleet_url` is where the simulated models answer. Blocks for seconds."""
    config = _config(folder, fleet_url)
    engine = _engine(config, fleet_url, problems)
    database = open_database(config.gateway.database)
    accounts = Accounts(database)
    keys, secrets = _accounts(accounts)
    asyncio.run(_fill(_engine(config, fleet_url, problems), problems, keys, Requests(database)))
    _spend(Quotas(database, "demo"), accounts, Requests(database))
    _remember(folder, keys[0].org or "")
    return FilledGateway(Gateway(config, engine, database=database), *secrets)


def _config(folder: Path, fleet_url: str) -> Config:
    models = {
        model.profile.name: {"provider": "compatible", "base_url": fleet_url, "skill": model.profile.skill}
        for model in simulated_fleet([])
    }
    return Config.model_validate(
        {
            "models": models,
            "memory": {"path": str(folder / "memory.db")},
            "online": {"path": str(folder / "decisions.db")},
            "traces": {"content": True},
            "gateway": {"database": str(folder / "gateway.db")},
        }
    )


def _engine(config: Config, fleet_url: str, problems: list[SimulatedProblem]) -> Orchestrator:
    """The fleet as a configuration would make it, but with profiles that say that they are simulated."""
    backends: dict[str, Backend] = {
        model.profile.name: RemoteBackend(model.profile, base_url=fleet_url, model=model.profile.name)
        for model in simulated_fleet(problems)
    }
    return Orchestrator.from_config(config, backends=backends, quality=0.93, value_usd=0.02, origin="a simulated fleet")


def _accounts(accounts: Accounts) -> tuple[list[Key], tuple[str, str, str, str]]:
    shop = accounts.add_org("Lantern shop", AccountLimits(usd=2.0, period="month"))
    harbour = accounts.add_org("Harbour office")
    support = accounts.add_team(shop.id, "support", AccountLimits(usd=0.4, period="month"))
    search = accounts.add_team(shop.id, "search")
    wanted = (
        NewKey("help desk", shop.id, support.id, limits=AccountLimits(usd=0.3, period="month")),
        NewKey("mail bot", shop.id, support.id),
        NewKey("site search", shop.id, search.id),
        NewKey("logbook", harbour.id),
    )
    made = [accounts.add_key(each) for each in wanted]
    operator = accounts.add_key(NewKey("admin", None, permissions=("admin",)))[1]
    everything = (*DEFAULT_PERMISSIONS, "admin")
    boss = accounts.add_key(NewKey("owner of the shop", shop.id, permissions=everything))[1]
    lead = accounts.add_key(NewKey("lead of support", shop.id, support.id, (*DEFAULT_PERMISSIONS, "team")))[1]
    return [key for key, _ in made], (operator, boss, lead, made[0][1])


async def _fill(engine: Orchestrator, problems: list[SimulatedProblem], keys: list[Key], requests: Requests) -> None:
    rng = random.Random(11)
    gate = asyncio.Semaphore(AT_ONCE)
    now = time.time()

    async def ask(number: int, problem: SimulatedProblem) -> ServedRequest:
        key = rng.choices(keys, (5, 3, 2, 2))[0]
        query = Query.parse(problem.question, scope=f"{key.org}/guests")
        async with gate:
            answer = await engine.answer(query)
        assert answer.trace is not None
        if rng.random() < GRADED:
            await engine.feedback(answer.id, float(equivalent(answer.text, problem.answer, problem.question)))
        served = served_query(query, answer.trace, answer, "", keeps_content=True)
        served.key, served.org, served.team, served.api = key.id, key.org or "", key.team, "chat"
        served.at = _moment(rng, now, number)
        served.ttft_s = served.latency_s * rng.uniform(0.2, 0.6)
        if rng.random() < 0.06:
            served.cached, served.cost_nano = "exact", 0
        return served

    async with engine:
        found = await asyncio.gather(*(ask(number, each) for number, each in enumerate(problems[:QUESTIONS])))
    failed = [_failed(rng, now, keys, number) for number in range(6)]
    await asyncio.to_thread(requests.add, [*found, *failed], TracePolicy(content=True))


def _moment(rng: random.Random, now: float, number: int) -> float:
    """Spread over the week, more by day than by night."""
    at = now - DAYS * 86_400 * (1 - number / QUESTIONS)
    hour = time.gmtime(at).tm_hour
    return at if 7 <= hour <= 19 else min(at + rng.uniform(0, 6) * 3_600, now - 60)


def _failed(rng: random.Random, now: float, keys: list[Key], number: int) -> ServedRequest:
    key = rng.choice(keys)
    id = f"{rng.getrandbits(128):032x}"
    one = ServedRequest(id, now - rng.uniform(0, DAYS) * 86_400, key.org or "", key.team, key.id, "chat", "auto")
    one.error, one.status, one.latency_s, one.simulated = ERRORS[number % len(ERRORS)], 503, rng.uniform(0.1, 9), True
    return one


def _spend(quotas: Quotas, accounts: Accounts, requests: Requests) -> None:
    """Books on the budgets what the keys spent."""
    from orchestrator.gateway.accounts.quota_leases import USD, period_of

    now = time.time()
    subjects: list[tuple[str, str, AccountLimits]] = [
        *(("org", org.id, org.limits) for org in accounts.orgs()),
        *(("team", team.id, team.limits) for team in accounts.teams()),
        *(("key", key.id, key.limits) for key in accounts.keys(None) if key.org is not None),
    ]
    for by, id, limits in subjects:
        if limits.usd is None:
            continue
        rows = requests.usage(None, since=0, until=now + 1, by=by)
        spent = to_nano(next((row["cost_usd"] for row in rows if row[by] == id), 0.0))
        quotas.book([Booking(Quota(id, USD, period_of(limits.period, now)), spent, 0, spent)])


def _remember(folder: Path, org: str) -> None:
    """What the shop remembers: notes of the bundled example, and a fact that changed."""
    from orchestrator.memory import Memory, NewRecord

    with Memory(folder / "memory.db") as memory:
        scope = f"{org}/guests"
        facts = (
            "The shop opens at nine and closes at six, Monday to Saturday.",
            "Petra prefers brass rings and pays by invoice.",
            "Mooring lamps are repaired within three weeks.",
        )
        memory.remember_many([NewRecord(text, "shop") for text in facts], scope)
        old = memory.remember("The lighthouse keeper of the harbour is Silas.", scope)
        new = memory.remember("The lighthouse keeper of the harbour is Odalys.", scope)
        if new.id != old.id:
            memory.supersede(scope, old.id, by=new.id)


def serve_demo(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """Fills a gateway and serves it until it is told to end."""
    import uvicorn  # heavy

    from orchestrator.backends.testing.fleet_server import FleetApp, running_server

    problems = generate_problems(QUESTIONS * 2, seed=11)
    with running_server(FleetApp(simulated_fleet(problems))) as url:
        say("filling a gateway with a week of SIMULATED traffic ...")
        filled = filled_gateway(folder, url, problems)
        say(f"http://127.0.0.1:{port}/ui/ (simulated models; nothing leaves this machine)")
        say(f"  the operator's key:      {filled.operator_key}")
        say(f"  an organisation's key:   {filled.organisation_key}")
        say(f"  a team's key:            {filled.team_key}")
        say(f"  a member's key:          {filled.member_key}")
        say(f"  ask in the playground:   {problems[QUESTIONS].question}")
        uvicorn.run(filled.gateway, host="127.0.0.1", port=port, log_level="warning", lifespan="on", ws="none")
