"""The files of a pipeline: its own, those that it includes, and the prompts and schemas that it names.

None lies outside of the project.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.config.yaml_loader import Located, YamlProblem, load_located
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.language.diagnostics import Diagnostic

MAX_CHARS = 1_000_000
MAX_FILE_BYTES = 4_000_000
MAX_INCLUDES = 32
Where = tuple[str | int, ...]
_MAPPINGS = ("env", "inputs", "tools", "steps")
_SHARED = (*_MAPPINGS, "tests", "include", "version")
_HINTS = {  # what a mistake of YAML usually is, by what its parser tells
    "mapping values are not allowed": "put the text in quotes: it holds ': '",
    "expected ',' or '}'": "put texts in { } in quotes where they hold ${...}, a comma or a brace",
    "expected ',' or ']'": "put texts in [ ] in quotes where they hold ${...}, a comma or a bracket",
    "did not find expected key": "indent as the lines around it",
    "cannot start any token": "put the text in quotes, and indent with spaces, not tabs",
}


class Sources:
    """Reads a pipeline's file with what it includes, as one document whose every value knows its file and place.

    Collects what is wrong.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        self.root = (root or _root_of(path)).resolve()
        self.problems: list[Diagnostic] = []
        self.value: dict[str, Any] = {}
        self.read: list[Path] = []
        self._hash = hashlib.sha256()
        self._owners: dict[tuple[str, str | int], tuple[Located, Where]] = {}
        self._files: dict[Path, Located] = {}
        self._main: Located | None = None

    @property
    def digest(self) -> str:
        """Of everything that was read: two pipelines with the same digest do the same."""
        return self._hash.hexdigest()

    def add(self, digest: str, files: Iterable[Path]) -> None:
        """Counts another pipeline among what was read."""
        self._hash.update(digest.encode())
        self.read += files

    def load(self) -> bool:
        """Reads the files; false if there is nothing to check."""
        try:
            text = self._text(self.path)
        except OSError as error:
            self._plain(
                str(self.path), "E100", f"the file cannot be read: {error.strerror or error}", hint=_beside(self.path)
            )
            return False
        except UnicodeDecodeError as error:
            self._plain(str(self.path), "E100", f"the file is not UTF-8 text (byte {error.start})")
            return False
        located = self._located(text, str(self.path), self.path)
        if located is None:
            return False
        self._main = located
        self.value = dict(located.value)
        for section in _SHARED:
            self._own(located, section, located.value.get(section), ())
        self._include(located, located.value.get("include"))
        return True

    def _include(self, located: Located, names: Any) -> None:
        if not isinstance(names, list):
            return  # what it should be is said when the document is checked
        for index, name in enumerate(names):
            where: Where = ("include", index)
            if len(self._files) > MAX_INCLUDES:
                self._at(located, where, "E103", f"a pipeline has at most {MAX_INCLUDES} files")
                return
            path = self._inside(located, where, name)
            if path is None or path.resolve() in self._files:
                continue
            text = self._contents(located, where, path, str(name))
            if text is None:
                continue
            part = self._located(text, self._shown(path), path)
            if part is None:
                continue
            self._merge(part)
            self._include(part, part.value.get("include"))

    def _merge(self, part: Located) -> None:
        for section, stated in part.value.items():
            if section not in _SHARED:
                told = f"an included file has no '{section}'"
                self._at(part, (section,), "E104", told, suggestion(section, _SHARED), key=True)
            elif section in _MAPPINGS and isinstance(stated, dict):
                mine = self.value.setdefault(section, {})
                if not isinstance(mine, dict):
                    continue
                for name in stated:
                    if name in mine:
                        owner, at = self._owners.get((section, name), (part, (section, name)))
                        line = owner.place(at, key=True)[0]
                        told = f"'{name}' is also in {owner.name}:{line}"
                        self._at(part, (section, name), "E111", told, "rename one of them, or remove it", key=True)
                self.value[section] = {**stated, **mine}
                self._own(part, section, {name: each for name, each in stated.items() if name not in mine}, ())
            elif section == "tests" and isinstance(stated, list):
                before = self.value.get("tests") or []
                self.value["tests"] = [*before, *stated]
                for index in range(len(stated)):
                    self._owners[("tests", len(before) + index)] = (part, ("tests", index))

    def _own(self, located: Located, section: str, stated: Any, _: Where) -> None:
        keys: Any = stated if isinstance(stated, dict) else range(len(stated)) if isinstance(stated, list) else ()
        for key in keys:
            self._owners[(section, key)] = (located, (section, key))

    # Places

    def located(self, where: Where) -> tuple[Located, Where]:
        """The file that a path of the whole document stands in, and its path there."""
        assert self._main is not None
        if len(where) >= 2 and (where[0], where[1]) in self._owners:
            located, begin = self._owners[(str(where[0]), where[1])]
            return located, (*begin, *where[2:])
        return self._main, where

    def problem(self, where: Where, code: str, message: str, hint: str = "", *, key: bool = False) -> None:
        """Tells of a mistake at a place in the file."""
        located, path = self.located(where)
        self._at(located, path, code, message, hint, key=key)

    def problem_in(
        self, where: Where, text: str, start: int, end: int, code: str, message: str, hint: str = ""
    ) -> None:
        """A mistake at some characters of the text that is the value at `where`."""
        located, path = self.located(where)
        line, column = _find(located, path, text, start)
        self._add(located, line, column, code, message, hint, max(end - start, 1))

    def _at(self, located: Located, path: Where, code: str, message: str, hint: str = "", *, key: bool = False) -> None:
        line, column = located.place(path, key=key)
        length = len(str(path[-1])) if key and path else _width(located, line, column)
        self._add(located, line, column, code, message, hint, length)

    def _add(self, located: Located, line: int, column: int, code: str, message: str, hint: str, length: int) -> None:
        source = located.lines[line - 1] if line <= len(located.lines) else ""
        self.problems.append(Diagnostic(located.name, line, column, code, message, hint, source, length))

    def _plain(
        self, name: str, code: str, message: str, line: int = 1, column: int = 1, source: str = "", hint: str = ""
    ) -> None:
        self.problems.append(Diagnostic(name, line, column, code, message, hint, source))

    # Files

    def file(self, where: Where, name: str) -> tuple[Path, str] | None:
        """A file that the value at `where` names: its path and text, or `None` after telling what is wrong."""
        located, path = self.located(where)
        found = self._inside(located, path, name)
        if found is None:
            return None
        text = self._contents(located, path, found, name)
        return None if text is None else (found, text)

    def path_of(self, where: Where, name: str) -> Path | None:
        """The path of a file that is named at a place; `None` after telling that it lies outside."""
        located, path = self.located(where)
        return self._inside(located, path, name)

    def in_file(self, path: Path, text: str, line: int, code: str, message: str, hint: str = "") -> None:
        """A mistake in a file that the pipeline names."""
        lines = text.splitlines()
        source = lines[line - 1] if 0 < line <= len(lines) else ""
        self._plain(self._shown(path), code, message, line, len(source) - len(source.lstrip()) + 1, source, hint)

    def _inside(self, located: Located, where: Where, name: Any) -> Path | None:
        if not isinstance(name, str) or not name or "\x00" in name:
            self._at(located, where, "E106", "the name of a file is expected here")
            return None
        path = self.path.parent.absolute() / name
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError):
            resolved = Path("/")
        if not resolved.is_relative_to(self.root):
            self._at(located, where, "E112", f"{name!r} lies outside of the project ({self.root})", "move it there")
            return None
        return path

    def _contents(self, located: Located, where: Where, path: Path, name: str) -> str | None:
        try:
            return self._text(path)
        except UnicodeDecodeError as error:
            self._at(located, where, "E100", f"{name} is not UTF-8 text (byte {error.start})")
        except OSError as error:
            self._at(located, where, "E100", f"{name} cannot be read: {error.strerror or error}", _beside(path))
        return None

    def _text(self, path: Path) -> str:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise OSError(27, f"it has more than {MAX_FILE_BYTES:,} bytes")
        text = raw.decode("utf-8")
        self._hash.update(len(raw).to_bytes(8) + raw)
        self.read.append(path)
        return text

    def _located(self, text: str, name: str, path: Path) -> Located | None:
        try:
            found = load_located(text, name, may_repeat=True, most_chars=MAX_CHARS)
        except YamlProblem as error:
            lines = text.splitlines()
            line, column = error.place
            source = lines[line - 1] if line <= len(lines) else ""
            hint = "indent with spaces" if "\t" in source[:column] else _hint(error.problem)
            self._plain(name, "E103" if error.is_size else "E101", error.problem, line, column, source, hint)
            return None
        self._files[path.resolve()] = found
        for repeated, (line, column) in found.repeated:
            first = found.key_places[repeated][0]
            told = f"the key '{repeated[-1]}' stands here a second time (first on line {first})"
            self._add(found, line, column, "E102", told, "remove or rename it", len(str(repeated[-1])))
        if not isinstance(found.value, dict):
            self._plain(name, "E101", "the file is empty or not a mapping", hint="begin with `version: 1`")
            return None
        return found

    def _shown(self, path: Path) -> str:
        """A path as one would type it."""
        try:
            return str(path.resolve().relative_to(Path.cwd()))
        except ValueError:
            return str(path)


