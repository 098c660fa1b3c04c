"""Where a text says its final answer.

Behind thoughts and corrections, by the marks that models and prompts use, in ten languages.

A mark begins a statement; where the statement ends is for whoever reads it ("42. I checked it in 2 ways": the sentence
ends behind 42). Of several marks the last one counts, because models correct themselves; what follows a next question
that the model made up itself does not.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.verifiers.answers.final_answer_patterns import (
    ALONE_IN_SIGNS,
    ANCHORS,
    BOLD,
    BOLD_LINE,
    BOX,
    CONCLUSION,
    CORRECTED,
    HASHES,
    HEADING,
    JSON_ANSWER,
    LINE_LABEL,
    NEXT_QUESTION,
    OTHER_SCRIPTS,
    SAYS,
    SENTENCES,
    SHORT_VALUE,
    SUMMARY,
    TAG,
    TAKEN_BACK,
    THOUGHTS_BEGIN,
    THOUGHTS_END,
)
from orchestrator.verifiers.answers.latex import braced

Mark = Literal["tag", "json", "boxed", "hashes", "says", "heading", "bold", "last_line", "alone"]
MAX_STATEMENT_CHARS = 20_000
TAIL_CHARS = 20_000
MAX_BOXES = 50  # of a text, the last ones
LEAD_CHARS = 60  # of words in front of "answer" that belong to the mark


@dataclass(frozen=True, slots=True)
class Statement:
    """What follows a mark, up to the end of its line (or of its box, tag or field), and where it lies in the text.

    `is_sure` is false where several marks say different things and no word of a correction stands between them.
    """

    text: str
    start: int
    end: int
    mark: Mark
    is_sure: bool = True


def without_thoughts(text: str) -> tuple[str, int] | None:
    """The part of a text behind its thoughts, and where it begins; `None` if the thoughts have no end."""
    if "<" not in text and "[" not in text and "◁" not in text:
        return text, 0
    ends = [found.end() for found in THOUGHTS_END.finditer(text)]
    if ends:
        return text[ends[-1] :], ends[-1]
    return None if THOUGHTS_BEGIN.match(text) else (text, 0)


def find_statement(text: str) -> Statement | None:
    """The last part of a text that is marked as its answer (thoughts must be cut off before), or `None`.

    Marks, the surest first: an XML tag, a JSON field `answer`, a box, `####`, "the final answer is" and its like in ten
    languages, a heading "Answer". A text without any of them is left to the reader: see `find_unmarked`.
    """
    if '"' in text and (said := _json_answer(text)) is not None:
        return said
    end = _end_of_own_answer(text)
    marked = _last_mark(text[:end])
    return marked if marked is not None or end == len(text) else _last_mark(text)


def taken_back_after(text: str, start: int) -> bool:
    """Whether something is taken back in the text behind `start`, without a new mark."""
    return bool(TAKEN_BACK.search(text, start))


def find_unmarked(text: str) -> Statement | None:
    """Of a text without marks.

    All of it if it is one line, else what its last line concludes ("So the total is 42"), or its last bold words.
    """
    stripped = text.strip()
    offset = text.find(stripped)
    if (alone := ALONE_IN_SIGNS.fullmatch(stripped)) is not None:
        return Statement(alone["said"], offset + alone.start("said"), offset + alone.end("said"), "alone")
    if (shown := _shown(stripped)) is not None:
        return Statement(shown["said"], offset + shown.start("said"), offset + shown.end("said"), "bold")
    if "\n" not in stripped and len(stripped) <= 120:
        sentences = [*SENTENCES.finditer(stripped)]
        if (
            len(sentences) > 1
            and not SHORT_VALUE.fullmatch(sentences[0][0].strip())
            and re.search(r"\d", sentences[-1][0])
        ):
            return Statement(
                sentences[-1][0],
                offset + sentences[-1].start(),
                offset + sentences[-1].end(),
                "last_line",
                is_sure=False,
            )
        return Statement(stripped, offset, offset + len(stripped), "alone")
    tail = stripped[-TAIL_CHARS:]
    base = offset + len(stripped) - len(tail)
    conclusion = next(iter(deque(CONCLUSION.finditer(tail), maxlen=1)), None)
    if conclusion is not None and "\n" not in tail[conclusion.end() :].strip():
        return Statement(
            conclusion["said"],
            base + conclusion.start("said"),
            base + conclusion.end("said"),
            "last_line",
            is_sure=False,
        )
    last_line = tail[tail.rfind("\n") + 1 :]
    bold = BOLD.findall(last_line)
    if bold:
        start = base + tail.rfind(bold[-1])
        return Statement(bold[-1], start, start + len(bold[-1]), "bold", is_sure=len(bold) == 1)
    return None


def _shown(text: str) -> re.Match[str] | None:
    """The only bold words of a text, where they hold a number and end a line or a sentence, or are the first line."""
    if "**" not in text:
        return None
    first = BOLD_LINE.match(text)
    if first is not None:
        return first
    bold = [*BOLD.finditer(text)]
    is_shown = (
        len(bold) == 1
        and "\n" not in text
        and re.search(r"\d", bold[0]["said"])
        and not text[bold[0].end() :].strip(" .!")
    )
    return bold[0] if is_shown else None


def final_answer_text(text: str) -> str | None:
    """The part of a text that is marked as its final answer, without its mark and its stars.

    `None` if nothing is marked.
    """
    spoken = without_thoughts(text)
    statement = find_statement(spoken[0]) if spoken else None
    return None if statement is None else statement.text.strip().strip("*").strip()


def _end_of_own_answer(text: str) -> int:
    """Where a text goes on with questions of its own making, or sums up answers to several."""
    if "\n" not in text:
        return len(text)
    ends = [found.start() for pattern in (NEXT_QUESTION, SUMMARY) if (found := pattern.search(text))]
    return min(ends, default=len(text))


def _last_mark(text: str) -> Statement | None:
    """The statement of the surest kind of mark that a text has; of one kind the last."""
    shown, strong, weak = (
        [each for each in kind if each.text.strip(" .…*`")] or kind[-1:] for kind in _all_marks(text)
    )
    if strong and weak and not strong[-1].text.strip(" .…*`"):
        strong = []
    if shown:
        return _decided(shown, text)
    if strong:
        conflicting = (
            weak
            and _bare(weak[-1].text) != _bare(strong[-1].text)
            and not is_corrected(text, weak[-1].end, strong[-1].start)
        )
        return replace(strong[-1], is_sure=False) if conflicting else _decided(strong, text)
    return _decided(weak, text) if weak else None


def _all_marks(text: str) -> tuple[list[Statement], list[Statement], list[Statement]]:
    """Statements in tags, boxes and behind ####; those called final; the other ones. Each in order."""
    shown: list[Statement] = []
    if "<" in text:
        shown += [Statement(m["said"], m.start("said"), m.end("said"), "tag") for m in TAG.finditer(text)]
    if "\\boxed" in text or "\\fbox" in text:
        shown += _boxed(text)
    if "####" in text:
        shown += [Statement(m[1], m.start(1), m.end(1), "hashes") for m in HASHES.finditer(text)]
    begin = _first_anchor(text)
    if begin is None:
        return shown, [], []
    strong: list[Statement] = []
    weak: list[Statement] = []
    for m in _few(SAYS.finditer(text, begin)):
        said = _to_line_end(text, m.end(), "says")
        if said.text.strip(" *_:`"):
            (weak if m["strong"] is None else strong).append(said)
    labelled = [m.end() for m in _few(LINE_LABEL.finditer(text, begin))]
    if not text.isascii():
        labelled += [m.end() for m in _few(OTHER_SCRIPTS.finditer(text))]
    weak += [_to_line_end(text, end, "says") for end in labelled]
    if "\n" in text:
        headings = _few(HEADING.finditer(text, begin))
        weak += [Statement(m["said"], m.start("said"), m.end("said"), "heading") for m in headings]
    return shown, strong, sorted((each for each in weak if each.text.strip(" *_:`")), key=lambda each: each.start)


