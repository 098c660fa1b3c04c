"""`orchestrator ask`: one question, one answer, with live progress on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import engine_options, read_text, run_with
from orchestrator.config import defaults
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.types import Answer


@click.command("ask")
@click.argument("question", required=False)
@click.option("-m", "--model", "models", multiple=True, help="Use only this model (may be repeated).")
@click.option("--quality", type=float, help=f"Stop at this P(correct), 0 to 1 [default: {defaults.QUALITY}].")
@click.option("--budget", "--usd", "usd", type=float, help="Spend at most this many USD.")
@click.option("--seconds", type=float, help="Take at most this long; the best answer so far is returned.")
@click.option(
    "--strategy",
    help="How to search: adaptive, single, cascade, best_of_n, self_consistency, two_ways, judged_pairs, "
    "draft_critique_revise, tree, mixture, debate, or one of your own.",
)
@click.option("--criterion", "criteria", multiple=True, help="What a critique judges by (may be repeated).")
@click.option(
    "--abstain", is_flag=True, help="Give no answer rather than one that is believed less than the quality asked for."
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the trace here, to be played again.",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON Schema that the answer must satisfy.",
)
@click.option("--explain", is_flag=True, help="Also print the route, the recalled facts and the trace.")
@engine_options
def command(
    question: str | None,
    models: tuple[str, ...],
    quality: float | None,
    usd: float | None,
    seconds: float | None,
    strategy: str | None,
    criteria: tuple[str, ...],
    abstain: bool,
    record: Path | None,
    schema: Path | None,
    explain: bool,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Answer QUESTION (or standard input) with the cheapest adequate model.

    Uses the configuration if there is one, else API keys in the environment, else model servers on this machine, else
    the calculator and what memory holds; it says which. Nothing is sent anywhere unless you configured it or set a key.
    """
    text = read_text(question, what="a question")

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.budget import Budget

        options: dict[str, Any] = {
            "scope": scope,
            "quality": quality,
            "budget": Budget(usd=usd, seconds=seconds),
            "strategy": strategy,
            "models": list(models) or None,
            "schema": _read_schema(schema),
            "criteria": criteria,
            "may_abstain": abstain,
        }
        if as_json:
            answer = await orchestrator.answer(text, **options)
            _write(record, answer)
            click.echo(json.dumps({"using": orchestrator.origin, **answer_dict(answer)}, indent=2, ensure_ascii=False))
            return
        from orchestrator.cli.show import Progress, show_answer

        with Progress(f"using {orchestrator.origin}") as progress:
            answer = await orchestrator.answer(text, on_event=progress.event, **options)
        _write(record, answer)
        show_answer(answer, explain=explain, answer_id=answer.id if orchestrator.decisions else "")

    run_with(config, memory_path, job)


def answer_dict(answer: Answer) -> JsonObject:
    """An answer as JSON values, as `ask --json` prints it."""
    stated = answer.as_dict(detail="standard")
    usage = {name: stated["usage"][name] for name in ("prefill_tokens", "output_tokens")}
    rounded = {"confidence": round(answer.confidence, 4), "latency_s": round(answer.latency_s, 4)}
    return {"id": stated["id"], "answer": stated.pop("text")} | stated | rounded | {"usage": usage}


def _write(record: Path | None, answer: Answer) -> None:
    """The trace with its search; an answer is not lost because that cannot be written."""
    if record is None or answer.trace is None:
        return
    try:
        record.write_text(
            json.dumps(answer.trace.as_dict(with_search=True), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        click.echo(f"the trace was not written: {record}: {error.strerror}", err=True)


def _read_schema(path: Path | None) -> JsonObject | None:
    if path is None:
        return None
    from orchestrator.errors import InvalidQuery

    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidQuery(f"{path} is not JSON: {error}", remedy="Mend the schema file") from None
    if not isinstance(schema, dict):
        raise InvalidQuery(f"{path} is not a JSON object", remedy="Give a JSON Schema")
    return schema
