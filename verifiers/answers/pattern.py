"""Regular expressions that are compiled when they are first used.

Those of this package together take a tenth of a second, and few processes need all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property


class Pattern:
    """A regular expression with the methods of `re.Pattern` that are used here."""

    def __init__(self, source: str, flags: int = 0) -> None:
        self._source, self._flags = source, flags

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._source, self._flags)

    def search(self, text: str, *span: int) -> re.Match[str] | None:
        """As `re.Pattern.search`."""
        return self._compiled.search(text, *span)

    def match(self, text: str, *span: int) -> re.Match[str] | None:
        """As `re.Pattern.match`."""
        return self._compiled.match(text, *span)

    def fullmatch(self, text: str, *span: int) -> re.Match[str] | None:
        """As `re.Pattern.fullmatch`."""
        return self._compiled.fullmatch(text, *span)

    def finditer(self, text: str, *span: int) -> Iterator[re.Match[str]]:
        """As `re.Pattern.finditer`."""
        return self._compiled.finditer(text, *span)

    def findall(self, text: str, *span: int) -> list[str]:
        """As `re.Pattern.findall`."""
        return self._compiled.findall(text, *span)

    def split(self, text: str, maxsplit: int = 0) -> list[str]:
        """As `re.Pattern.split`."""
        return self._compiled.split(text, maxsplit)

    def sub(self, new: str | Callable[[re.Match[str]], str], text: str) -> str:
        """As `re.Pattern.sub`."""
        return self._compiled.sub(new, text)
