"""What the terminal shows: live progress, answers, routes. Rich is imported only here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.cli.options import is_quiet, printable
from orchestrator.trace import Event
from orchestrator.types import Answer, TextDelta, TextRevised
from orchestrator.types.format import money

if TYPE_CHECKING:
    from rich.status import Status

    from orchestrator.router import Route
    from orchestrator.verifiers import Verdict

console = Console(highlight=False)
messages = Console(stderr=True, highlight=False)
MAX_NAME = 32  # characters of a model's name that a table keeps on one line
ROUTE_WIDTH, MIN_LAST_WIDTH = 44, 12  # what the other columns of a route take at most, borders included


def cell(text: str) -> str:
    """A text in a table, as it is: no markup, no control characters."""
    return escape(printable(text))


class Progress:
    """One live line on a terminal (routed -> drafting -> verifying -> answered).

    On anything else, only the first line.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._status: Status | None = None
        self._is_paused = False
        self._held: list[str] = []

    def __enter__(self) -> Progress:
        if is_quiet():
            return self
        messages.print(f"[dim]{escape(printable(self._title))}[/dim]")
        if messages.is_terminal:
            self._status = messages.status("routing")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes the live line away for as long as something else is on the terminal."""
        status, self._is_paused = self._status, True
        if status is not None:
            status.stop()
        try:
            yield
        finally:
            self._is_paused = False
            while self._held:
                messages.print(self._held.pop(0))
            if status is not None and status is self._status:
                status.start()

    def event(self, event: Event) -> None:
        """Shows one event of a search as it happens."""
        line = describe(event)
        if self._status is None or not line:
            return
        shown = f"[dim]{event.at_s:6.2f} s  {escape(printable(line))}[/dim]"
        if self._is_paused:
            self._held.append(shown)
            return
        messages.print(shown)
        self._status.update(escape(printable(line)))


def describe(event: Event) -> str:
    """One event in words."""
    detail = event.detail
    match event.kind:
        case "recalled":
            return f"recalled {detail['records']} facts, {detail['tokens']} tokens"
        case "routed":
            return f"routed: {detail['reason']}"
        case "drafting" | "revising" | "criticising" | "combining":
            return f"{event.kind}: {detail['model']}"
        case "drafted" | "revised" | "criticised" | "combined":
            return f"{event.kind} by {detail['model']}: {money(detail['cost_usd'])}, {detail['seconds']:.2f} s"
        case "verified":
            found = {True: "passed", False: "failed"}.get(detail["passed"], "scored")
            return f"verified {detail['model']} by {detail['verifier']}: {found}"
        case "calling" | "approved" | "refused":
            return f"{event.kind}: {detail['tool']}"
        case "called":
            how = "failed" if detail["failed"] else f"{detail['seconds']:.2f} s"
            return f"called {detail['tool']}: {how}"
        case "progress":
            return f"{detail['tool']}: {detail['told']}"
        case "abstained" | "failed" | "unaffordable":
            return f"{detail['model']} {event.kind}: {detail['reason']}"
        case "answered":
            return f"answered by {detail['model']}, P(correct) {detail['confidence']:.2f}"
    return event.kind


def _failed_checks(answer: Answer) -> list[Verdict]:
    """The decisive verdicts that the answer given has failed: it is shown because there is no better one."""
    return [v for each in answer.given for v in each.verdicts if v.decisive and v.passed is False]


class Printer:
    """Prints an answer from its stream: as it is written where it `streams`, else when it is whole."""

    def __init__(self, progress: Progress, *, streams: bool) -> None:
        self._progress = progress
        self._streams = streams
        self._has_text = False
        self._answer: Answer | None = None

    def take(self, item: Event | TextDelta | TextRevised | Answer) -> None:
        """The next item of the stream."""
        if isinstance(item, Event):
            self._progress.event(item)
        elif isinstance(item, TextDelta):
            if self._streams:
                self._progress.stop()
                self._has_text = True
                click.echo(printable(item.text), nl=False)
        elif isinstance(item, TextRevised):
            if self._streams:
                self._has_text = False
                click.echo()
                messages.print(f"[yellow]a better answer than the one above was found[/] ({escape(item.reason)}):")
        else:
            self._answer = item

    def finish(self) -> Answer:
        """Prints what is left to print; the answer."""
        self._progress.stop()
        assert self._answer is not None
        answer = self._answer
        if answer.abstained:
            told = f"no answer: the best one is right with P {answer.confidence:.2f}, less than asked for"
            click.echo(f"{told} ({answer.stopped})", err=True)
        elif self._has_text:
            click.echo()
        else:
            click.echo(printable(answer.text) if self._streams else answer.text, color=True)  # elsewhere word for word
        return answer


def show_facts(answer: Answer, *, answer_id: str = "") -> None:
    """Prints what an answer rests on, beside it."""
    if answer.simulated:  # this is never left out
        messages.print("[black on yellow] SIMULATION [/] this answer comes from a simulated model")
    for verdict in _failed_checks(answer):
        messages.print(f"[yellow]fails the check {verdict.verifier}[/]: {escape(verdict.feedback)}")
    if is_quiet():
        return
    parts = [
        answer.model,
        f"P(correct) {answer.confidence:.2f}",
        *(("skill not stated",) if answer.rests_on_default else ()),
        money(answer.cost_usd),
        f"{answer.latency_s * 1000:.0f} ms",
    ]
    if answer.partial:
        parts.append(f"partial: {answer.stopped}")
    elif answer.is_trimmed:
        parts.append("prompt cut to the window")
    elif answer.is_cut:
        parts.append("cut at its longest length: raise --max-tokens")
    messages.print(f"[dim]{escape(' · '.join(parts))}[/dim]")
    if answer_id:
        messages.print(f"[dim]right or wrong? orchestrator feedback {answer_id} --score 1[/dim]")


def show_route(route: Route) -> None:
    """Prints a route with every model that was weighed."""
    table = Table(title=escape(route.reason), title_justify="left", title_style="bold")
    width = min(longest_name(route), MAX_NAME)
    table.add_column("model", overflow="fold", width=width)
    for column in ("P", "cost", "time"):
        table.add_column(column, justify="right")
    table.add_column("decision", overflow="fold", width=max(console.width - width - ROUTE_WIDTH, MIN_LAST_WIDTH))
    for option in sorted(
        route.options, key=lambda o: (o.model != route.chosen, o.cost_usd if o.cost_usd is not None else 1e9)
    ):
        decision = "chosen" if option.model == route.chosen else option.rejected
        style = "green" if option.model == route.chosen else ""
        row = (option.model, f"{option.p_success:.2f}", money(option.cost_usd), f"{option.latency_s:.2f} s", decision)
        table.add_row(*map(cell, row), style=style)
    console.print(table)


def longest_name(route: Route) -> int:
    """How many characters the longest name of a model has."""
    return max((len(option.model) for option in route.options), default=0)
