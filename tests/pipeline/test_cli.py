"""The commands about pipelines, as somebody types them; the examples' own tests; the schema for editors."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema_rs
import pytest

from orchestrator.config.yaml_loader import load_located
from orchestrator.pipeline import Pipeline
from orchestrator.pipeline.analysis.diagram import mermaid, svg
from orchestrator.pipeline.analysis.json_schema import pipeline_schema
from tests.pipeline.test_mistakes import GOOD, MUTATIONS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "pipelines").glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples" / "pipelines", tmp_path / "p")
    return tmp_path / "p"


def cli(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != code:
        pytest.fail(f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}\n{done.stderr}")
    return done


def test_all_examples_are_valid_and_pass_their_tests(folder: Path) -> None:
    names = [path.name for path in EXAMPLES]
    assert len(names) == 6
    told = json.loads(cli(folder, "test", *names, "--json").stdout)
    assert set(told) == set(names)
    assert all(tests for tests in told.values())
    assert [test["problems"] for tests in told.values() for test in tests if not test["passed"]] == []
    assert all(test["simulated"] for tests in told.values() for test in tests)
    assert "is valid: 5 steps, 4 tests" in cli(folder, "validate", "help_desk.yaml").stdout


def test_stand_ins_have_the_list_prices_of_the_configured_models(folder: Path) -> None:
    (folder / "orchestrator.yaml").write_text("version: 1\nmodels: {fast: {provider: openai, model: gpt-5-mini}}\n")
    told = json.loads(cli(folder, "test", *(path.name for path in EXAMPLES), "--json").stdout)
    assert [test["problems"] for tests in told.values() for test in tests if not test["passed"]] == []


def test_replies_are_stated_for_each_item_of_a_map_whichever_is_asked_first(folder: Path) -> None:
    (folder / "map.yaml").write_text(
        "version: 1\nname: map\ninputs: {of: list}\nsteps:\n"
        '  each: {map: "${inputs.of}", as: n, at_once: 8, do: {said: {ask: small, prompt: "${n}"}}}\n'
        "tests:\n- name: each has its own\n  inputs: {of: [a, b, c]}\n"
        '  replies: {"each[2].said": third, "each[0].said": first, each.said: any}\n'
        '  expect: {"each[0].said.text": first, "each[1].said.text": any, "each[2].said.text": third}\n'
    )
    assert "pass  each has its own" in cli(folder, "test", "map.yaml").stdout
    wrong = (folder / "map.yaml").read_text().replace("each[2].said", "each[2].sad")
    (folder / "map.yaml").write_text(wrong)
    assert "there is no step 'each[2].sad'" in cli(folder, "validate", "map.yaml", code=2).stderr


def test_a_test_that_fails_says_what_is_otherwise(folder: Path) -> None:
    path = folder / "triage.yaml"
    path.write_text(path.read_text().replace('"sorted[1].topic.label": delivery', '"sorted[1].topic.label": refund'))
    told = cli(folder, "test", "triage.yaml", code=1).stdout
    assert re.search(
        r"FAIL  plain cases cost nothing.*\n +sorted\[1\]\.topic\.label is 'delivery', and should be 'refund'", told
    )
    assert "pass  what examples cannot tell is asked" in told


def test_validate_tells_every_mistake_and_ends_with_2(folder: Path) -> None:
    (folder / "bad.yaml").write_text(GOOD.replace("verify:", "verfy:").replace("budget:", "budgte:"))
    told = cli(folder, "validate", "bad.yaml", code=2).stderr
    assert "bad.yaml:5:1: error[E104]: the file has no field 'budgte'" in told
    assert "^^^^^ did you mean 'verify'?" in told
    assert "2 mistakes. More about the first: orchestrator explain E104" in told
    found = json.loads(cli(folder, "validate", "bad.yaml", "--format", "json", code=2).stdout)
    assert [each["code"] for each in found if each["severity"] == "error"] == ["E104", "E104"]
    assert "::error file=bad.yaml,line=5" in cli(folder, "validate", "bad.yaml", "--format", "github", code=2).stdout
    assert cli(folder, "run", "bad.yaml", code=2).stderr.startswith("bad.yaml:5:1: error[E104]")


def test_explain(folder: Path) -> None:
    told = cli(folder, "explain", "e104").stdout
    assert "E104: Unknown field" in told
    assert "verfy: [arithmetic]" in told
    assert "E104  Unknown field" in cli(folder, "explain").stdout
    assert "Did you mean E104?" in cli(folder, "explain", "E1044", code=2).stderr


def test_a_run_that_a_budget_ends_early_is_no_success(folder: Path) -> None:
    (folder / "orchestrator.yaml").write_text("models: {sums: {provider: calculator}}\n")
    steps = "steps:\n  one: {ask: sums, prompt: 2 + 2}\n  two: {ask: sums, prompt: '${one.text} + 1'}\n"
    (folder / "late.yaml").write_text(f"version: 1\nname: late\nbudget: {{calls: 1}}\n{steps}output: ${{two.text}}\n")
    done = cli(folder, "run", "late.yaml", code=1)
    assert "partial: two: all 1 calls are used. Raise budget.calls" in done.stderr
    assert json.loads(cli(folder, "run", "late.yaml", "--json", code=1).stdout)["partial"] is True


def test_tests_that_are_misspelt_or_not_there_do_not_pass(folder: Path) -> None:
    steps = "steps:\n  one: {say: '${1 / inputs.n}', on_error: {give: 7}}\noutput: ${one}\n"
    head = f"version: 1\nname: odd\ninputs: {{n: number}}\n{steps}tests:\n"
    (folder / "odd.yaml").write_text(head + "  - {name: by zero, inputs: {n: 0}, expect: {output: {at_leest: 1}}}\n")
    told = cli(folder, "validate", "odd.yaml", code=2)
    assert "did you mean 'at_least'?" in told.stdout + told.stderr
    (folder / "odd.yaml").write_text(head + "  - {name: by zero, inputs: {n: 0}, expect: {output: {equals: 1}}}\n")
    told = cli(folder, "test", "odd.yaml", code=1)
    assert "step one failed: " in told.stdout
    assert "zero" in told.stdout
    told = cli(folder, "test", "odd.yaml", "-k", "nothing", code=2)
    assert "there are: 'by zero'" in told.stderr


def test_a_run_is_resumed_with_its_own_file(folder: Path) -> None:
    done = cli(folder, "run", "triage.yaml", "--json", "-i", "messages=[]")
    run = json.loads(done.stdout)["id"]
    told = cli(folder, "run", "help_desk.yaml", "--resume", run, code=2).stderr
    assert "is one of the pipeline 'triage', not of 'help-desk'" in told


def test_a_test_of_a_run_that_was_cut_short_says_why(folder: Path) -> None:
    (folder / "orchestrator.yaml").write_text(
        "models: {ours: {provider: compatible, model: m, base_url: 'http://127.0.0.1:9/v1'}}\n"
    )
    steps = "steps: {one: {ask: ours, prompt: hi}}\noutput: ${one.text}\n"
    tests = "tests: [{name: real, fleet: configured, expect: {partial: false}}]\n"
    (folder / "dear.yaml").write_text(f"version: 1\nname: dear\nbudget: {{usd: 0.01}}\n{steps}{tests}")
    told = cli(folder, "test", "dear.yaml", code=1).stdout
    assert "the run was cut short: one: the price of this model is unknown. State its prices" in " ".join(told.split())
    assert "partial: one: the price of this model" in cli(folder, "run", "dear.yaml", code=1).stderr


def test_run_resume_list_show_replay_delete(folder: Path) -> None:
    arguments = ("run", "help_desk.yaml", "-i", "question=What is 17 * 23?")
    first = json.loads(cli(folder, *arguments, "--json").stdout)
    assert first["output"]["text"] == "391"
    assert first["cost_usd"] == 0
    shown = cli(folder, *arguments)
    assert json.loads(shown.stdout)["text"] == "391"
    assert re.search(r"● reply \(search\) .* s", shown.stderr)
    listed = json.loads(cli(folder, "runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["done", "done"]
    assert listed[1]["id"] == first["id"]
    told = json.loads(cli(folder, "runs", "show", first["id"], "--json").stdout)
    assert {step["path"] for step in told["steps"]} == {"facts", "reply", "learn"}
    again = json.loads(cli(folder, "run", "help_desk.yaml", "--resume", first["id"], "--json").stdout)
    assert again["output"] == first["output"]
    replayed = json.loads(cli(folder, "runs", "replay", first["id"], "--from", "reply", "--json").stdout)
    assert replayed["output"]["text"] == "391"
    assert replayed["id"] != first["id"]
    assert "is deleted" in cli(folder, "runs", "delete", first["id"]).stdout
    assert "there is no run" in cli(folder, "runs", "show", first["id"], code=1).stderr
    assert "has ended already" in cli(folder, "runs", "cancel", replayed["id"]).stdout
    assert sqlite3.connect(folder / ".orchestrator" / "runs.db").execute("SELECT count(*) FROM runs").fetchone() == (2,)


def test_wrong_inputs_say_what_is_taken(folder: Path) -> None:
    told = cli(folder, "run", "help_desk.yaml", code=2).stderr
    assert "the input 'question' is missing: a text" in told
    assert "It takes: question, user" in told
    assert "NAME=VALUE" in cli(folder, "run", "help_desk.yaml", "-i", "question", code=2).stderr


def test_an_input_that_is_given_twice_is_refused(folder: Path) -> None:
    (folder / "echo.yaml").write_text('version: 1\nname: echo\ninputs: {q: text}\nsteps: {a: {say: "${inputs.q}"}}\n')
    told = cli(folder, "run", "echo.yaml", "-i", "q=a", "-i", "q=b", code=2).stderr
    assert "the input 'q' is given twice" in told


def test_inputs_from_files(folder: Path) -> None:
    (folder / "q.txt").write_text("What is 6 * 7?")
    (folder / "in.yaml").write_text("user: ann\n")
    found = json.loads(
        cli(
            folder, "run", "help_desk.yaml", "-i", "question=@q.txt", "--inputs", "in.yaml", "--json", "--no-runs"
        ).stdout
    )
    assert found["output"]["text"] == "42"
    assert not (folder / ".orchestrator" / "runs.db").exists()


TWO_PRICED = """
models:
  calculator: {provider: calculator}
  small: {provider: simulated, skill: 0.7, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.4}
  large: {provider: simulated, skill: 0.95, input_usd_per_mtok: 2.0, output_usd_per_mtok: 8.0}