def all_statements(text: str) -> list[Statement]:
    """Every marked statement of a text in order, up to where it goes on with other questions."""
    if '"' in text and (said := _json_answer(text)) is not None:
        return [said]
    end = _end_of_own_answer(text)
    found = [each for kind in _all_marks(text[:end]) for each in kind]
    if not found and end < len(text):
        found = [each for kind in _all_marks(text) for each in kind]
    return sorted(found, key=lambda each: each.start)


def is_corrected(text: str, start: int, end: int) -> bool:
    """Whether between two places of a text something is taken back."""
    return bool(CORRECTED.search(text, start, end))


def _few(marks: Iterator[re.Match[str]]) -> list[re.Match[str]]:
    """The first and the last of many marks: each may be followed by a long statement."""
    found = [*marks]
    return found if len(found) <= 2 * MAX_BOXES else [*found[:MAX_BOXES], *found[-MAX_BOXES:]]


def _first_anchor(text: str) -> int | None:
    """Where the first mark that is made of words may begin; `None` if there is none."""
    lowered = text.lower() if text.isascii() else text.casefold()
    if len(lowered) != len(text):  # a letter that has no single small one
        return 0 if any(word in lowered for word in ANCHORS) else None
    at = min((position for word in ANCHORS if (position := lowered.find(word)) >= 0), default=None)
    return None if at is None else max(lowered.rfind("\n", 0, at) + 1, at - LEAD_CHARS, 0)


