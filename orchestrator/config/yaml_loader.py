"""YAML 1.2 (core schema) with positions.

Every value knows its line and column, duplicate keys are errors, anchors are capped, `<<` merges.

Built on PyYAML's C parser. PyYAML's own loader follows YAML 1.1: it turns `no` into false and `012` into 10, and keeps
the last of two keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject

MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_BYTES = 10_000_000
MAX_SHOWN = 120
TOO_DEEP, FLATTER = f"nested deeper than {MAX_DEPTH} levels", "Keep the document flatter"
_NESTING = re.compile(
    r"""'[^']*'|"(?:\\.|[^"\\])*"|(?:^|\s)\#.*$|(?P<open>[\[{])|(?P<close>[\]}])|^ *(?P<dashes>(?:- +){2,})""",
    re.MULTILINE,
)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
Path = tuple[str | int, ...]


_SECRET = re.compile(
    r"""(?i)((?:key|secret|token|password|authorization)["']?\s*:\s*)"""
    r"""(?!["']?(?:env:|file:|command:|\$\{|[\d.]+["']?\s*[,}]))"""
    r"""("[^"]{6,}"|'[^']{6,}'|[^\s,}{\["']{6,})"""
)


def without_secrets(line: str) -> str:
    """A line of a file as it may be shown: what stands where a secret is stated is made unreadable, in its length.

    Messages go to terminals, logs and bug reports; a key that was written into the file must not.
    """
    return _SECRET.sub(lambda found: found[1] + "*" * len(found[2]), line)


