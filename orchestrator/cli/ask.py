"""`orchestrator ask`: one question, one answer, with live progress on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.approval import approve_option, approver, show_waiting, tool_option
from orchestrator.cli.options import engine_options, piped_in, read_text, run_with, usd_option
from orchestrator.cli.values import OutputFile
from orchestrator.config import defaults
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings
    from orchestrator.types import Answer


@click.command("ask")
@click.argument("question", required=False)
@click.option("-m", "--model", "models", multiple=True, help="Use only this model (may be repeated).")
@click.option("-s", "--system", help="The rules that stand before the question.")
@click.option(
    "-a", "--attach", "attachments", multiple=True, metavar="FILE|URL", help="A picture or file (may be repeated)."
)
@click.option(
    "--schema", metavar="FILE|JSON", help="JSON Schema that the answer must satisfy: a file, or the schema itself."
)
@click.option("--quality", type=float, help=f"Stop at this P(correct), 0 to 1 [default: {defaults.QUALITY}].")
@usd_option
@click.option("--seconds", type=float, help="Take at most this long; the best answer so far is returned.")
@click.option("--max-tokens", type=int, help="The longest answer, in tokens.")
@click.option("--temperature", type=float, help="0 to 2; 0 is the most predictable.")
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
    "--save",
    type=OutputFile(),
    help="Also write the answer's text to this file.",
)
@click.option(
    "--record",
    type=OutputFile(),
    help="Write the trace here, to be played again.",
)
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole, on a terminal too.")
@click.option("--explain", is_flag=True, help="Also tell what was done, and why.")
@tool_option
@approve_option
@engine_options
def command(
    question: str | None,
    models: tuple[str, ...],
    attachments: tuple[str, ...],
    save: Path | None,
    record: Path | None,
    no_stream: bool,
    explain: bool,
    tools: tuple[str, ...],
    approve_all: bool,
    schema: str | None,
    abstain: bool,
    usd: float | None,
    seconds: float | None,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Answer QUESTION with the cheapest adequate model. What is piped in is the question, or is put below it.

    Uses the configuration if there is one, else API keys in the environment, else model servers on this machine, else
    the calculator and what memory holds; it says which. Nothing is sent anywhere unless you configured it or set a key.

    On a terminal the answer is printed as it is written; elsewhere when it is whole.
    """
    text = _question(question)
    wishes: QuerySettings = {
        **settings,  # type: ignore[typeddict-item]
        "budget": {"usd": usd, "seconds": seconds},
        "models": list(models) or None,
        "attachments": list(attachments),
        "schema": read_schema(schema),
        "may_abstain": abstain,
    }
    if tools:
        wishes["tools"] = list(tools)

    async def job(orchestrator: Orchestrator) -> None:
        if as_json:
            wishes["approve"] = approver(approves_all=approve_all)
            answer = await orchestrator.answer(text, **wishes)
            click.echo(json.dumps({"using": orchestrator.origin, **answer_dict(answer)}, indent=2, ensure_ascii=False))
        else:
            streams = sys.stdout.isatty() and not no_stream
            answer = await _shown(orchestrator, text, wishes, streams=streams, approves_all=approve_all)
            if explain:
                click.echo(f"\n{answer.explain()}")
        is_written = _write(record, "trace", lambda: json.dumps(_trace(answer), indent=1, ensure_ascii=False))
        is_written &= _write(save, "answer", lambda: answer.text)
        show_waiting(answer)
        if answer.abstained or answer.calls or not is_written or any(each.ruled_out for each in answer.given):
            raise SystemExit(1)

    run_with(config, memory_path, job, models=models)


async def _shown(
    orchestrator: Orchestrator, text: str | bytes, wishes: QuerySettings, *, streams: bool, approves_all: bool
) -> Answer:
    """Asks, and prints progress, the text and what it rests on."""
    from orchestrator.cli.show import Printer, Progress, show_facts

    with Progress(f"using {orchestrator.origin}") as progress:
        wishes["approve"] = approver(approves_all=approves_all, pausing=progress.paused)
        printer = Printer(progress, streams=streams)
        if streams:
            async for item in orchestrator.stream(text, **wishes):
                printer.take(item)
        else:
            wishes["on_event"] = progress.event
            printer.take(await orchestrator.answer(text, **wishes))
    answer = printer.finish()
    show_facts(answer, answer_id=answer.id if orchestrator.decisions else "")
    return answer


def _question(argument: str | None) -> str | bytes:
    """The argument, what is piped in, or both: the argument above what it asks about."""
    if argument is None or argument == "-":
        return read_text(argument, what="a question")
    piped = piped_in()
    return f"{argument}\n\n{piped}" if piped.strip() else argument


def answer_dict(answer: Answer) -> JsonObject:
    """An answer as JSON values, as `ask --json` prints it."""
    stated = answer.as_dict(detail="standard")
    usage = {name: stated["usage"][name] for name in ("prefill_tokens", "output_tokens")}
    rounded = {"confidence": round(answer.confidence, 4), "latency_s": round(answer.latency_s, 4)}
    return {"id": stated["id"], "answer": stated.pop("text")} | stated | rounded | {"usage": usage}


def _trace(answer: Answer) -> JsonObject:
    return {} if answer.trace is None else answer.trace.as_dict(with_search=True)


def _write(path: Path | None, what: str, text: Callable[[], str]) -> bool:
    """Writes a file; an answer is not lost because that cannot be done. Whether it was."""
    if path is None:
        return True
    try:
        path.write_text(text() + "\n", encoding="utf-8")
    except OSError as error:
        click.echo(f"the {what} was not written: {path}: {error.strerror}", err=True)
        return False
    return True


def read_schema(stated: str | None) -> JsonObject | None:
    """A JSON Schema, or the file that holds it. Raises `InvalidQuery`."""
    if stated is None:
        return None
    from orchestrator.errors import InvalidQuery

    text = stated
    if not stated.lstrip().startswith("{"):
        try:
            text = Path(stated).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            told = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InvalidQuery(f"the schema {stated} cannot be read: {told}", remedy="Check the path") from None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery(f"the schema is not JSON: {error}", remedy="Mend it there") from None
    if not isinstance(schema, dict):
        raise InvalidQuery("the schema is not a JSON object", remedy='Give a JSON Schema: {"type": "object"}')
    return schema
