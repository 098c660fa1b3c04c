"""Teachers answer: the fleet's search, a committee of its models, or a batch at half the price.

Every answer is on disk before the next one counts, so that a job which is killed pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.backends.batches import BatchFailed, batches_of, run_batch
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Budget, Ledger
from orchestrator.config import defaults
from orchestrator.config.distill_job import DistillJob, TeachConfig
from orchestrator.distill.answers import label_in
from orchestrator.distill.rows import Lesson, TextRow
from orchestrator.distill.store import JobStore
from orchestrator.engine.batch import BatchProgress
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.engine.provider_batch import batch_backend, batch_body, batch_text, batch_usd, lone_confidence
from orchestrator.engine.settings import QuerySettings
from orchestrator.errors import BudgetExceeded, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.tokens.estimate import bound_tokens, estimate_tokens
from orchestrator.types import Answer

FLEET = "fleet"
FORECAST_SAMPLE = 20
MAX_DRAFTS = 5
ROUNDING_USD = 1e-6  # a budget counts in billionths of a dollar, each call rounded up
NO_MONEY = "budget: "  # how the errors of texts begin for which no money was left
FEWEST_FAILURES = 20  # texts after which a teacher that answers none, or none as the task wants it, is asked no more
LABEL_TOKENS, RECORD_TOKENS = 8, 60  # of an answer, about
MARGIN_TOKENS = 64  # of what stands around messages
Progress = Callable[[str, int, int, float], None]
"""(what is done, how many of them are, of how many, USD so far)."""


@dataclass(frozen=True, slots=True)
class TeachingForecast:
    """What teaching will take.

    Attributes:
        texts: How many are still to be answered.
        calls: How many answers that takes: one of each teacher to each text.
        usd: About what they cost; `None` where a price is unknown.
        left_usd: What the job's budget has left.
    """

    texts: int
    calls: int
    usd: float | None
    left_usd: float


def teachers_of(config: TeachConfig) -> list[str]:
    """Who answers each text: the members of the committee, a model that is handed batches, or the fleet."""
    if config.committee:
        return list(dict.fromkeys(config.models))
    return [config.models[0]] if config.batch else [FLEET]


def identity_of(job: DistillJob, fleet: Orchestrator) -> str:
    """Names the teachers of a job and how they are asked: answers of others must not be mixed with theirs unseen."""
    named = sorted(job.teach.models or teachable(fleet))
    models = {name: _served(fleet, name) for name in named if name in fleet.backends}
    asked = {
        "models": models,
        "committee": job.teach.committee,
        "strategy": str(job.teach.strategy),
        "task": [
            job.task.prompt,
            job.task.system,
            job.task.answer,
            job.task.labels,
            job.task.fields,
            job.task.generates,
        ],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _served(fleet: Orchestrator, name: str) -> str:
    backend = fleet.backends[name]
    upstream = getattr(backend, "upstream", None)
    return str(getattr(upstream, "model", type(backend).__name__))


def check_teachers(job: DistillJob, fleet: Orchestrator) -> None:
    """Raises `ConfigError` on teachers that the fleet does not have, or that cannot teach so."""
    for name in job.teach.models:
        if name not in fleet.backends:
            raise ConfigError(
                f"teach.models: {name!r} is not in this fleet", remedy=f"It has: {', '.join(fleet.backends)}"
            )
        if job.teach.batch and not isinstance(fleet.backends[name], RemoteBackend):
            raise ConfigError(
                f"teach.batch: {name} has no provider that takes batches", remedy="Leave `batch` out, or name another"
            )


def teachable(fleet: Orchestrator) -> list[str]:
    """The models that may teach when none is named: all that are no students."""
    from orchestrator.backends.local.student import StudentBackend

    return [name for name, backend in fleet.backends.items() if not isinstance(backend, StudentBackend)]


async def forecast(job: DistillJob, fleet: Orchestrator, rows: Sequence[TextRow], store: JobStore) -> TeachingForecast:
    """Calls and cost, reckoned from how the fleet would route a sample of the texts; asks no model."""
    waiting = untaught(rows, store, job)
    left = max(job.budget.usd - store.spent_usd(), 0.0)
    calls = sum(len(each) for each in waiting.values())
    texts = len({row.id for own in waiting.values() for row in own})
    if not texts:
        return TeachingForecast(0, 0, 0.0, left)
    usd: float | None = 0.0
    for teacher, own in waiting.items():
        sample = random.Random(job.seed).sample(own, min(len(own), FORECAST_SAMPLE))
        models = _models(job, fleet, teacher)
        costs = [_expected_usd(job, fleet, job.task.as_task().query_of(row.text), models) for row in sample]
        known = [cost for cost in costs if cost is not None]
        if usd is None or (sample and len(known) < len(costs)):
            usd = None
        elif known:
            usd += sum(known) / len(known) * len(own) * (0.5 if job.teach.batch else 1.0)
    return TeachingForecast(texts, calls, usd, left)


def _expected_usd(job: DistillJob, fleet: Orchestrator, query: str, models: Sequence[str]) -> float | None:
    """By the model that would be asked, and by how long answers of this kind are."""
    chosen = fleet.route(query, models=models).chosen
    if chosen is None:
        return None
    profile = fleet.backends[chosen].profile
    if profile.input_usd_per_mtok is None or profile.output_usd_per_mtok is None:
        return None
    written = {"classification": LABEL_TOKENS, "extraction": RECORD_TOKENS}.get(job.task.kind, profile.output_tokens)
    read = estimate_tokens(query) + estimate_tokens(job.task.system or "") + MARGIN_TOKENS
    return (profile.input_usd_per_mtok * read + profile.output_usd_per_mtok * written) / 1e6


def _models(job: DistillJob, fleet: Orchestrator, teacher: str) -> list[str]:
    return (job.teach.models or teachable(fleet)) if teacher == FLEET else [teacher]


def untaught(rows: Sequence[TextRow], store: JobStore, job: DistillJob) -> dict[str, list[TextRow]]:
    """By teacher, the rows that are still to be answered: nobody answered them before the job, nor in it."""
    there = {(lesson.row, lesson.teacher) for lesson in store.lessons() if lesson.answer is not None}
    waiting = [row for row in rows if row.label is None]
    return {teacher: [row for row in waiting if (row.id, teacher) not in there] for teacher in teachers_of(job.teach)}


async def teach(
    job: DistillJob, fleet: Orchestrator, rows: Sequence[TextRow], store: JobStore, on_progress: Progress
) -> str:
    """Asks what is still to be asked, within what the budget has left. Returns why it ended early, or nothing.

    What fails for one text is kept with it, and tried again by the next run.
    """
    for teacher, own in untaught(rows, store, job).items():
        if not own:
            continue
        left = job.budget.usd - store.spent_usd()
        if left <= 0:
            return _budget_over(job, store)
        try:
            if job.teach.batch:
                await _teach_batch(job, fleet, teacher, own, store, left)
            else:
                early = await _teach_each(job, fleet, teacher, own, store, left, on_progress)
                if early:
                    return early
        except BudgetExceeded as error:
            return error.message
    failed = [lesson for lesson in store.lessons() if lesson.answer is None]
    if failed and all(lesson.error.startswith(NO_MONEY) for lesson in failed):
        return f"{_budget_over(job, store)}: {len(failed)} texts are not answered"
    return ""


def _budget_over(job: DistillJob, store: JobStore) -> str:
    return f"{store.spent_usd():.4f} of {job.budget.usd:g} USD are spent, and another call may cost more than is left"


async def _teach_each(
    job: DistillJob,
    fleet: Orchestrator,
    teacher: str,
    rows: Sequence[TextRow],
    store: JobStore,
    left: float,
    on_progress: Progress,
) -> str:
    """Returns why it ended early, or nothing."""
    task = job.task.as_task()
    settings: QuerySettings = {
        "models": _models(job, fleet, teacher),
        "uses_memory": False,
        "scope": f"distill/{job.name}",
        "budget": {"usd": left},
    }
    if teacher != FLEET:
        settings["strategy"] = "single"
    elif job.teach.strategy is not None:
        settings["strategy"] = job.teach.strategy
    if job.task.system is not None:
        settings["system"] = job.task.system
    if job.teach.max_tokens is not None:
        settings["max_tokens"] = job.teach.max_tokens
    spent, done = store.spent_usd(), 0
    queries = [task.query_of(row.text) for row in rows]
    writer, booked, failures = _LessonWriter(store), 0.0, 0
    ledger: dict[str, float] = {}

    def note_spent(progress: BatchProgress) -> None:
        ledger["usd"] = progress.cost_usd

    store.hold(min(left, _worst_usd(job, fleet, settings["models"], queries) * min(job.teach.concurrency, len(rows))))
    batch = fleet.answer_many(
        queries, concurrency=job.teach.concurrency, ordered=False, on_progress=note_spent, **settings
    )
    try:
        async with batch:
            async for result in batch:
                lesson = _lesson(rows[result.index], teacher, result.answer, result.error)
                writer.put(lesson)
                done, booked = done + 1, booked + lesson.cost_usd
                failures += label_in(job, lesson.answer) is None
                on_progress(f"taught by {teacher}", done, len(rows), spent + booked)
                if done == failures == FEWEST_FAILURES:
                    if lesson.answer is None:
                        return f"none of the first {done} texts was answered: {lesson.error}"
                    return f"none of the first {done} answers is one of the task's; the last: {lesson.answer[:80]!r}"
    finally:
        await writer.aclose()
        lost = ledger.get("usd", 0.0) - booked  # calls that failed and may be billed
        if lost > ROUNDING_USD:
            store.pay("calls without an answer", lost)
        store.release()
    return ""


def _worst_usd(job: DistillJob, fleet: Orchestrator, models: Sequence[str] | None, queries: Sequence[str]) -> float:
    """The most that one call may cost."""
    longest = max(map(bound_tokens, queries), default=0) + bound_tokens(job.task.system or "") + MARGIN_TOKENS
    written = job.teach.max_tokens or defaults.MAX_TOKENS
    worst = [fleet.backends[name].profile.worst_usd(longest, written) for name in models or ()]
    return max((usd for usd in worst if usd is not None), default=0.0)


class _LessonWriter:
    """Writes lessons as they come, all that wait in one transaction, while others are being answered."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._waiting: list[Lesson] = []
        self._writing: asyncio.Future[None] | None = None

    def put(self, lesson: Lesson) -> None:
        """Writes it at once, or as soon as those before it are written."""
        self._waiting.append(lesson)
        if self._writing is None or self._writing.done():
            if self._writing is not None:
                self._writing.result()  # a disk that is full ends the job before more is paid
            lessons, self._waiting = self._waiting, []
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._store.learn, lessons))

    async def aclose(self) -> None:
        """Writes what waits, also when the job is being cancelled."""
        if self._writing is not None:
            await asyncio.shield(asyncio.gather(self._writing, return_exceptions=True))
        self._store.learn(self._waiting)