"""


@pytest.mark.parametrize("max_tokens", [1, 5, 100, 2000])
def test_no_more_is_expected_of_a_step_than_it_may_cost(folder: Path, max_tokens: int) -> None:
    (folder / "orchestrator.yaml").write_text(TWO_PRICED)
    verbs = ("ask: small", "search: single", "search: best_of_n", "search: adaptive", "search: cascade")
    steps = [f"  s{n}: {{{verb}, prompt: hi, max_tokens: {max_tokens}}}\n" for n, verb in enumerate(verbs)]
    output = "output: [" + ", ".join(f"'${{s{n}.text}}'" for n in range(len(verbs))) + "]\n"
    (folder / "short.yaml").write_text(f"version: 1\nname: short\nsteps:\n{''.join(steps)}{output}")
    found = json.loads(cli(folder, "plan", "short.yaml", "--json").stdout)
    assert [step["path"] for step in found["steps"] if step["usd"] > step["worst_usd"]] == []


def test_plan_shows_the_graph_without_asking_anybody(folder: Path) -> None:
    (folder / "orchestrator.yaml").write_text(TWO_PRICED)
    told = cli(folder, "plan", "research.yaml", "--svg", "g.svg").stdout
    assert re.search(r"→ +outline +extract +[\d.]+ +\w+ +0\.\d+", told)
    assert "a run: 0.0" in told
    assert "1,000 runs:" in told
    root = ET.fromstring((folder / "g.svg").read_text())
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"research", "outline", "report", "answered"} <= set(texts)
    found = json.loads(cli(folder, "plan", "research.yaml", "--json").stdout)
    steps = {step["path"]: step for step in found["steps"]}
    assert steps["report"]["needs"] == ["findings"]
    assert steps["outline"]["critical"]
    assert steps["findings"]["critical"]
    assert steps["findings"]["usd"] > steps["findings.answered"]["usd"] > 0
    assert found["total"]["worst_usd"] >= found["total"]["usd"] > 0
    assert steps["report"]["starts_s"] > steps["findings"]["starts_s"] > 0
    graph = cli(folder, "plan", "research.yaml", "--mermaid").stdout
    assert graph.startswith("flowchart TD")
    assert "s_outline --> s_findings" in graph


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_drawings_hold_every_step_inside_of_the_picture(path: Path) -> None:
    pipeline = Pipeline.load(path, root=path.parent)
    root = ET.fromstring(svg(pipeline, notes={"reply": ["<b>&"]}))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [
        {k: float(each.attrib[k]) for k in ("x", "y", "width", "height")}
        for each in root.iter("{http://www.w3.org/2000/svg}rect")
        if "x" in each.attrib
    ]
    steps = list(pipeline.block.walk())
    assert len(boxes) == len(steps)
    assert all(
        b["x"] >= 0 and b["y"] >= 0 and b["x"] + b["width"] <= width and b["y"] + b["height"] <= height for b in boxes
    )
    leaves = [b for b, (_, node) in zip(boxes, steps, strict=True) if not node.blocks]
    for i, a in enumerate(leaves):
        for b in leaves[i + 1 :]:
            apart = (
                a["x"] + a["width"] <= b["x"]
                or b["x"] + b["width"] <= a["x"]
                or a["y"] + a["height"] <= b["y"]
                or b["y"] + b["height"] <= a["y"]
            )
            assert apart
    assert mermaid(pipeline).count("[") == len(steps)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_takes_what_is_valid(path: Path) -> None:
    jsonschema_rs.validator_for(pipeline_schema()).validate(load_located(path.read_text()).value)


def test_the_schema_finds_most_mistakes_as_one_types() -> None:
    validator = jsonschema_rs.validator_for(pipeline_schema())
    validator.validate(load_located(GOOD).value)
    structural = {"E104", "E105", "E106", "E107", "E108", "E113"}
    missed = []
    for what, old, new, code, _, _ in MUTATIONS:
        if code in structural:
            try:
                found = validator.is_valid(load_located(GOOD.replace(old, new, 1)).value)
            except Exception:
                continue
            if found:
                missed.append(what)
    assert len(missed) <= 3, missed


def test_the_schema_is_written_for_editors(folder: Path) -> None:
    told = cli(folder, "schema").stdout
    assert told.strip() == "# yaml-language-server: $schema=./.orchestrator/pipeline.v1.schema.json"
    schema = json.loads((folder / ".orchestrator" / "pipeline.v1.schema.json").read_text())
    assert "SearchStep" in schema["$defs"]
    described = schema["$defs"]["SearchStep"]["properties"]
    assert described["quality"]["description"] == "The P(correct) at which the search stops."
    assert described["when"]["description"].startswith("The step runs if this holds")
    assert "What is called `question`" in described["with"]["description"]
    assert json.loads(cli(folder, "schema", "--print").stdout) == schema


@pytest.mark.parametrize("command", ["validate", "test", "plan"])
def test_watch_goes_on_after_a_mistake_and_looks_at_every_file(folder: Path, command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "orchestrator", command, "help_desk.yaml", "--watch"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = process.stdout
    assert lines is not None
    late = threading.Timer(60, process.kill)
    late.start()

    def until(told: str) -> bool:
        return any(told in line for line in iter(lines.readline, ""))

    try:
        assert until("watching 5 files")
        prompt = folder / "prompts" / "reply.md"
        good = prompt.read_text()
        prompt.write_text(good + "{{ nothing }}")
        assert until("error[E402]")
        assert until("watching")
        prompt.write_text(good)
        assert until({"validate": "is valid", "test": "pass  sums", "plan": "facts"}[command])
        assert until("watching 5 files")
    finally:
        late.cancel()
        process.kill()
        process.communicate()


ROWS = """\
version: 1
name: rows
inputs:
  rows: {type: list, description: names of people}
  lang: {type: text, choices: [de, en], default: de}
  code: {type: text, schema: {pattern: "^[A-Z]{3}$"}, description: three capital letters, default: ABC}
  n: {type: integer, default: 3}
  from_day: {type: text, default: null}
