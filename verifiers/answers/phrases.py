"""Are two short texts the same? Letters count in names and codes; case, articles and joints mostly do not."""

from __future__ import annotations

import re
import unicodedata

from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.sameness import Equivalence
from orchestrator.verifiers.answers.value_types import Words

SHORT_WORDS = 8


_FILLER = Pattern(r"^(?:a|an|the|der|die|das|el|la|los|las|le|les|o|os|as)\s+(?=\S)")


def compare_words(a: Words, b: Words) -> Equivalence:
    """Whether two texts of a few words say the same, by their letters alone; what they mean is not known here."""
    if a.text == b.text:
        return Equivalence("same", "word for word")
    if a.is_exact or b.is_exact:
        return Equivalence("different", "every letter counts here")
    if a.folded == b.folded:
        if len(a.folded) == 1:
            return Equivalence("unknown", "one letter in two cases")
        is_code = any(
            re.search(r"\d", w.text)
            and re.search(r"[a-z]", w.text)
            and re.search(r"[A-Z]", w.text)
            and " " not in w.text
            for w in (a, b)
        )
        return (
            Equivalence("unknown", "they differ in case, which counts in codes")
            if is_code
            else Equivalence("same", "equal but for case")
        )
    if a.is_mathematics and b.is_mathematics:
        plain = [re.sub(r"\s+", "", w.folded) for w in (a, b)]
        return (
            Equivalence("same", "the same formula")
            if plain[0] == plain[1]
            else Equivalence("unknown", "formulas that cannot be read")
        )
    x, y = (without_article(w) for w in (a, b))
    if x is not None and x == y:
        return Equivalence("same", "equal but for an article")
    if x is None or y is None or a.is_mathematics or b.is_mathematics:
        bare = [_FILLER.sub("", w.folded) for w in (a, b)]
        return Equivalence(
            "unknown" if bare[0] == bare[1] or a.is_mathematics or b.is_mathematics else "different",
            "an article may belong to a name",
        )
    return _compared_phrases(x, y)


def _compared_phrases(x: str, y: str) -> Equivalence:
    """Short texts that are not equal are different, unless one says more than the other or they differ in accents or
    joints alone.
    """
    if _unaccented(x) == _unaccented(y):
        return Equivalence("unknown", "they differ in accents")
    if re.sub(r"[\s\-_./]", "", x) == re.sub(r"[\s\-_./]", "", y):
        return (
            Equivalence("unknown", "they differ in how words are joined")
            if re.search(r"\d", x)
            else Equivalence("same", "equal but for joints")
        )
    first, second = (re.findall(r"\w+", text) for text in (x, y))
    if len(first) > SHORT_WORDS or len(second) > SHORT_WORDS:
        return Equivalence("unknown", "running text")
    shorter, longer = sorted((first, second), key=len)
    if (
        shorter
        and len(longer) > len(shorter)
        and (longer[: len(shorter)] == shorter or longer[-len(shorter) :] == shorter)
    ):
        return Equivalence("unknown", "one says more than the other")
    if x.strip("()[].") == y.strip("()[]."):
        return Equivalence("same", "equal but for brackets")
    if _listed(x) == _listed(y) and len(_listed(x)) > 1:
        return Equivalence("same", "the same list")
    if first == second:  # C and C#
        return Equivalence("different" if len(first) < 2 else "unknown", "they differ in signs")
    if _is_acronym(x, second) or _is_acronym(y, first):
        return Equivalence("unknown", "one may be the initials of the other")
    if x.isascii() != y.isascii() and not re.search(r"[a-z]", x if y.isascii() else y):
        return Equivalence("unknown", "in two scripts")
    if sorted(first) == sorted(second):
        return Equivalence("unknown", "the same words in another order")
    return Equivalence("different", "not the same words")


def _listed(text: str) -> list[str]:
    return [item.strip() for item in re.split(r",\s*(?:and\s|or\s|&\s)?|\s(?:and|&)\s", text) if item.strip()]


def without_article(said: Words) -> str | None:
    """The folded words without an article in front; `None` where it may be a part of a name ("The Who")."""
    article = _FILLER.match(said.folded)
    if article is None:
        return said.folded
    rest = said.text.strip("\"'“”*_` ").split(maxsplit=1)
    is_name = len(rest) == 2 and " " not in rest[1].strip() and rest[1][:1].isupper()
    return None if is_name else said.folded[article.end() :]


def _is_acronym(text: str, words: list[str]) -> bool:
    bare = text.replace(".", "").replace(" ", "")
    return (
        len(words) > 1
        and 2 <= len(bare) <= 6
        and bare == "".join(word[0] for word in words if word not in ("of", "the", "and"))
    )


def _unaccented(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
