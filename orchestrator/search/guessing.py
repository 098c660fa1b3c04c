"""How hard an answer is to hit by chance.

The bits that it takes to tell it from the other answers that the question might have.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

REFERENCE_BITS = 10.0  # of an answer of which nothing is known
BITS_PER_DIGIT, BITS_PER_CHARACTER = (
    3.3,
    2.0,
)  # a digit is one of ten; a character of an answer can be told halfway from those before it
MIN_BITS = 1.0
MAX_CHARACTERS = 80  # more make an answer no harder to guess
LEVELS = (2.0, 3.3, 6.6, 10.0, 20.0, 40.0, 80.0)  # bits are told in steps, so that like questions are decided alike
OPTIONS = 5  # of a question whose options are not known
YES_OR_NO = frozenset(("yes", "no", "true", "false"))
SPELLED = frozenset(
    (
        "number",
        "literal",
        "text",
        "quantity",
        "row",
        "tuple",
        "set",
        "list",
        "interval",
        "formula",
        "json",
        "date",
        "time",
        "calls",
    )
)

_OF_OPTIONS = re.compile(r" of (\d{1,2})$")
_NUMBER = re.compile(r"-?[\d.,/]*\d[\d.,/]*%?")


@lru_cache(maxsize=8_192)
def information_bits(key: str) -> float:
    """Bits, in [1, 80], of a group's key, as `group_answers` makes them: `kind:what was said`.

    Yes and no have one, an option log2 of how many there are, a number 3.3 for each digit, other answers 2 for each
    character. The key of a behaviour or of anything else that does not spell out the answer has ten.
    """
    kind, _, said = key.partition(":")
    if kind == "calls":  # calls:one:their arguments; that nothing is called is one of two
        said = said.partition(":")[2] if ":" in said else "no"
    said = re.sub(r"#\d+$", "", said[:MAX_CHARACTERS]).strip()
    if kind == "choice":
        number = _OF_OPTIONS.search(said)
        return math.log2(max(int(number[1]) if number else OPTIONS, 2))
    if said.casefold() in YES_OR_NO:
        return MIN_BITS
    if kind not in SPELLED:
        return REFERENCE_BITS
    digits = sum(map(str.isdigit, said))
    bits = BITS_PER_DIGIT * digits if _NUMBER.fullmatch(said) else BITS_PER_CHARACTER * len(said)
    return min(LEVELS, key=lambda level: abs(math.log(level / max(bits, 0.1))))
