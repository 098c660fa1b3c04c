"""Grounding: is what an answer says supported by the sources it was given?

Lexical and deliberately strict about the facts that models invent most: numbers and names must occur in a source that the sentence
could rest on; the other content words must mostly occur there too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from verifiers.verdict import Verdict

_CITATION = re.compile(r"\[([\w.-]+(?::[\w.-]+)?)\]")
_WORD = re.compile(r"[^\W_]+(?:['’.,:-]\d+)*", re.UNICODE)
_STOP = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his i if in into is it its me my no not of on or "
    "our she so than that the their them then there they this to was we were what when where which who whom whose why will with would you "
    "your said says according answer also because about".split()
)


@dataclass(frozen=True, slots=True)
class Source:
    """A text that an answer may rest on, and the id it is cited by."""

    id: str
    text: str


class GroundingVerifier:
    """Scores the worst-supported sentence of an answer against `sources`; abstains when there are none.

    A sentence that cites `[id]` is held against the cited sources only; citing an unknown id fails. `threshold` is the share of
    content words (idf-free) that must be supported.
    """

    name = "grounding"

    def __init__(self, sources: Sequence[Source], *, threshold: float = 0.6) -> None:
        self._words = {source.id: _content(source.text) for source in sources}
        self._threshold = threshold

    async def verify(self, query: str, candidate: str) -> Verdict:
        if not self._words:
            return Verdict.abstain(self.name, "no sources were given")
        asked = _content(query)
        worst, unsupported = 1.0, []
        for sentence in _sentences(candidate):
            cited = _CITATION.findall(sentence)
            unknown = [c for c in cited if c not in self._words]
            if unknown:
                return Verdict(self.name, 0.0, False, f"cites unknown source {unknown[0]!r}", decisive=True)
            claim = _content(_CITATION.sub(" ", sentence))
            if not claim:
                continue
            support = self._support(claim, asked, cited)
            worst = min(worst, support)
            if support < self._threshold:
                unsupported.append(sentence.strip())
        feedback = f"not supported by the sources: {unsupported[0][:200]}" if unsupported else ""
        return Verdict(self.name, worst, not unsupported, feedback, tuple(unsupported))

    def _support(self, claim: set[str], asked: set[str], cited: list[str]) -> float:
        """The best share of `claim` found in one source (or in all the cited ones together); 0 if a number is not in any."""
        pools = [set().union(*(self._words[c] for c in cited))] if cited else list(self._words.values())
        best = 0.0
        for pool in pools:
            known = pool | asked
            numbers = {word for word in claim if word[0].isdigit()}
            if numbers <= known:
                best = max(best, len(claim & known) / len(claim))
        return best


def _sentences(text: str) -> list[str]:
    # A citation belongs to the sentence before it: `... in May. [m:12] Next ...`
    joined = re.sub(r"([.!?])(\s*)((?:\[[\w:.-]+\]\s*)+)", r" \3\1 ", text)
    return [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(])|\n+", joined) if s.strip()]


def _content(text: str) -> set[str]:
    return {_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP}


def _stem(word: str) -> str:
    """Strips plural and simple verb endings: enough to match `bakes` with `baked`, without a dictionary."""
    for suffix in ("ing", "ed", "es", "s"):
        if len(word) > len(suffix) + 3 and word.endswith(suffix) and word.isalpha():
            return word[: -len(suffix)].rstrip("e")
    return word.rstrip("e") if len(word) > 4 else word