steps:
  each:
    map: ${inputs.rows}
    do:
      sum: {ask: calculator, prompt: "${item.sum}"}
    output: ${sum.text}
output: ${each}
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    (tmp_path / "rows.yaml").write_text(ROWS)
    (tmp_path / "orchestrator.yaml").write_text("models: {calculator: {provider: calculator}}\nmemory: null\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-i", "row=3"], "there is no input 'row'; did you mean 'rows'?"),
        ([], "the input 'rows' is missing: a list: names of people"),
        (["-i", "rows=3"], "rows: it takes a list, not 3"),
        (["-i", "rows=[]", "-i", "lang=eng"], 'lang: "eng" is none of "de", "en"; did you mean \'en\'?'),
        (["-i", "rows=[]", "-i", "code=abc"], 'code: "abc" has not the form that is asked for: three capital letters'),
        (["-i", "rows=[]", "-i", "n=1.5"], "n: it takes a whole number, not 1.5"),
        (["-i", "rows=[]", "-i", "from_day=3"], "from_day: it takes a text, not 3"),
        (["-i", "rows=@nothere.csv"], "nothere.csv cannot be read: No such file"),
        (["-i", "rows=@uneven.csv"], "uneven.csv:3: this row has not as many cells"),
        (["-i", "rows=@twice.csv"], "twice.csv:1: the first line must name every column, each once"),
        (["-i", "rows=@broken.jsonl"], "broken.jsonl:2: not JSON"),
    ],
)
def test_mistakes_in_inputs_are_told_in_words(rows: Path, arguments: list[str], says: str) -> None:
    (rows / "uneven.csv").write_text("a,b\n1,2\n1,2,3\n")
    (rows / "twice.csv").write_text("a,a\n1,2\n")
    (rows / "broken.jsonl").write_text('{"a": 1}\n{"a"\n')
    told = cli(rows, "run", "rows.yaml", *arguments, code=2).stderr
    assert says in told
    assert "Additional properties" not in told


