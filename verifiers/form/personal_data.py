"""Personal data in an answer.

Mail addresses, telephone, card (Luhn's check), bank account (IBAN, ISO 13616) and US social security numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from orchestrator.verifiers.verdict import Verdict

MAX_CHARS = 200_000
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+|00)\d{1,3}[ ./-]?(?:\(\d{1,4}\)[ ./-]?)?\d{2,4}(?:[ ./-]?\d{2,4}){1,4}(?![\w-])|\(\d{3}\) "
    r"?\d{3}-\d{4}"
)


class PersonalDataVerifier:
    """Fails answers that hold personal data which the query does not hold itself.

    The feedback names the kinds, never the data. Not decisive.

    Reads the first 200,000 characters. What looks like a name is not judged.
    """

    name = "personal_data"

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Looks for personal data that the query does not hold."""
        kinds = sorted({kind for kind, text in personal_data(candidate[:MAX_CHARS]) if text not in query})
        if kinds:
            return Verdict(self.name, 0.0, False, f"the answer holds personal data: {', '.join(kinds)}")
        return Verdict(self.name, 1.0, True)


def personal_data(text: str) -> Iterable[tuple[str, str]]:
    """(kind, what was found) for each; what is one thing is not looked at as another."""
    for kind, pattern, is_one in _KINDS:
        found = [match for match in pattern.finditer(text) if is_one(match[0])]
        yield from ((kind, match[0]) for match in found)
        for match in found:
            text = text[: match.start()] + " " * len(match[0]) + text[match.end() :]


def is_card_number(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1), of 13 to 19 digits that are not all the same."""
    digits = [int(c) for c in text if c.isdecimal()]
    doubled = (sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(reversed(digits)))
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """The check digits of ISO 13616: the rearranged number is 1 modulo 97."""
    compact = text.replace(" ", "")
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("mail address", _EMAIL, bool),
    ("bank account", _IBAN, is_iban),
    ("card number", _CARD, is_card_number),
    ("social security number", _SSN, bool),
    ("telephone number", _PHONE, bool),
)
