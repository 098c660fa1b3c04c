r"""LaTeX as models write it, made plain.

`\frac12` becomes (1)/(2), `1{,}234` becomes 1234, `90^\circ` becomes 90°, `\text{ km}` becomes km.

Only what does not change the value is taken away. What is no mathematics stays as it is.
"""

from __future__ import annotations

import re

from orchestrator.verifiers.answers.pattern import Pattern

MAX_DEPTH = 12
MAX_CHARS = 4_000
_WRAPPERS = Pattern(
    r"\\(?:text(?:bf|it|rm|tt|sf|normal|style|up)?|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|operatorname|mbox"
    r"|hbox|boldsymbol|bm|displaystyle"
    r"|underline|emph|ensuremath|bf|rm|it)\*?\s?(?=\{)"
)
_SPACING = Pattern(
    r"\\(?:[,;:! ]|(?:quad|qquad|left|right|big|Big|bigg|Bigg|displaystyle|limits|hspace\{[^{}]*\}"
    r"|phantom\{[^{}]*\})(?![a-zA-Z]))"
)
_BRACED_SEPARATOR = Pattern(r"(?<=\d)\{\s?([,.])\s?\}(?=\d)")
_DIGIT_SPACE = Pattern(r"(?<=\d)\\[,;:! ](?=\d{3})")
_SHORT_FRACTION = Pattern(r"\\[dtc]?frac\s?(\d|\{)")
_SIGNS = {
    r"\times": "×", r"\cdot": "·", r"\div": "/", r"\pm": "±", r"\mp": "∓", r"\leq": "≤", r"\le": "≤", r"\geq": "≥",
    r"\ge": "≥", r"\neq": "≠", r"\ne": "≠", r"\lt": "<", r"\gt": ">", r"\infty": "∞", r"\pi": "π", r"\circ": "°",
    r"\degree": "°", r"\cup": "∪", r"\cap": "∩", r"\in": "∈", r"\emptyset": "∅", r"\varnothing": "∅", r"\%": "%",
    r"\$": "$", r"\#": "#", r"\&": "&", r"\_": "_", r"\{": "{", r"\}": "}", r"\lbrace": "{", r"\rbrace": "}",
    r"\approx": "≈", r"\equiv": "≡", r"\ldots": "…", r"\dots": "…", r"\cdots": "…", r"\to": "→", r"\rightarrow": "→",
    r"\Rightarrow": "→", r"\langle": "⟨", r"\rangle": "⟩", r"\prime": "'", r"\lfloor": "⌊", r"\rfloor": "⌋",
    r"\lceil": "⌈", r"\rceil": "⌉", r"\mid": "|", r"\vert": "", r"\colon": ":", r"\euro": "€", r"\pounds": "£",
}  # fmt: skip
_SIGN = Pattern(
    "|".join(
        sorted((re.escape(s) + ("(?![a-zA-Z])" if s[-1].isalpha() else "") for s in _SIGNS), key=len, reverse=True)
    )
)
_NEGATIVE_SPACE = Pattern(r"\\!\s*")
_RECURRING = Pattern(
    r"(?<![\w.])(?P<before>\d{1,20}\.\d{0,20})(?:\\(?:overline|bar|dot)\{(?P<repeated>\d{1,20})\}"
    r"|\((?P<held>\d{1,20})\)(?![\w(]))"
)
_NUMBER = Pattern(r"\s*-?\d[\d.,]*\s*|\s*[a-zA-Z]\s*")
_MATHEMATICS = Pattern(r"[\\^_={}<>]|\d\s?[-+*/]\s?\d")
_WORD = Pattern(r"(?<![\\{A-Za-z])[A-Za-z]{3,}")
_ALIGNED = Pattern(r"\\(?:begin|end)\{align(?:ed)?\*?\}")
_MATRIX = Pattern(r"\\begin\{[pbvBV]?(?:small)?matrix\}(.*?)\\end\{[pbvBV]?(?:small)?matrix\}", re.DOTALL)
_DELIMITED = Pattern(r"^\s*(?:\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\])(?P<rest>[\s.,;:!]*)$", re.DOTALL)