def test_tables_and_json_lines_are_lists_and_texts_stay_texts(rows: Path) -> None:
    (rows / "a.csv").write_bytes('﻿name;sum\n"Ann; B";2+3\nBoß;4*5\n'.encode())
    (rows / "a.tsv").write_text("name\tsum\nAnn\t7+1\n")
    (rows / "a.jsonl").write_text('{"sum": "1+1"}\n\n{"sum": "2 + 2\u2028"}\n')
    for name, output in (("a.csv", ["5", "20"]), ("a.tsv", ["8"]), ("a.jsonl", ["2", "4"])):
        found = json.loads(cli(rows, "run", "rows.yaml", "-i", f"rows=@{name}", "--json", "--no-runs").stdout)
        assert found["output"] == output
    planned = json.loads(cli(rows, "plan", "rows.yaml", "-i", "rows=@a.csv", "--json").stdout)
    assert (planned["steps"][0]["calls"], "10 items" in planned["total"]["guesses"]) == (2.0, False)
    assert json.loads(cli(rows, "plan", "rows.yaml", "--json").stdout)["steps"][0]["calls"] == 10.0
    assert "none of" in cli(rows, "plan", "rows.yaml", "-i", "lang=fr", code=2).stderr
    (rows / "text.yaml").write_text(
        "version: 1\nname: t\ninputs: {t: {type: text}}\nsteps:\n  s: {say: '${inputs.t}'}\noutput: ${s}\n"
    )
    assert cli(rows, "run", "text.yaml", "-i", "t=@a.tsv", "--no-runs").stdout == "name\tsum\nAnn\t7+1\n\n"


