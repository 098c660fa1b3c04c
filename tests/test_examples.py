"""Every example and every Python snippet of the documentation runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config.models import Config, load_config

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [
    (d.relative_to(ROOT), code)
    for d in DOCUMENTS
    for code in re.findall(r"```python\n(.*?)```", d.read_text(encoding="utf-8"), re.DOTALL)
]
NAMES_A_PROVIDER = re.compile(r"\"(openai|anthropic|ollama)/")  # a server on this machine stands in for it
NOTEBOOK = """
import ast, asyncio, inspect, json, sys
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot

async def main():
    names, charts = {}, 0
    for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            found = eval(code, names)
            if inspect.isawaitable(found):
                await found
            charts += len(pyplot.get_fignums())
            pyplot.close("all")
    print(charts, "charts")

asyncio.run(main())
"""
EXPECTED = {
    "chat_bot": ["> bye"],
    "mini": ["SIMULATED", "asked small, middle\n", "asked small, middle, large"],
    "slack_bot": ["200\n", "in C1, thread 1.0: 711", "401"],
    "fastapi_stream": ["200 711", "422", "the query is empty"],
    "quickstart": ["14 Harbour Street", "711", "nobody here knows"],
    "fleet": ["The answer is 36", "simulated: True", "routed"],
    "checked_json": ["revision", "1874"],
    "memory_alone": ["19:40", "what Silas's scope knows of the safe: []", "forgotten: 1"],
    "agent": ["waits for approval: refund", "paid back: 1250 cents"],
    "memory_over_time": [
        "now: [m:3]",
        "then: [m:1]",
        "said 2 times, last 2025-03-04",
        "readable in the file without the key: False",
    ],
    "distill": ["This student is in use", "answered by the student", "saved"],
    "router_alone": ["chosen", "after 20 failures"],
}


def run(arguments: list[str], folder: Path) -> str:
    command = [sys.executable, "-W", "always::DeprecationWarning", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "the old name goes in orchestrator" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples(example: Path, tmp_path: Path) -> None:
    printed = run([str(example)], tmp_path)
    for text in EXPECTED[example.stem]:
        assert text in printed


@pytest.mark.parametrize(("document", "code"), SNIPPETS, ids=lambda value: str(value)[:40])
def test_snippets(document: Path, code: str, tmp_path: Path) -> None:
    prelude = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.support.stand_in\n"
    assert run(["-c", (prelude if NAMES_A_PROVIDER.search(code) else "") + code], tmp_path).strip()


@pytest.mark.parametrize("example", sorted((ROOT / "examples" / "real").glob("*.py")), ids=lambda path: path.stem)
def test_variants_with_real_models_run_on_played_ones(example: Path, tmp_path: Path) -> None:
    prelude = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.support.stand_in\n"
    printed = run(["-c", prelude + example.read_text(encoding="utf-8")], tmp_path)
    assert "P(correct)" in printed


def test_the_notebook_runs_and_draws_its_charts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    printed = run(["-c", NOTEBOOK, str(ROOT / "examples" / "what_a_fleet_buys.ipynb")], tmp_path)
    assert "3 charts" in printed
    assert "79 euros now" in printed


def test_the_example_configuration_is_valid_and_shows_every_section() -> None:
    config = load_config(ROOT / "examples" / "orchestrator.yaml")
    assert config.model_fields_set == set(Config.model_fields)
    assert set(config.models) == {"calculator", "extractive", "fast", "strong"}


def test_the_examples_readme_lists_them_all() -> None:
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(path.name in listed for path in EXAMPLES)
