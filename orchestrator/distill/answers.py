"""What is learned of teachers' answers: the label, the record or the text, and how far it is believed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.rows import Lesson, Taught, TextRow
from orchestrator.students.labels import read_label, read_record

UNREADABLE = "\x00"  # the label of an answer that holds none: no student can say it


def taught_rows(
    job: DistillJob, rows: Sequence[TextRow], lessons: Sequence[Lesson]
) -> tuple[list[Taught], dict[int, str]]:
    """Each row with the answer that it is taught by, and why the others have none.

    A committee's answer is the label that is most believed; its confidence is that label's share of what is believed.
    """
    by_row: dict[int, list[Lesson]] = {}
    for lesson in lessons:
        by_row.setdefault(lesson.row, []).append(lesson)
    found, missing = [], {}
    for row in rows:
        if row.label is not None:
            taught = _recorded(job, row)
        else:
            taught = _decided(job, row, by_row.get(row.id, []))
        if isinstance(taught, Taught):
            found.append(taught)
            continue
        missing[row.id] = taught
        if taught.startswith("form") and job.task.kind == "classification":  # a student cannot say it: it disagrees
            found.append(Taught(row, "", UNREADABLE, 1.0, row.teacher, is_learned=False))
    return _spelt_alike(job, found), missing


def _spelt_alike(job: DistillJob, found: list[Taught]) -> list[Taught]:
    """Without stated labels, those that differ in case alone are one, spelt as most of them are."""
    if job.task.labels or job.task.kind != "classification":
        return found
    spellings: dict[str, Counter[str]] = {}
    for each in found:
        spellings.setdefault(each.label.casefold(), Counter())[each.label] += 1
    best = {folded: max(sorted(counts), key=lambda name: counts[name]) for folded, counts in spellings.items()}
    task = job.task.as_task()
    return [
        each
        if (label := best[each.label.casefold()]) == each.label
        else replace(each, label=label, answer=task.answer_of(label))
        for each in found
    ]


def _recorded(job: DistillJob, row: TextRow) -> Taught | str:
    assert row.label is not None
    label = label_in(job, row.label)
    if label is None:
        return f"form: the recorded answer is none of the task's: {row.label[:80]!r}"
    answer = row.label if job.task.kind != "classification" else job.task.as_task().answer_of(label)
    return Taught(row, answer, label, row.confidence, row.teacher)


def _decided(job: DistillJob, row: TextRow, lessons: Sequence[Lesson]) -> Taught | str:
    answered = [(lesson, label_in(job, lesson.answer)) for lesson in lessons if lesson.answer is not None]
    usable = [(lesson, label) for lesson, label in answered if label is not None]
    if not usable:
        if answered:
            return f"form: the answer is none of the task's: {(answered[0][0].answer or '')[:80]!r}"
        return f"no answer: {lessons[0].error}" if lessons and lessons[0].error else "no answer: not asked yet"
    votes: dict[str, float] = {}
    for lesson, label in usable:
        votes[label] = votes.get(label, 0.0) + max(lesson.confidence, 1e-6)
    best = max(votes, key=lambda label: (votes[label], label))
    given = max((lesson for lesson, label in usable if label == best), key=lambda each: each.confidence)
    alone = len(usable) == 1 and len(lessons) == 1
    confidence = given.confidence if alone else given.confidence * votes[best] / sum(votes.values())
    others = [
        {"text": lesson.answer, "model": lesson.model or lesson.teacher, "ruled_out": False}
        for lesson, label in usable
        if label != best
    ]
    cost = sum(lesson.cost_usd for lesson in lessons)
    teacher = given.model or given.teacher
    return Taught(row, given.answer or "", best, confidence, teacher, cost, (*given.drafts, *others))


def label_in(job: DistillJob, answer: str | None) -> str | None:
    """What is learned of an answer: its label, its record as JSON with sorted names, or the answer itself."""
    if answer is None or not answer.strip():
        return None
    if job.task.kind == "classification":
        return read_label(answer, job.task.labels, job.task.as_task())
    if job.task.kind == "generation":
        return answer.strip()
    record = read_record(answer)
    if record is None or not record.keys() & job.task.fields.keys():
        return None
    return json.dumps({name: record.get(name) for name in sorted(job.task.fields)}, ensure_ascii=False, sort_keys=True)
