"""The state of the source: `python -m benchmarks.house --json [FILE]`.

Nothing is imported or run; every figure is read from the syntax trees.

- `circles`: groups of modules that import each other in a circle, every import counted: at the top, deferred, and under
  `TYPE_CHECKING`.
- `root_modules`: files directly in orchestrator/.
- `public_docstrings`: share of public classes, functions and methods with a docstring. Public is what has no leading
  underscore in its path and is not nested in a function; methods that a base class in this project already describes
  count as described.
- `file_p95_lines`, `function_p95_lines`: 95th percentiles (nearest rank) over the files and functions of the package.
- `class_names_twice`: names of classes that are defined in more than one module.
- `any_in_signatures`: uses of `Any` in parameters and results of public functions and methods.
- `max_line`: longest line, in columns, of any Python file of the package, the tests, benchmarks and examples.
"""

from __future__ import annotations

import argparse
import ast
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.output import write_json

ROOT = Path(__file__).parents[1]
PACKAGE = "orchestrator"
BESIDE = ("tests", "benchmarks", "examples")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file of the package: its dotted name, its text and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def read_package(root: Path, package: str = PACKAGE) -> dict[str, Module]:
    """Every module of `package` below `root` by its dotted name; links to folders are followed."""
    modules = {}
    for path in python_files(root / package):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, text, ast.parse(text))
    return modules


def python_files(folder: Path) -> list[Path]:
    walked = os.walk(folder, followlinks=True)
    return sorted(Path(here) / name for here, _, names in walked for name in names if name.endswith(".py"))


def imported_modules(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """The modules of the package that `module` imports anywhere in its file."""
    found = set()
    for node in ast.walk(module.tree):
        for name in _imported_names(node, module.package):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name != module.name:
                found.add(name)
    return found


def _imported_names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        yield from (f"{base}.{alias.name}" for alias in node.names)


def find_circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of at least two nodes that can all reach each other (Tarjan 1972), largest first."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    waiting: list[str] = []
    circles: list[list[str]] = []

    def visit(node: str) -> None:  # recursive: a package has at most a few hundred modules in a row
        order[node] = lowest[node] = len(order)
        waiting.append(node)
        for target in arrows.get(node, ()):
            if target not in order:
                visit(target)
            if target in waiting:
                lowest[node] = min(lowest[node], lowest[target])
        if lowest[node] == order[node]:
            start = waiting.index(node)
            group = waiting[start:]
            del waiting[start:]
            if len(group) > 1:
                circles.append(sorted(group))

    for node in arrows:
        if node not in order:
            visit(node)
    return sorted(circles, key=len, reverse=True)


def functions_of(tree: ast.AST) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def public_definitions(modules: Mapping[str, Module]) -> Iterator[tuple[str, Function | ast.ClassDef, bool]]:
    """(full name, definition, whether a base class of this project describes it) for everything public."""
    described = _described_methods(modules)
    for module in modules.values():
        if any(part.startswith("_") and not part.startswith("__") for part in module.name.split(".")):
            continue
        for node in module.tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{module.name}:{node.name}", node, False
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                inherited = set().union(*(described.get(base, set()) for base in _base_names(node)))
                for inner in node.body:
                    if isinstance(inner, Function) and not inner.name.startswith("_"):
                        yield f"{module.name}:{node.name}.{inner.name}", inner, inner.name in inherited


def _described_methods(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Class name -> its methods with a docstring, its own and its bases'."""
    classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(node)

    def methods(name: str, above: frozenset[str]) -> set[str]:
        found: set[str] = set()
        for node in classes.get(name, []):
            found |= {inner.name for inner in node.body if isinstance(inner, Function) and ast.get_docstring(inner)}
            for base in _base_names(node):
                if base not in above:
                    found |= methods(base, above | {base})
        return found

    return {name: methods(name, frozenset({name})) for name in classes}


def _base_names(node: ast.ClassDef) -> Iterator[str]:
    for base in node.bases:
        inner = base.value if isinstance(base, ast.Subscript) else base
        yield inner.attr if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else ""


def undocumented(modules: Mapping[str, Module]) -> tuple[list[str], int]:
    """The public definitions without a docstring, and how many public definitions there are."""
    everything = [each for each in public_definitions(modules) if not is_overload(each[1])]
    return [name for name, node, inherited in everything if not inherited and not ast.get_docstring(node)], len(
        everything
    )


def is_overload(node: ast.AST) -> bool:
    """Whether a definition only states types: the one that follows it says what it does."""
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in getattr(node, "decorator_list", ()))


def any_in_signature(function: Function) -> int:
    """How often `Any` stands in the annotations of a function's parameters and result."""
    arguments = function.args
    annotated = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [each.annotation for each in annotated if each is not None] + [function.returns]
    names = (node for each in annotations if each is not None for node in ast.walk(each))
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in names)


def class_homes(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """Class name -> the modules that define it at their top level."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module in modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module.name)
    return homes


def percentile(values: Iterable[int], share: float) -> int:
    """Nearest-rank percentile: the smallest value that at least `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[math.ceil(share * len(ranked)) - 1]


def measure(root: Path, details: bool = False) -> dict[str, object]:
    """All figures of the module's docstring; with `details` also what stands behind those that are counts."""
    modules = read_package(root)
    circles = find_circles({name: imported_modules(module, modules) for name, module in modules.items()})
    missing, public = undocumented(modules)
    lengths = {
        f"{m.name}:{f.name}": (f.end_lineno or 0) - f.lineno + 1 for m in modules.values() for f in functions_of(m.tree)
    }
    spans = [(f.end_lineno or 0) - f.lineno + 1 for m in modules.values() for f in functions_of(m.tree)]
    files = {module.name: module.text.count("\n") for module in modules.values()}
    anys = {n: any_in_signature(node) for n, node, _ in public_definitions(modules) if isinstance(node, Function)}
    twice = {name: homes for name, homes in class_homes(modules).items() if len(homes) > 1}
    sources = [m.path for m in modules.values()] + [path for folder in BESIDE for path in python_files(root / folder)]
    widths = {str(path): max(map(len, path.read_text(encoding="utf-8").splitlines() or [""])) for path in sources}
    result: dict[str, object] = {
        "circles": len(circles),
        "root_modules": len(list((root / PACKAGE).glob("*.py"))),
        "public_docstrings": round(1 - len(missing) / public, 4),
        "file_p95_lines": percentile(files.values(), 0.95),
        "function_p95_lines": percentile(spans, 0.95),
        "class_names_twice": len(twice),
        "any_in_signatures": sum(anys.values()),
        "max_line": max(widths.values()),
    }
    if details:
        result["details"] = {
            "circles": circles,
            "undocumented": missing,
            "longest_files": sorted(files.items(), key=lambda item: -item[1])[:30],
            "longest_functions": sorted(lengths.items(), key=lambda item: -item[1])[:60],
            "class_names_twice": twice,
            "any_in_signatures": {name: count for name, count in anys.items() if count},
            "widest_files": sorted(widths.items(), key=lambda item: -item[1])[:30],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, nargs="?", help="also write the result to this file")
    parser.add_argument("--details", action="store_true", help="name what stands behind each figure")
    parser.add_argument("--data", help="not used; accepted so that every benchmark takes the same options")
    arguments = parser.parse_args()
    write_json(measure(ROOT, arguments.details), arguments.json)


if __name__ == "__main__":
    main()
