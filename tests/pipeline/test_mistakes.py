"""Broken pipeline files.

None passes silently, and each mistake is told at its place, with its code and what to write instead.
"""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import pytest

from orchestrator.pipeline import InvalidPipeline, Pipeline
from orchestrator.pipeline.language.codes import codes
from orchestrator.pipeline.language.diagnostics import Diagnostic, rendered

GOOD = """\
version: 1
name: good
env: {PLACE: {default: "http://127.0.0.1:9"}}
inputs: {question: text, count: {type: number, default: 2}, many: {type: list, default: []}}
budget: {usd: 0.01}
tools:
  look: {http: "http://127.0.0.1:9/{id}", private: true, parameters: {id: text}}
  rows: {sql: "sqlite:x.db", query: "SELECT a FROM t WHERE b = :b"}
steps:
  facts: {memory: recall, query: "${inputs.question}"}
  reply: {search: adaptive, prompt: "${inputs.question} ${facts.text} ${env.PLACE}", verify: [arithmetic]}
  maybe: {say: "${reply.text}", when: "${reply.confidence > 0.5}"}
  each: {map: "${inputs.many}", as: one, do: {looked: {tool: look, id: "${one}"}}}
output: ${reply.text}
"""

ONE_TEST = "output: ${reply.text}\ntests: [{name: a, inputs: {question: x}, expect: {output: 1}}]"
LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)
)

