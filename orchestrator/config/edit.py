"""Changes values in the text of a YAML file, and leaves all else as it stands: comments, order, spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonValue

if TYPE_CHECKING:
    from yaml import Mark

PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z_][\w./-]*", re.IGNORECASE)


def edit_yaml(text: str, changes: Mapping[str, JsonValue]) -> str:
    """`text` with new values by their dotted paths; `None` takes the key out, with what belongs to it.

    A path of one key may be new: it is added at the end. Raises `ConfigError` on a longer path whose parent is not
    there, and on what is written in one line with other keys (`{a: 1, b: 2}`).
    """
    for path, value in changes.items():
        text = _edited(text, path.split("."), value)
    return text


def _edited(text: str, path: list[str], value: JsonValue) -> str:
    import yaml  # heavy

    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    key_node: Any = None
    for depth, name in enumerate(path):
        pair = next((pair for pair in getattr(node, "value", ()) if _name(pair) == name), None)
        if pair is None:
            if value is None:
                return text
            if depth < len(path) - 1 or depth > 1:
                missing = ".".join(path[: depth + 1])
                raise ConfigError(f"{missing} is not in the file", remedy="Write it there first")
            return _added(text, None if depth == 0 else node.value[0][0].start_mark, path[depth], value)
        if node.flow_style and value is None:
            raise ConfigError(f"{'.'.join(path)} stands in one line with others", remedy="Give it a line of its own")
        key_node, node = pair
    if value is not None:
        ends = "" if node.id == "scalar" else "\n"  # a block ends where the next key begins
        return f"{text[: node.start_mark.index]}{_shown(value)}{ends}{text[node.end_mark.index :]}"
    start = text.rfind("\n", 0, key_node.start_mark.index) + 1
    end = text.find("\n", max(node.end_mark.index - 1, key_node.end_mark.index))
    return text[:start] + ("" if end < 0 else text[end + 1 :])


def _name(pair: tuple[Any, Any]) -> str:
    return str(pair[0].value)


def _added(text: str, before: Mark | None, name: str, value: JsonValue) -> str:
    """The text with a new key before another one, or at the end."""
    if before is None:
        return f"{text.rstrip()}\n{name}: {_shown(value)}\n"
    return f"{text[: before.index]}{name}: {_shown(value)}\n{' ' * before.column}{text[before.index :]}"


def _shown(value: JsonValue) -> str:
    """A value as YAML: plain text where it can be nothing else."""
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return PAIR.sub(_high_character, json.dumps(value))


def _high_character(pair: re.Match[str]) -> str:
    """A character that JSON writes as two halves, as YAML writes it."""
    character = json.loads(f'"{pair[0]}"')
    return f"\\U{ord(character):08x}"
