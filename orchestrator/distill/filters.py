"""Which rows may be learned from, and what they are for. Every row that may not keeps the first reason."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.config.distill_job import DistillJob, SplitConfig
from orchestrator.distill.calls import judge_calls, tools_of
from orchestrator.distill.collect import read_table
from orchestrator.distill.duplicates import EvaluationTexts, conflicts, exact_duplicates, near_duplicates, plain
from orchestrator.distill.rows import Part, Rejections, Taught, TextRow
from orchestrator.students.training.extract import RecordedText, unspanned_field
from orchestrator.students.training.noise import clean_labels
from orchestrator.students.training.rows import LabelledText
from orchestrator.verifiers.form.personal_data import personal_data
from orchestrator.verifiers.form.safety import unsafe


async def filter_rows(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    """The rows that are left, with what they are for; those that are not are added to `rejections`.

    Rows that cannot be used at all go first: safety, calls, duplicates, evaluation sets. Then the rest
    is split. Of what is to be trained on, rows in doubt (the teacher's confidence, rare labels, label noise, balance)
    are rejected, too, but stay in the list, marked as not learned: a promise of agreement is proven on what teachers
    say, not on the part of it that is easy to learn. Held-out rows are not looked at for that.
    """
    kept = _safe(job, taught, rejections)
    if job.filter.tools is not None:
        kept = await _with_sound_calls(job, kept, rejections)
    kept = _once(job, kept, rejections)
    kept = _unseen(job, kept, rejections)
    parts = split_parts([each.row for each in kept], job.split, job.seed)
    kept = [_part(each, part) for each, part in zip(kept, parts, strict=True)]
    doubts = {"classification": [_frequent, _sound, _balanced, _frequent], "extraction": [_spanned]}
    for doubt in (_confident, *doubts.get(job.task.kind, [])):
        kept = doubt(job, kept, rejections)
    return kept


def _unlearned(taught: Sequence[Taught], reasons: Mapping[int, str], rejections: Rejections) -> list[Taught]:
    """The same rows; those with a reason are not learned from."""
    for row, reason in reasons.items():
        rejections.add(row, reason)
    return [replace(each, is_learned=False) if each.row.id in reasons else each for each in taught]


def _to_learn(taught: Sequence[Taught]) -> list[Taught]:
    return [each for each in taught if each.row.part == "train" and each.is_learned]


def _part(taught: Taught, part: Part) -> Taught:
    return replace(taught, row=replace(taught.row, part=part))


def _confident(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    least = job.filter.min_confidence
    reasons = {
        each.row.id: f"confidence: P(correct) is {each.confidence:.2f}, below {least:g}"
        for each in _to_learn(taught)
        if each.confidence < least
    }
    return _unlearned(taught, reasons, rejections)


def _safe(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    kept = []
    for each in taught:
        whole = f"{each.row.text}\n{each.answer}"
        found = next(iter(unsafe(whole)), None)
        if found is not None:
            rejections.add(each.row.id, f"safety: {found[0]}")
        elif job.filter.reject_personal_data and (personal := next(iter(personal_data(whole)), None)):
            rejections.add(each.row.id, f"personal data: {personal[0]}")
        else:
            kept.append(each)
    return kept


async def _with_sound_calls(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    judged = await judge_calls(taught, tools_of(job.filter.tools), seed=job.seed)
    for each, call in zip(taught, judged, strict=True):
        if call.reason:
            rejections.add(each.row.id, call.reason)
    return [each for each, call in zip(taught, judged, strict=True) if not call.reason]


def _spanned(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    reasons = {}
    for each in _to_learn(taught):
        name = unspanned_field(RecordedText(each.row.text, json.loads(each.label)))
        if name is not None:
            reasons[each.row.id] = f"span: the value of {name!r} does not stand in the text"
    return _unlearned(taught, reasons, rejections)


def _once(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    """Of equal texts the surest answer stays; where equal texts have different labels and neither is surer, none."""
    ordered = sorted(taught, key=lambda each: (-each.confidence, each.row.is_synthetic, each.row.id))
    keys = exact_duplicates([each.row.text for each in ordered])
    torn = conflicts(keys, [each.label for each in ordered])
    kept = []
    for at, (each, key) in enumerate(zip(ordered, keys, strict=True)):
        if key == at and not (key in torn and _is_tie(ordered, keys, at)):
            kept.append(each)
        elif key == at or (key in torn and each.confidence == ordered[key].confidence):
            rejections.add(each.row.id, "contradiction: equal texts were answered differently")
        else:
            rejections.add(each.row.id, f"duplicate: of row {ordered[key].row.id}")
    if job.filter.near_duplicates is None:
        return sorted(kept, key=lambda each: each.row.id)
    near = near_duplicates([each.row.text for each in kept], job.filter.near_duplicates)
    left = []
    for at, (each, other) in enumerate(zip(kept, near, strict=True)):
        if other == at:
            left.append(each)
        else:
            rejections.add(each.row.id, f"near duplicate: of row {kept[other].row.id}")
    return sorted(left, key=lambda each: each.row.id)


def _is_tie(ordered: Sequence[Taught], keys: Sequence[int], at: int) -> bool:
    """Whether a text equal to this one has another label, given just as surely."""
    own = ordered[at]
    return any(
        key == at and other.label != own.label and other.confidence == own.confidence
        for other, key in zip(ordered, keys, strict=True)
    )


def _unseen(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    if not job.filter.evaluation:
        return list(taught)
    column = job.filter.evaluation_text
    texts = [
        str(row.get(column) or "") for name in job.filter.evaluation for row in read_table(job.folder / name, column)
    ]
    evaluation = EvaluationTexts([text for text in texts if text.strip()], job.filter.max_similarity)
    kept = []
    for each, why in zip(taught, evaluation.why_seen([each.row.text for each in taught]), strict=True):
        if why:
            rejections.add(each.row.id, f"leak: {why}")
        else:
            kept.append(each)
    return kept


def _frequent(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    learned, fewest = _to_learn(taught), job.filter.fewest_per_label
    counts = Counter(each.corrected or each.label for each in learned)
    reasons = {}
    for each in learned:
        count = counts[each.corrected or each.label]
        if count < fewest:
            reasons[each.row.id] = f"rare label: {each.label!r} has {count} texts, {fewest} are needed"
    return _unlearned(taught, reasons, rejections)


def _sound(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    """Corrects labels that are surely wrong for the student that is trained here, and drops those in doubt."""
    learned = _to_learn(taught)
    if not job.filter.noise or not learned:
        return list(taught)
    cleaned, noise = clean_labels([labelled_text(each) for each in learned], seed=job.seed)
    reasons, corrected = {}, {}
    for each, text, p, best in zip(learned, cleaned, noise.p_label, noise.best, strict=True):
        told = f"label noise: {each.label!r} has a probability of {p:.2f}, {best!r} is likelier"
        if text.corrected:
            corrected[each.row.id] = text.corrected
            rejections.add(each.row.id, f"{told}, which is learned here")
        elif not text.is_learned:
            reasons[each.row.id] = told
    kept = _unlearned(taught, reasons, rejections)
    return [replace(each, corrected=corrected.get(each.row.id, "")) for each in kept]


def _balanced(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    """Of labels that are far more frequent than the median one, the surest rows stay."""
    by_label: dict[str, list[Taught]] = defaultdict(list)
    for each in _to_learn(taught):
        by_label[each.corrected or each.label].append(each)
    if job.filter.balance is None or not by_label:
        return list(taught)
    most = max(int(job.filter.balance * statistics.median(len(rows) for rows in by_label.values())), 1)
    reasons = {
        each.row.id: f"balance: there are {most} texts of {label!r} already"
        for label, rows in by_label.items()
        for each in sorted(rows, key=lambda row: (-row.confidence, row.row.id))[most:]
    }
    return _unlearned(taught, reasons, rejections)


def split_parts(rows: Sequence[TextRow], split: SplitConfig, seed: int) -> list[Part]:
    """What each row is for. Groups are never divided, and what is synthetic is never tested on.

    By group, a hash decides: a text that is held out once stays held out in every later run, so that students of
    different runs can be compared on it. A synthetic text goes where its parent goes, so that no paraphrase of a tested
    text is learned from.
    """
    own = {row.id: row.group or plain(row.text) for row in rows if not row.is_synthetic}
    groups = [row.group or own.get(row.parent or row.id) or plain(row.text) for row in rows]
    if split.by == "time":
        ordered = sorted(range(len(rows)), key=lambda at: (rows[at].time, rows[at].id))
        tested = {groups[at] for at in ordered[round(len(rows) * (1 - split.test)) :]}
    else:
        tested = {group for group in groups if _share_of(group, seed) < split.test}
    parts: list[Part] = []
    for row, group in zip(rows, groups, strict=True):
        parts.append("train" if group not in tested else "" if row.is_synthetic else "test")
    return parts


def _share_of(group: str, seed: int) -> float:
    """A number in [0, 1) that a group always has."""
    digest = hashlib.sha256(f"{seed}\x1f{group}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def group_of(row: TextRow) -> str:
    """What must not be divided: the row's group, or a text and what was made of it."""
    return row.group or str(row.parent if row.is_synthetic else row.id)


def labelled_text(taught: Taught) -> LabelledText:
    """A row as students learn from it."""
    row = taught.row
    return LabelledText(
        row.text,
        taught.label,
        taught.confidence,
        group_of(row),
        taught.teacher,
        row.gold,
        row.is_synthetic,
        taught.is_learned,
        taught.corrected,
    )
