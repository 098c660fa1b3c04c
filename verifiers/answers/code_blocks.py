"""Fenced blocks of an answer (CommonMark 0.31, section 4.5).

A fence closes with as many of its own signs, indented by three blanks at most.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.verifiers.answers.final_answer import without_thoughts

_FENCE = re.compile(r"^(?P<indent>[ \t]{0,12})(?P<fence>`{3,}|~{3,})[^\S\n]{0,40}(?P<info>[^\n`]*)$", re.MULTILINE)
MAX_INDENT = 3  # of a closing fence, beyond that of the opening one
PYTHON = frozenset(("python", "py", "python3", "py3", "python2", "ipython"))


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block.

    Its language in small letters ("" if none is named), its text, and whether its fence is closed.
    """

    language: str
    text: str
    is_closed: bool


def fenced_blocks(text: str) -> Iterator[CodeBlock]:
    """The blocks in order. One that is never closed goes on to the end of the text."""
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif (
            fence["fence"].startswith(opening["fence"])
            and not fence["info"].strip()
            and len(fence["indent"]) <= len(opening["indent"]) + MAX_INDENT
        ):
            yield _block(opening, text[opening.end() + 1 : fence.start()], is_closed=True)
            opening = None
    if opening is not None:
        yield _block(opening, text[opening.end() + 1 :], is_closed=False)


def find_program(text: str) -> str | None:
    """The Python program in an answer: its Python blocks together if they parse so, else the last one that parses.

    Without any that say so, blocks without a language, else the whole text.
    """
    spoken = without_thoughts(text.lstrip("\ufeff"))
    text = spoken[0] if spoken else ""
    blocks = [*fenced_blocks(text)]
    stated = [block.text for block in blocks if block.language in PYTHON]
    unnamed = [block.text for block in blocks if not block.language]
    for group in (stated, unnamed):
        for candidate in ("\n".join(group), *reversed(group)):
            if candidate.strip() and parses(candidate):
                return candidate
    return text if not blocks and text.strip() and parses(text) else None


def parses(program: str) -> bool:
    """Whether a text is a Python program as far as its grammar goes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # `1if 2else 3` is somebody's answer, not our source code
            ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def is_cut_in_a_block(text: str) -> bool:
    """Whether a text that broke off did so within a block of code or a JSON value."""
    blocks = [*fenced_blocks(text)]
    if blocks:
        return not blocks[-1].is_closed
    return text.lstrip("\ufeff \n").startswith(("{", "["))


def _block(opening: re.Match[str], text: str, *, is_closed: bool) -> CodeBlock:
    text = textwrap.dedent(text) if opening["indent"] else text
    language = re.match(r"[\w+#.-]*", opening["info"].strip().lstrip("{."))
    return CodeBlock(language[0].lower() if language else "", text, is_closed)
