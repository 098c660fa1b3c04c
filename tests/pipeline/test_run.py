"""Runs of pipelines: what waits for what, what happens when something fails, and what is paid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.memory import Memory
from orchestrator.pipeline import InvalidInputs, InvalidPipeline, Pipeline, RunFailed, RunResult, Runtime
from orchestrator.router import ModelProfile
from orchestrator.storage.database import SqliteDatabase
from orchestrator.storage.runs import Runs
from orchestrator.trace import Event
from orchestrator.types import Completion, Usage


class Model(LocalBackend):
    """Says what `says` makes of the prompt, after `seconds`; counts its calls and how many ran at once."""

    def __init__(
        self,
        says: Callable[[str], str] = lambda prompt: "ok",
        *,
        name: str = "m",
        seconds: float = 0.0,
        usd_per_mtok: float = 1.0,
    ) -> None:
        super().__init__(ModelProfile(name, usd_per_mtok, usd_per_mtok, skill=0.9, ttft_s=seconds, simulated=True))
        self._says, self._seconds = says, seconds
        self.prompts: list[str] = []
        self.now = self.most = 0
        self.began: asyncio.Event | None = None

    async def complete(self, request: Request) -> Completion:
        prompt = request.messages[-1].content
        self.prompts.append(prompt)
        self.now += 1
        if self.began is not None:
            self.began.set()
        self.most = max(self.most, self.now)
        await asyncio.sleep(self._seconds)
        self.now -= 1
        return Completion(self.profile.name, self._says(prompt), Usage(100, 20), self._seconds, simulated=True)


def load(folder: Path, text: str, **settings: Any) -> Pipeline:
    path = folder / "p.yaml"
    path.write_text("version: 1\nname: p\n" + text, encoding="utf-8")
    return Pipeline.load(path, root=folder, **settings)


def run(
    folder: Path,
    text: str,
    model: LocalBackend | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    **inputs: Any,
) -> RunResult:
    pipeline = load(folder, text)

    async def go() -> RunResult:
        backend = model or Model()
        async with Orchestrator(
            {backend.profile.name: backend, "calculator": CalculatorBackend()}, memory=Memory(":memory:")
        ) as engine:
            found = await pipeline.run(inputs, orchestrator=engine, on_event=on_event)
            await found.settled()
            return found

    return asyncio.run(go())


def test_steps_without_a_path_between_them_run_at_once(tmp_path: Path) -> None:
    model = Model(seconds=0.1)
    steps = "".join(f"  s{i}: {{ask: m, prompt: 'number {i}'}}\n" for i in range(8))
    found = run(tmp_path, f"steps:\n{steps}  last: {{say: '${{s0.text}} ${{s7.text}}'}}\noutput: ${{last}}\n", model)
    assert (found.output, model.most, found.calls) == ("ok ok", 8, 8)


def test_a_step_waits_for_what_it_uses_and_for_after(tmp_path: Path) -> None:
    order: list[str] = []
    text = """
steps:
  c: {say: "${b.text}!"}
  d: {say: x, after: [c]}
  b: {ask: m, prompt: "${a}"}
  a: {say: hello}
output: ${c}
"""
    found = run(
        tmp_path,
        text.replace('"${b}!"', '"${b.text}!"'),
        on_event=lambda e: order.append(e.detail["step"]) if e.kind == "step_finished" else None,
    )
    assert found.output == "ok!"
    assert order == ["a", "b", "c", "d"]


def test_a_map_keeps_the_order_and_its_bound(tmp_path: Path) -> None:
    model = Model(lambda prompt: prompt.upper(), seconds=0.01)
    text = """