# (what is wrong, what is replaced in the good file, by what, code, the text that the caret points at, part of the hint)
MUTATIONS = [
    ("misspelled key at the top", "budget:", "budgte:", "E104", "budgte", "budget"),
    ("misspelled key in a section", "{usd: 0.01}", "{usdd: 0.01}", "E104", "usdd", "usd"),
    ("misspelled key in an input", "default: 2", "defalt: 2", "E104", "defalt", "default"),
    ("misspelled key in a variable", 'PLACE: {default: "', 'PLACE: {defualt: "', "E104", "defualt", "default"),
    ("misspelled key in a step", "verify: [", "verfy: [", "E104", "verfy", "verify"),
    ("misspelled key in a tool", "private: true", "privte: true", "E104", "privte", "private"),
    ("misspelled key in a step within a step", 'tool: look, id: "${one}"', 'tool: look, idd: "${one}"', "E503", "idd",
    "id"),
    ("misspelled verb", "search: adaptive", "serch: adaptive", "E108", "serch", "search"),
    ("misspelled strategy", "search: adaptive", "search: adaptve", "E107", "adaptve", "adaptive"),
    ("misspelled memory", "memory: recall", "memory: recal", "E107", "recal", "recall"),
    ("misspelled check", "[arithmetic]", "[aritmetic]", "E504", "aritmetic", "arithmetic"),
    ("misspelled setting of a check", "[arithmetic]", "[{judge: {rubirc: x}}]", "E104", "rubirc", "rubric"),
    ("misspelled kind of a tool", "rows: {sql:", "rows: {sqll:", "E108", "sqll", "sql"),
    ("misspelled type of an input", "question: text,", "question: txt,", "E107", "txt", "text"),
    ("no verb", "{memory: recall, query:", "{query:", "E108", "facts", "one of"),
    ("two verbs", "{memory: recall,", "{memory: recall, say: x,", "E108", "say", "two steps"),
    ("a step that is no mapping", 'facts: {memory: recall, query: "${inputs.question}"}', "facts: recall", "E106",
    "recall", ""),
    ("a missing field", "{memory: recall, query: \"${inputs.question}\"}", "{memory: recall}", "E105", "facts", ""),
    ("a missing section", "steps:\n", "stpes:\n", "E104", "stpes", "steps"),
    ("a text for a number", "usd: 0.01", "usd: lots", "E106", "lots", ""),
    ("a negative number", "usd: 0.01", "usd: -1", "E106", "-1", ""),
    ("no for false", "private: true", "private: no", "E106", "no", ""),
    ("a number for a text", "verify: [arithmetic]", "description: 12", "E106", "12", ""),
    ("a list for a text", 'memory: recall, query: "${inputs.question}"', "memory: recall, query: [a]", "E106", "[", ""),
    ("an empty value", "budget: {usd: 0.01}", "budget:", "E106", "budget", ""),
    ("a duration that is none", "verify: [arithmetic]", "timeout: soon", "E106", "soon", ""),
    ("a version to come", "version: 1", "version: 2", "E113", "2", "version: 1"),
    ("a key twice", "name: good", "name: good\nname: better", "E102", "name: better", "rename"),
    ("a key twice in a step", "{say: ", "{say: a, say: ", "E102", "say: \"${reply", "rename"),
    ("an unknown input", "${inputs.question} ${facts", "${inputs.qestion} ${facts", "E203", "qestion", "question"),
    ("an unknown step", "output: ${reply.text}", "output: ${repl.text}", "E202", "repl.text", "reply"),
    ("an unknown field of a step", "output: ${reply.text}", "output: ${reply.txt}", "E203", "txt", "text"),
    ("a wrong root", "output: ${reply.text}", "output: ${input.question}", "E202", "input.question", "inputs"),
    ("a variable that is not declared", "${env.PLACE}", "${env.PLAC}", "E302", "PLAC", "PLACE"),
    ("a variable that is not set", "env: {PLACE:", "env: {NOT_SET_HERE: {}, PLACE:", "E301", "NOT_SET_HERE", "export"),
    ("an expression that is none", "${reply.text}\n", "${reply.text\n", "E201", "${reply", "}"),
    ("an operator of another language", 'when: "${reply.confidence > 0.5}"',
    'when: "${reply.confidence > 0.5 && true}"', "E201", "&&", "and"),
    ("text plus number", 'say: "${reply.text}"', 'say: "${reply.text + 1}"', "E204", "reply.text + 1", "text(x)"),
    ("a text for a condition", 'when: "${reply.confidence > 0.5}"', 'when: "${reply.text}"', "E204", '${reply.text}"}',
    ""),
    ("a text for a list", 'map: "${inputs.many}"', 'map: "${inputs.question}"', "E204", '${inputs.question}", as', ""),
    ("an unknown function", 'when: "${reply.confidence > 0.5}"', 'when: "${size(facts.items) > 1}"', "E208", "size(",
    ""),
    ("what may not have run", "output: ${reply.text}", "output: {a: \"x ${maybe}\"}", "E205", "${maybe}", "??"),
    ("a step within another", "output: ${reply.text}", "output: ${looked}", "E207", "looked}", "${each}"),
    ("a cycle", 'query: "${inputs.question}"', 'query: "${reply.text}"', "E206", "facts", ""),
    ("a step that uses itself", "${facts.text} ${env.PLACE}", "${reply.text} ${env.PLACE}", "E206", "reply: {search",
    ""),
    ("a name that is none", "maybe: {say", "may-be: {say", "E109", "may-be", "may_be"),
    ("a name that is taken", "do: {looked:", "do: {reply:", "E110", "reply: {tool", "another name"),
    ("an unknown tool", "tool: look,", "tool: lok,", "E502", "lok", "look"),
    ("a parameter that is missing", 'tool: look, id: "${one}"', "tool: look", "E503", "look}}}", "id"),
    ("SQL that writes", '"SELECT a FROM t WHERE b = :b"', '"DELETE FROM t WHERE b = :b"', "E507", '"DELETE', ""),
    ("two statements", '"SELECT a FROM t WHERE b = :b"', '"SELECT a FROM t; DROP TABLE t"', "E507", '"SELECT', ""),
    ("a host that is made of a value", "http://127.0.0.1:9/{id}", "http://{id}/x", "E506", '"http', ""),
    ("an address that is none", "http://127.0.0.1:9/{id}", "file:///etc/{id}", "E506", '"file', ""),
    ("a file outside of the project", 'prompt: "${inputs.question} ${facts.text} ${env.PLACE}"',
    "prompt: ../../secret.md", "E112", "../..", ""),
    ("a file that is not there", 'prompt: "${inputs.question} ${facts.text} ${env.PLACE}"', "prompt: nothing.md",
    "E100", "nothing.md", ""),
    ("a schema that is none", "verify: [arithmetic]", "schema: {type: objct}", "E505", "{type: objct", ""),
    ("a loop without a bound", 'maybe: {say: "${reply.text}",', "maybe: {loop: {do: {a: {say: x}}},", "E105", "loop",
    ""),
    ("a loop without end", 'maybe: {say: "${reply.text}",', "maybe: {loop: {at_most: 1000000, do: {a: {say: x}}},",
    "E106", "1000000", ""),
    ("a regular expression that is none", "[arithmetic]", "[{regex: '('}]", "E106", "'('", ""),
    ("an unknown sibling in after", 'when: "${reply.confidence > 0.5}"', "after: [reples]", "E202", "reples", "reply"),
    ("a test of nothing", "output: ${reply.text}", ONE_TEST.replace("output: 1", "outptu: 1"), "E202", "outptu",
    "output"),
    ("a test with wrong inputs", "output: ${reply.text}", ONE_TEST.replace("question: x", "qustion: x"), "E601",
    "inputs: {qustion", ""),
]  # fmt: skip