def _lesson(row: TextRow, teacher: str, answer: Answer | None, error: Exception | None) -> Lesson:
    if answer is None or answer.abstained or answer.calls:
        why = "the fleet abstained" if error is None else getattr(error, "message", None) or str(error)
        if isinstance(error, BudgetExceeded):
            why = f"{NO_MONEY}{why}"
        cost = 0.0 if answer is None else answer.cost_usd or 0.0
        return Lesson(row.id, teacher, None, 0.0, cost, error=why)
    given = next((c for c in answer.candidates if c.model == answer.model and c.text == answer.text), None)
    verdicts = () if given is None else tuple(_verdict(each) for each in given.verdicts)
    drafts = tuple(
        {"text": each.text, "model": each.model, "ruled_out": each.ruled_out}
        for each in answer.candidates
        if each.text and each.text != answer.text
    )
    return Lesson(
        row.id,
        teacher,
        answer.text,
        answer.confidence,
        answer.cost_usd or 0.0,
        answer.model,
        verdicts,
        drafts[:MAX_DRAFTS],
    )


def _verdict(verdict: object) -> JsonObject:
    return {name: getattr(verdict, name) for name in ("verifier", "score", "passed", "feedback", "decisive")}


async def _teach_batch(
    job: DistillJob, fleet: Orchestrator, teacher: str, rows: Sequence[TextRow], store: JobStore, left: float
) -> None:
    """A batch that was handed in before the job was killed is waited for, and not handed in again."""
    backend = batch_backend(fleet, teacher)
    fact, task = f"batch of {teacher}", job.task.as_task()
    noted = store.fact(fact)
    before: JsonObject = noted if isinstance(noted, dict) else {"id": None, "rows": [row.id for row in rows]}
    by_id = {row.id: row for row in rows}
    own = [by_id[row] for row in before["rows"] if row in by_id]
    bodies = {
        str(row.id): batch_body(
            backend, task.query_of(row.text), system=job.task.system, max_tokens=job.teach.max_tokens
        )
        for row in own
    }

    def handed_in(batch: str) -> None:
        store.note(fact, {"id": batch, "rows": [row.id for row in own]})

    batches, ledger = batches_of(backend), Ledger(Budget(usd=left))
    try:
        results = await run_batch(
            backend,
            bodies,
            ledger,
            batches=batches,
            on_submitted=handed_in,
            submitted=before["id"],
            cancels=False,
        )
    except BatchFailed:  # it has no results, and will have none: the next run hands in a new one
        store.note(fact, None)
        store.pay("a batch that failed", ledger.spent_usd)
        raise
    finally:
        await batches.aclose()
    usd = [batch_usd(backend, result) for result in results]
    confidence = lone_confidence(fleet, teacher)
    if ledger.spent_usd - sum(usd) > ROUNDING_USD:
        store.pay("answers of a batch that tell no usage", ledger.spent_usd - sum(usd))
    lessons = [
        Lesson(row.id, teacher, batch_text(result), confidence, cost, teacher, error=result.error)
        for row, result, cost in zip(own, results, usd, strict=True)
    ]
    await asyncio.to_thread(store.learn, lessons)
    store.note(fact, None)
    handed = set(before["rows"])
    rest = [row for row in rows if row.id not in handed]  # came after a batch that was waited for
    if rest:
        await _teach_batch(job, fleet, teacher, rest, store, job.budget.usd - store.spent_usd())
