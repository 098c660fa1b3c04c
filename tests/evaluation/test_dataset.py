"""Examples in the forms that other tools keep them in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator import ConfigError
from orchestrator.evaluation import Assertion, read_cases

INSPECT = [
    {"input": "What is 2 + 2?", "target": "4", "id": "sum", "metadata": {"level": 1}},
    {"input": [{"role": "user", "content": "Say hi"}], "target": ["hi", "hello"]},
    {"input": "Which is a fruit?", "choices": ["stone", "apple"], "target": "B"},
]
PROMPTFOO = """
prompts: ["Translate to {{language}}: {{text}}"]
defaultTest:
  assert:
    - type: latency
      threshold: 5000
tests:
  - description: greeting
    vars: {language: French, text: Hello}
    assert:
      - type: icontains
        value: bonjour
      - type: not-contains
        value: Hello
"""


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_samples_of_inspect(tmp_path: Path) -> None:
    for name, text in (
        ("a.jsonl", "\n".join(map(json.dumps, INSPECT))),
        ("a.json", json.dumps(INSPECT)),
    ):
        cases = read_cases(written(tmp_path, name, text))
        assert cases[0].id == "sum"
        assert cases[0].targets == ("4",)
        assert cases[0].metadata == {"level": 1}
        assert cases[1].targets == ("hi", "hello")
        assert "B) apple" in cases[2].question


def test_tests_of_promptfoo(tmp_path: Path) -> None:
    (case,) = read_cases(written(tmp_path, "promptfooconfig.yaml", PROMPTFOO))
    assert case.question == "Translate to French: Hello"
    assert case.assertions == (
        Assertion("icontains", "bonjour"),
        Assertion("contains", "Hello", negated=True),
        Assertion("latency", threshold=5000),
    )


def test_a_table_of_promptfoo_names_what_is_expected_in_columns(tmp_path: Path) -> None:
    table = 'question,__expected1,__expected2,__expected3\n"6 * 7?",contains: 42,not-contains: 41,likeness: none\n'
    (case,) = read_cases(written(tmp_path, "t.csv", table))
    assert case.assertions == (
        Assertion("contains", "42"),
        Assertion("contains", "41", negated=True),
        Assertion("equals", "likeness: none"),
    )


def test_rows_under_the_usual_names_and_with_a_mark_of_byte_order(tmp_path: Path) -> None:
    rows = '\ufeff{"query": "Wie viel ist 6 mal 7?", "expected": 42}\n'
    (case,) = read_cases(written(tmp_path, "q.jsonl", rows))
    assert case.targets == ("42",)


def test_lists_of_variables_are_tests_of_their_own(tmp_path: Path) -> None:
    text = """
prompts: ["{{a}} * {{b}}?"]
defaultTest: {vars: {b: 2}, threshold: 0.5}
tests:
  - vars: {a: [6, 7]}
    assert: [{type: contains, value: "2", weight: 3}, {type: contains, value: "12"}]
  - vars: {a: [1, 2], b: [3, 4]}
    assert: [{type: is-json}]