def test_off_a_terminal_a_map_is_one_line_and_a_failure_one_reason(rows: Path) -> None:
    fifty = json.dumps([{"sum": f"{number} + 1"} for number in range(50)])
    lines = cli(rows, "run", "rows.yaml", "-i", f"rows={fifty}", "--no-runs").stderr.splitlines()
    assert len(lines) <= 3
    assert "50 items" in lines[0]
    told = cli(rows, "run", "rows.yaml", "-i", 'rows=[{"sum": "Who?"}, {"sum": "1 + 1"}]', "--no-runs", code=1).stderr
    assert told.count("not arithmetic") == 1
    skipping = (rows / "rows.yaml").read_text().replace("    do:", "    on_error: skip\n    do:")
    (rows / "rows.yaml").write_text(skipping)
    kept = cli(rows, "run", "rows.yaml", "-i", 'rows=[{"sum": "1 + 1"}, {"other": "2"}]', "--no-runs")
    assert "1 of 2 items failed" in kept.stderr


def test_braces_of_other_languages_are_told(rows: Path) -> None:
    text = (
        "version: 1\nname: b\ninputs: {who: {type: text, default: Ann}}\nsteps:\n  s: {say: 'Dear HERE'}\noutput: "
        "${s}\n"
    )
    (rows / "b.yaml").write_text(text.replace("HERE", "{{ inputs.who }}"))
    told = cli(rows, "validate", "b.yaml")
    assert "warning[W202]" in told.stderr
    assert "write ${inputs.who}" in told.stderr
    assert "W202" in cli(rows, "run", "b.yaml", "--no-runs").stderr
    (rows / "b.yaml").write_text(text.replace("HERE", "${{ inputs.who }}"))
    assert "write ${...}, not ${{...}}" in cli(rows, "validate", "b.yaml", code=2).stderr
    (rows / "b.yaml").write_text(text.replace("HERE", "{{ anything else }} and $${{ x }}"))
    assert "W202" not in cli(rows, "validate", "b.yaml").stderr