def diagnostics(path: Path, **settings: object) -> list[Diagnostic]:
    try:
        Pipeline.load(path, root=path.parent, **settings)  # type: ignore[arg-type]
    except InvalidPipeline as invalid:
        return [each for each in invalid.diagnostics if each.is_error]
    return []


def write(folder: Path, text: str) -> Path:
    path = folder / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_good_file_is_good(tmp_path: Path) -> None:
    assert diagnostics(write(tmp_path, GOOD)) == []


def test_there_are_enough_of_them() -> None:
    assert len({name for name, *_ in MUTATIONS}) == len(MUTATIONS) >= 40


@pytest.mark.parametrize(("what", "old", "new", "code", "at", "hint"), MUTATIONS, ids=[each[0] for each in MUTATIONS])
def test_each_mistake_is_told_at_its_place(
    tmp_path: Path, what: str, old: str, new: str, code: str, at: str, hint: str
) -> None:
    assert GOOD.count(old) >= 1, "the mutation changes nothing"
    text = GOOD.replace(old, new, 1)
    found = [each for each in diagnostics(write(tmp_path, text)) if each.code == code]
    assert found, f"{what}: {[(each.code, each.message) for each in diagnostics(tmp_path / 'broken.yaml')]}"
    lines = text.splitlines()
    pointed = [each for each in found if lines[each.line - 1][each.column - 1 :].startswith(at)]
    assert pointed, [(each.line, each.column, lines[each.line - 1][each.column - 1 :][:40]) for each in found]
    assert hint in pointed[0].hint
    assert pointed[0].source == lines[pointed[0].line - 1]


def test_all_mistakes_come_in_one_pass_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        GOOD.replace("budget:", "budgte:")
        .replace("verify:", "verfy:")
        .replace("memory: recall", "memory: recal")
        .replace("reply.txt", "x")
    )
    found = diagnostics(write(tmp_path, text))
    assert [each.code for each in found] == ["E104", "E107", "E104"]
    assert [each.line for each in found] == sorted(each.line for each in found)


def test_as_compilers_show_it(tmp_path: Path) -> None:
    (shown,) = diagnostics(write(tmp_path, GOOD.replace("verify: [", "verfy: [")))
    place, line, caret = shown.as_text().splitlines()
    column = line.index("verfy") - len("    11 | ") + 1
    assert re.fullmatch(
        rf".*broken\.yaml:11:{column}: error\[E104\]: step 'reply' \(search\) has no field 'verfy'", place
    )
    assert line.startswith("    11 |   reply: {search: adaptive")
    assert caret.strip() == "| " + " " * (column - 1) + "^^^^^ did you mean 'verify'?"


def test_formats_for_programs(tmp_path: Path) -> None:
    found = diagnostics(write(tmp_path, GOOD.replace("verify: [", "verfy: [")))
    assert json.loads(rendered(found, "json"))[0] | {"file": ""} == {
        "file": "", "line": 11, "column": 86, "length": 5, "severity": "error", "code": "E104",
        "message": "step 'reply' (search) has no field 'verfy'", "hint": "did you mean 'verify'?",
    }  # fmt: skip
    assert re.match(
        r"::error file=.*broken.yaml,line=11,col=86,endColumn=91,title=E104::step 'reply'", rendered(found, "github")
    )
    sarif = json.loads(rendered(found, "sarif"))
    assert sarif["version"] == "2.1.0"
    assert sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 11,
        "startColumn": 86,
        "endColumn": 91,
    }


