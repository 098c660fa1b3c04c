"""Long prompts, cut to what a model uses well.

The paragraphs that share most with the question stay, in their order, and a mark says what is left out.

Models use the beginning and the end of a long context better than its middle (Liu et al. 2024, Lost in the Middle), and
less of their window than they have. Paragraphs are weighed by BM25 (Robertson & Zaragoza 2009) against the question;
the rules, the question itself and the ends of each text stay.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.backends.base import estimate_prompt_tokens
from orchestrator.tokens.estimate import TOKENS_PER_MESSAGE, estimate_tokens
from orchestrator.types import Message

K1, B = 1.2, 0.75
PARAGRAPH_CHARS = 800
QUESTION_CHARS = 2_000
MARK = "[... left out: {} paragraphs ...]"
_MARK_TOKENS = 12
MAX_TRIES = 4
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Trimmed:
    """`dropped_tokens` is about how much is left out."""

    messages: tuple[Message, ...]
    dropped_tokens: int


@dataclass(frozen=True, slots=True)
class _Paragraph:
    message: int
    text: str
    tokens: int
    stays: bool


def trimmed(messages: Sequence[Message], question: str, most_tokens: int) -> Trimmed:
    """The messages in at most `most_tokens` (as estimated), where what must stay allows it.

    The same messages if they fit already.
    """
    before = estimate_prompt_tokens(messages)
    if before <= most_tokens:
        return Trimmed(tuple(messages), 0)
    paragraphs = [part for index in range(len(messages)) for part in _paragraphs(messages, index)]
    spared = sum(part.tokens for part in paragraphs if part.stays) + (TOKENS_PER_MESSAGE + _MARK_TOKENS) * len(messages)
    asked = (
        question
        if len(question) <= QUESTION_CHARS
        else question[: QUESTION_CHARS // 2] + " " + question[-QUESTION_CHARS // 2 :]
    )
    scores = _bm25([part.text for part in paragraphs], asked)
    room = most_tokens - spared
    for _ in range(MAX_TRIES):
        kept = _chosen(paragraphs, scores, room)
        left = tuple(
            replace(message, content=_joined(number, message, paragraphs, kept))
            for number, message in enumerate(messages)
        )
        over = estimate_prompt_tokens(left) - most_tokens  # a whole is not counted as the sum of its parts
        if over <= 0:
            break
        room -= over
    return Trimmed(left, before - estimate_prompt_tokens(left))


def _chosen(paragraphs: Sequence[_Paragraph], scores: Sequence[float], room: int) -> set[int]:
    """The paragraphs that stay, and the best of the others in `room` tokens."""
    kept = {index for index, part in enumerate(paragraphs) if part.stays}
    for index in sorted(range(len(paragraphs)), key=lambda i: (-scores[i], i)):
        if index not in kept and paragraphs[index].tokens <= room:
            kept.add(index)
            room -= paragraphs[index].tokens
    return kept


def _paragraphs(messages: Sequence[Message], number: int) -> list[_Paragraph]:
    """A message in pieces of at most some hundred words.

    The rules stay whole; of everything else the first piece and the last.
    """
    message = messages[number]
    stays_whole = (message.role == "system" and number == 0) or message.wire is not None
    pieces = [message.content] if stays_whole else _pieces(message.content)
    last = len(pieces) - 1
    return [_Paragraph(number, piece, estimate_tokens(piece), index in (0, last)) for index, piece in enumerate(pieces)]


def _pieces(text: str) -> list[str]:
    """Paragraphs; those that are too long by lines, then by length. Joined again they are the text."""
    found: list[str] = []
    for paragraph in re.findall(r"(?:[^\n]|\n(?!\s*\n))+(?:\n\s*\n\s*)?|\n\s*\n\s*", text):
        if len(paragraph) <= PARAGRAPH_CHARS:
            found.append(paragraph)
            continue
        for line in paragraph.splitlines(keepends=True):
            found += [line[at : at + PARAGRAPH_CHARS] for at in range(0, len(line), PARAGRAPH_CHARS)]
    return found or [text]


def _joined(number: int, message: Message, paragraphs: Sequence[_Paragraph], kept: set[int]) -> str:
    parts: list[str] = []
    missing = 0
    for index, part in enumerate(paragraphs):
        if part.message != number:
            continue
        if index not in kept:
            missing += 1
            continue
        if missing:
            parts.append(f"\n{MARK.format(missing)}\n")
            missing = 0
        parts.append(part.text)
    return "".join(parts) if parts else message.content


def _bm25(texts: Sequence[str], question: str) -> list[float]:
    """The score of each text for the question."""
    counts = [Counter(word.lower() for word in _WORD.findall(text)) for text in texts]
    lengths = [sum(count.values()) for count in counts]
    mean = max(sum(lengths) / max(len(lengths), 1), 1.0)
    wanted = {word.lower() for word in _WORD.findall(question)}
    within = Counter(word for count in counts for word in wanted & count.keys())
    idf = {word: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for word, n in within.items()}
    return [
        sum(
            idf[word] * count[word] * (K1 + 1) / (count[word] + K1 * (1 - B + B * length / mean))
            for word in wanted & count.keys()
        )
        for count, length in zip(counts, lengths, strict=True)
    ]
