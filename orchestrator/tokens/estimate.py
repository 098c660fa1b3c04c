"""How many tokens a text or a whole request is, without a tokenizer: about how many, and how many at most.

Providers count with vocabularies that are not at hand. What they count was measured on texts of 61 kinds with seven
public vocabularies (OpenAI's cl100k and o200k, Anthropic's of 2023, Qwen, DeepSeek, Mistral's two;
`tests/token_counts.json`): `estimate_tokens` lies at or above what each family counts for texts that people send,
seldom above twice of it; `bound_tokens` is never exceeded, whatever the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from orchestrator.jsontypes import JsonMapping, JsonValue

TOKENS_PER_MESSAGE = 4
TOKENS_PER_TOOL = 16  # what providers write around a function's schema
TOOLS_PREAMBLE_TOKENS = 350  # what they tell a model of how to call functions (Anthropic: 264 to 346)
MIN_BYTES_EACH = (
    4.0  # the usual rule of thumb: English has five bytes to a token, and nothing that people write has more
)
MARGIN = 1.05
SAMPLED_BYTES = 65_536
_SLICES, _SLICE_BYTES = 32, 2_048
_WORD = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
_DIGITS = re.compile(rb" ?[0-9]+")
_BREAKS = re.compile(rb"[ \t]*[\r\n][\s]*|[ \t]{2,}")
_PUNCTUATION = bytes(c for c in range(33, 127) if not chr(c).isalnum())
_ASCII = bytes(range(128))
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\r")
_KINDS = bytes(97 if c in _LETTERS else 32 if c == 32 else 46 for c in range(256))  # letter, space, other
_DIGIT = re.compile(rb"[0-9]")
_BLOB = re.compile(rb"[A-Za-z0-9+/=_-]{40,}")  # base64, hashes, keys


@dataclass(frozen=True, slots=True)
class PartTokens:
    """What one part that is no text is counted as: about, and at most."""

    about: int
    most: int


PARTS: Mapping[str, PartTokens] = {
    "image_url": PartTokens(
        1_600, 5_000
    ),  # Anthropic: width x height / 750, up to 1,600, newest models 4,784; OpenAI: up to 1,105 at high detail
    "image": PartTokens(1_600, 5_000),
    "input_audio": PartTokens(4_000, 20_000),
    "file": PartTokens(10_000, 100_000),
    "document": PartTokens(10_000, 100_000),
    "video_url": PartTokens(30_000, 300_000),
}
_UNKNOWN_PART = PartTokens(1_600, 100_000)
_NOT_READ = frozenset(("messages", "model", "metadata", "user", "stream_options", "stop", "logit_bias"))
_CARRIED = frozenset(("image_url", "image", "input_audio", "file", "document", "video_url"))


@dataclass(frozen=True, slots=True)
class TokenizerFamily:
    """Tokens for a character of what is not English.

    Digits in a row (`digits_each` to a token), letters of two UTF-8 bytes, Chinese, Japanese and Korean, other scripts
    of three bytes, and those of four (emoji).
    """

    digits_each: int
    two_bytes: float
    cjk: float
    three_bytes: float
    four_bytes: float


BYTES_PER_ENGLISH_TOKEN = 4
REMEMBERED_CHARS = 4_000
FAMILY_THAT_COUNTS_MOST = TokenizerFamily(1, 1.3, 1.42, 2.1, 3.6)
FAMILIES: Mapping[str, TokenizerFamily] = {
    "gpt-4o": TokenizerFamily(3, 0.55, 0.95, 0.75, 2.4),
    "gpt-4.1": TokenizerFamily(3, 0.55, 0.95, 0.75, 2.4),
    "gpt-5": TokenizerFamily(3, 0.55, 0.95, 0.75, 2.4),
    "o1": TokenizerFamily(3, 0.55, 0.95, 0.75, 2.4),
    "o3": TokenizerFamily(3, 0.55, 0.95, 0.75, 2.4),
    "o4": TokenizerFamily(3, 0.55, 0.95, 0.75, 2.4),
    "gpt-3.5": TokenizerFamily(3, 1.25, 1.35, 2.1, 3.0),
    "deepseek": TokenizerFamily(3, 0.6, 0.85, 1.1, 2.4),
    "qwen": TokenizerFamily(1, 1.05, 0.85, 1.4, 2.0),
}


def family_of(model: str) -> TokenizerFamily:
    """The family of a model by its name; for names that say nothing, the one that counts most."""
    name = model.lower().rpartition("/")[2]
    return next((family for prefix, family in FAMILIES.items() if name.startswith(prefix)), FAMILY_THAT_COUNTS_MOST)


def estimate_tokens(text: str | bytes, family: TokenizerFamily = FAMILY_THAT_COUNTS_MOST) -> int:
    """About how many tokens a text is: what its provider counts, or somewhat more.

    A long text is judged by samples of it.
    """
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(raw) <= SAMPLED_BYTES:
        return math.ceil(max(_estimated(raw, family), len(raw) / MIN_BYTES_EACH) * MARGIN)
    step = (len(raw) - _SLICE_BYTES) // (_SLICES - 1)
    sampled = b"\n".join(raw[n * step : n * step + _SLICE_BYTES] for n in range(_SLICES))
    each = max(_estimated(sampled, family) / len(sampled), 1 / MIN_BYTES_EACH)
    return math.ceil(each * len(raw) * MARGIN)


def estimate_message(text: str, family: TokenizerFamily = FAMILY_THAT_COUNTS_MOST) -> int:
    """`estimate_tokens`; of a short text it is remembered, because rules and questions are counted again and again."""
    return _remembered(text, family) if len(text) <= REMEMBERED_CHARS else estimate_tokens(text, family)


@lru_cache(maxsize=1_024)
def _remembered(text: str, family: TokenizerFamily) -> int:
    return estimate_tokens(text, family)


def quick_tokens(text: str) -> int:
    """About how many tokens a text is, from its bytes alone.

    A twentieth of the time of `estimate_tokens`, for many short texts.

    English counts a token for four bytes, without the margin that a bill needs; other scripts count as in the family
    that counts most.
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) == len(text):
        return math.ceil(len(raw) / BYTES_PER_ENGLISH_TOKEN)
    foreign = raw.translate(None, _ASCII)
    ascii_tokens = (len(raw) - len(foreign)) / BYTES_PER_ENGLISH_TOKEN
    return math.ceil(ascii_tokens + _foreign_tokens(foreign, FAMILY_THAT_COUNTS_MOST))