def test_every_code_that_is_told_is_explained() -> None:
    source = Path(__file__).parents[2] / "orchestrator" / "pipeline"
    told = {code for path in source.rglob("*.py") for code in re.findall(r'"([EW]\d{3})"', path.read_text())}
    assert told <= codes().keys()
    assert all(each.title and each.about for each in codes().values())


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "E101"),
        (b"- a\n- b\n", "E101"),
        (b"version: 1\nname: x\nsteps:\n\ta: {say: x}\n", "E101"),
        (b"a: [1\nb: 2\n", "E101"),
        (b"\xff\xfe\x00", "E100"),
        (b"\x00\x01\x02", "E101"),
        (b"version: 1\nname: x\nsteps: &a {a: *a}\n", "E103"),
        (b"x" * 5_000_000, "E100"),
        (b"version: 1\nname: " + b"x" * 1_100_000, "E103"),
        (b"{" * 2_000, "E1"),
        (b"a: " + b"[" * 200 + b"]" * 200, "E103"),
        (LAUGHS, "E103"),
        (b"version: 1\nname: x\nsteps: {a: {say: !!python/object/apply:os.system [ls]}}\noutput: ${b}\n", "E202"),
    ],
    ids="empty|a list|tabs|syntax|not UTF-8|binary|an alias of itself|10 MB|a long text|braces|deep|billion laughs|a "
    "python tag".split("|"),
)
def test_files_that_are_none(tmp_path: Path, raw: bytes, code: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(raw)
    found = diagnostics(path)
    assert any(each.code.startswith(code) for each in found), found


def test_texts_that_look_like_something_else_stay_texts(tmp_path: Path) -> None:
    path = write(
        tmp_path, "version: 1\nname: x\nsteps:\n  a: {say: [no, on, 0o14, 12:30, 1_000, 2026-11-21, ~, 012]}\n"
    )
    assert Pipeline.load(path, root=tmp_path).run_sync().output == [
        "no",
        "on",
        12,
        "12:30",
        "1_000",
        "2026-11-21",
        None,
        12,
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (found,) = diagnostics(tmp_path / "nothing.yaml")
    assert (found.code, found.line) == ("E100", 1)


def test_a_link_out_of_the_project_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "secret.md").write_text("the secret")
    (tmp_path / "project" / "prompt.md").symlink_to(tmp_path / "secret.md")
    path = write(tmp_path / "project", "version: 1\nname: x\nsteps: {a: {ask: m, prompt: prompt.md}}\n")
    assert [each.code for each in diagnostics(path)] == ["E112"]


def test_a_name_that_two_files_define_wins_in_neither(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("inputs: {a: number}\nsteps: {c: {say: '${inputs.a}'}}\n")
    path = write(tmp_path, "version: 1\nname: x\ninclude: [more.yaml]\ninputs: {a: text}\nsteps: {b: {say: x}}\n")
    (found,) = diagnostics(path)
    assert (found.code, Path(found.file).name, found.line, found.column) == ("E111", "more.yaml", 1, 10)
    assert "broken.yaml:4" in found.message


def test_a_mistake_in_an_included_file_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("# more\nsteps:\n  c: {say: '${inputs.aa}'}\n")
    path = write(tmp_path, "version: 1\nname: x\ninclude: [more.yaml]\ninputs: {a: text}\nsteps: {b: {say: '${c}'}}\n")
    (found,) = diagnostics(path)
    assert (found.code, Path(found.file).name, found.line, found.column) == ("E203", "more.yaml", 3, 22)


def test_models_are_checked_where_the_fleet_is_known(tmp_path: Path) -> None:
    path = write(tmp_path, "version: 1\nname: x\nsteps: {a: {ask: smal, prompt: hi}}\n")
    assert diagnostics(path) == []
    (found,) = diagnostics(path, models=["small", "large"])
    assert (found.code, found.hint) == ("E501", "did you mean 'small'?")


@pytest.mark.parametrize(
    ("prompt", "code", "line"),
    [
        ("Hello {{ name }}", "E402", None),
        ("Hello\n{{ question }", "E401", 2),
        ("{% include '/etc/passwd' %}", "E403", 1),
        ("{% import 'x' as y %}", "E403", 1),
        ("{{ question.__class__ }}", "E403", 1),
        ("{{ question.upper() }}", "E403", 1),
        ("{{ cycler('a') }}", "E403", 1),
        ("{{ question | attr('__class__') }}", "E401", 1),
        ("{{ ''['__class__'] }}", "run", None),
    ],
)
def test_prompts_can_do_nothing_but_print(tmp_path: Path, prompt: str, code: str, line: int | None) -> None:
    (tmp_path / "p.md").write_text(prompt)
    path = write(
        tmp_path,
        "version: 1\nname: x\ninputs: {q: text}\nsteps: {a: {ask: m, prompt: p.md, with: {question: '${inputs.q}'}}}\n",
    )
    found = diagnostics(path)
    if code == "run":  # strict at run time: the sandbox knows no such attribute
        from orchestrator.pipeline.language.prompts import PromptFailed, parse_prompt

        with pytest.raises(PromptFailed):
            parse_prompt(prompt, "p.md").render({})
        return
    assert [each.code for each in found] == [code]
    if line is not None:
        assert (found[0].line, Path(found[0].file).name) == (line, "p.md")


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ q * n }}",
        "{{ n * [q] }}",
        "{{ n ** n }}",
        "{{ 10 ** n }}",
        "{% set x = q * 1000000 %}{{ x + x }}",
        "{{ '%0' ~ n ~ 'd' }}{{ '%0999999999d' % 5 }}",
        "{{ q | center(n) }}",
        "{{ q | indent(n, true) }}",
        "{{ [q] | tojson(indent=n) }}",
        "{{ [q] | batch(n, q) | list }}",
        "{{ [q] | slice(n) | list }}",
        "{{ (q * 1000000) | replace('ab', q * 1000000) }}",
        "{{ ((q * 900000,) * 1000000) | join }}",
        "{{ (q * 9000) | wordwrap(1, true, q * 100000) }}",
        "{% set a = q * 900000 %}"
        + "".join(f"{{% set {chr(98 + n)} = {chr(97 + n)} ~ {chr(97 + n)} %}}" for n in range(20)),
    ],
)
def test_a_prompt_makes_nothing_much_larger_than_it_may_be(prompt: str) -> None:
    from orchestrator.pipeline.language.prompts import PromptFailed, parse_prompt

    parsed = parse_prompt(prompt, "p.md")
    tracemalloc.start()
    try:
        with pytest.raises(PromptFailed, match=r"too large|not with %"):
            parsed.render({"q": "ab", "n": 999_999_999})
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("{{ '-' * 3 }}", "---"),
        ("{{ q ~ ' ' ~ n ~ none }}", "ab 30None"),
        ("{{ n * 2.5 }} {{ 2 ** 10 }} {{ n % 7 }} {{ [1] + [2] }}", "75.0 1024 2 [1, 2]"),
        ("{{ 3000000 * 4000000 * -0.5 }} {{ 1 ** n }} {{ 0.5 ** 3 }}", "-6000000000000.0 1 0.125"),
        ("{{ q | replace('a', 'xyz') | upper }}", "XYZB"),
        ("{{ [q, n] | join(', ') }}", "ab, 30"),
        ("{{ rows | join('-', 'n') }} {{ rows | sum('n') }}", "1-2 3"),
        ("> {{ q | indent(4, true) }}", ">     ab"),
        ("{{ [q] | tojson }} {{ q | truncate(5000) }}", '["ab"] ab'),
        ("{% for pair in rows | batch(2) %}{{ pair | length }}{% endfor %}", "2"),
    ],
)
def test_a_prompt_may_do_what_prompts_do(prompt: str, text: str) -> None:
    from orchestrator.pipeline.language.prompts import parse_prompt

    assert parse_prompt(prompt, "p.md").render({"q": "ab", "n": 30, "rows": [{"n": 1}, {"n": 2}]}) == text


