"""Remembered text is somebody's words, never an order: what looks like instructions to a model is marked where it is quoted.

A mark helps a model to keep quotation and task apart; it is no proof of safety, and nothing is left out because of it.
"""

from __future__ import annotations

import re

MAX_CHARS = 4_000
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|any|your|these|the)\b[^.\n]{0,30}"
    r"\b(?:instructions?|rules?|prompts?|guidelines|constraints|orders|context)\b"
    r"|\b(?:system|developer)\s*(?:prompt|message|instructions?)\b"
    r"|\byou (?:are now|must now|will now|have to obey)\b|\bfrom now on,? you\b|\bact as (?:if|an?|the)\b|\bpretend (?:to be|that you)\b"
    r"|\b(?:reveal|print|repeat|leak|show)\b[^.\n]{0,30}\b(?:your|the)\b[^.\n]{0,20}\b(?:prompt|instructions|rules|secrets?|keys?|passwords?)\b"
    r"|\bdo not (?:tell|inform|mention)\b[^.\n]{0,20}\b(?:user|anyone|human)\b"
    r"|<\|?(?:im_start|im_end|system|assistant|tool_call|function_call)\b|\[/?INST\]|^\s*(?:system|assistant|tool)\s*:",
    re.IGNORECASE | re.MULTILINE,
)


# Each alternative above needs one of these: most texts hold none, and looking for plain words is fast.
_TELLTALES = (
    *(
        "ignore",
        "disregard",
        "forget",
        "override",
        "bypass",
        "system",
        "developer",
        "you are now",
        "you must now",
        "you will now",
        "to obey",
    ),
    *("from now on", "act as", "pretend", "reveal", "print", "repeat", "leak", "show", "do not", "<", "inst]", "assistant", "tool"),
)


def looks_like_instructions(text: str) -> bool:
    """Whether the first or last 4,000 characters hold a phrase by which people try to command a model."""
    parts = (text,) if len(text) <= MAX_CHARS else (text[:MAX_CHARS], text[-MAX_CHARS:])
    for part in parts:
        lowered = part.lower()
        if any(telltale in lowered for telltale in _TELLTALES) and _ORDERS.search(part):
            return True
    return False
