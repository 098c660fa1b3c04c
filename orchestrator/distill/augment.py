"""Texts that the fleet writes: paraphrases, hard negatives, questions to documents. Each is then taught like any."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.config.distill_job import AugmentConfig, DistillJob
from orchestrator.distill.collect import passages
from orchestrator.distill.rows import Taught, TextRow
from orchestrator.distill.store import JobStore
from orchestrator.distill.teach import Progress, teachable
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.jsontypes import JsonObject
from orchestrator.students.labels import read_record

MAX_PASSAGE_CHARS = 4_000
WITHOUT_TEXTS = "wishes without texts"
LIST_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
    "required": ["texts"],
}
PARAPHRASE = (
    "Write {n} paraphrases of the text between the lines. Keep its meaning, language, names and numbers; change words "
    'and order. Answer with JSON like {{"texts": ["..."]}}.\n---\n{text}\n---'
)
NEGATIVE = (
    "The text between the lines is answered {label!r} by a classifier whose answers are {labels}. Write {n} texts of "
    "the same kind, language and length that look much like it but belong to another of these answers. Answer with "
    'JSON like {{"texts": ["..."]}}.\n---\n{text}\n---'
)
QUESTION = (
    "Write {n} questions, each of which the passage between the lines answers by itself. Write in its language. Answer "
    'with JSON like {{"texts": ["..."]}}.\n---\n{text}\n---'
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be written, and what the texts that come of it are."""

    prompt: str
    row: TextRow
    n: int = 1

    @property
    def key(self) -> str:
        return f"{self.row.parent} {self.row.kind} {self.row.source}"


async def question_documents(job: DistillJob, fleet: Orchestrator, store: JobStore, on_progress: Progress) -> None:
    """Lets the fleet write a question for each passage that has none yet."""
    done = {row.source for row in store.rows()}
    wishes = []
    for number, (name, text) in enumerate(passages(job), 1):
        source = f"document {name} #{number}"
        if source not in done:
            prompt = QUESTION.format(n=1, text=text[:MAX_PASSAGE_CHARS])
            wishes.append(_Wish(prompt, TextRow(0, "", source, group=name)))
    await _write(job, fleet, store, wishes, "questions", on_progress)


async def augment(
    job: DistillJob, fleet: Orchestrator, taught: Sequence[Taught], store: JobStore, on_progress: Progress
) -> None:
    """Lets the fleet write synthetic texts, up to the job's share of the real ones.

    Raises nothing for single texts that fail: fewer are written then.
    """
    settings = job.augment
    if settings is None:
        return
    rows = store.rows()
    there = {(row.parent, row.kind) for row in rows if row.is_synthetic}
    real = [each for each in taught if not each.row.is_synthetic]
    most = int(settings.share * len(real)) - sum(row.is_synthetic for row in rows)
    wishes = list(_wishes(job, settings, real, there, most))
    await _write(job, fleet, store, wishes, "synthetic texts", on_progress)


def _wishes(
    job: DistillJob, settings: AugmentConfig, real: Sequence[Taught], there: set[tuple[int | None, str]], most: int
) -> list[_Wish]:
    """Rows are chosen by the seed; each gives its paraphrases and one hard negative."""
    labels = job.task.labels or sorted({each.label for each in real})
    found: list[_Wish] = []
    count = 0
    for each in random.Random(job.seed).sample(list(real), len(real)):
        parent, group = each.row, each.row.group
        if settings.paraphrases and (parent.id, "paraphrase") not in there and count < most:
            prompt = PARAPHRASE.format(n=settings.paraphrases, text=parent.text)
            found.append(
                _Wish(
                    prompt,
                    TextRow(0, "", "paraphrase", group=group, parent=parent.id, kind="paraphrase"),
                    settings.paraphrases,
                )
            )
            count += settings.paraphrases
        is_closed = job.task.kind == "classification" and settings.hard_negatives
        if is_closed and (parent.id, "negative") not in there and count < most:
            prompt = NEGATIVE.format(n=1, text=parent.text, label=each.label, labels=", ".join(labels[:50]))
            found.append(_Wish(prompt, TextRow(0, "", "hard negative", group=group, parent=parent.id, kind="negative")))
            count += 1
        if count >= most:
            break
    return found


async def _write(
    job: DistillJob,
    fleet: Orchestrator,
    store: JobStore,
    wishes: Sequence[_Wish],
    what: str,
    on_progress: Progress,
) -> None:
    left, asked = job.budget.usd - store.spent_usd(), store.fact(WITHOUT_TEXTS)
    wishes = [wish for wish in wishes if not isinstance(asked, list) or wish.key not in asked]
    if not wishes or left <= 0:
        return
    models = job.teach.models or teachable(fleet)
    batch = fleet.answer_many(
        [wish.prompt for wish in wishes],
        concurrency=job.teach.concurrency,
        ordered=False,
        schema=LIST_SCHEMA,
        models=models,
        uses_memory=False,
        scope=f"distill/{job.name}",
        budget={"usd": left},
    )
    done = 0
    async with batch:
        async for result in batch:
            done += 1
            if result.answer is not None:
                wish = wishes[result.index]
                await asyncio.to_thread(store.pay, what, result.answer.cost_usd or 0.0)
                await asyncio.to_thread(_keep, store, wish, result.answer.text)
            on_progress(what, done, len(wishes), store.spent_usd())


def _keep(store: JobStore, wish: _Wish, answer: str) -> None:
    """At most as many texts as were asked for; a wish that brought none is noted, so that it is not paid again."""
    found = (read_record(answer) or {}).get("texts")
    texts = (
        [text.strip() for text in found if isinstance(text, str) and text.strip()] if isinstance(found, list) else []
    )
    if texts:
        store.add([replace(wish.row, text=text) for text in texts[: wish.n]])
    else:
        asked = store.fact(WITHOUT_TEXTS)
        store.note(WITHOUT_TEXTS, [*(asked if isinstance(asked, list) else []), wish.key])