def test_a_secret_goes_to_tools_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_X", "s3cret-token")
    text = """\
version: 1
name: x
env: {TOKEN_X: {secret: true}}
tools: {t: {http: "https://api.example.com/", headers: {authorization: "Bearer ${env.TOKEN_X}"}}}
steps:
  a: {tool: t}
  b: {PLACE}
"""
    assert diagnostics(write(tmp_path, text.replace("{PLACE}", "{say: x}"))) == []
    for leak in (
        '{say: "${env.TOKEN_X}"}',
        '{ask: m, prompt: "key ${env.TOKEN_X}"}',
        '{say: "${[env.TOKEN_X]}"}',
        '{say: x, when: "${env.TOKEN_X == 1}"}',
        '{memory: remember, text: "${text(env.TOKEN_X)}"}',
        '{say: "${lower(env.TOKEN_X) + env.TOKEN_X[0]}"}',
        '{branch: [{otherwise: "${env.TOKEN_X}"}]}',
        '{map: [1], do: {c: {say: "${env.TOKEN_X ?? 1}"}}}',
    ):
        assert "E303" in [each.code for each in diagnostics(write(tmp_path, text.replace("{PLACE}", leak)))], leak


def test_a_pipeline_that_calls_itself(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("version: 1\nname: y\nsteps: {b: {pipeline: broken.yaml}}\n")
    path = write(tmp_path, "version: 1\nname: x\nsteps: {a: {pipeline: other.yaml}}\n")
    assert {"E114", "E100"} == {each.code for each in diagnostics(path)}


def test_a_call_is_held_against_what_is_called(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(
        "version: 1\nname: y\nrelease: 3\ninputs: {a: text, b: number}\nsteps: {s: {say: '${inputs.a}'}}\n"
    )
    path = write(
        tmp_path,
        "version: 1\nname: x\nsteps: {a: {pipeline: other.yaml, release: 2, inputs: {a: 1, c: x}}}\noutput: ${a + 1}\n",
    )
    assert sorted(each.code for each in diagnostics(path)) == ["E113", "E204", "E601", "E601", "E601"]


def test_a_tool_that_is_wrong_is_told_once(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: p\ntools: {refund: {python: 'x:y'}}\nsteps:\n  a: {tool: refund, id: '1'}\n"
        "  b: {agent: adaptive, prompt: Do it., tools: [refund]}\n"
        "tests: [{name: t, tools: {refund: 1}, expect: {output: x}}]\n"
    )
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InvalidPipeline) as caught:
        Pipeline.load(path)
    assert [each.code for each in caught.value.diagnostics] == ["E507"]


def test_a_misspelt_field_that_is_needed_is_told_once(tmp_path: Path) -> None:
    found = diagnostics(write(tmp_path, "{version: 1, name: a, steps: {b: {search: adaptive, promt: Hello}}}"))
    assert [(each.code, each.hint) for each in found] == [("E104", "did you mean 'prompt'?")]


def test_an_otherwise_that_gives_is_told_what_to_write(tmp_path: Path) -> None:
    arms = "[{when: '${1 > 2}', give: x}, {otherwise: {give: y}}]"
    found = diagnostics(write(tmp_path, f"{{version: 1, name: a, steps: {{b: {{branch: {arms}}}}}}}"))
    assert "write {otherwise: value} without 'give'" in found[0].message


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        ("{say: ${1 + 1}}", "put texts in { }"),
        ("say: Reply: thanks", "put the text in quotes"),
        ("{verify: [a, ${1}], text: x}", "put texts in"),
    ],
)
def test_what_yaml_cannot_read_is_told_with_what_is_usually_meant(tmp_path: Path, step: str, hint: str) -> None:
    found = diagnostics(write(tmp_path, f"version: 1\nname: a\nsteps:\n  b: {step}\n"))
    assert found[0].code == "E101"
    assert hint in found[0].hint


def test_steps_written_as_a_list_are_told_how_they_are_written(tmp_path: Path) -> None:
    found = diagnostics(write(tmp_path, "version: 1\nname: a\nsteps:\n  - {name: b, say: hi}\n"))
    assert "put the name before each step" in found[0].hint
