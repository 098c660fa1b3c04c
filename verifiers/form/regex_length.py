"""The form of an answer: what it must match, and how long it may be."""

from __future__ import annotations

import re

from orchestrator.verifiers.verdict import Verdict


class RegexVerifier:
    """Passes answers in which `pattern` is found (or, with `whole`, which it matches as a whole, white space around
    aside).

    The pattern is the caller's: one that backtracks without end does so here, too. Raises `ValueError` on a pattern
    that does not compile.
    """

    name = "regex"

    def __init__(self, pattern: str, *, whole: bool = False, flags: int = 0) -> None:
        try:
            self._pattern = re.compile(pattern, flags)
        except re.error as error:
            raise ValueError(f"not a regular expression: {pattern!r} ({error})") from None
        self._whole = whole

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Looks for the pattern, or for the pattern as a whole answer."""
        found = self._pattern.fullmatch(candidate.strip()) if self._whole else self._pattern.search(candidate)
        if found is None:
            return Verdict(self.name, 0.0, False, f"the answer must match {self._pattern.pattern!r}", decisive=True)
        return Verdict(self.name, 1.0, True, evidence=(found[0][:200],), decisive=True)


class LengthVerifier:
    """Passes answers of `min_words` to `max_words` words and at most `max_chars` characters.

    Raises `ValueError` on limits that nothing can meet.
    """

    name = "length"

    def __init__(self, *, min_words: int = 0, max_words: int | None = None, max_chars: int | None = None) -> None:
        if (
            min_words < 0
            or (max_words is not None and max_words < min_words)
            or (max_chars is not None and max_chars < 0)
        ):
            raise ValueError(f"no answer has {min_words} to {max_words} words and at most {max_chars} characters")
        self._min_words, self._max_words, self._max_chars = min_words, max_words, max_chars

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Counts words and characters."""
        words, chars = len(candidate.split()), len(candidate)
        problems = [
            f"{words} words, at least {self._min_words} are asked for" if words < self._min_words else "",
            f"{words} words, at most {self._max_words} are allowed"
            if self._max_words is not None and words > self._max_words
            else "",
            f"{chars} characters, at most {self._max_chars} are allowed"
            if self._max_chars is not None and chars > self._max_chars
            else "",
        ]
        told = "; ".join(filter(None, problems))
        return Verdict(
            self.name, 0.0 if told else 1.0, not told, f"the answer has {told}" if told else "", decisive=True
        )