def _beside(path: Path) -> str:
    """What stands where a file was looked for."""
    try:
        there = sorted(each for each in path.parent.iterdir() if each.is_file() and each.suffix == path.suffix)
    except OSError:
        return f"there is no folder {path.parent}"
    close = difflib.get_close_matches(path.stem, [each.stem for each in there], n=1, cutoff=0.6)
    return f"did you mean '{close[0]}{path.suffix}'?" if close else suggestion("", [each.name for each in there])


def _root_of(path: Path) -> Path:
    """The project: the folder in which one works, if the file lies in it, else the file's own."""
    here = Path.cwd().resolve()
    return here if path.resolve().is_relative_to(here) and here != Path(here.anchor) else path.resolve().parent


def _width(located: Located, line: int, column: int) -> int:
    """How long the value is that begins there, as far as its line tells."""
    rest = located.lines[line - 1][column - 1 :] if line <= len(located.lines) else ""
    if rest[:1] in ("'", '"'):
        closing = rest.find(rest[0], 1)
        return closing + 1 if closing > 0 else len(rest)
    for index, character in enumerate(rest):
        if character in ",}]#" or rest.startswith(": ", index):
            return max(len(rest[:index].rstrip()), 1)
    return max(len(rest.rstrip()), 1)


def _find(located: Located, path: Where, text: str, start: int) -> tuple[int, int]:
    """Where the character `start` of a text stands in its file.

    The expression around it is looked for from the beginning of the value.
    """
    line, column = located.place(path)
    opening = max(text.rfind("${", 0, start + 1), 0)
    closing = text.find("\n", opening)
    piece = text[opening : closing if closing >= 0 else len(text)]
    earlier = text[:opening].count(piece) if piece else 0
    at_line, at_column = line, column - 1
    while piece and at_line <= len(located.lines):
        found = located.lines[at_line - 1].find(piece, at_column)
        if found >= 0:
            if earlier == 0:
                return at_line, found + 1 + start - opening
            earlier -= 1
            at_column = found + 1
        else:
            at_line, at_column = at_line + 1, 0
    return line, column


def _hint(problem: str) -> str:
    """What a mistake of YAML usually is, since its parser tells what it expected."""
    return next((hint for part, hint in _HINTS.items() if part in problem), "")