def test_a_file_that_is_not_there_is_told_without_a_caret(rows: Path) -> None:
    for command in ("validate", "run", "plan", "test"):
        told = cli(rows, command, "row.yaml", code=2).stderr
        assert told.startswith(
            "row.yaml: error[E100]: the file cannot be read: No such file or directory; did you mean 'rows.yaml'?"
        )
        assert "^" not in told
    assert "Did you mean" not in cli(rows, "explain", "E999", code=2).stderr


def test_no_number_is_nan_or_infinite(folder: Path) -> None:
    text = "version: 1\nname: n\ninputs: {x: any}\nsteps: {a: {say: '${number(inputs.x) > 100}'}}\noutput: ${a}\n"
    (folder / "n.yaml").write_text(text)
    for given, code in (
        ("nan", 1),
        ("inf", 1),
        ("NaN", 2),
        ("-Infinity", 2),
        ("1e999", 2),
    ):  # 2: as JSON it is no input
        told = cli(folder, "run", "n.yaml", "--no-runs", "-i", f"x={given}", code=code)
        assert "NaN" in told.stderr or "this is no number" in told.stderr, given
    assert cli(folder, "run", "n.yaml", "--no-runs", "-i", "x=1e2").stdout.strip() == "false"
    (folder / "n.yaml").write_text(text.replace("number(inputs.x)", "1e400"))
    assert "this number is too large" in cli(folder, "validate", "n.yaml", code=2).stderr
