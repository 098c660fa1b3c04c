"""The names that can be used at one place of a file: their types, and why others cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestrator.pipeline.expressions.type_inference import Unknown, assumed, suggestion
from orchestrator.pipeline.expressions.types import ANY, ValueType


class NameScope:
    """The names that can be used at one place: their types, and why others cannot."""

    def __init__(
        self, types: Mapping[str, ValueType], *, hidden: Mapping[str, str] | None = None, loose: Collection[str] = ()
    ) -> None:
        self.types = dict(types)
        self._hidden = dict(hidden or {})
        self._loose = set(loose)

    def look_up(self, name: str) -> ValueType:
        """The type of a name. Raises `LookupError` with a suggestion on one that is not there."""
        if name in self.types:
            return self.types[name]
        if name in self._loose:
            return ANY  # what is wrong with it is told elsewhere
        if name in self._hidden:
            outer = self._hidden[name]
            raise Unknown(
                "E207",
                f"'{name}' is a step inside of '{outer}': it may run never, or many times",
                f"refer to ${{{outer}}}",
            )
        raise Unknown("E202", f"there is no '{name}'", suggestion(name, self.types))

    def within(
        self, types: Mapping[str, ValueType], *, hidden: Mapping[str, str] | None = None, loose: Collection[str] = ()
    ) -> NameScope:
        """The scope with further names, for steps within a step."""
        return NameScope(
            {**self.types, **types}, hidden={**self._hidden, **(hidden or {})}, loose={*self._loose, *loose}
        )

    def has(self, name: str) -> bool:
        """Whether the name stands for something already."""
        return name in self.types or name in self._loose

    def only(self, name: str) -> NameScope:
        """Where nothing but one name can be used."""
        return NameScope({name: self.types[name]})

    def assuming(self, guards: set[str]) -> NameScope:
        """The scope where conditions hold: what they guard is not null."""
        return NameScope(assumed(self.types, guards), hidden=self._hidden, loose=self._loose) if guards else self
