"""What stood at an old path works like a module: in threads, by stars, under a patch; and scripts are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    file = folder / "script.py"
    file.write_text(code)
    command = [sys.executable, *options, str(file)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_script_is_told_without_any_option_of_python(tmp_path: Path) -> None:
    done = python("from orchestrator.backends.wire import Wire\nprint(Wire.__name__)\n", tmp_path)
    assert done.stdout == "HttpTransport\n"
    assert "script.py:1: DeprecationWarning: orchestrator.backends.wire is now" in done.stderr


@pytest.mark.parametrize("module", ["memory.store", "orchestrator.config", "orchestrator.engine", "router.policy"])
def test_a_star_brings_the_old_names(module: str, tmp_path: Path) -> None:
    code = f"import json, orchestrator\nfrom {module} import *\nprint(json.dumps(dir()))\n"
    done = python(code, tmp_path, "-W", "ignore")
    assert done.returncode == 0, done.stderr
    names = json.loads((Path(__file__).parent / "public_names.json").read_text())["modules"][module].split()
    assert {*names} - {*json.loads(done.stdout)} == set()


def test_what_is_patched_at_the_old_path_is_patched_at_the_new_one(tmp_path: Path) -> None:
    code = """
from unittest import mock
import orchestrator, memory.coarse
from orchestrator.memory.retrieval import approximate_index as new
before = new.MAX_LISTS
with mock.patch("memory.coarse.MOST_LISTS", 12345):
    print(new.MAX_LISTS, memory.coarse.MOST_LISTS)
print(new.MAX_LISTS == before)
"""
    done = python(code, tmp_path, "-W", "ignore")
    assert done.stdout == "12345 12345\nTrue\n", done.stderr


def test_threads_that_import_old_names_at_once_end(tmp_path: Path) -> None:
    code = """
import importlib, random, threading
import orchestrator
from orchestrator._deprecated import MODULES
names = sorted(MODULES)
wrong = []
def load(seed):
    own = list(names)
    random.Random(seed).shuffle(own)
    for name in own:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if "orchestrator" in str(error.name): wrong.append(str(error))
threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join(100)
print([thread.is_alive() for thread in threads].count(True), wrong)
"""
    done = python(code, tmp_path, "-W", "ignore")
    assert done.stdout == "0 []\n", done.stderr


def test_a_users_own_module_wins_over_an_old_name(tmp_path: Path) -> None:
    for name in ("router", "memory", "verifiers"):
        (tmp_path / f"{name}.py").write_text("mine = True\n")
    done = python("import orchestrator, router, memory, verifiers\nprint(router.mine, memory.mine)\n", tmp_path)
    assert (done.stdout, done.stderr) == ("True True\n", "")
