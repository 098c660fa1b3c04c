"""The language of expressions.

What it computes, what it refuses before it runs, and what nobody can reach through it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pipeline.expressions.evaluation import Absent, ExpressionFailed
from orchestrator.pipeline.expressions.grammar import SyntaxProblem
from orchestrator.pipeline.expressions.templates import computed, parse_template, percent_encoded, segment
from orchestrator.pipeline.expressions.type_inference import Unknown, infer
from orchestrator.pipeline.expressions.types import NUMBER, TEXT, ValueType, list_of, record, type_of, type_of_schema


def value(expression: str, **values: Any) -> Any:
    return computed("${" + expression + "}")(values)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 - 3 - 4", -5),
        ("-2 - -3", 1),
        ("7 % 4 + 0.5", 3.5),
        ("1_000 + 1", 1001),
        ("1 < 2 and not (2 < 1)", True),
        ("true or 1 / 0 > 1", True),
        ("not true == false", True),
        ("1 == 1.0", True),
        ("true == 1", False),
        ('"a" + "b" == "ab"', True),
        ('"b" in "abc" and 2 not in [1, 3]', True),
        ("a.b[1].c", 5),
        ("a.b[-1].c", 5),
        ("a.b[*].c", [4, 5]),
        ("sum(a.b[*].c)", 9),
        ("len(a.b) > 1 and max(a.b[*].c) == 5", True),
        ("max(1, 3, 2)", 3),
        ('a["b"][0].c', 4),
        ('a.nothing ?? "else"', "else"),
        ("null ?? null ?? 3", 3),
        ("round(2.345, 2)", 2.35),
        ('number("1,234.5")', 1234.5),
        ('lower("ÄB") + text(3) + text(2.0)', "äb32"),
        ('join(["a", 1], "-")', "a-1"),
        ("json({} ?? 1)", None),
        ("any([1 > 2, 2 > 1]) and all([])", True),
        ('"it\\"s" + \'$\'', 'it"s$'),
    ],
)
def test_what_it_computes(expression: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(SyntaxProblem):
            value(expression)
        return
    assert value(expression, a={"b": [{"c": 4}, {"c": 5}]}) == expected


def test_a_text_that_is_one_expression_keeps_its_type_and_any_other_becomes_text() -> None:
    assert computed("${n}")({"n": 3}) == 3
    assert computed("n is ${n}, $${n} stays, ${l}")({"n": 3.0, "l": [1, "a"]}) == 'n is 3, ${n} stays, [1, "a"]'
    assert computed({"a": ["${n}", 1], "b": "x"})({"n": 3}) == {"a": [3, 1], "b": "x"}


@pytest.mark.parametrize(
    "expression",
    [
        "", "1 +", "a.", "a b", "1 < 2 < 3", "a = 1", "a := 1", "lambda: 1", "a.b()", "[x for x in a]",
        "a if b else c", "`a`", "a; b", "f'{a}'",
        "'unclosed", "a[", "a[1", "(1", "1)", "a..b", "@a", "a ** 2 ** 3 **", "not", "and a", "{}", "a: b", "\\x",
        "a && b", "!a",
        "((" * 200, "1" + "+1" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(SyntaxProblem) as problem:
        parse_template("${" + expression + "}")
    assert 0 <= problem.value.start <= problem.value.end


@pytest.mark.parametrize(
    "expression",
    [
        "a.__class__", "a.__class__.__mro__", "a['__class__']", "a.items", "a.keys", "text.format", "t.upper",
        "t.__class__", "l.append",
        "l.__len__", "n.real",
        "n.__class__", "a.b.__globals__", "len.__self__", "t[0].__class__", "l[*].__class__", "__import__", "open",
        "eval", "self", "values",
        "builtins", "a.__dict__",
    ],
)  # fmt: skip
def test_nothing_of_python_can_be_reached(expression: str) -> None:
    with pytest.raises(ExpressionFailed):
        value(expression, a={"b": {}}, t="text", l=[1], n=1, text="x")


@pytest.mark.parametrize(
    "expression", ["open('x')", "__import__('os')", "eval('1')", "getattr(a, 'b')", "exec('1')", "print(1)", "range(3)"]
)
def test_no_other_function_can_be_called(expression: str) -> None:
    told: list[str] = []
    template = parse_template("${" + expression + "}")
    assert template.whole is not None
    infer(template.whole.node, lambda name: TEXT, lambda node, code, message, hint: told.append(code))
    assert "E208" in told
    with pytest.raises(KeyError):
        value(expression, a=1)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("1 / 0", {}), ("1 % 0", {}), ("a * a", {"a": "x"}), ("a * 3", {"a": [1]}), ("a + 1", {"a": "x"}),
        ("a > 1", {"a": "x"}),
        ("a and true", {"a": 1}),
        ("not a", {"a": ""}), ("-a", {"a": True}), ("a[5]", {"a": [1]}), ("a.b", {"a": [1]}), ("a[*]", {"a": 1}),
        ("sum(a)", {"a": ["x"]}),
        ("number(a)", {"a": "x"}),
        ("max(a)", {"a": []}), ("min(a)", {"a": [1, "x"]}), ("a * a", {"a": 1e300}), ("a * a", {"a": 10**300}),
        ("any(a)", {"a": [1]}),
        ("len(a)", {"a": 3}), ("b", {}),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_says_so(expression: str, values: dict[str, Any]) -> None:
    with pytest.raises(ExpressionFailed) as failed:
        value(expression, **values)
    assert "${" + expression + "}" in failed.value.message


def test_texts_and_numbers_cannot_grow_without_end() -> None:
    big = "x" * 1_500_000
    with pytest.raises(ExpressionFailed, match="too large"):
        value("a + a", a=big)
    with pytest.raises(ExpressionFailed, match="too large"):
        value("join(a)", a=[big, big])


def test_values_are_never_read_as_expressions_or_templates() -> None:
    assert computed("Hi ${name}")({"name": "${env.SECRET} {{ 7 * 7 }}"}) == "Hi ${env.SECRET} {{ 7 * 7 }}"


def test_what_is_put_into_scopes_and_addresses_stays_in_its_part() -> None:
    assert computed("shop/${u}", escape=segment)({"u": "ann"}) == "shop/ann"
    for user in ("ann/secrets", "", " ", "/"):
        with pytest.raises(ExpressionFailed, match="part of a scope"):
            computed("shop/${u}", escape=segment)({"u": user})
    assert computed("/t/${i}/x", escape=percent_encoded)({"i": "a/b?c#d&e"}) == "/t/a%2Fb%3Fc%23d%26e/x"
    with pytest.raises(ExpressionFailed):
        computed("/t/${i}", escape=percent_encoded)({"i": ".."})


SCOPE: dict[str, ValueType] = {
    "inputs": record(q=TEXT, n=NUMBER, o=TEXT.maybe("it may be left out")),
    "facts": record(text=TEXT, items=list_of(record(id=TEXT, score=NUMBER))),
    "skipped": record(text=TEXT).maybe("it may not run"),
}


def inferred(expression: str) -> tuple[str, list[str]]:
    def look_up(name: str) -> ValueType:
        if name not in SCOPE:
            raise Unknown("E202", name)
        return SCOPE[name]

    told: list[str] = []
    template = parse_template("${" + expression + "}")
    assert template.whole is not None
    return str(infer(template.whole.node, look_up, lambda node, code, message, hint: told.append(code))), told


@pytest.mark.parametrize(
    ("expression", "kind", "codes"),
    [
        ("inputs.q", "text", []), ("inputs.n + 1", "number", []), ("inputs.n > 1", "bool", []),
        ("facts.items[*].score", "list of number", []),
        ("facts.items[0].id", "text", []), ("sum(facts.items[*].score) / len(facts.items)", "number", []),
        ("max(facts.items[*].score)",
        "number", []),
        ("inputs.o ?? 1", "any", []), ("skipped.text ?? inputs.q", "text", []),
        ("skipped != null and skipped.text == inputs.q", "bool", []),
        ("skipped.text", "text", ["E205"]), ("inputs.o + inputs.q", "text", ["E205"]),
        ("skipped != null or skipped.text == inputs.q",
        "bool", ["E205"]),
        ("facts.item", "any", ["E203"]), ("facts.items.id", "any", ["E203"]), ("inputs.q.x", "any", ["E203"]),
        ("nothing", "any", ["E202"]),
        ("inputs.q + inputs.n", "text", ["E204"]), ("inputs.q == inputs.n", "bool", ["E204"]),
        ("inputs.q and true", "bool", ["E204"]),
        ("facts[0]", "any", ["E204"]),
        ("sum(facts.items[*].id)", "number", ["E204"]), ("len(inputs.n)", "number", ["E204"]),
        ("max()", "any", ["E208"]), ("inputs.n[*]",
        "list", ["E204"]),
    ],
)  # fmt: skip
def test_types_are_known_before_anything_runs(expression: str, kind: str, codes: list[str]) -> None:
    assert inferred(expression) == (kind, codes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_value_is_of_the_type_that_it_has(one: Any, other: Any) -> None:
    assert type_of(one).surely().fits(type_of(one).surely())
    assert computed("${a}")({"a": one}) == one
    assert json.loads(value("json(a)", a=one)) == one
    same = value("a == b", a=one, b=other)
    assert (
        same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
        or type(one) is not type(other)
        or isinstance(one, list | dict)
    )


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        assert any(True for _ in parse_template("${" + text).expressions)
    except SyntaxProblem as problem:
        start = problem.start
    else:
        start = 0
    assert 0 <= start <= len(text) + 2


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_arithmetic_is_pythons(a: float, b: float) -> None:
    assert value("a + b - a * b", a=a, b=b) == a + b - a * b
    if b and not math.isinf(a / b):
        assert value("a / b", a=a, b=b) == a / b


def test_absence_is_not_an_error_of_another_kind() -> None:
    with pytest.raises(Absent):
        value("a.b", a={})
    with pytest.raises(ExpressionFailed):
        value("(a.b + 1) ?? 2", a={"b": "x"})
    assert value("(a.b + 1) ?? 2", a={}) == 2


def test_types_of_schemas() -> None:
    found = type_of_schema(
        {
            "$defs": {"Line": {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}},
            "type": "object",
            "properties": {
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                "note": {"type": ["string", "null"]},
                "kind": {"enum": ["a", "b"]},
            },
            "required": ["lines", "kind"],
        }
    )
    assert found.fields is not None
    assert str(found.fields["lines"]) == "list of object"
    assert found.fields["lines"].item is not None
    assert found.fields["lines"].item.fields == {"amount": NUMBER}
    assert found.fields["note"].missing
    assert found.fields["kind"] == TEXT
    assert type_of_schema({"$ref": "#"}).kind == "any"