def fewest_tokens(size: int) -> int:
    """At least about so many tokens in text of `size` bytes.

    For minimum lengths, below which a provider caches no prefix.
    """
    return size // BYTES_PER_ENGLISH_TOKEN


def bound_tokens(text: str | bytes) -> int:
    """At most so many tokens.

    No vocabulary in use gives a byte more than one; all give a run of letters at most one token for its first and seven
    for ten further ones, and none to a space before a letter.
    """
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    letters = len(raw) - len(raw.translate(None, _LETTERS))
    kinds = raw.translate(_KINDS)
    after_space, after_other = kinds.count(b" a"), kinds.count(b".a")
    return len(raw) + 2 - math.floor(0.3 * letters + 0.7 * after_space - 0.5 * after_other)


def _estimated(raw: bytes, family: TokenizerFamily) -> float:
    total, is_latin, foreign = 0.0, False, b""
    if len(raw) >= 40 and max(map(len, raw.split()), default=0) >= 40:
        blobs = [run for run in _BLOB.findall(raw) if _DIGIT.search(run)]
        total += 0.95 * sum(map(len, blobs))
        raw = _BLOB.sub(lambda run: b" " if _DIGIT.search(run[0]) else run[0], raw) if blobs else raw
    if not raw.isascii():
        foreign = raw.translate(None, _ASCII)
        letters = len(raw) - len(raw.translate(None, _LETTERS))
        is_latin = sum(foreign.count(lead) for lead in (0xC3, 0xC4, 0xC5)) > 0.004 * letters
        total += _foreign_tokens(foreign, family)
    total += sum(map(_latin_word_tokens if is_latin else _word_tokens, _WORD.findall(raw)))
    each = family.digits_each
    for run in _DIGITS.findall(raw):
        has_space = run.startswith(b" ")
        total += math.ceil((len(run) - has_space) / each) + has_space
    total += 0.75 * (len(raw) - len(raw.translate(None, _PUNCTUATION))) + len(raw) - len(raw.translate(None, _CONTROLS))
    if b"\n" in raw or b"  " in raw or b"\r" in raw or b"\t" in raw:
        total += sum(1 + len(found) / 8 for found in _BREAKS.findall(raw))
    return total


