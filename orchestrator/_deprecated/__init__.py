"""Old import paths: they work for one release, with a `DeprecationWarning` that names the new path.

Registered when `orchestrator` is imported, behind everything else that finds modules, so that a user's own `memory.py`
always wins.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any

from orchestrator._deprecated.moved import MODULES, NAMES

REMOVED_IN = "0.3"
FACES = ("orchestrator", *(f"orchestrator.{each}" for each in ("pipeline", "memory", "router", "verifiers", "search")))
PACKAGES = ("router", "memory", "verifiers")


def install() -> None:
    """Makes old paths importable in this process, and old names in modules that stayed where they were."""
    if not any(isinstance(finder, _OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())
        sys.meta_path.insert(0, _OldNames())


def replace_package(old: str) -> None:
    """Puts `orchestrator.<old>` in the place of the package `old`, which a checkout on the path still offers."""
    spec = _OldPaths().find_spec(old)
    assert spec is not None
    sys.modules[old] = module = _OldModule(old)
    module.__spec__, module.__path__ = spec, []
    _warn(old, new_module(old))


def new_module(old: str) -> str:
    """The path of the module that stood at `old`; its own if it has not moved."""
    if old in MODULES:
        return MODULES[old]
    return f"orchestrator.{old}" if old.partition(".")[0] in PACKAGES else old


def _resolve(module: str, name: str) -> Any:
    from importlib import import_module

    moved = NAMES.get(module, {}).get(name)
    if moved is not None:
        home, _, new_name = moved.partition(":")
        found = getattr(import_module(home), new_name)
        _warn(f"{module}.{name}", f"{_public_home(new_name, found) or home}.{new_name}")
        return found
    home = new_module(module)
    if home == module:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def _public_home(name: str, found: object) -> str:
    """The package whose documented names hold `found`, of those that are loaded; "" if there is none."""
    for package in FACES:
        face = sys.modules.get(package)
        if face is not None and name in getattr(face, "__all__", ()) and getattr(face, name, None) is found:
            return package
    return ""


def _warn(old: str, new: str) -> None:
    import warnings

    frame = sys._getframe(1)
    while frame.f_back is not None and _only_imports(frame.f_code.co_filename, frame.f_globals.get("__name__")):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    user = frame.f_globals.get("__name__")  # Python shows such warnings by default where this is `__main__`
    message = f"{old} is now {new}; the old name goes in orchestrator {REMOVED_IN}"
    warnings.warn_explicit(message, DeprecationWarning, frame.f_code.co_filename, frame.f_lineno, user, registry)


def _only_imports(path: str, module: object) -> bool:
    """Whether a frame is the import system, this file, or a package loaded by its old name: not who used the name."""
    return path == __file__ or path.startswith("<frozen importlib") or module in PACKAGES


def _spec_without_import(name: str) -> ModuleSpec | None:
    """The spec of one of our modules. Imports no parent: whoever looks for a module holds the lock of all imports."""
    first, *parts = name.split(".")
    found = sys.modules[first].__spec__
    for part in parts:
        if found is None or found.submodule_search_locations is None:
            return None
        first = f"{first}.{part}"
        found = PathFinder.find_spec(first, list(found.submodule_search_locations))
    return found


def _all_names(old: str, module: ModuleType) -> list[str]:
    """What `from old import *` gives."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return sorted({*public, *NAMES.get(old, {})})


class _OldModule(ModuleType):
    """Stands at an old path, hands out what is at the new one, and passes on what is set, as tests do."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            from importlib import import_module

            return _all_names(self.__name__, import_module(new_module(self.__name__)))
        if name.startswith("__"):
            raise AttributeError(name)
        return _resolve(self.__name__, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("__") or isinstance(value, ModuleType):
            super().__setattr__(name, value)
        else:
            setattr(*_new_place(self.__name__, name), value)

    def __delattr__(self, name: str) -> None:
        if name in vars(self):
            super().__delattr__(name)
        else:
            delattr(*_new_place(self.__name__, name))

    def __dir__(self) -> list[str]:
        from importlib import import_module

        return sorted({*NAMES.get(self.__name__, {}), *dir(import_module(new_module(self.__name__)))})


def _new_place(module: str, name: str) -> tuple[ModuleType, str]:
    """The module that holds what stood at `module.name`, and its name there."""
    from importlib import import_module

    home, _, new_name = NAMES.get(module, {}).get(name, f"{new_module(module)}:{name}").partition(":")
    return import_module(home), new_name


class _OldPaths:
    """Finds and loads what has moved (`importlib.abc.MetaPathFinder` and `Loader`)."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in PACKAGES and top != "orchestrator":
            return None
        new = new_module(name)
        if new == name:
            return None
        found = _spec_without_import(new)
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
        found: CodeType | None = None
        if spec is not None and spec.loader is not None:
            found = spec.loader.get_code(spec.name)  # type: ignore[attr-defined]
        return found


class _OldNames:
    """Lets modules that lost a name resolve it: they are found and loaded as ever, and get a `__getattr__` then."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in NAMES or name in MODULES or not name.startswith("orchestrator"):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            before = module.__dict__.get("__getattr__")

            def get(missing: str) -> Any:
                if before is None or missing in NAMES[name]:
                    return _resolve(name, missing)
                return before(missing)

            module.__dict__["__getattr__"] = get
            module.__dict__.setdefault("__all__", _all_names(name, module))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
