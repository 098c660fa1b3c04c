"""A run as a tree of its steps, drawn as it goes on.

Where there is no terminal, a line for each step that has ended.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.compiled import without_items

if TYPE_CHECKING:
    from orchestrator.pipeline import Pipeline
    from orchestrator.trace import Event

MARKS = {
    "waiting": ("○", "bright_black"),
    "running": ("◐", "yellow"),
    "done": ("●", "green"),
    "kept": ("●", "cyan"),
    "cached": ("●", "cyan"),
    "skipped": ("–", "bright_black"),
    "failed": ("✗", "red"),
}


class Tree:
    """Shows events of a run until the block ends."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._verbs = {path: node.step.verb for path, node in pipeline.block.walk()}
        self._state: dict[str, str] = dict.fromkeys(self._verbs, "waiting")
        self._note: dict[str, str] = {}
        self._times: dict[str, int] = {}
        self._live: Any = None
        self._failed: list[tuple[str, str]] = []

    def __enter__(self) -> Tree:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self._drawn(), console=Console(stderr=True), refresh_per_second=12)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._tell_failures(with_reasons=kind is None)  # whoever catches the error tells its reason

    def event(self, event: Event) -> None:
        """Shows one event of a run in the tree of its steps."""
        path = str(event.detail.get("step", ""))
        plain = without_items(path)
        if plain not in self._state:
            return
        if event.kind == "step_started":
            self._state[plain] = "running"
        elif event.kind == "step_finished":
            self._ended(plain, path, event.detail)
        elif event.kind == "item_failed" and self._live is None:
            self._tell_failures(with_reasons=True)
        elif event.kind in ("routed", "drafting", "verified", "revising", "step_retrying", "tool_called"):
            about = event.detail.get("model") or event.detail.get("tool") or event.detail.get("reason") or ""
            self._note[plain] = f"{event.kind.removeprefix('step_')} {about}".strip()[:60]
        if self._live is not None:
            self._live.update(self._drawn())

    def _ended(self, plain: str, path: str, detail: JsonObject) -> None:
        self._state[plain] = str(detail["status"])
        self._times[plain] = self._times.get(plain, 0) + 1
        cost = detail.get("cost_usd")
        times = f" ×{self._times[plain]}" if self._times[plain] > 1 else ""
        told = f"{detail['seconds']:.2f} s" + (f", {cost:.6f} USD" if cost else "") + times
        why = detail.get("error") or detail.get("note")
        self._note[plain] = f"{told}{f': {why}' if why else ''}"[:160]
        if self._live is None:
            self._print(path, detail)

    def _print(self, path: str, detail: JsonObject) -> None:
        """A line for each step, but of those that run many times only for what failed; and each reason once."""
        error, note = str(detail.get("error") or ""), str(detail.get("note") or "")
        mark, colour = MARKS.get(str(detail["status"]), MARKS["done"])
        line = f"{click.style(mark, fg=colour)} {path} ({detail['verb']}) {detail['seconds']:.2f} s"
        if error and not note:  # it may end the run: then whoever ends it tells why
            is_told = any(told and told in error for _, told in self._failed)  # it comes from a step within, or before
            self._failed.append((line, "" if is_told else error))
            return
        if "[" not in path or error:
            told = "; ".join(each for each in (error, note) if each)
            click.echo(f"{line}{f': {told}' if told else ''}", err=True)

    def _tell_failures(self, *, with_reasons: bool) -> None:
        for line, error in self._failed:
            click.echo(f"{line}{f': {error}' if with_reasons and error else ''}", err=True)
        self._failed = []

    def _drawn(self) -> Any:
        from rich.text import Text

        text = Text()
        for path, verb in self._verbs.items():
            mark, colour = MARKS[self._state[path]]
            indent = "  " * path.count(".")
            text.append(f"{indent}{mark} ", style=colour)
            text.append(path.rpartition(".")[2], style="bold")
            text.append(f"  {verb}  {self._note.get(path, '')}\n", style="dim")
        return text
