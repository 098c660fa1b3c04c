"""The beginning of what a server sent, in one line, for messages."""

from __future__ import annotations

import html
import re

_MAX_HTML_BYTES = 4_000  # of a hostile page, too, in no time
_IS_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^>]*>?", re.IGNORECASE | re.DOTALL)


def excerpt(content: bytes, most: int = 200) -> str:
    """The beginning of a body, at most `most` characters and a mark that there is more; of an HTML page its title.

    Example:
        >>> excerpt(b"<html><head><title>502 Bad Gateway</title></head><body>...</body></html>")
        'an HTML page, "502 Bad Gateway"'
    """
    if _IS_HTML.match(content[:_MAX_HTML_BYTES]):
        page = content[:_MAX_HTML_BYTES].decode("utf-8", "replace")
        title = _TITLE.search(page)
        text = _in_one_line(html.unescape(title[1] if title else _UNSEEN.sub(" ", page)))
        return f'an HTML page, "{_shortened(text, most)}"' if text else "an HTML page"
    text = content[: most * 4].decode("utf-8", "replace")
    return _shortened(_in_one_line(text), most) if len(content) <= most * 4 else _in_one_line(text)[:most] + " ..."


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + " ..."