def _word_tokens(word: bytes) -> float:
    """A run of letters: an English word is one token, or two; capitals and what is no word are dearer."""
    size = len(word)
    if size > 2 and word[1] < 97:
        return 1 + (size - 2) / 2.5 if size <= 12 else 0.7 * size
    return 1.0 if size <= 6 else 1 + (size - 6) / 4 if size <= 24 else 0.6 * size


def _latin_word_tokens(word: bytes) -> float:
    """The same in a language with letters that English lacks: vocabularies know fewer of its words."""
    return max(_word_tokens(word), 1 + (len(word) - 2) / 2.7)


def _foreign_tokens(raw: bytes, family: TokenizerFamily) -> float:
    """Characters that are not ASCII, by the first bytes of their UTF-8 sequences."""
    counts = [0] * 5
    for lead in range(0xC2, 0xF5):
        found = raw.count(lead)
        if found:
            counts[1 if lead < 0xE0 else 2 if 0xE3 <= lead <= 0xED else 3 if lead < 0xF0 else 4] += found
    weights = (0.0, family.two_bytes, family.cjk, family.three_bytes, family.four_bytes)
    return sum(count * weight for count, weight in zip(counts, weights, strict=True))


def request_bound(body: JsonMapping) -> int:
    """At most so many tokens are read for a chat completion's request."""
    texts, parts, around = _said(body)
    return sum(part.most for part in parts) + 2 * around + bound_tokens("\n".join(texts))


def request_estimate(body: JsonMapping, family: TokenizerFamily = FAMILY_THAT_COUNTS_MOST) -> int:
    """About how many tokens a provider counts of a chat completion's request."""
    texts, parts, around = _said(body)
    return sum(part.about for part in parts) + around + estimate_tokens("\n".join(texts), family)


def _said(body: JsonMapping) -> tuple[list[str], list[PartTokens], int]:
    """All that a provider counts: texts, parts that are no text, and the tokens that stand around them."""
    texts: list[str] = []
    parts: list[PartTokens] = []
    messages = body.get("messages") or ()
    for message in messages:
        for name, value in message.items():
            if name == "content" and isinstance(value, str):
                texts.append(value)
            elif name == "content" and isinstance(value, list):
                parts += [found for part in value if (found := _part(part, texts)).most]
            elif name != "role":
                _collect(value, texts)
    tools = 0
    for name, value in body.items():
        if isinstance(value, dict | list) and name not in _NOT_READ:
            _collect(value, texts)
            if name in ("tools", "functions"):
                tools += len(value)
    return (
        texts,
        parts,
        TOKENS_PER_MESSAGE * len(messages) + TOKENS_PER_TOOL * tools + (TOOLS_PREAMBLE_TOKENS if tools else 0),
    )


def _part(part: JsonValue, texts: list[str]) -> PartTokens:
    """What a part of a message's content counts beside its texts."""
    if not isinstance(part, dict):
        _collect(part, texts)
        return PartTokens(0, 0)
    kind = part.get("type")
    if kind in _CARRIED:
        found = PARTS.get(str(kind), _UNKNOWN_PART)
        carried = _longest(part)
        if kind in ("file", "document") and carried:  # a document may be long: so much of it as could be text
            return PartTokens(max(found.about, carried // 4), max(found.most, carried))
        return found
    _collect({name: value for name, value in part.items() if name != "type"}, texts)
    return PartTokens(0, 0)


def _longest(value: JsonValue) -> int:
    """Characters of the longest text in a value."""
    if isinstance(value, str):
        return len(value)
    children: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(_longest, children), default=0)


def _collect(value: JsonValue, texts: list[str]) -> None:
    """Every text and number within a value, names included, as they would stand in JSON."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, dict):
            for name, below in each.items():
                texts.append(f'"{name}": ')
                stack.append(below)
        elif isinstance(each, list | tuple):
            stack.extend(each)
            texts.append("," * min(len(each), 1))
        elif each is not None:
            texts.append(f"{each}")
