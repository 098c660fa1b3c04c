"""Grounding: is what an answer says supported by the sources it was given?

Lexical and deliberately strict about the facts that models invent most: numbers and names must occur in a source that
the sentence could rest on; the other content words must mostly occur there too. Whether other words mean the same is
left to an encoder and a judge that the caller hands in, and asked only for what is in doubt.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.verifiers.verdict import Verdict

_CITATION = re.compile(r"\[([\w.-]+(?::[\w.-]+)?)\]")
_WORD = re.compile(r"[^\W_]+(?:['’.,:-]\d+)*", re.UNICODE)
_STOP = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his i if in into is it its "
    "me my no not of on or "
    "our she so than that the their them then there they this to was we were what when where which who whom whose why "
    "will with would you "
    "your said says according answer also because about".split()
)
DOUBTFUL = 0.4  # of the threshold: below, a claim is about something else
MAX_SENTENCES = 2_000


@dataclass(frozen=True, slots=True)
class Source:
    """A text that an answer may rest on, and the id it is cited by."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that an answer says, with the ids that it cites, and how far the sources support it, in [0, 1].

    `by` is how that was found.
    """

    text: str
    cited: tuple[str, ...] = ()
    support: float = 0.0
    by: str = "words"


class GroundingVerifier:
    """Holds every claim of an answer against `sources`; the score is that of the worst-supported one.

    Abstains when there are no sources.

    A claim that cites `[id]` is held against the cited sources only; citing an unknown id fails decisively, and with
    `cite_all`, so does a claim that cites none. `threshold` is the share of content words that must be supported; every
    number must be. Where words fall short (a paraphrase), but not by far, `encode` (texts -> unit vectors, shape
    (texts, dimensions)) may find a sentence of the sources that means the same (cosine of `alike` or more), and then
    `entails` (source text, claim -> probability) is asked, if they are given: the dear looks are for the claims in
    doubt.
    """

    name = "grounding"

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        threshold: float = 0.6,
        cite_all: bool = False,
        encode: Callable[[Sequence[str]], Any] | None = None,
        alike: float = 0.75,
        entails: Callable[[str, str], Awaitable[float]] | None = None,
    ) -> None:
        self._texts = {source.id: source.text for source in sources}
        self._words = {source.id: _content(source.text) for source in sources}
        self._threshold, self._cite_all = threshold, cite_all
        self._encode, self._alike, self._entails = encode, alike, entails

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Looks up every claim of the answer in the sources."""
        if not self._words:
            return Verdict.abstain(self.name, "no sources were given")
        claims = claims_of(candidate)
        for claim in claims:
            unknown = next((c for c in claim.cited if c not in self._words), None)
            if unknown is not None:
                return Verdict(self.name, 0.0, False, f"cites unknown source {unknown!r}", decisive=True)
            if self._cite_all and not claim.cited:
                return Verdict(self.name, 0.0, False, f"cites nothing for: {claim.text[:200]}", decisive=True)
        if not any(_content(claim.text) or claim.cited for claim in claims):
            return Verdict.abstain(self.name, "nothing in the answer can be looked up")
        judged = [await self._judged(claim, _content(query)) for claim in claims]
        unsupported = [claim for claim in judged if claim.support < self._threshold]
        feedback = f"not supported by the sources: {unsupported[0].text[:200]}" if unsupported else ""
        worst = min((claim.support for claim in judged), default=1.0)
        return Verdict(self.name, worst, not unsupported, feedback, tuple(claim.text for claim in unsupported))

    async def _judged(self, claim: Claim, asked: set[str]) -> Claim:
        words = _content(claim.text)
        if not words:
            return replace(claim, support=1.0)
        support, numbers_hold = self._support(words, asked, claim.cited)
        if support >= self._threshold or not numbers_hold or support < DOUBTFUL * self._threshold:
            return replace(claim, support=support)
        if self._encode is not None and await asyncio.to_thread(self._means_the_same, claim):
            return replace(claim, support=max(support, self._threshold), by="meaning")
        if self._entails is not None:
            source = "\n".join(self._texts[i] for i in claim.cited or self._texts)
            return replace(claim, support=min(max(await self._entails(source, claim.text), 0.0), 1.0), by="entailment")
        return replace(claim, support=support)

    def _support(self, claim: set[str], asked: set[str], cited: Sequence[str]) -> tuple[float, bool]:
        """The best share of `claim` found in one source (or in all the cited ones together), and whether its numbers
        are there; 0 if they are not.
        """
        pools = [set().union(*(self._words[c] for c in cited))] if cited else list(self._words.values())
        best, numbers_hold = 0.0, False
        numbers = {word for word in claim if word[0].isdigit()}
        for pool in pools:
            known = pool | asked
            if numbers <= known:
                best, numbers_hold = max(best, len(claim & known) / len(claim)), True
        return best, numbers_hold

    def _means_the_same(self, claim: Claim) -> bool:
        assert self._encode is not None
        sentences = [sentence for i in claim.cited or self._texts for sentence in _sentences(self._texts[i])][
            :MAX_SENTENCES
        ]
        vectors = self._encode([claim.text, *sentences])
        return bool(sentences) and float((vectors[1:] @ vectors[0]).max()) >= self._alike


def claims_of(answer: str) -> list[Claim]:
    """What an answer says, sentence by sentence; a sentence with citations inside says one thing up to each of them."""
    claims = []
    for sentence in _sentences(answer):
        parts = re.split(r"((?:\[[\w.-]+(?::[\w.-]+)?\]\s*)+)", sentence)
        for text, citations in zip(parts[::2], [*parts[1::2], ""], strict=True):
            cited = tuple(_CITATION.findall(citations))
            if _content(text):
                claims.append(Claim(text.strip(" ,;"), cited))
            elif cited and claims and not claims[-1].cited:
                claims[-1] = replace(claims[-1], cited=cited)
            elif cited:
                claims.append(Claim("", cited))
    return claims


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