def plain_of_latex(text: str) -> str:
    """`text` without LaTeX's clothes. Texts of more than 4,000 characters are given back as they are."""
    if len(text) > MAX_CHARS or (
        "\\" not in text and "$" not in text and "{" not in text and ".(" not in text and not _RECURRING.search(text)
    ):
        return text
    if delimited := _DELIMITED.match(text):
        text = next(part for part in delimited.groups()[:4] if part is not None) + delimited["rest"].rstrip()
    elif text.count("$") >= 2 and "\\$" not in text and text.count("$") % 2 == 0:
        text = _without_dollars(text)
    text = (
        text.replace("\\(", " ").replace("\\)", " ").replace("\\[", " ").replace("\\]", " ")
        if "\\(" in text or "\\[" in text
        else text
    )
    text = _RECURRING.sub(_exact, _NEGATIVE_SPACE.sub("", _BRACED_SEPARATOR.sub(r"\1", text)))
    text = re.sub(r"_\{(\w)\}", r"_\1", text)
    if "\\" not in text:
        return text.strip()
    text = _DIGIT_SPACE.sub("", text)
    text = _ALIGNED.sub("", text).replace("&", "").replace("\\\\", ";") if "\\begin{align" in text else text
    text = _MATRIX.sub(lambda found: _matrix(found[1]), text)
    text = _unwrapped(text)
    text = _without_frac_and_root(
        _SPACING.sub(lambda found: "" if "left" in found[0] or "right" in found[0] else " ", text)
    )
    text = _SIGN.sub(lambda found: _SIGNS[found[0]], text)
    text = re.sub(r"\^\s?(?:\{\s?°\s?\}|°)", "°", text)
    return re.sub(r"\\(?=[a-zA-Z])", "", text).replace("~", " ").strip()


def _without_dollars(text: str) -> str:
    """$x = 1$ and $72$ without their signs, if what stands between them is mathematics and not an amount."""
    inside = text.split("$")[1::2]
    is_mathematics = all(
        _NUMBER.fullmatch(part) or (_MATHEMATICS.search(part) and not _WORD.search(part)) for part in inside
    )
    return text.replace("$", "") if is_mathematics else text


def _exact(found: re.Match[str]) -> str:
    r"""0.1\overline{6} as the fraction 15/90."""
    before, repeated = found["before"], found["repeated"] or found["held"]
    whole, _, places = before.partition(".")
    bottom = 10 ** len(places) * (10 ** len(repeated) - 1)
    top = int(whole + places + repeated) - int(whole + places)
    return f"{top}/{bottom}"


def braced(text: str, start: int) -> int | None:
    """Where the group that opens with `{` at `start` closes (the index of its `}`), or `None`."""
    depth = 0
    for position in range(start, min(len(text), start + MAX_CHARS)):
        character = text[position]
        if character == "\\":
            continue
        if character in "{}" and not (position and text[position - 1] == "\\"):
            depth += 1 if character == "{" else -1
            if depth == 0:
                return position
    return None


def _unwrapped(text: str) -> str:
    r"""\text{ km} and \mathbf{x} stand for what is in them."""
    for _ in range(MAX_DEPTH):
        found = _WRAPPERS.search(text)
        if found is None:
            break
        close = braced(text, found.end())
        if close is None:
            break
        text = text[: found.start()] + text[found.end() + 1 : close] + text[close + 1 :]
    return text


def _without_frac_and_root(text: str) -> str:
    for _ in range(60):
        found = re.search(r"\\(?:[dtc]?frac|binom|dbinom|tbinom|sqrt)(?![a-zA-Z])\s?", text)
        if found is None:
            break
        is_root = "sqrt" in found[0]
        at, degree = found.end(), ""
        if is_root and text[at : at + 1] == "[":
            close = text.find("]", at)
            if close < 0:
                break
            degree, at = text[at + 1 : close], close + 1
        first, at = _argument(text, at)
        if is_root:
            new = f"root({degree},{first})" if degree else f"sqrt({first})"
        else:
            second, at = _argument(text, at)
            new = f"binom({first},{second})" if "binom" in found[0] else f"({first})/({second})"
        before = text[: found.start()]
        if not is_root and "binom" not in found[0]:
            is_mixed = (
                bool(re.search(r"(?<![\w.^/)])\d+\s?$", before))
                and first.strip().isdigit()
                and second.strip().isdigit()
            )
            new = (
                f" {first.strip()}/{second.strip()}"
                if is_mixed
                else _shortened(first, second, before, text[at : at + 1])
            )
        text = before + new + text[at:]
    return text


def _shortened(first: str, second: str, before: str, after: str) -> str:
    """A fraction of two integers that stands alone is written as people do: 1/2."""
    alone = (
        first.strip().lstrip("-").isdigit()
        and second.strip().isdigit()
        and not re.search(r"[\w)}°^]\s?$", before)
        and after not in ("^", "!")
    )
    return (
        f"{first.strip()}/{second.strip()}"
        if alone and not after.strip().isalnum() and after not in ("(", "\\", "{")
        else f"(({first})/({second}))"
    )


def _argument(text: str, at: int) -> tuple[str, int]:
    """A group in braces, or one sign."""
    while at < len(text) and text[at] == " ":
        at += 1
    if text[at : at + 1] == "{":
        close = braced(text, at)
        if close is not None:
            return text[at + 1 : close], close + 1
    if command := re.match(r"\\[a-zA-Z]+", text[at:]):
        return command[0], at + command.end()
    return text[at : at + 1], at + 1


def _matrix(body: str) -> str:
    rows = [[cell.strip() for cell in row.split("&")] for row in re.split(r"\\\\", body) if row.strip()]
    inner = ",".join("(" + ",".join(row) + ")" if len(row) > 1 else row[0] for row in rows)
    return f"({inner})"