inputs: {many: list}
steps: {m: {map: "${inputs.many}", as: x, at_once: 5, do: {a: {ask: m, prompt: "${x}"}}, output: "${index}:${a.text}"}}
"""
    found = run(tmp_path, text, model, many=[f"item{i}" for i in range(40)])
    assert found.output == [f"{i}:ITEM{i}" for i in range(40)]
    assert model.most == 5


def test_items_that_fail_are_left_out_or_replaced(tmp_path: Path) -> None:
    text = (
        "inputs: {many: list}\nsteps: {m: {map: '${inputs.many}', as: x, on_error: %s, do: {a: {say: '${10 / x}'}}}}\n"
    )
    assert run(tmp_path, text % "skip", many=[1, 0, 5]).output == [10, 2]
    assert run(tmp_path, text % "{give: -1}", many=[1, 0, 5]).output == [10, -1, 2]
    with pytest.raises(RunFailed, match=r"step 'm\[1\]\.a' failed: \$\{10 / x\}: a division by zero"):
        run(tmp_path, text % "fail", many=[1, 0, 5])


def test_a_branch_takes_the_first_arm_that_holds(tmp_path: Path) -> None:
    text = """
inputs: {n: number}
steps:
  b:
    branch:
      - {when: "${inputs.n > 10}", do: {big: {say: "${inputs.n} is big"}}}
      - {when: "${inputs.n > 5}", give: "medium"}
      - {otherwise: "small"}
output: ${b}
"""
    assert [run(tmp_path, text, n=n).output for n in (20, 7, 1)] == ["20 is big", "medium", "small"]


def test_a_loop_ends_when_its_condition_holds_or_at_its_bound(tmp_path: Path) -> None:
    text = (
        "inputs: {end: number}\nsteps: {l: {loop: {until: '${n >= inputs.end}', at_most: 6, do: {n: {say: '${(last "
        "?? 0) + 1}'}}}}}\n"
    )
    assert run(tmp_path, text, end=4).output == 4
    assert run(tmp_path, text, end=100).output == 6


def test_a_race_takes_the_first_and_cancels_the_others(tmp_path: Path) -> None:
    slow, quick = (
        Model(lambda _: "slow", name="slow", seconds=600),
        Model(lambda _: "quick", name="quick", seconds=0.01),
    )
    pipeline = load(
        tmp_path,
        """
steps: {r: {parallel: {first: 1, do: {a: {ask: slow, prompt: x}, b: {ask: quick, prompt: x}, c: {say: "${1 / 0}"}}}}}
output: ${r[0].text}
""",
    )

    async def go() -> RunResult:
        async with Orchestrator({"slow": slow, "quick": quick}) as engine:
            return await pipeline.run(orchestrator=engine)

    assert asyncio.run(go()).output == "quick"


def test_parallel_gives_values_by_name(tmp_path: Path) -> None:
    assert run(tmp_path, "steps: {p: {parallel: {do: {a: {say: 1}, b: {say: '${a + 1}'}}}}}\n").output == {
        "a": 1,
        "b": 2,
    }


def test_when_after_skipped_steps(tmp_path: Path) -> None:
    text = """
steps:
  a: {say: x, when: "${1 > 2}"}
  b: {say: "${a ?? 'instead'}"}
  c: {say: "${a}", when: "${a != null}"}
