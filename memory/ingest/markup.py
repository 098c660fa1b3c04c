"""HTML and Markdown as blocks: all that people see, nothing that is hidden from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentContent, DocumentOutline
from orchestrator.memory.ingest.encodings import decoded

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_NEVER_SHOWN = frozenset("script style template noscript iframe object title meta link".split())
_HIDING_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?<![\w-])(?:font-size|opacity)\s*:\s*0(?![.\d]*[1-9])", re.I
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_WHOLE = _HEADINGS | {"table", "pre", "textarea"}
_STRUCK = frozenset(("del", "s", "strike"))
_LINES = frozenset(("li", "dt", "dd", "option", "summary", "legend"))
_BLOCKS = frozenset(
    "p div section article header footer main aside nav ul ol dl blockquote figure figcaption details form fieldset "
    "address hr body".split()
)
_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)|<\?xml[^>]{0,100}encoding\s*=\s*["']([\w-]+)""", re.I
)
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_UNENDED_TAG = re.compile(r"<(?=[^<>]*(?:<|\Z))")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SIMPLE_SELECTOR = re.compile(r"(?:^|,)\s*\w*([.#])([\w-]+)\s*(?=,|$)")
MANY_TAGS, MAX_STYLE_CHARS, MAX_SPAN = 100, 500_000, 1_000
_SPACE = re.compile(r"[^\S\n]+")
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*")
_UNDERLINE = re.compile(r"(=+|-+)\s*")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_DATE_LINE = re.compile(r"\A\s*date:\s*(\S+)\s*(?:\n|\Z)")
_BLANK_LINES = re.compile(r"\n\s*\n")
_OWN_LINE = re.compile(r"[-*+•]\s|\d{1,3}[.)]\s|\||>|:\s|\s{4}")


def read_html(content: bytes | str, encoding: str | None = None) -> DocumentContent:
    """Blocks of a page, or of a part of one. Hidden elements are left out; tables become rows, lists lines."""
    page = parse_markup(content if isinstance(content, str) else decoded(content, encoding or _declared(content)))
    for tag in _hidden_by_style(page):
        tag["hidden"] = ""
    published = page.find("meta", attrs={"property": "article:published_time"})
    read = DocumentContent(time=time_or_none(published.get("content") if published else None))
    outline = DocumentOutline(read)
    if page.title is not None and page.find("h1") is None and page.title.get_text().strip():
        outline.put(1, page.title.get_text())
    lines = [""]
    for event, item in _walked(page):
        if event == "text":
            lines[-1] += _SPACE.sub(" ", str(item).replace("\n", " "))
        elif event == "line":
            lines.append("")
        else:
            _end_block(outline, lines)
            if event == "whole":
                _add_whole(outline, item)
    _end_block(outline, lines)
    outline.close()
    return read


def parse_markup(text: str) -> BeautifulSoup:
    """The tree of HTML or XML. Tags and comments that never end are read as text: the parser's time grows with the
    square of their number.
    """
    from bs4 import BeautifulSoup  # optional: extra `documents`

    text = _DECLARATION.sub("", text)
    before, end, after = text.rpartition("-->")
    text = before + end + after.replace("<!--", "&lt;!--")
    if text.count("<") > 2 * text.count(">") + MANY_TAGS:
        text = _UNENDED_TAG.sub("&lt;", text)
    return BeautifulSoup(text, "html.parser")


def _hidden_by_style(page: BeautifulSoup) -> Iterator[Tag]:
    """Elements that the page's own style sheets hide by a class or an id."""
    sheets = "\n".join(style.get_text() for style in page.find_all("style"))
    hiding = [selectors for selectors, rules in _RULE.findall(sheets[:MAX_STYLE_CHARS]) if _HIDING_STYLE.search(rules)]
    named = {name for selectors in hiding for name in _SIMPLE_SELECTOR.findall(selectors)}
    for tag in page.find_all(True) if named else ():
        own = {(".", name) for name in tag.get("class") or ()} | {("#", tag.get("id"))}
        if own & named:
            yield tag


def _declared(content: bytes) -> str | None:
    found = _DECLARED.search(content[:4_096])
    return (found[1] or found[2]).decode("ascii") if found else None


def _end_block(outline: DocumentOutline, lines: list[str]) -> None:
    outline.add("\n".join(" ".join(line.split()) for line in lines if line.strip()))
    lines[:] = [""]


