"""The data card: where the rows come from, who taught them, what was rejected and why, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.filters import labelled_text
from orchestrator.distill.rows import Taught, TextRow
from orchestrator.jsontypes import JsonObject
from orchestrator.students.training.rows import rows_hash


def data_card(
    job: DistillJob, rows: Sequence[TextRow], kept: Sequence[Taught], rejected: Mapping[str, int], prices: JsonObject
) -> JsonObject:
    """The card as JSON. `prices` are those of the teachers, by model; nothing in it depends on the clock."""
    learned = [each for each in kept if each.row.part == "train" and each.is_exported]
    tested = [each for each in kept if each.row.part == "test"]
    synthetic = sum(each.row.is_synthetic for each in learned)
    return {
        "name": job.name,
        "task": {"kind": job.task.kind, "prompt": job.task.prompt, "system": job.task.system},
        "seed": job.seed,
        "rows": {
            "collected": len(rows),
            "train": len(learned),
            "test": len(tested),
            "synthetic_share": round(synthetic / max(len(learned), 1), 4),
            "rejected": dict(rejected),
        },
        "labels": dict(sorted(Counter(each.label for each in learned).items()))
        if job.task.kind == "classification"
        else {},
        "sources": dict(sorted(Counter(row.source for row in rows).items())),
        "licenses": sorted({source.license for source in job.collect if source.license}) or ["not stated"],
        "teachers": {
            model: {
                "rows": count,
                "mean_confidence": round(_mean([e.confidence for e in learned if e.teacher == model]), 4),
                "usd": round(sum(each.cost_usd for each in learned if each.teacher == model), 6),
                "prices_usd_per_mtok": prices.get(model),
            }
            for model, count in sorted(Counter(each.teacher for each in learned).items())
        },
        "evaluation_sets": list(job.filter.evaluation),
        "data_hash": rows_hash(labelled_text(each) for each in learned),
    }


def card_text(card: JsonObject) -> str:
    """The card for people, as Markdown."""
    rows = card["rows"]
    teachers = [
        f"| {_plain(name)} | {each['rows']} | {each['mean_confidence']} | {each['usd']} |"
        for name, each in card["teachers"].items()
    ]
    lines = [
        f"# Data card: {card['name']}",
        "",
        f"{rows['train']} rows to learn from and {rows['test']} to test on, of {rows['collected']} that were "
        f"collected. {rows['synthetic_share']:.1%} of the texts that are learned from were written by models.",
        "",
        f"- Task: {card['task']['kind']}, asked as `{card['task']['prompt']}`",
        f"- Licences of the sources: {', '.join(map(_plain, card['licenses']))}",
        f"- Kept apart from: {', '.join(card['evaluation_sets']) or 'no evaluation set'}",
        f"- Data: `{card['data_hash']}`, seed {card['seed']}",
        "",
        "| teacher | rows | mean P(correct) | USD |",
        "|---|---|---|---|",
        *teachers,
        "",
        "| rejected because of | rows |",
        "|---|---|",
        *(f"| {reason} | {count} |" for reason, count in rows["rejected"].items()),
        "",
        "| source | rows |",
        "|---|---|",
        *(f"| {_plain(source)} | {count} |" for source, count in card["sources"].items()),
        "",
    ]
    return "\n".join(lines)


def _plain(name: str) -> str:
    """A name that a file states, without what Markdown or a terminal would obey."""
    shown = "".join(c if c.isprintable() else " " for c in name)
    return escape(shown).replace("|", "\\|")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
