"""What the terminal shows: live progress, answers, routes. Rich is imported only here."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.trace import Event
from orchestrator.types.format import money

if TYPE_CHECKING:
    from rich.status import Status

    from orchestrator.router import Route
    from orchestrator.types import Answer
    from orchestrator.verifiers import Verdict

console = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


class Progress:
    """One live line on a terminal (routed -> drafting -> verifying -> answered).

    On anything else, only the first line.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        messages.print(f"[dim]{escape(self._title)}[/dim]")
        if messages.is_terminal:
            self._status = messages.status("routing")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def event(self, event: Event) -> None:
        """Shows one event of a search as it happens."""
        line = describe(event)
        if self._status is not None and line:
            messages.print(f"[dim]{event.at_s:6.2f} s  {escape(line)}[/dim]")
            self._status.update(escape(line))


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
            return f"verified {detail['model']} by {detail['verifier']}: {'passed' if detail['passed'] else 'failed'}"
        case "abstained" | "failed" | "unaffordable":
            return f"{detail['model']} {event.kind}: {detail['reason']}"
        case "answered":
            return f"answered by {detail['model']}, P(correct) {detail['confidence']:.2f}"
    return event.kind


def _failed_checks(answer: Answer) -> list[Verdict]:
    """The decisive verdicts that the answer given has failed: it is shown because there is no better one."""
    given = next((each for each in answer.candidates if each.text == answer.text), None)
    return [] if given is None else [v for v in given.verdicts if v.decisive and v.passed is False]


def show_answer(answer: Answer, *, explain: bool = False, answer_id: str = "") -> None:
    """Prints an answer with what it rests on."""
    if answer.simulated:
        console.print("[black on yellow] SIMULATION [/] this answer comes from a simulated model")
    if answer.abstained:
        console.print(
            f"[yellow]no answer[/]: the best one is right with P {answer.confidence:.2f}, less than asked for "
            f"({escape(answer.stopped)})"
        )
    else:
        console.print(escape(answer.text))
    parts = [
        answer.model,
        f"P(correct) {answer.confidence:.2f}",
        money(answer.cost_usd),
        f"{answer.latency_s * 1000:.0f} ms",
    ]
    if answer.partial:
        parts.append(f"partial: {answer.stopped}")
    messages.print(f"[dim]{escape(' · '.join(parts))}[/dim]")
    for verdict in _failed_checks(answer):
        messages.print(f"[yellow]fails the check {verdict.verifier}[/]: {escape(verdict.feedback)}")
    if answer_id:
        messages.print(f"[dim]right or wrong? orchestrator feedback {answer_id} --score 1[/dim]")
    if not explain:
        return
    if answer.route is not None:
        show_route(answer.route)
    for item in answer.recalled[:5]:
        console.print(
            f"  [cyan]{escape('[' + item.record.citation + ']')}[/] {escape(item.record.text[:120])} "
            f"[dim]({item.reason})[/dim]"
        )
    for candidate in answer.candidates:
        verdicts = (
            ", ".join(
                f"{v.verifier} {'passed' if v.passed else 'failed'}" for v in candidate.verdicts if not v.abstained
            )
            or "no verdicts"
        )
        console.print(
            f"  [magenta]{escape(candidate.model)}[/]: {escape(candidate.text[:120])} [dim]({verdicts})[/dim]"
        )
    console.print(f"  stopped: {escape(answer.stopped)}")
    if answer.receipt is not None:
        receipt = answer.receipt
        console.print(
            f"  receipt: {receipt.calls} calls, {money(receipt.cost_usd)}; one call of {receipt.reference}: "
            f"{money(receipt.reference_cost_usd)}"
        )


def show_route(route: Route) -> None:
    """Prints a route with every model that was weighed."""
    table = Table(title=escape(route.reason), title_justify="left", title_style="bold")
    for column in ("model", "P(correct)", "expected cost", "expected time", "decision"):
        table.add_column(column, justify="left" if column in ("model", "decision") else "right")
    for option in sorted(
        route.options, key=lambda o: (o.model != route.chosen, o.cost_usd if o.cost_usd is not None else 1e9)
    ):
        decision = "chosen" if option.model == route.chosen else option.rejected
        style = "green" if option.model == route.chosen else ""
        row = (option.model, f"{option.p_success:.2f}", money(option.cost_usd), f"{option.latency_s:.2f} s", decision)
        table.add_row(*map(escape, row), style=style)
    console.print(table)
