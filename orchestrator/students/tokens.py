"""Text to tokens, the same way when a student is trained and when it answers.

Words of scripts that write none (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are read character by character, so that
pairs of neighbours stand for words. Signs that carry a tone (`!`, `?`, emoji) are tokens, too.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 20_000
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+|[!?$€£¥%]|[\u2600-\u27bf\U0001f300-\U0001faff]")
_ASCII_TOKEN = re.compile(r"[a-z0-9]+|[!?$%]")


def tokens_of(text: str) -> list[str]:
    """The tokens of the first 20,000 characters, in order: compatibility forms unified, case folded."""
    text = text[:MAX_CHARS]
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
