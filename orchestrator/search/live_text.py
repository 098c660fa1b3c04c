"""The text of an answer while it is written, for who watches: shown as it comes, and taken back when it is beaten."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.search.actions import Draft, ModelAction
from orchestrator.search.state import SearchState
from orchestrator.types import TextDelta, TextRevised


class LiveText:
    """Shows drafts that are asked for alone, one after the other, until one of them is the answer.

    `show` is told each piece, and each time that what was shown is void. Where it `keeps` what it showed, nothing is
    taken back: the search ends with the first draft of which something was shown.
    """

    def __init__(self, show: Callable[[TextDelta | TextRevised], None], *, keeps: bool = False) -> None:
        self._show = show
        self._pieces: list[str] = []
        self._model = ""
        self.keeps = keeps
        self.is_on = False
        """Whether the route is one draft, whose text is worth showing before it is checked."""

    @property
    def has_shown(self) -> bool:
        """Whether some text stands before the reader."""
        return bool(self._pieces)

    @property
    def text(self) -> str:
        """What stands before the reader."""
        return "".join(self._pieces)

    @property
    def model(self) -> str:
        """Who wrote it."""
        return self._model

    @property
    def must_keep(self) -> bool:
        """Whether what was shown is the answer, whatever the search thinks of it."""
        return self.keeps and self.has_shown

    def shows(self, action: ModelAction, state: SearchState, *, is_alone: bool) -> bool:
        """Whether the text of this action is shown as it is written."""
        return (
            self.is_on
            and is_alone
            and isinstance(action, Draft)
            and action.several == 1
            and action.way == "words"
            and not state.candidates
        )

    def begin(self, model: str) -> None:
        """Another draft begins: what was shown of the one before is void."""
        again = "it broke off, and is asked for again"
        self._take_back(again if model == self._model else "it broke off, and another model is asked")
        self._model = model

    def add(self, text: str) -> None:
        """A piece of the draft."""
        self._pieces.append(text)
        self._show(TextDelta(text, self._model))

    def finish(self, text: str, model: str, reason: str) -> None:
        """Shows the answer, unless it is what was shown already; `reason` says why another answer is better."""
        if text != self.text:
            self._take_back(reason)
            if text:
                self._model = model
                self.add(text)

    def _take_back(self, reason: str) -> None:
        if self._pieces:
            self._show(TextRevised(self._model, reason))
            self._pieces.clear()
