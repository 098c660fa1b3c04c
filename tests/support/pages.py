"""Tables of the documentation that tests make: `UPDATE_TABLES=1 pytest` puts them there, a plain run compares."""

from __future__ import annotations

import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def in_page(page: str, name: str, table: str) -> str:
    """The table of that name in docs/`page`; puts `table` there where that is asked for."""
    path = DOCS / page
    content = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)
    if os.environ.get("UPDATE_TABLES"):
        content = pattern.sub(lambda match: match[1] + table + match[3], content)
        path.write_text(content, encoding="utf-8")
    found = pattern.search(content)
    assert found is not None
    return found[2]
