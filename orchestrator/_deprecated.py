"""Old import paths: they work for one release, with a `DeprecationWarning` that names the new path.

Registered when `orchestrator` is imported, behind everything else that finds modules, so that a user's own `memory.py` always wins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

REMOVED_IN = "0.3"
PACKAGES = ("router", "memory", "verifiers")

# Old module -> new module. Modules of the three packages are written with the name that they had: `memory.coarse`.
MODULES: dict[str, str] = {}

# Old module -> old name -> "new module:new name", for names that did not keep both their name and their file.
NAMES: dict[str, dict[str, str]] = {}


def install() -> None:
    """Makes old paths importable in this process."""
    if not any(isinstance(finder, _OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())


def replace_package(old: str) -> None:
    """Puts `orchestrator.<old>` in the place of the package `old`, which a checkout on the path offers under its old name."""
    spec = _OldPaths().find_spec(old)
    assert spec is not None
    sys.modules[old] = module = _OldModule(old)
    module.__spec__, module.__path__ = spec, []
    _warn(old, new_module(old))


def old_names(module: str) -> Callable[[str], Any]:
    """A module's `__getattr__` that resolves the names which the module had before it became a package."""

    def get(name: str) -> Any:
        return _resolve(module, name)

    return get


def new_module(old: str) -> str:
    """The path of the module that stood at `old`; its own if it has not moved."""
    if old in MODULES:
        return MODULES[old]
    return f"orchestrator.{old}" if old.partition(".")[0] in PACKAGES else old


def _resolve(module: str, name: str) -> Any:
    from importlib import import_module

    moved = NAMES.get(module, {}).get(name)
    if moved is not None:
        _warn(f"{module}.{name}", moved.replace(":", "."))
        home, _, name = moved.partition(":")
        return getattr(import_module(home), name)
    home = new_module(module)
    if home == module:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def _warn(old: str, new: str) -> None:
    import warnings

    frame = sys._getframe(1)
    while frame.f_back is not None and _only_imports(frame.f_code.co_filename, frame.f_globals.get("__name__")):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    message = f"{old} is now {new}; the old name goes in orchestrator {REMOVED_IN}"
    warnings.warn_explicit(message, DeprecationWarning, frame.f_code.co_filename, frame.f_lineno, registry=registry)


def _only_imports(path: str, module: object) -> bool:
    """Whether a frame is the import system, this file, or a package that is being loaded by its old name: not who used the old name."""
    return path == __file__ or path.startswith("<frozen importlib") or module in PACKAGES


class _OldModule(ModuleType):
    """Stands at an old path and hands out what is at the new one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        return _resolve(self.__name__, name)

    def __dir__(self) -> list[str]:
        from importlib import import_module

        return sorted({*NAMES.get(self.__name__, {}), *dir(import_module(new_module(self.__name__)))})


class _OldPaths:
    """Finds and loads what has moved (`importlib.abc.MetaPathFinder` and `Loader`)."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in PACKAGES and top != "orchestrator":
            return None
        new = new_module(name)
        if new == name:
            return None
        from importlib.util import find_spec

        found = find_spec(new)
        if found is None:
            return None
        package = found.submodule_search_locations is not None
        return ModuleSpec(name, self, origin=found.origin, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, new_module(module.__name__))

    def get_code(self, name: str) -> CodeType | None:
        """For `python -m old.path`, which runs the code of the new path."""
        from importlib.util import find_spec

        spec = find_spec(new_module(name))
        return spec.loader.get_code(spec.name) if spec is not None and spec.loader is not None else None  # type: ignore[attr-defined]
