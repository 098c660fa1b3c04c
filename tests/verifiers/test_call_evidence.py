"""Evidence on tool calls: schemas as people write them, arguments in many languages, and questions no tool fits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from orchestrator.verifiers import Verdict
from orchestrator.verifiers.calls.argument_support import SaidTexts, numbers_in
from orchestrator.verifiers.calls.call_set import ProposedCall, functions_of, leaves, read_calls, write_calls
from orchestrator.verifiers.calls.evidence import CallSchemaVerifier, call_verifiers

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather.get",
        "description": "Weather forecast of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "description": "Default is 1."},
                "unit": {"type": "string", "enum": ["metric", "imperial"]},
            },
            "required": ["city"],
        },
    },
}


def tool(name: str, parameters: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def verdicts(question: str, calls: list[ProposedCall], *tools: dict[str, Any]) -> dict[str, Verdict]:
    checks = call_verifiers(tools or (WEATHER,), [question])
    return {check.name: asyncio.run(check.verify(question, write_calls(calls))) for check in checks}


def judged(parameters: dict[str, Any], call: ProposedCall) -> Verdict:
    return asyncio.run(CallSchemaVerifier(functions_of([tool("f", parameters)])).verify("", write_calls([call])))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (ProposedCall("wether.get", {"city": "Bern"}), "there is no tool 'wether.get'; there are: weather.get"),
        (ProposedCall("weather.get", {}), '"city" is a required property'),
        (ProposedCall("weather.get", {"city": None}), 'null is not of type "string"'),
        (ProposedCall("weather.get", {"city": 3}), '3 is not of type "string"'),
        (ProposedCall("weather.get", {"city": "Bern", "unit": "kelvin"}), '"kelvin" is not one of'),
        (ProposedCall("weather.get", {"city": "Bern", "when": "now"}), "has no argument 'when'"),
        (ProposedCall("weather.get", None, '{"city": '), "not a JSON object: '{\"city\": '"),
    ],
)
def test_a_wrong_call_is_told_with_what_would_be_right(call: ProposedCall, told: str) -> None:
    verdict = (verdicts("Weather in Bern?", [call]))["call_schema"]
    assert verdict.passed is False
    assert verdict.decisive
    assert told in verdict.feedback


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}},
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "number"}, {"type": "null"}]}}},
        {"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"a": {}, "t": {"$ref": "#/$defs/t"}}}}},
        {"type": "object"},
        {},
    ],
)
def test_schemas_with_references_choices_and_recursion_are_followed(parameters: dict[str, Any]) -> None:
    assert judged(parameters, ProposedCall("f", {"a": 1})).passed
    assert judged(parameters, ProposedCall("g", {"a": 1})).passed is False


def test_a_schema_that_is_none_is_no_verdict() -> None:
    verdict = judged({"type": "object", "properties": {"a": {"$ref": "http://x/"}}}, ProposedCall("f", {"a": 1}))
    assert verdict.abstained
    assert "http://x/" in verdict.feedback


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("What will the weather be in Zürich?", "Zürich"),
        ("Wie wird das Wetter in München am 3. Mai 2024?", "2024-05-03"),
        ("¿Qué tiempo hará en Bogotá?", "Bogotá"),
        ("東京の天気を教えてください", "東京"),
        ("서울 날씨 어때?", "서울"),
        ("Какая погода в Москве?", "Москва"),
        ("A loan of 1,250,000 at 5 %", 1_250_000),
        ("A loan of 2 million at 5 %", 2_000_000),
        ("A loan of 2 million at 5 %", 0.05),
        ("three apples", 3),
        ("١٢٣ كتاب", 123),
        ("the file getUserName.py", "get user name"),
    ],
)
def test_what_was_said_supports_an_argument_in_any_language(said: str, value: object) -> None:
    assert SaidTexts([said]).share_of(value) == 1.0


@pytest.mark.parametrize(("said", "value"), [("Weather in Bern", "Paris"), ("Weather in Bern", 7), ("x", float("nan"))])
def test_what_nobody_said_supports_nothing(said: str, value: object) -> None:
    assert SaidTexts([said]).share_of(value) == 0.0


@pytest.mark.parametrize("value", [None, True, False, "", "  "])
def test_what_says_nothing_is_not_looked_up(value: object) -> None:
    assert SaidTexts(["Weather in Bern"]).share_of(value) is None


def test_invented_arguments_score_less_than_said_ones() -> None:
    question = "Weather in Bern for 3 days?"
    said = verdicts(question, [ProposedCall("weather.get", {"city": "Bern", "days": 3})])
    invented = verdicts(question, [ProposedCall("weather.get", {"city": "Bern", "days": 14, "unit": "metric"})])
    assert said["call_arguments"].score == 1.0
    assert invented["call_arguments"].score == 0.5  # the unit is one of a list
    assert said["call_coverage"].score == 1.0
    assert invented["call_coverage"].score == 0.0


def test_a_default_need_not_be_said() -> None:
    scored = verdicts("Weather in Bern?", [ProposedCall("weather.get", {"city": "Bern", "days": 1})])
    assert scored["call_arguments"].score == 1.0


def test_calling_nothing_fits_questions_that_no_tool_is_about() -> None:
    off_topic = verdicts("Who wrote Faust?", [])
    on_topic = verdicts("What is the weather forecast of this city?", [])
    assert off_topic["no_call_fit"].score == 1.0
    assert on_topic["no_call_fit"].score < 0.5
    assert off_topic["call_fit"].abstained


def test_text_is_no_call_and_calls_survive_their_form() -> None:
    calls = [ProposedCall("f", {"a": [1, {"b": "é"}]}), ProposedCall("g", None, "{broken")]
    assert list(read_calls(write_calls(calls))) == calls
    for text in ("", "[]", "Call f!", '[{"name":', json.dumps({"name": "f"})):
        assert read_calls(text) == ()


def test_deep_and_large_arguments_end() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    assert list(leaves(deep)) == [1]
    assert len(list(leaves(list(range(100_000))))) == 2_000
    assert len(numbers_in("7 " * 100_000)) == 1
