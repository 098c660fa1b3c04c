"""What nobody means to write: files changed at random, hostile inputs, verbs of other packages."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.yaml_loader import load_located
from orchestrator.pipeline import InvalidPipeline, Pipeline, RunFailed
from tests.pipeline.test_run import Model, run

EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
EVERYTHING = """
version: 1
name: everything
env: {A: {default: x}, S: {default: y, secret: true}}
inputs: {q: text, l: {type: list}, o: {type: object, schema: {type: object, properties: {a: {type: number}}}}}
tools: {t: {http: "https://a.b/{id}", parameters: {id: text}, headers: {x: "${env.S}"}}, s: {sql: "sqlite:x.db",
    query: "select :a"}}
steps:
  a: {decide: {u: is it?, c: {ask: x, choice: [a, b]}}, state: "${inputs.q}"}
  b: {loop: {until: "${c > 1}", at_most: 3, do: {c: {say: 1}}}}
  d: {parallel: {first: 1, do: {e: {say: 1}, f: {tool: t, id: "${text(a.u.p)}"}}}}
  g: {verify: [arithmetic, {number: {equals: 3}}, {tests: {pass: ["1"]}}], text: "${inputs.q}", retry: {times: 2},
      cache: 1h, budget: {share: 10%}}
  h: {route: best, query: "${inputs.q}", on_error: {give: 1}}
  i: {branch: [{when: "${inputs.o.a != null and inputs.o.a > 1}", do: {j: {say: "${inputs.o.a}"}}}, {otherwise: 1}],
      after: [h]}
output: {x: "${b}", y: "${i}", z: "${d[0]}"}
tests: [{name: a, inputs: {q: x, l: [], o: {}}, expect: {output.x: 1}}]
"""
VALUES: list[Any] = [
    None, True, 0, -1, 3.5, "", "x", "${", "${a", "${a.b}", "${inputs.q}", "${inputs}", "${env}", "${[1]}", [], [1],
    ["a", {"b": 1}], {}, {"a": 1},
    {"do": {}}, {"do": {"z": {"say": 1}}}, "prompts/reply.md", "/etc/passwd", "\x00", "a\nb", 10**30, "5s", "10%",
    {"when": 1}, [[]], "arithmetic",
    {"judge": {}}, {"cites": None},
]  # fmt: skip
KEYS = (
    "do when say steps output branch loop map as with tool memory verify schema inputs budget x env and 1a on_error "
    "after retry"
).split()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    each = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in each:
        yield from places(inner, (*path, key))


def changed(document: Any, rng: random.Random) -> Any:
    """A document with up to three random changes."""
    found = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        *before, last = rng.choice(list(places(found)))
        at: Any = found
        for part in before:
            at = at[part]
        change = rng.random()
        if change < 0.55:
            at[last] = copy.deepcopy(rng.choice(VALUES))
        elif change < 0.7:
            del at[last]
        elif isinstance(at, dict):
            at[rng.choice(KEYS)] = at.pop(last) if change > 0.85 else copy.deepcopy(rng.choice(VALUES))
        if not found:
            break
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_file_breaks_the_loader(seed: int, tmp_path: Path) -> None:
    documents = [load_located(path.read_text()).value for path in sorted(EXAMPLES.glob("*.yaml"))] + [
        load_located(EVERYTHING).value
    ]
    rng = random.Random(seed)
    for folder in ("prompts", "rubrics", "schemas", "data", "apis", "tools"):
        (tmp_path / folder).symlink_to(EXAMPLES / folder)
    path = tmp_path / "changed.yaml"
    refused: list[InvalidPipeline] = []
    for _ in range(150):
        path.write_text(json.dumps(changed(rng.choice(documents), rng)))
        try:
            Pipeline.load(path, root=Path("/"), models=["small", "large"])
        except InvalidPipeline as invalid:
            refused.append(invalid)
    for each in refused:
        assert any(mistake.is_error for mistake in each.diagnostics)
        assert all(mistake.line >= 1 and mistake.column >= 1 and mistake.as_text() for mistake in each.diagnostics)
    assert 75 < len(refused) < 150


HOSTILE = "{{ 7 * 7 }} ${env.S} {% for x in range(9) %} </text> ' OR 1=1 -- ../../etc \x1b[31m"


def test_what_stands_in_an_input_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("Say: {{ question }}{% for t in many %} {{ t }}{% endfor %}")
    model = Model(lambda p: p)
    text = """
inputs: {q: text, many: list}
steps:
  a: {ask: m, prompt: p.md, with: {question: "${inputs.q}", many: "${inputs.many}"}}
  b: {ask: m, prompt: "again ${a.text}"}
output: ${b.text}
"""
    found = run(tmp_path, text, model, q=HOSTILE, many=[HOSTILE])
    assert found.output == f"again Say: {HOSTILE} {HOSTILE}"


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("{% for a in range(99999) %}{{ question }}{% endfor %}", "the prompt grows over 2,000,000 characters"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}{{ question }}",
            "more than 100,000 rounds",
        ),
    ],
)
def test_a_prompt_without_end_is_stopped(tmp_path: Path, prompt: str, told: str) -> None:
    (tmp_path / "p.md").write_text(prompt)
    with pytest.raises(RunFailed, match=told):
        run(tmp_path, f"steps: {{a: {{ask: m, prompt: p.md, with: {{question: {'x' * 30}}}}}}}\n")


def test_verbs_of_other_packages(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text("""
from orchestrator.pipeline import Step
from orchestrator.pipeline.language.fields import TextField
from orchestrator.pipeline.expressions.types import TEXT

class Shout(Step):
    verb = "shout"
    shout: TextField
    times: int = 1

    def gives(self, at):
        return TEXT

    async def perform(self, running, given):
        return given["shout"].upper() + "!" * self.times
""")
    (tmp_path / "shouting-1.0.dist-info").mkdir()
    (tmp_path / "shouting-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n"
    )
    (tmp_path / "shouting-1.0.dist-info" / "entry_points.txt").write_text(
        "[orchestrator.steps]\nshout = shouting:Shout\n"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from pathlib import Path
from orchestrator.pipeline import InvalidPipeline, Pipeline, RunFailed
from orchestrator.pipeline.analysis.json_schema import pipeline_schema
here = Path({str(tmp_path)!r})
text = "version: 1\\nname: x\\ninputs: {{w: text}}\\n"
text += "steps: {{a: {{shout: '${{inputs.w}}', times: 2}}}}\\noutput: ${{a + ' ok'}}\\n"
(here / "p.yaml").write_text(text)
print(Pipeline.load(here / "p.yaml", root=here).run_sync(w="hi").output)
(here / "q.yaml").write_text(text.replace("times", "tims"))
try:
    Pipeline.load(here / "q.yaml", root=here)
except InvalidPipeline as invalid:
    print([each.hint for each in invalid.diagnostics if each.code == "E104"])
print("Shout" in pipeline_schema()["$defs"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["HI!! ok", "[\"did you mean 'times'?\"]", "True"], done.stderr
