"""Who is asked on a terminal before a tool that needs approval is called."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TextIO

    from orchestrator.agent import ApprovalRequest, Approve
    from orchestrator.agent.approval import Decision
    from orchestrator.jsontypes import JsonMapping
    from orchestrator.types import Answer

    Pausing = Callable[[], AbstractContextManager[None]]

MAX_VALUE = 300  # characters of one argument that are shown
SETTLE_S = 0.1
ANSWERS: dict[str, Decision] = {
    "y": "yes",
    "yes": "yes",
    "n": "no",
    "no": "no",
    "": "no",
    "a": "always",
    "always": "always",
}

tool_option = click.option(
    "-t",
    "--tool",
    "tools",
    multiple=True,
    metavar="NAME",
    help="Offer this tool of the configuration (may be repeated).",
)
approve_option = click.option(
    "--approve-all", is_flag=True, help="Call tools that need approval without asking; else a terminal is asked."
)


def approver(*, approves_all: bool, pausing: Pausing = nullcontext) -> Approve | None:
    """Who decides: the person at the terminal, nobody (`approves_all`), or `None` where nobody is there.

    While a person is asked, `pausing` keeps everything else off the terminal.
    """
    if approves_all:
        return lambda request: "yes"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    async def ask(request: ApprovalRequest) -> Decision:
        with pausing():
            return await _asked(request)

    return ask


async def _asked(request: ApprovalRequest) -> Decision:
    await asyncio.sleep(SETTLE_S)  # what was told before stands above the question
    while True:
        click.echo(f"{shown(request.tool, request.arguments)}\ncall it? [y/N/always] ", nl=False, err=True)
        line = await _line(sys.stdin)
        if not line:  # the end of the input
            click.echo(err=True)
            return "no"
        if (decision := ANSWERS.get(line.strip().lower())) is not None:
            return decision
        click.echo("y (yes), n (no), or always: this tool is not asked about again in this run", err=True)


def shown(tool: str, arguments: JsonMapping) -> str:
    """A call for a person to read: every argument by its name; of a long value its beginning, and how long it is."""
    told: list[str] = []
    for name, value in arguments.items():
        text = printable(json.dumps(value, ensure_ascii=False))
        if len(text) > MAX_VALUE:
            text = f"{text[:MAX_VALUE]} ... ({len(text):,} characters)"
        told.append(f"{json.dumps(printable(str(name))[:MAX_VALUE], ensure_ascii=False)}: {text}")
    return f"{printable(tool)} {{{', '.join(told)}}}"


async def _line(source: TextIO) -> str:
    """A line of a terminal, without blocking the event loop. Ctrl-C leaves no reader behind that takes the next one."""
    loop = asyncio.get_running_loop()
    is_there = asyncio.Event()
    try:
        loop.add_reader(source.fileno(), is_there.set)
    except NotImplementedError:  # Windows' event loop
        return await asyncio.to_thread(source.readline)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(source.fileno())
    return source.readline()


def show_waiting(answer: Answer) -> None:
    """Tells which calls wait for an approval that nobody could give."""
    for call in answer.calls:
        click.echo(f"not called, it needs approval: {shown(call.name, call.arguments or {})}", err=True)
    if answer.calls:
        click.echo("Run this on a terminal, which is asked; or with --approve-all", err=True)
