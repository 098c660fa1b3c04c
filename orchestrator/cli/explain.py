"""`orchestrator explain`: what a code of a diagnostic means, with what one writes by mistake and what is meant."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict

import click

from orchestrator.cli.options import as_json, reports_errors


@click.command("explain")
@click.argument("code", required=False)
@as_json
@reports_errors
def command(code: str | None, as_json: bool) -> None:
    """Explain CODE, for example E104: what it means, what one writes by mistake, and what is meant.

    Without a code, all are listed. The codes are those that validate, plan, run and test print.
    """
    from orchestrator.pipeline.language.codes import codes

    known = codes()
    if as_json:
        told = [{"code": name, **asdict(each)} for name, each in known.items() if code in (None, name)]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        if told:
            return
    if code is None:
        for name, each in known.items():
            click.echo(f"{name}  {each.title}")
        return
    found = known.get(code.upper())
    if found is None:
        close = difflib.get_close_matches(code.upper(), known, n=1, cutoff=0.8)
        raise click.UsageError(
            f"there is no code {code!r}."
            + (f" Did you mean {close[0]}?" if close else " List them: orchestrator explain")
        )
    click.echo(click.style(f"{code.upper()}: {found.title}", bold=True))
    click.echo(f"\n{found.about}")
    for title, text in (("Wrong", found.wrong), ("Right", found.right)):
        if text:
            click.echo(f"\n{title}:")
            click.echo("\n".join(f"    {line}" for line in text.splitlines()))
