"""`orchestrator memory-eval`: how well memory finds what one's own questions need."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import as_json as json_option
from orchestrator.cli.options import config_option, encoder_option, memory_config, reports_errors


@click.command("memory-eval")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@encoder_option
@config_option
@json_option
@reports_errors
def command(file: Path, encoder: str | None, config: Path | None, as_json: bool) -> None:
    """Measure recall on FILE: lines of turns, and of questions with the turns that answer them.

    A turn is {"conversation", "id", "text", "speaker", "time", "session"}, a question {"conversation", "question",
    "evidence": [ids], "category"}. Nothing is kept, and no model is asked.
    """
    from orchestrator.errors import InvalidQuery
    from orchestrator.fleet.memory import encoder_of
    from orchestrator.memory import Memory
    from orchestrator.memory.evaluation import evaluate_recall, read_conversations

    wanted = memory_config(config, None)
    if encoder is not None:
        wanted = wanted.model_copy(update={"encoder": encoder})
    if not file.exists():
        raise InvalidQuery(f"no such file: {file}", remedy="Check the path")
    conversations = read_conversations(file)
    with Memory(encoder=encoder_of(wanted)) as memory:
        found = evaluate_recall(memory, conversations)
    if as_json:
        click.echo(json.dumps(found))
        return
    categories = found.pop("by_category")
    for name, value in found.items():
        shown = "tokens for 90 % of evidence" if name == "tokens_for_90" else name.replace("_", " ")
        click.echo(f"{shown:28} {value if value is not None else 'not reached'}")
    if isinstance(categories, dict) and len(categories) > 1:
        for name, row in categories.items():
            click.echo(f"  {name or 'no category'}: recall at 10 {row['recall_at_10']} of {row['questions']} questions")
