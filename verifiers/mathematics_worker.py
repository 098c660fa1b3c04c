"""Run as a program by `orchestrator.verifiers.mathematics`.

Reads questions, a line of JSON each, and answers each with a line.
"""

from __future__ import annotations

import json
import logging
import re
import sys

from math_verify import parse, verify

from orchestrator.jsontypes import JsonObject
from orchestrator.verifiers.process import bound_memory

MEMORY_BYTES = 4 * 2**30
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}")


def compared(expected: str, answer: str) -> JsonObject:
    """Whether two formulas are the same, as math-verify reads them."""
    try:
        gold = parse(_marked(expected), parsing_timeout=None, raise_on_error=True)
        read = parse(_marked(answer), parsing_timeout=None, raise_on_error=True)
        if not gold:
            return {"equal": None, "why": f"the expected expression cannot be read: {expected[:80]}"}
        if not read:
            return {"equal": None, "why": "the answer holds no expression that can be read"}
        return {
            "equal": bool(verify(gold, read, timeout_seconds=None, raise_on_error=True)),
            "read": str(read[0])[:200],
        }
    except Exception as error:
        return {"equal": None, "why": f"it cannot be compared: {type(error).__name__}"}


def _marked(text: str) -> str:
    """Mathematics between dollar signs, unless it is marked already or holds words."""
    return text if "$" in text or "\\(" in text or "\\boxed" in text or _WORD.search(text) else f"${text}$"


def main() -> None:
    """Answers questions from standard input until it ends."""
    logging.disable(logging.CRITICAL)
    bound_memory(MEMORY_BYTES)
    for line in sys.stdin:
        print(json.dumps(compared(**json.loads(line))), flush=True)
