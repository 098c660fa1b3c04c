"""The language of an answer (py3langid, extra `language`)."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from orchestrator.verifiers.verdict import Verdict

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
MIN_LETTERS = 24
MAX_CHARS = 5_000
SURE = 0.9


class LanguageVerifier:
    """Passes answers in `language` (ISO 639-1, "de"), or in that of the query. Not decisive.

    Code, addresses and texts of fewer than 24 letters have no language: it abstains, as it does where the guess is not
    sure.
    """

    name = "language"

    def __init__(self, language: str | None = None) -> None:
        if language is not None and not re.fullmatch(r"[a-z]{2}", language):
            raise ValueError(f"a language is two letters of ISO 639-1 ('de'), not {language!r}")
        self._language = language

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Detects the language of the answer; abstains where it is not clear."""
        if find_spec("py3langid") is None:
            return Verdict.abstain(
                self.name, "py3langid is not installed: pip install 'compound-orchestrator[language]'"
            )
        return await asyncio.to_thread(self._judged, query, candidate)

    def _judged(self, query: str, candidate: str) -> Verdict:
        wanted = self._language or language_of(query)
        if wanted is None:
            return Verdict.abstain(self.name, "the language of the query is not clear")
        found = language_of(candidate)
        if found is None:
            return Verdict.abstain(self.name, "the language of the answer is not clear")
        passed = found == wanted
        return Verdict(
            self.name, float(passed), passed, "" if passed else f"answer in {wanted}, not in {found}", (found,)
        )


def language_of(text: str) -> str | None:
    """ISO 639-1 of a text, or `None` where it is too short or the guess is not sure."""
    prose = _CODE.sub(" ", text[:MAX_CHARS])
    if sum(c.isalpha() for c in prose) < MIN_LETTERS:
        return None
    language, probability = _identifier().classify(prose)
    return str(language) if probability >= SURE else None


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # optional: extra `language`

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