def _add_whole(outline: DocumentOutline, tag: Tag) -> None:
    if tag.name in _HEADINGS:
        if _inline(tag):
            outline.put(int(tag.name[1]), _inline(tag))
    elif tag.name == "table":
        outline.add("\n".join(_rows(tag)))
    else:
        outline.add(_raw(tag).strip("\n"))


def _rows(table: Tag) -> list[str]:
    """Each row as `cell | cell`; a table within a cell is written in brackets. A cell over several rows is in each."""
    rows: list[list[str]] = [[]]
    spans: dict[int, int] = {}
    for event, item in _walked(table, into_tables=True):
        if event == "row":
            rows.append([])
        elif event == "cell":
            _fill_down(rows, spans)
            rows[-1].append("")
            if (count := _span(item)) > 1:
                spans[len(rows[-1]) - 1] = count - 1
        else:
            rows[-1] = rows[-1] or [""]
            inner = f" ({'; '.join(_rows(item))})" if event == "whole" and item.name == "table" else None
            rows[-1][-1] += inner or (" " + (str(item) if event == "text" else _inline(item) if item else ""))
    bare = [[" ".join(cell.split()) for cell in row] for row in rows]
    return [" | ".join(row) for row in bare if any(row)]


def _fill_down(rows: list[list[str]], spans: dict[int, int]) -> None:
    """Puts into a row the cells of rows above that reach down to where it is."""
    while (place := len(rows[-1])) in spans and place < len(rows[-2]):
        left = spans.pop(place)
        rows[-1].append(rows[-2][place])
        if left > 1:
            spans[place] = left - 1


def _span(cell: Tag) -> int:
    stated = str(cell.get("rowspan") or "1").strip()
    return min(int(stated), MAX_SPAN) if stated.isdecimal() else 1


def _inline(tag: Tag) -> str:
    return " ".join(_raw(tag, " ").split())


def _raw(tag: Tag, between: str = "") -> str:
    """All text within, as it is written; `between` stands where lines and blocks end."""
    found = ""
    for event, item in _walked(tag):
        found += str(item) if event == "text" else f"{between}{_raw(item, between) if item else ''}{between}"
    return found


def _walked(root: Tag, *, into_tables: bool = False) -> Iterator[tuple[str, Any]]:
    """What a part of a page holds, in order: ("text", words), ("line", None), ("block", None), ("whole", tag) for what
    is read as one; in tables ("row", None) and ("cell", None). Without recursion: pages nest as deep as they like.
    """
    from bs4.element import NavigableString, PreformattedString, Tag  # optional: extra `documents`

    waiting: list[tuple[Iterator[Any], str | None]] = [(iter(root.children), None)]
    while waiting:
        child = next(waiting[-1][0], None)
        if child is None:
            if (ending := waiting.pop()[1]) is not None:
                yield ending, None
        elif isinstance(child, NavigableString):
            if not isinstance(child, PreformattedString):
                yield "text", child
        elif isinstance(child, Tag) and not _is_hidden(child):
            if into_tables and child.name in ("tr", "td", "th"):
                yield ("row", None) if child.name == "tr" else ("cell", child)
                waiting.append((iter(child.children), None))
            elif child.name in _WHOLE:
                yield "whole", child
            elif (shown := _shown_value(child)) is not None:
                yield "text", shown
            elif child.name in _STRUCK:
                yield "text", f" ~~{_inline(child)}~~ "
            elif child.name in ("sup", "sub"):
                yield "text", ("^" if child.name == "sup" else "_") + _inline(child)
            else:
                ending = "line" if child.name in _LINES else "block" if child.name in _BLOCKS else None
                ending = "line" if ending == "block" and any(end == "line" for _, end in waiting[-3:]) else ending
                if ending or child.name == "br":
                    yield ending or "line", None
                waiting.append((iter(child.children), ending))


def _is_hidden(tag: Tag) -> bool:
    if tag.name in _NEVER_SHOWN or tag.has_attr("hidden"):
        return True
    if tag.name == "input" and str(tag.get("type", "")).lower() in ("hidden", "password", "file"):
        return True
    style = tag.get("style")
    return isinstance(style, str) and _HIDING_STYLE.search(style) is not None