"""
    cases = read_cases(written(tmp_path, "p.yaml", text))
    assert [case.question for case in cases] == ["6 * 2?", "7 * 2?", "1 * 3?", "2 * 3?", "1 * 4?", "2 * 4?"]
    assert [case.id for case in cases] == ["1.1", "1.2", "2.1", "2.2", "2.3", "2.4"]
    assert {case.threshold for case in cases} == {0.5}
    assert [each.weight for each in cases[0].assertions] == [3.0, 1.0]


def test_tests_in_a_file_of_their_own_and_in_json_mean_the_same(tmp_path: Path) -> None:
    tests = [{"vars": {"a": [6, 7]}, "assert": [{"type": "contains", "value": "1"}]}]
    config = "prompts: ['{{a}} * {{b}}?']\ndefaultTest: {vars: {b: 2}, assert: [{type: is-json}]}\ntests: file://FILE"
    for name, content in (
        ("t.json", json.dumps(tests)),
        ("t.jsonl", json.dumps(tests[0])),
        ("t.yaml", yaml.safe_dump(tests)),
    ):
        written(tmp_path, name, content)
        cases = read_cases(written(tmp_path, "p.yaml", config.replace("FILE", name)))
        assert [case.question for case in cases] == ["6 * 2?", "7 * 2?"], name
        assert {tuple(each.kind for each in case.assertions) for case in cases} == {("contains", "is-json")}
        alone = read_cases(tmp_path / name, prompt="{{a}}?")
        assert [(case.id, case.question) for case in alone] == [("1.1", "6?"), ("1.2", "7?")]


def test_a_prompt_may_be_an_object_or_a_file_of_text(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("What is {{n}}?")
    for prompt in ("file://prompt.txt", "{raw: 'What is {{n}}?', label: short}"):
        text = f"prompts: [{prompt}]\ntests: [{{vars: {{n: 3}}, assert: [{{type: contains, value: '3'}}]}}]"
        assert read_cases(written(tmp_path, "p.yaml", text))[0].question == "What is 3?"


def test_a_conversation_among_the_variables_is_no_list_of_tests(tmp_path: Path) -> None:
    text = "- {vars: {messages: [{role: user, content: 'Hi'}]}, assert: [{type: contains, value: a}]}"
    (case,) = read_cases(written(tmp_path, "p.yaml", text))
    assert case.question == "Hi"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("q.csv", "question,answer\n\n6?,1\n7?,\n", "q.csv: row 2: nothing is expected"),
        ("q.csv", "question,__expected\n6?,javascript:output.length\n", "unknown assertion 'javascript'"),
        ("q.csv", "question,__expected\n6?,fn:output.length\n", "unknown assertion 'fn'"),
        ("q.yaml", "prompts: ['{{a}}', 'b {{a}}']\ntests: [{vars: {a: 1}, assert: []}]", "it has 2 prompts"),
        ("q.yaml", "- {vars: {question: a}, assert: {type: contains, value: a}}", "assert is .* and no list"),
        ("q.yaml", "- {vars: {question: a}, assert: 'contains: a'}", "assert is 'contains: a', and no list"),
        ("q.jsonl", '{"question": "a", "assert": {"type": "is-json"}}', "assert is .* and no list"),
        ("q.yaml", "defaultTest: file://d.yaml\ntests: [{vars: {question: a}}]", "defaultTest is 'file://d.yaml'"),
        ("q.yaml", "prompts: [file://p.py]\ntests: [{vars: {a: 1}, assert: []}]", "is no text"),
        ("q.yaml", "prompts: [file://p.txt]\ntests: [{vars: {a: 1}, assert: []}]", "cannot be read"),
        (
            "q.yaml",
            "- {vars: {question: a}, options: {transform: output.x}, assert: [{type: contains, value: a}]}",
            "transform would run code",
        ),
        ("q.yaml", "- {vars: {question: a}, assert: [{type: contains, value: 'file://a.txt'}]}", "stands in file:"),
        ("q.yaml", "- {vars: {question: a}, threshold: x, assert: [{type: is-json}]}", "the threshold is 'x'"),
        (
            "q.yaml",
            "- {vars: {question: a}, assert: [{type: contains, value: a, weight: -1}]}",
            "the weight of contains",
        ),
        ("q.jsonl", '{"question": "x"}', "nothing is expected"),
        ("q.jsonl", '{"answer": "x"}', "no question under any of"),
        ("q.jsonl", "", "no examples"),
        ("q.jsonl", '{"question": "x", "answer": 1}\n{', "q.jsonl: row 2"),
        ("q.jsonl", '{"id": 1, "question": "x", "answer": 1}\n{"id": 1, "question": "y", "answer": 1}', "same id"),
        ("q.txt", "x", "examples end in"),
        ("q.yaml", "tests: 3", "not a list of tests"),
        ("q.yaml", "tests:\n  - vars: {question: a}\n    assert: [{type: javascript, value: x}]", "unknown assertion"),
        (
            "q.yaml",
            "prompts: ['{{a}}']\ntests:\n  - vars: {b: 1}\n    assert: [{type: contains}]",
            "the prompt needs a",
        ),
        (
            "q.yaml",
            "- {vars: {question: a}, assert: [{type: regex, value: '(['}]}",
            "test 1: regex.*no regular",
        ),
        ("q.yaml", "- {vars: {question: a}, assert: [{type: contains}]}", "says nothing of the answer"),
        ("q.yaml", "- {vars: {question: a}, assert: [{type: contains, value: ''}]}", "says nothing of the answer"),
        ("q.yaml", "- {vars: {question: a}, assert: [{type: contains-all, value: []}]}", "says nothing of the answer"),
        ("q.yaml", "- {vars: {question: a}, assert: [{type: cost}]}", "the limit is None"),
        ("q.yaml", "- {vars: {question: a}, assert: [{type: is-json, value: 3}]}", "no JSON Schema"),
        ("q.json", "[1]", "not an object"),
        ("q.jsonl", '{"messages": [{"role": "assistant", "content": "x"}], "answer": 1}', "no conversation that ends"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_place(tmp_path: Path, name: str, content: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_cases(written(tmp_path, name, content))


def test_text_in_another_encoding_is_told_without_options_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_bytes("question,answer\nWie spät?,fünf\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="row 1: it is not UTF-8") as caught:
        read_cases(tmp_path / "q.csv")
    assert "--" not in caught.value.remedy


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for name in ("none.yaml", "none.json"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_cases(tmp_path / name)