output: {b: "${b}", c: "${c ?? 'nothing'}"}
"""
    found = run(tmp_path, text)
    assert found.output == {"b": "instead", "c": "nothing"}
    assert [(s.path, s.status) for s in found.steps if s.status == "skipped"] == [("a", "skipped"), ("c", "skipped")]


class Flaky(Model):
    """Cannot be reached the first `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    async def complete(self, request: Request) -> Completion:
        from orchestrator.errors import BackendUnavailable

        if self._left:
            self._left -= 1
            raise BackendUnavailable("m: it is not there")
        return await super().complete(request)


def test_retries_errors_that_may_pass(tmp_path: Path) -> None:
    found = run(
        tmp_path, "steps: {a: {ask: m, prompt: x, retry: {times: 4, wait: 1ms}}}\noutput: '${a.text}'\n", Flaky(3)
    )
    assert (found.output, found.steps[0].attempts) == ("ok", 4)
    with pytest.raises(RunFailed, match=r"step 'a' failed.*not there"):
        run(tmp_path, "steps: {a: {ask: m, prompt: x, retry: {times: 2, wait: 1ms}}}\n", Flaky(3))


def test_what_cannot_pass_is_not_tried_again(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(RunFailed):
        run(tmp_path, "steps: {a: {say: '${1 / 0}', retry: 5}}\n", on_event=events.append)
    assert not [e for e in events if e.kind == "step_retrying"]


def test_a_failure_is_skipped_or_replaced_where_the_file_says_so(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        "steps: {a: {say: '${1 / 0}', on_error: skip}, b: {say: '${1 / 0}', on_error: {give: 7}}}\noutput: {a: '${a}', "
        "b: '${b}'}\n",
    )
    assert found.output == {"a": None, "b": 7}
    assert "division by zero" in found.step("a").error


def test_a_failure_cancels_what_runs_beside_it(tmp_path: Path) -> None:
    model = Model(seconds=600)
    with pytest.raises(RunFailed, match="step 'b' failed"):
        run(tmp_path, 'steps: {a: {ask: m, prompt: x}, b: {say: \'${1 / 0}\'}}\noutput: ["${a.text}", "${b}"]\n', model)


def test_a_timeout_is_a_failure_of_the_step(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"step 'a' failed: it took longer than 0\.05 s"):
        run(tmp_path, "steps: {a: {ask: m, prompt: x, timeout: 50ms}}\n", Model(seconds=600))


def test_the_caller_does_not_wait_for_the_background(tmp_path: Path) -> None:
    model = Model(lambda p: p, seconds=0.2)
    pipeline = load(
        tmp_path,
        "steps:\n  a: {ask: m, prompt: now}\n  b: {ask: m, prompt: 'later ${a.text}', background: true}\noutput: "
        "'${a.text}'\n",
    )

    async def go() -> tuple[Any, int, int]:
        async with Orchestrator({"m": model}) as engine, Runtime(engine) as host:
            found = await pipeline.run(host=host)
            before = len(found.steps)
            await found.settled()
            return found.output, before, len(found.steps)

    assert asyncio.run(go()) == ("now", 1, 2)
    assert model.prompts == ["now", "later now"]


def test_a_failure_in_the_background_does_not_fail_the_run(tmp_path: Path) -> None:
    found = run(
        tmp_path, "steps:\n  a: {say: x}\n  b: {say: '${1 / 0}', background: true, after: [a]}\noutput: '${a}'\n"
    )
    assert (found.output, found.step("b").status) == ("x", "failed")


def test_a_spent_budget_gives_the_best_so_far_or_fails(tmp_path: Path) -> None:
    text = """
budget: {usd: 0.002, when_spent: %s}
steps:
  a: {ask: m, prompt: first, max_tokens: 1000}
  b: {ask: m, prompt: "second ${a.text}", max_tokens: 1000}
  c: {ask: m, prompt: "third ${b.text}", max_tokens: 1000}
output: ${c.text}
"""
    model = Model(lambda prompt: f"answer to {prompt[:6]}", usd_per_mtok=2.0)
    # each call is held at about 0.002 and settled at 0.00024
    found = run(tmp_path, (text % "best_so_far").replace("0.002,", "0.0025,"), model)
    assert (found.partial, found.stopped) == (True, "usd")
    assert found.output == "answer to second"
    assert found.cost_usd is not None
    assert 0 < found.cost_usd <= 0.0025
    with pytest.raises(RunFailed, match=r"step 'c' failed.*USD"):
        run(tmp_path, (text % "fail").replace("0.002,", "0.0025,"), Model(usd_per_mtok=2.0))


def test_the_budget_holds_over_maps_and_loops(tmp_path: Path) -> None:
    text = (
        "budget: {calls: 7}\nsteps: {m: {map: '${[1,2,3,4,5,6,7,8,9,10]}', on_error: skip, at_once: 10, do: {a: "
        "{ask: m, prompt: 'x ${item}'}}}}\n"
    )
    model = Model(seconds=0.01)
    found = run(tmp_path, text, model)
    assert len(model.prompts) == 7
    assert found.calls == 7


def test_a_step_has_a_share_of_the_budget(tmp_path: Path) -> None:
    text = """
budget: {usd: 0.01}
steps:
  a: {ask: m, prompt: x, max_tokens: 900, budget: {share: 10%}, on_error: skip}
  b: {ask: m, prompt: x, max_tokens: 900}
"""
    found = run(tmp_path, text + "output: {a: '${a}', b: '${b.text}'}\n", Model(usd_per_mtok=2.0))
    assert found.output == {"a": None, "b": "ok"}


def test_the_time_of_a_run_gives_what_there_is(tmp_path: Path) -> None:
    text = (
        "budget: {seconds: 0.3}\nsteps:\n  a: {ask: quick, prompt: x}\n  b: {say: '${a.text}', after: [c]}\n  c: "
        "{tool: slow}\noutput: '${b}'\n"
    )
    path = tmp_path / "slow_tool.py"
    path.write_text("import asyncio\nasync def slow():\n    await asyncio.sleep(600)\n")
    import sys

    sys.path.insert(0, str(tmp_path))
    pipeline = load(tmp_path, "tools: {slow: {python: 'slow_tool:slow'}}\n" + text, allow_python=True)

    async def go() -> RunResult:
        async with Orchestrator({"quick": Model(lambda _: "so far", name="quick")}) as engine:
            return await pipeline.run(orchestrator=engine)

    found = asyncio.run(go())
    assert (found.output, found.partial, found.stopped) == ("so far", True, "seconds")


def test_a_pipeline_calls_another(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(
        "version: 1\nname: inner\nrelease: 2\ninputs: {word: text, times: {type: integer, default: 2}}\n"
        "steps: {a: {ask: m, prompt: 'say ${inputs.word}'}, b: {say: '${a.text} x${inputs.times}'}}\noutput: ${b}\n"
    )
    found = run(
        tmp_path,
        "steps: {c: {pipeline: inner.yaml, release: 2, inputs: {word: hi}}, d: {say: '<${c}>'}}\noutput: ${d}\n",
        Model(lambda p: p),
    )
    assert found.output == "<say hi x2>"
    assert {s.path for s in found.steps} == {"c.a", "c.b", "c", "d"}
    assert found.cost_usd is not None
    assert found.cost_usd > 0


def test_inputs_are_held_against_what_is_taken(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        "inputs: {a: text, b: {type: integer, default: 3}, c: {type: text, choices: [x, y], default: x}}\nsteps: {s: "
        "{say: '${inputs}'}}\n",
    )
    assert pipeline.run_sync(a="1").output == {"a": "1", "b": 3, "c": "x"}
    for wrong in ({}, {"a": 1}, {"a": "x", "b": "3"}, {"a": "x", "c": "z"}, {"a": "x", "d": 1}):
        with pytest.raises(InvalidInputs, match="It takes: a, b, c"):
            pipeline.run_sync(wrong)


def test_a_search_is_checked_revised_and_told_in_events(tmp_path: Path) -> None:
    answers = iter(["17 * 23 = 401", "17 * 23 = 391"])
    events: list[Event] = []
    text = """
steps: {a: {search: revise, prompt: "How much are 17 lamps at 23 euros each, all together?", verify: [arithmetic]}}
output: {t: "${a.text}", v: "${a.verified}"}
"""
    found = run(tmp_path, text, Model(lambda p: next(answers)), on_event=events.append)
    assert found.output == {"t": "17 * 23 = 391", "v": True}
    kinds = [e.kind for e in events]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_finished"
    assert {"routed", "drafted", "revising", "verified"} <= set(kinds)
    assert all(e.detail["step"] == "a" for e in events if e.kind == "drafted")


def test_an_answer_without_its_form_fails_the_step_and_shows_the_last_one(tmp_path: Path) -> None:
    text = (
        "steps: {a: {extract: some text, schema: {type: object, properties: {n: {type: number}}, required: "
        "[n]}}}\noutput: ${a.value.n}\n"
    )
    with pytest.raises(RunFailed, match=r"step 'a' failed: no model gave the data of the form.*certainly not JSON"):
        run(tmp_path, text, Model(lambda p: "certainly not JSON"))
    assert run(tmp_path, text, Model(lambda p: '{"n": 4}')).output == 4


def test_decide_gives_probabilities(tmp_path: Path) -> None:
    text = """
inputs: {t: text}
steps:
  d:
    decide:
      urgent: Is it urgent?
      tone: {ask: How does it sound?, choice: [angry, calm]}
      length: {ask: How long is it?, score: [short, medium, long]}
    state: ${inputs.t}
output: {u: "${d.urgent.yes}", p: "${d.urgent.p}", t: "${d.tone.choice}", s: "${d.length.score}",
    all: "${d.tone.probabilities.angry}"}
"""
    said = {"Is it urgent?": "Yes.", "How does it sound?": "angry", "How long is it?": "medium"}
    found = run(tmp_path, text, Model(lambda p: next(v for k, v in said.items() if k in p)), t="Where is it?!")
    assert (found.output["u"], found.output["t"]) == (True, "angry")
    assert 0.5 < found.output["p"] <= 1
    assert found.output["s"] == pytest.approx(0.5)


def test_verify_as_a_step(tmp_path: Path) -> None:
    text = """
inputs: {t: text}
steps:
  v:
    verify: [{length: {max_words: 6}}, arithmetic, {regex: "^[A-Z]"}, {number: {at_least: 3}}, {json: {type: string}}]
    text: ${inputs.t}
    all: false
output: {p: "${v.passed}", f: "${v.feedback}", n: "${len(v.verdicts)}"}
"""
    assert run(tmp_path, text, t="Well, 2 + 2 = 5").output["f"] == "2 + 2 is 4, not 5"
    assert run(tmp_path, text, t="2 + 2 = 4").output == {"p": False, "f": "the answer must match '^[A-Z]'", "n": 3}


def test_memory_is_recalled_remembered_and_forgotten(tmp_path: Path) -> None:
    text = """
inputs: {user: text}
steps:
  r: {memory: remember, text: "The ferry leaves at 19:40.", scope: "shop/${inputs.user}", source: timetable}
  q: {memory: recall, query: When does the ferry leave?, scope: "shop/${inputs.user}", after: [r]}
  s: {memory: summarize, scope: "shop/${inputs.user}", after: [r]}
  f: {memory: forget, scope: "shop/${inputs.user}", ids: "${q.items[*].id}", after: [s]}
output: {said: "${q.items[0].text}", by: "${q.items[0].source}", left: "${f.left}", sum: "${s.text}"}
"""
    found = run(tmp_path, text, user="ann")
    assert found.output == {
        "said": "The ferry leaves at 19:40.",
        "by": "timetable",
        "left": 0,
        "sum": found.output["sum"],
    }
    assert "19:40" in found.output["sum"]
    with pytest.raises(RunFailed, match="part of a scope"):
        run(tmp_path, text, user="ann/other")


def test_a_cached_step_gives_the_same_again_and_costs_nothing(tmp_path: Path) -> None:
    model = Model(lambda p: f"answer {len(p)}")
    pipeline = load(
        tmp_path, "inputs: {q: text}\nsteps: {a: {ask: m, prompt: '${inputs.q}', cache: 1h}}\noutput: '${a.text}'\n"
    )
    runs = Runs(SqliteDatabase(":memory:"))

    async def go() -> list[tuple[Any, str]]:
        found = []
        async with (
            Orchestrator({"m": model}) as engine,
            Runtime(engine, runs=runs) as host,
            Runtime(engine, runs=runs, owner="other") as other,
        ):
            for where, question in ((host, "one"), (host, "one"), (host, "two"), (other, "one")):
                result = await pipeline.run({"q": question}, host=where)
                found.append((result.output, result.steps[0].status))
        return found

    assert asyncio.run(go()) == [
        ("answer 3", "done"),
        ("answer 3", "cached"),
        ("answer 3", "done"),
        ("answer 3", "done"),
    ]
    assert len(model.prompts) == 3


def test_streaming(tmp_path: Path) -> None:
    pipeline = load(tmp_path, "steps: {a: {say: x}}\n")

    async def go() -> list[Any]:
        return [each async for each in pipeline.stream(host=Runtime())]

    *events, result = asyncio.run(go())
    assert [e.kind for e in events] == ["run_started", "step_started", "step_finished", "run_finished"]
    assert isinstance(result, RunResult)


def test_what_no_json_can_hold_names_its_step(tmp_path: Path) -> None:
    import sys

    (tmp_path / "odd_tool.py").write_text("def odd():\n    return object()\n")
    sys.path.insert(0, str(tmp_path))
    pipeline = load(tmp_path, "tools: {odd: {python: 'odd_tool:odd'}}\nsteps: {a: {tool: odd}}\n", allow_python=True)

    async def go() -> None:
        async with Runtime(runs=Runs(SqliteDatabase(":memory:"))) as host:
            await pipeline.run(host=host)

    with pytest.raises(RunFailed, match="step 'a' failed: what it gives cannot be kept"):
        asyncio.run(go())


def test_ten_thousand_steps_in_a_row_do_not_overflow(tmp_path: Path) -> None:
    text = "steps:\n  l: {loop: {at_most: 1000, do: {n: {say: '${(last ?? 0) + 1}'}}}}\noutput: ${l}\n"
    assert run(tmp_path, text).output == 1000
    chain = (
        "steps:\n  s0: {say: 0}\n"
        + "".join(f"  s{i}: {{say: '${{s{i - 1} + 1}}'}}\n" for i in range(1, 1500))
        + "output: ${s1499}\n"
    )
    assert run(tmp_path, chain).output == 1499


def test_a_loop_whose_condition_never_held_says_so_and_may_fail(tmp_path: Path) -> None:
    loop = (
        "steps:\n  tries:\n    loop:\n      at_most: 3\n      until: ${n > 5}\n      do:\n        n: {say: "
        "'${index}'}\n"
    )
    found = run(tmp_path, f"{loop}output: ${{tries}}\n")
    assert "did not hold in 3 rounds" in found.step("tries").note
    assert "did not hold" in found.as_dict()["steps"][-1]["note"]
    held = run(tmp_path, loop.replace("> 5", "> 1") + "output: ${tries}\n")
    assert held.step("tries").note == ""
    with pytest.raises(RunFailed, match="did not hold in 3 rounds"):
        run(tmp_path, loop.replace("at_most: 3", "at_most: 3\n      otherwise: fail") + "output: ${tries}\n")


def test_a_judge_without_a_question_is_sent_none_and_what_it_cannot_tell_is_no_zero(tmp_path: Path) -> None:
    text = "steps:\n  v: {verify: [{judge: {model: m, criteria: {kind: Is it kind?}}}], text: Dear Ann}\noutput: ${v}\n"
    model = Model(lambda prompt: '{"ratings": {"kind": {"why": "fine", "score": 9}}}')
    found = run(tmp_path, text, model)
    assert found.output["passed"] is True
    assert "Rate the text below" in model.prompts[0]
    assert "question" not in model.prompts[0]
    unread = run(tmp_path, text, Model(lambda prompt: "I like it."))
    assert (unread.output["passed"], unread.output["score"]) == (False, None)
    assert "not in the form" in unread.output["feedback"]


def test_strategies_have_the_same_names_everywhere(tmp_path: Path) -> None:
    from orchestrator.config.models import parse_config

    for name in ("vote", "self_consistency", "revise", "draft_critique_revise"):
        model = Model()
        assert (
            run(tmp_path, f"steps:\n  a: {{search: {name}, prompt: 'Who?'}}\noutput: ${{a.text}}\n", model).output
            == "ok"
        )
        parse_config(f"models: {{a: {{provider: calculator}}}}\nstrategy: {name}\n")
        engine = Orchestrator({"m": model}, memory=None, strategy=name)
        assert engine.answer_sync("Who?").text == "ok"


def test_examples_of_a_classification_stand_by_label_too(tmp_path: Path) -> None:
    by_label = "{good: [Lovely lamp, Great lamp], bad: [Broken lamp, Cracked lamp]}"
    steps = f"steps: {{a: {{classify: Lovely lamp, labels: [good, bad], examples: {by_label}, quality: 0.5}}}}\n"
    found = run(tmp_path, steps)
    assert (found.output["label"], found.output["by"]) == ("good", "examples")
    with pytest.raises(InvalidPipeline, match="unknown label 'ugly'"):
        load(tmp_path, steps.replace("bad: [Broken", "ugly: [Broken"))
