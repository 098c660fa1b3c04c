"""What an answer must not hold, whoever asked.

Secrets, commands that destroy, hidden text, links that carry data away, and what is forbidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from orchestrator.verifiers.verdict import Verdict

MAX_CHARS = 200_000
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----")),
    (
        "an access key",
        re.compile(
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,255}\b|\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,"
            r"200}\b"
            r"|\bxox[abprs]-[A-Za-z0-9-]{10,200}\b|\bAIza[A-Za-z0-9_-]{35}\b"
        ),
    ),
    ("a token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}")),
    (
        "a command that destroys",
        re.compile(
            r"\brm\s{1,5}-(?=[a-zA-Z]{0,8}r)(?=[a-zA-Z]{0,8}f)[a-zA-Z]{2,8}\s{1,5}(?:--no-preserve-root\s{1,"
            r"5})?(?:/|~|\$HOME)(?:\*|\s|$)"
            r"|\bmkfs(?:\.\w{1,10})?\s{1,5}/dev/|\bdd\s[^\n]{0,80}\bof=/dev/[sn][dv]|:\(\)\s?\{\s?:\|:&\s?\};:"
        ),
    ),
    ("a script run unread", re.compile(r"\b(?:curl|wget)\b[^\n|]{1,300}\|\s{0,5}(?:sudo\s{1,5})?(?:ba|z|da)?sh\b")),
    (
        "hidden text",
        re.compile(r"[\U000E0020-\U000E007F]{3}|[\u200B-\u200D\u2060\uFEFF]{6}|[\u202A-\u202E\u2066-\u2069]"),
    ),
    (
        "an image that carries data away",
        re.compile(r"!\[[^\]\n]{0,200}\]\(\s{0,3}https?://[^)\s?]{1,300}\?[^)\s]{40,4000}\)"),
    ),
)


class SafetyVerifier:
    """Fails answers that hold any of these, unless the query holds the same.

    `forbidden` texts (a system prompt, a code name) are told by kind only.

    Not decisive unless `decisive`: patterns do not understand. Reads the first 200,000 characters.
    """

    name = "safety"

    def __init__(self, *, forbidden: Sequence[str] = (), decisive: bool = False) -> None:
        if any(len(text.strip()) < 3 for text in forbidden):
            raise ValueError("a forbidden text has at least three characters, or it is found everywhere")
        self._forbidden = [" ".join(text.casefold().split()) for text in forbidden]
        self._decisive = decisive

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Looks for what is unsafe or forbidden and not in the query."""
        text = candidate[:MAX_CHARS]
        kinds = list(dict.fromkeys(kind for kind, found in unsafe(text) if found not in query))
        folded = " ".join(text.casefold().split())
        if any(forbidden in folded for forbidden in self._forbidden):
            kinds.append("a text that is forbidden")
        if kinds:
            return Verdict(self.name, 0.0, False, f"the answer holds {', '.join(kinds)}", decisive=self._decisive)
        return Verdict(self.name, 1.0, True, decisive=self._decisive)


def unsafe(text: str) -> Iterable[tuple[str, str]]:
    """(kind, what was found) for each."""
    for kind, pattern in _KINDS:
        yield from ((kind, match[0]) for match in pattern.finditer(text))
