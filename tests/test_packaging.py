"""What is installed is one package, `orchestrator`, whatever else lies beside it or beside the user's script."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# Debian 12 ships Python 3.11.2, whose tarfile knows no filters.
_SAFELY: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
FACES = (
    "from orchestrator import Orchestrator; from orchestrator.router import Router; "
    "from orchestrator.memory import Memory; from orchestrator.verifiers import NumericVerifier; "
)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built from what the archive holds."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    _build("sdist", ROOT, folder)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "unpacked", **_SAFELY)
    (source,) = (folder / "unpacked").iterdir()
    _build("wheel", source, folder)
    (wheel,) = folder.glob("*.whl")
    return archive, wheel


def _build(target: str, source: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def python(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel; what it depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    site = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(distributions[1]) as wheel:
        wheel.extractall(site)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def _run(python: Path, code: str, folder: Path) -> str:
    (folder / "app.py").write_text(code)
    done = subprocess.run([python, "app.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_has_one_top_level_name(distributions: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(distributions[1]).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"orchestrator"}
    for expected in ("router/pretrained/router.npz", "memory/memory.py", "verifiers/verdict.py", "demo/lantern"):
        assert any(name.startswith(f"orchestrator/{expected}") for name in names), expected


def test_the_wheel_is_small(distributions: tuple[Path, Path]) -> None:
    assert distributions[1].stat().st_size < 8_000_000


def test_the_wheel_works_alone(python: Path, tmp_path: Path) -> None:
    code = f"{FACES}import orchestrator; print(orchestrator.__file__)"
    assert str(python.parents[1]) in _run(python, code, tmp_path)


@pytest.mark.parametrize("how", ["modules", "packages"])
def test_a_users_own_router_memory_and_verifiers_are_left_alone(python: Path, tmp_path: Path, how: str) -> None:
    for name in ("router", "memory", "verifiers"):
        path = tmp_path / f"{name}.py" if how == "modules" else tmp_path / name / "__init__.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("MINE = True\n")
    code = f"{FACES}import router, memory, verifiers; print(router.MINE, memory.MINE, verifiers.MINE)"
    assert _run(python, code, tmp_path) == "True True True"


def test_old_paths_warn_and_give_the_same_classes(python: Path, tmp_path: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('error'); import orchestrator\n"
        "try:\n    import memory\nexcept DeprecationWarning as told:\n    print(told)\n"
        "warnings.simplefilter('ignore')\n"
        "import memory.record; from memory import Memory\n"
        "from orchestrator.memory import Memory as New, Scope\n"
        "print(Memory is New, memory.record.Scope is Scope)"
    )
    said = _run(python, code, tmp_path)
    assert said == "memory is now orchestrator.memory; the old name goes in orchestrator 0.3\nTrue True"


def test_a_warning_points_at_the_line_that_uses_the_old_path(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import orchestrator\n\nfrom memory.record import Scope\n")
    done = subprocess.run([sys.executable, "-W", "always", "app.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "app.py:3: DeprecationWarning: memory.record is now orchestrator.memory.record" in done.stderr


def test_a_checkout_offers_the_old_packages_too(tmp_path: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from verifiers.verdict import Verdict; from router import Router; import memory.tune\n"
        "import orchestrator.verifiers, orchestrator.router\n"
        "print(Verdict is orchestrator.verifiers.Verdict, Router is orchestrator.router.Router)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "True True", done.stderr


def test_old_modules_can_be_run(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "memory.distill", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
