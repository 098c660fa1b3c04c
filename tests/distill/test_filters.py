"""Which rows may be learned from, and that each rejected one keeps its reason."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.distill_job import DistillJob, SplitConfig
from orchestrator.distill.answers import label_in, taught_rows
from orchestrator.distill.calls import judge_calls, parse_calls
from orchestrator.distill.duplicates import EvaluationTexts, exact_duplicates, near_duplicates
from orchestrator.distill.export import export
from orchestrator.distill.filters import filter_rows, split_parts
from orchestrator.distill.rows import Rejections, Taught, TextRow
from tests.support.tickets import LABELS, tickets

Make = Callable[..., DistillJob]


def taught(n: int, seed: int = 0) -> list[Taught]:
    return [
        Taught(TextRow(number, row.text, "file"), row.label, row.label, 0.95, "strong")
        for number, row in enumerate(tickets(n, seed=seed), 1)
    ]


def filtered(job: DistillJob, rows: list[Taught]) -> tuple[dict[int, Taught], dict[int, str]]:
    rejections = Rejections()
    kept = asyncio.run(filter_rows(job, rows, rejections))
    return {each.row.id: each for each in kept}, rejections.reasons


def test_rows_in_doubt_are_not_learned_and_still_count(make_job: Make) -> None:
    rows = taught(200)
    rows[3] = replace(rows[3], confidence=0.2)
    rows += [Taught(TextRow(900 + n, f"rare text {n}", "file"), "legal", "legal", 0.9, "strong") for n in range(3)]
    kept, reasons = filtered(make_job(1, split={"test": 0}), rows)
    assert reasons[4].startswith("confidence: P(correct) is 0.20")
    assert {reasons[900 + n].split(":")[0] for n in range(3)} == {"rare label"}
    assert not kept[4].is_learned
    assert not kept[901].is_learned
    assert not any(kept[row].is_exported for row in (4, 900, 901, 902))


def test_duplicates_and_contradictions(make_job: Make) -> None:
    rows = taught(100)
    first = rows[0]
    rows.append(replace(first, row=replace(first.row, id=501, text=first.row.text.upper() + "  ")))
    rows.append(replace(rows[1], row=replace(rows[1].row, id=502, text=rows[1].row.text + " ")))
    other = next(label for label in LABELS if label != rows[2].label)
    rows.append(replace(rows[2], row=replace(rows[2].row, id=503), label=other, answer=other))
    surer = next(label for label in LABELS if label != rows[5].label)
    rows.append(replace(rows[5], row=replace(rows[5].row, id=504), label=surer, answer=surer, confidence=0.99))
    long = "A long message about the blue kettle that arrived broken in three pieces last Friday afternoon at noon"
    rows.append(replace(rows[7], row=TextRow(505, long, "file")))
    rows.append(replace(rows[7], row=TextRow(506, long + "!", "file")))
    kept, reasons = filtered(make_job(1, split={"test": 0}), rows)
    assert reasons[501] == f"duplicate: of row {first.row.id}"
    assert reasons[502].startswith("duplicate")
    assert reasons[503].startswith("contradiction")
    assert reasons[rows[2].row.id].startswith("contradiction")
    assert reasons[rows[5].row.id] == "duplicate: of row 504"
    assert kept[504].label == surer
    assert reasons[506] == "near duplicate: of row 505"
    assert set(kept) & set(reasons) <= {row for row, why in reasons.items() if why.startswith("label noise")}


def test_nothing_leaks_from_evaluation_sets(make_job: Make, tmp_path: Path) -> None:
    rows = taught(120)
    target = "my parcel 77 with the blue kettle has not arrived yet although it was sent last week"
    texts = (rows[4].row.text.upper(), target)
    (tmp_path / "eval.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rows.append(replace(rows[0], row=TextRow(700, f"Hello! {target}, said my aunt", "file")))
    rows.append(replace(rows[0], row=TextRow(701, target.replace("sent", "posted"), "file")))
    _, reasons = filtered(make_job(1, filter={"evaluation": ["eval.jsonl"]}, split={"test": 0}), rows)
    assert reasons[rows[4].row.id] == "leak: it stands in an evaluation set"
    assert reasons[700] == "leak: it shares 8 words in a row with an evaluation set"
    assert reasons[701].startswith("leak")
    assert sum(why.startswith("leak") for why in reasons.values()) < 12
    assert EvaluationTexts([], 0.9).why_seen(["anything"]) == [""]


def test_secrets_and_personal_data(make_job: Make) -> None:
    rows = taught(100)
    rows.append(
        replace(rows[0], row=TextRow(600, "my key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "f"))
    )
    rows.append(replace(rows[0], row=TextRow(601, "write to ann.miller@example.org about it", "f")))
    _, reasons = filtered(make_job(1, filter={"reject_personal_data": True}), rows)
    assert reasons[600].startswith("safety")
    assert reasons[601].startswith("personal data")
    _, reasons = filtered(make_job(1), rows)
    assert 601 not in reasons


def test_wrong_labels_are_corrected_or_dropped_for_training_only(make_job: Make) -> None:
    rows, rng = taught(300), random.Random(0)
    wrong = rng.sample(range(300), 45)
    for at in wrong:
        label = next(each for each in LABELS if each != rows[at].label)
        rows[at] = replace(rows[at], label=label, answer=label)
    kept, reasons = filtered(make_job(1, split={"test": 0}), rows)
    found = [at for at in wrong if reasons.get(at + 1, "").startswith("label noise")]
    assert len(found) > 30
    right = {row.row.id: each.label for row, each in zip(rows, tickets(300), strict=True)}
    corrected = [each for each in kept.values() if each.corrected]
    assert len(corrected) > 20
    assert sum(each.corrected == right[each.row.id] for each in corrected) / len(corrected) > 0.75
    assert not any(each.is_exported for each in corrected)
    _, reasons = filtered(make_job(1, filter={"noise": False}, split={"test": 0}), rows)
    assert not any(why.startswith("label noise") for why in reasons.values())


def test_balance_keeps_the_surest(make_job: Make) -> None:
    rows = [each for each in taught(400) if each.label == "billing" or each.row.id % 6 == 0]
    rows = [replace(each, confidence=0.6 + each.row.id % 40 / 100) for each in rows]
    kept, reasons = filtered(make_job(1, filter={"balance": 1, "noise": False}, split={"test": 0}), rows)
    dropped = [each for each in rows if reasons.get(each.row.id, "").startswith("balance")]
    stayed = [each for each in kept.values() if each.is_learned and each.label == "billing"]
    assert dropped
    assert min(each.confidence for each in stayed) >= max(each.confidence for each in dropped)


def test_splits_are_by_group_or_time_and_stay() -> None:
    rows = [TextRow(n, f"text {n}", "f", group=f"g{n % 30}", time=f"2026-{n:04}") for n in range(300)]
    rows += [
        TextRow(400 + n, f"paraphrase {n}", "f", group=f"g{n % 30}", parent=n, kind="paraphrase") for n in range(60)
    ]
    rows += [TextRow(500, "alone", "f"), TextRow(501, "alone again", "f", parent=500, kind="paraphrase")]
    parts = split_parts(rows, SplitConfig(test=0.3), 0)
    for group in {row.group for row in rows if row.group}:
        own = {part for row, part in zip(rows, parts, strict=True) if row.group == group}
        assert own in ({"train"}, {"test", ""}, {"test"})
    assert 0.1 < parts.count("test") / len(rows) < 0.5
    assert (parts[-2], parts[-1]) in (("train", "train"), ("test", ""))
    again = split_parts([replace(row, id=row.id) for row in rows if row.id % 2], SplitConfig(test=0.3), 0)
    assert again == [part for row, part in zip(rows, parts, strict=True) if row.id % 2]
    newest = split_parts([replace(row, group="") for row in rows[:300]], SplitConfig(test=0.1, by="time"), 0)
    assert newest == ["train"] * 270 + ["test"] * 30
    assert set(split_parts(rows, SplitConfig(test=0), 0)) == {"train"}


def test_the_same_rows_give_the_same_bytes(make_job: Make, tmp_path: Path) -> None:
    job = make_job(1)
    rows = [
        replace(
            each, row=replace(each.row, part="train"), drafts=({"text": "account", "model": "b", "ruled_out": False},)
        )
        for each in taught(50)
    ]
    one = {path.name: path.read_bytes() for path in export(job, rows, tmp_path / "a")}
    other = {path.name: path.read_bytes() for path in export(job, list(reversed(rows)), tmp_path / "b")}
    assert one == other
    lines = [json.loads(line) for line in one["preferences.jsonl"].decode().splitlines()]
    assert all(line["chosen"] != line["rejected"] and 0 <= line["margin"] <= 1 for line in lines)
    assert len(lines) == sum(each.label != "account" for each in rows)


@pytest.mark.parametrize("text", ["", "\x00", "\ud800", "🙂" * 3, "a", "ä" * 10_000])
def test_hostile_texts_are_compared(text: str) -> None:
    assert exact_duplicates([text, text]) == [0, 0]
    assert near_duplicates([text, text + "x" * 50], 0.9)[0] == 0
    assert EvaluationTexts([text], 0.9).why_seen([text, "other words"])[1] == ""


def test_labels_are_read_by_task(make_job: Make) -> None:
    labels = make_job(1)
    assert label_in(labels, "**Billing**.") == "billing"
    assert label_in(labels, "something else") is None
    fields = make_job(1, task={"fields": {"a": "text", "b": "number"}})
    assert label_in(fields, 'Sure: {"b": 2, "a": "x"}') == '{"a": "x", "b": 2}'
    assert label_in(fields, "{}") is None
    free = make_job(1, task={"generates": True})
    assert label_in(free, " text ") == "text"
    rows, missing = taught_rows(labels, [TextRow(1, "a", "f", label="Shipping "), TextRow(2, "b", "f", label="??")], [])
    assert [each.label for each in rows if each.is_learned] == ["shipping"]
    assert not rows[1].is_exported  # no student can say it, so it counts against every one
    assert missing[2].startswith("form")


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": kind}},
                "required": [argument],
                "additionalProperties": False,
            },
        },
    }
    for name, argument, kind in (
        ("refund", "order", "string"),
        ("track", "parcel", "integer"),
        ("reset", "email", "string"),
    )
]


def traces(n: int, share: float, seed: int) -> tuple[list[Taught], list[bool]]:
    """Messages with the call that answers them; of some, the call is corrupted."""
    rng, rows, bad = random.Random(seed), [], []
    for number in range(n):
        kind = rng.choice(("refund", "track", "reset"))
        order, parcel, email = (
            f"B-{rng.randint(100, 999)}",
            rng.randint(1000, 9999),
            f"u{rng.randint(1, 99)}@example.org",
        )
        text, arguments = {
            "refund": (f"I want my money back for order {order}", {"order": order}),
            "track": (f"where is my parcel {parcel}, it is late", {"parcel": parcel}),
            "reset": (f"please reset the password of {email}", {"email": email}),
        }[kind]
        call: dict[str, Any] = {"name": kind, "arguments": arguments}
        is_bad = rng.random() < share
        if is_bad:
            how = rng.choice(("name", "type", "value", "tool", "cut"))
            if how == "name":
                call["arguments"] = {"wrong": next(iter(arguments.values()))}
            elif how == "type":
                call["arguments"] = {next(iter(arguments)): ["x"]}
            elif how == "value":
                call["arguments"] = {next(iter(arguments)): 4 if kind == "track" else "Z-0 nowhere"}
            elif how == "tool":
                call["name"] = rng.choice([name for name in ("refund", "track", "reset") if name != kind])
        answer = json.dumps([call])
        if is_bad and how == "cut":
            answer = answer[: len(answer) // 2]
        rows.append(Taught(TextRow(number, text, "f"), answer, answer, 0.9, "t"))
        bad.append(is_bad)
    return rows, bad


def test_corrupted_calls_are_found() -> None:
    rows, bad = traces(300, 0.25, 1)
    judged = asyncio.run(judge_calls(rows, TOOLS))
    flagged = [bool(each.reason) for each in judged]
    caught = sum(f and b for f, b in zip(flagged, bad, strict=True))
    assert caught / sum(bad) > 0.9
    assert sum(f and not b for f, b in zip(flagged, bad, strict=True)) / 300 < 0.03
    assert sorted(range(300), key=lambda at: judged[at].p_right)[0] in {at for at, wrong in enumerate(bad) if wrong}


def test_calls_in_every_form_are_read() -> None:
    openai = {"id": "c", "type": "function", "function": {"name": "refund", "arguments": '{"order": "B-1"}'}}
    bare = '[{"name": "refund", "arguments": {"order": "B-1"}}]'
    for answer in (json.dumps([openai]), json.dumps({"tool_calls": [openai]}), f"I call:\n{bare} now"):
        calls = parse_calls(answer)
        assert calls is not None
        assert (calls[0].name, calls[0].arguments) == ("refund", {"order": "B-1"})
    for none in ("", "hello", "[1, 2]", '{"a": 1}', "[{broken"):
        assert parse_calls(none) is None
    assert parse_calls("[]") == ()


def test_calls_are_filtered_in_a_job(make_job: Make) -> None:
    rows, bad = traces(200, 0.2, 2)
    job = make_job(
        1, task={"generates": True}, filter={"tools": {"tools": TOOLS}, "near_duplicates": None}, split={"test": 0}
    )
    _, reasons = filtered(job, rows)
    calls = {row for row, why in reasons.items() if why.startswith("calls")}
    assert len(calls & {at for at, wrong in enumerate(bad) if wrong}) > 0.85 * sum(bad)