def _decided(found: list[Statement], text: str) -> Statement:
    """The last of the statements; sure if all say the same or the last one corrects."""
    last = found[-1]
    if TAKEN_BACK.search(text, last.start + len(last.text[:3])):
        last = replace(last, is_sure=False)
    if len(found) == 1 or _bare(found[0].text) == _bare(last.text):
        return last
    others = {_bare(each.text) for each in found[:-1]} - {_bare(last.text)}
    if not others:
        return last
    before = next(each for each in reversed(found[:-1]) if _bare(each.text) != _bare(last.text))
    if before.end >= last.start:
        return last
    return replace(last, is_sure=is_corrected(text, before.end, last.start))


def _bare(said: str) -> str:
    return re.split(r"[)*.]?\s", said.strip(" *_.$(`").casefold(), maxsplit=1)[0].strip("*).,:`")[:40]


def _to_line_end(text: str, start: int, mark: Mark) -> Statement:
    """From behind a mark to the end of the line.

    Of the next one if the mark ends its line, and of a whole bracket or block that begins there.
    """
    while start < len(text) and text[start] in " \t*_:：":
        start += 1
    if text[start : start + 1] == "\n":
        while start < len(text) and text[start] in "\n\r \t*":
            start += 1
    opening = re.match(r"\\\[|\$\$|```\w*\n", text[start : start + 12])
    if opening:
        closing = {"\\[": "\\]", "$$": "$$"}.get(opening[0], "```")
        close = text.find(closing, start + opening.end())
        if close >= 0:
            return Statement(text[start + opening.end() : close].strip(), start + opening.end(), close, mark)
    end = text.find("\n", start, start + MAX_STATEMENT_CHARS)
    end = min(len(text), start + MAX_STATEMENT_CHARS) if end < 0 else end
    return Statement(text[start:end], start, end, mark)


def _boxed(text: str) -> list[Statement]:
    found = []
    for match in [*BOX.finditer(text)][-MAX_BOXES:]:
        close = braced(text, match.end())
        if close is not None:
            found.append(Statement(text[match.end() + 1 : close], match.end() + 1, close, "boxed"))
    return found


def _json_answer(text: str) -> Statement | None:
    matches = list(JSON_ANSWER.finditer(text))
    if not matches:
        return None
    start = matches[-1].end()
    tail = text[start:]
    try:
        value, length = json.JSONDecoder(strict=False).raw_decode(tail)
    except (ValueError, RecursionError):
        # Models write invalid escapes and unquoted values: take what stands up to the end of the line, less the quotes
        # and braces.
        line = tail.split("\n", 1)[0].strip().rstrip(",").strip()
        line = re.sub(r"\s*\}?\s*(?:```)?$", "", line) if line.count("{") < line.count("}") else line
        value = line[1:-1] if len(line) > 1 and line[0] == line[-1] and line[0] in "\"'" else line
        length = len(line)
    return Statement(value if isinstance(value, str) else json.dumps(value), start, start + length, "json")
