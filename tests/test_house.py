"""The source keeps the bounds that `benchmarks.house` measures, and the measure finds what it is meant to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.house import ROOT, measure, read_package, undocumented

AT_MOST = {
    "circles": 0,
    "root_modules": 6,
    "file_p95_lines": 330,
    "function_p95_lines": 26,
    "class_names_twice": 5,
    "any_in_signatures": 60,
    "max_line": 120,
}


def test_the_source_keeps_its_bounds() -> None:
    found = measure(ROOT)
    assert found.keys() == {*AT_MOST, "public_docstrings"}
    assert {name: found[name] for name, bound in AT_MOST.items() if found[name] > bound} == {}  # type: ignore[operator]
    missing, _ = undocumented(read_package(ROOT))
    assert missing == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    package = tmp_path / "orchestrator"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING, Any\nif TYPE_CHECKING:\n    from orchestrator import b\n\n\n"
        "class Twice:\n    pass\n"
        "\n\ndef public(x: Any, y: dict[str, Any]) -> Any:\n    return x\n"
    )
    (package / "b.py").write_text(
        'def later() -> None:\n    """Imports when it is called."""\n    import orchestrator.c\n\n\n'
        'class Twice:\n    """Told."""\n'
    )
    (package / "c.py").write_text('from .a import public\n\nLONG = "' + "x" * 200 + '"\n')
    return tmp_path


def test_circles_are_found_through_types_and_deferred_imports(small: Path) -> None:
    found = measure(small, details=True)
    details = found["details"]
    assert isinstance(details, dict)
    assert details["circles"] == [["orchestrator.a", "orchestrator.b", "orchestrator.c"]]
    assert details["undocumented"] == ["orchestrator.a:Twice", "orchestrator.a:public"]
    assert found["class_names_twice"] == 1
    assert found["any_in_signatures"] == 3
    assert found["max_line"] == 209


def test_the_facade_of_the_engine_stays_one() -> None:
    assert len((ROOT / "orchestrator" / "engine" / "orchestrator.py").read_text().splitlines()) <= 250