@dataclass(frozen=True, slots=True)
class Located:
    """A parsed document.

    Plain values, and for each path in it the (line, column) of its value and of its key, counted from 1.
    """

    value: Any
    name: str
    lines: tuple[str, ...]
    places: dict[Path, tuple[int, int]]
    key_places: dict[Path, tuple[int, int]]
    repeated: tuple[tuple[Path, tuple[int, int]], ...] = ()
    """Keys that stand a second time, and where."""

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Where `path` stands, or the nearest of its parents that exists."""
        places = self.key_places if key else self.places
        for length in range(len(path), -1, -1):
            if path[:length] in places:
                return places[path[:length]]
        return (1, 1)

    def describe(self, path: Path, problem: str, *, key: bool = False) -> str:
        """`file:line:column: problem`, with the source line and a caret under it."""
        line, column = self.place(path, key=key)
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        cut = max(column - 1 - MAX_SHOWN // 2, 0) if len(source) > MAX_SHOWN else 0
        shown = without_secrets(source)[cut : cut + MAX_SHOWN]
        return f"{self.name}:{line}:{column}: {problem}\n  {line:4d} | {shown}\n       | {' ' * (column - 1 - cut)}^"


@dataclass(frozen=True, slots=True)
class Unlocated:
    """Plain values that stand in no file: a mistake is told with its path."""

    value: Any

    def describe(self, path: Path, problem: str, *, key: bool = False) -> str:
        """`config.models.fast: problem`."""
        within = path[:-1] if key else path
        return f"{'.'.join(map(str, ('config', *within)))}: {problem}"


class YamlProblem(ConfigError):
    """The document cannot be read; `place` is the (line, column) where, `problem` what it is.

    `is_size`: it is too large or too deep.
    """

    def __init__(
        self, name: str, place: tuple[int, int] | None, problem: str, *, remedy: str, is_size: bool = False
    ) -> None:
        super().__init__(f"{name}:{place[0]}:{place[1]}: {problem}" if place else f"{name}: {problem}", remedy=remedy)
        self.place, self.problem, self.is_size = place or (1, 1), problem, is_size


def load_located(text: str, name: str = "<yaml>", *, may_repeat: bool = False, most_chars: int = MAX_BYTES) -> Located:
    """Parses one YAML document.

    Raises `YamlProblem` (a `ConfigError`) with file:line:column on a syntax error or a document too large, and on a key
    that stands a second time, unless `may_repeat`: then the first one counts, and `repeated` tells of the others.
    """
    import yaml  # heavy

    if len(text) > most_chars:
        raise YamlProblem(
            name,
            None,
            f"{len(text):,} characters are too many for a configuration",
            remedy=f"Keep it under {most_chars:,}",
            is_size=True,
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        _check_depth(text, name)  # what a parser says of a document that is too deep differs from version to version
        if not isinstance(error, yaml.YAMLError):
            raise YamlProblem(name, None, f"not a YAML document: {error}", remedy="Check the file's encoding") from None
        mark = getattr(error, "problem_mark", None)
        where = (mark.line + 1, mark.column + 1) if mark else None
        raise YamlProblem(
            name, where, str(getattr(error, "problem", None) or error), remedy="Mend the YAML syntax there"
        ) from None
    builder = _Builder(name)
    value = builder.build(root, (), 0) if root is not None else None
    found = Located(value, name, tuple(text.splitlines()), builder.places, builder.key_places, tuple(builder.repeated))
    if found.repeated and not may_repeat:
        path, place = found.repeated[0]
        first = found.key_places[path][0]
        raise YamlProblem(
            name,
            place,
            f"the key {path[-1]!r} stands here a second time (first on line {first})",
            remedy="Remove or rename it",
        )
    return found


def _check_depth(text: str, name: str) -> None:
    """Raises `YamlProblem` where a document that cannot be composed becomes deeper than `MAX_DEPTH`.

    By brackets, or by dashes on one line.

    Parsers refuse depth, too, each with its own words and at its own place (PyYAML since 6.0.4), before they tell of
    what lies above it.
    """
    depth = 0
    for found in _NESTING.finditer(text):
        if found["open"]:
            depth += 1
        elif found["close"]:
            depth -= 1
        dashes = (found["dashes"] or "").count("-")
        if max(depth, dashes) - 1 > MAX_DEPTH:  # the outermost level has the depth 0
            place = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
            raise YamlProblem(name, place, TOO_DEEP, remedy=FLATTER, is_size=True)


class _Builder:
    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = 0
        self.places: dict[Path, tuple[int, int]] = {}
        self.key_places: dict[Path, tuple[int, int]] = {}
        self.repeated: list[tuple[Path, tuple[int, int]]] = []

    def build(self, node: Any, path: Path, depth: int) -> Any:
        self._nodes += 1
        if depth > MAX_DEPTH:
            self._fail(node, TOO_DEEP, remedy=FLATTER, is_size=True)
        if self._nodes > MAX_NODES:
            self._fail(
                node,
                "the document grows too large (anchors that multiply?)",
                remedy=f"Keep it under {MAX_NODES:,} values",
                is_size=True,
            )
        self.places[path] = _mark(node)
        if node.id == "scalar":
            return self._scalar(node)
        if node.id == "sequence":
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        out: dict[str, Any] = {}
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.id != "scalar":
                self._fail(key_node, "a key must be plain text")
            key = str(key_node.value)
            if key == "<<" and not key_node.style:
                merged += value_node.value if value_node.id == "sequence" else [value_node]
            elif key in out:
                self.repeated.append(((*path, key), _mark(key_node)))
            else:
                self.key_places[(*path, key)] = _mark(key_node)
                out[key] = self.build(value_node, (*path, key), depth + 1)
        for mapping in merged:
            self._merge(mapping, path, depth, out)
        return out

    def _merge(self, mapping: Any, path: Path, depth: int, into: JsonObject) -> None:
        """`<<: *anchor`: what the mapping says of keys that are not there yet."""
        if mapping.id != "mapping":
            self._fail(mapping, "<< merges mappings only")
        for key_node, value_node in mapping.value:
            key = str(key_node.value)
            if key not in into and key_node.id == "scalar":
                self.key_places[(*path, key)] = _mark(key_node)
                into[key] = self.build(value_node, (*path, key), depth + 1)

    def _scalar(self, node: Any) -> Any:
        text = str(node.value)
        if node.style or node.tag == "!":  # quoted or a block; plain is None or "", depending on the parser
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            # Core schema: 012 is twelve, 0o14 is octal.
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) < 400 else text
        if _FLOAT.fullmatch(text):
            return float(text)
        return text

    def _fail(self, node: Any, problem: str, *, remedy: str = "Remove or rename it", is_size: bool = False) -> None:
        raise YamlProblem(self._name, _mark(node), problem, remedy=remedy, is_size=is_size)


def _mark(node: Any) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