def _shown_value(tag: Tag) -> str | None:
    """What is seen of an element without text of its own: a picture's description, what a field is filled with."""
    if tag.name == "img":
        described = " ".join(str(tag.get("alt") or "").split())
        return f" [shows: {described}] " if described else ""
    if tag.name == "input" and str(tag.get("type", "")).lower() in ("checkbox", "radio"):
        return " [x] " if tag.has_attr("checked") else " [ ] "
    if tag.name == "input":
        return f" {tag.get('value') or tag.get('placeholder') or ''} "
    return f"[x] {tag.get_text()}" if tag.name == "option" and tag.has_attr("selected") else None


def read_text(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Plain text and Markdown alike: headings of both kinds count, fenced code and lists keep their lines.

    Front matter between `---` gives the date and the title, and is kept as a block; so does a first line `date: ...`.
    """
    text = decoded(content, encoding).replace("\r\n", "\n").replace("\r", "\n")
    read = DocumentContent()
    outline = DocumentOutline(read)
    if (matter := _FRONT_MATTER.match(text)) is not None:
        _read_matter(matter[1], read, outline)
        text = text[matter.end() :]
    else:
        text = _take_date(text, read)
    _read_markdown(text, outline)
    outline.close()
    return read


def read_plain(content: bytes, encoding: str | None = None) -> DocumentContent:
    """Text without marks of headings, as paragraphs; lists keep their lines. A first line `date: 2025-03-04` counts."""
    text = decoded(content, encoding).replace("\r\n", "\n").replace("\r", "\n")
    read = DocumentContent()
    for paragraph in _BLANK_LINES.split(_take_date(text, read)):
        read.add(_joined([line for line in paragraph.split("\n") if line.strip()]))
    return read


def _take_date(text: str, read: DocumentContent) -> str:
    """The text without a first line that dates it."""
    dated = _DATE_LINE.match(text)
    if dated is None or (stated := time_or_none(dated[1])) is None:
        return text
    read.time = stated
    return text[dated.end() :]


def _read_matter(text: str, read: DocumentContent, outline: DocumentOutline) -> None:
    """Takes date and title from front matter, and keeps all that it says as a block."""
    import yaml

    try:
        told = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        told = None
    if not isinstance(told, dict):
        outline.add(text)
        return
    stated = next((told[name] for name in ("date", "published", "created", "updated") if told.get(name)), None)
    if stated is not None:
        read.time = time_or_none(str(stated))
        if read.time is None:
            read.notes.append(f"its date {str(stated)!r} is not understood; write it like 2025-03-04")
    if told.get("title"):
        outline.put(1, _plain(told["title"]))
    outline.add("; ".join(f"{name}: {_plain(value)}" for name, value in told.items() if value is not None))


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return str(value)


def _read_markdown(text: str, outline: DocumentOutline) -> None:
    lines: list[str] = []
    fence = ""

    def end_block() -> None:
        outline.add("\n".join(lines) if lines and lines[0].startswith(("```", "~~~")) else _joined(lines))
        lines.clear()

    for line in text.split("\n"):
        stripped = line.strip()
        if fence:
            lines.append(line)
            if stripped.startswith(fence):
                fence = ""
                end_block()
        elif stripped.startswith(("```", "~~~")):
            end_block()
            fence = stripped[:3]
            lines.append(stripped)
        elif (heading := _HEADING.fullmatch(stripped)) is not None:
            end_block()
            outline.put(len(heading[1]), heading[2])
        elif len(lines) == 1 and _UNDERLINE.fullmatch(stripped) and len(stripped) > 1 and not _OWN_LINE.match(lines[0]):
            outline.put(1 if stripped[0] == "=" else 2, lines.pop())
        elif stripped:
            lines.append(line.rstrip() if _OWN_LINE.match(line) else stripped)
        else:
            end_block()
    end_block()


def _joined(lines: list[str]) -> str:
    """The lines of a paragraph as one; items of lists and rows of tables stay lines."""
    text = ""
    for line in lines:
        text += ("\n" if _OWN_LINE.match(line.lstrip()) or _OWN_LINE.match(line) else " ") + line.strip()
    return text.strip()


def read_time(text: str) -> datetime:
    """Raises `InvalidRecord` unless `text` is a date like 2025-03-04, or a date and time of ISO 8601."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRecord(f"{text!r} is not a date; write it like 2025-03-04 or 2025-03-04T10:00") from None


def time_or_none(text: object) -> datetime | None:
    """A date and time of ISO 8601, or `None`."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
