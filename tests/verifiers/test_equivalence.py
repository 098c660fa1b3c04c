"""When are two answers the same?

Forms of one value stay equal, other values do not: thousands of generated pairs, and what people send.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import pytest

from orchestrator.verifiers import (
    Equivalence,
    equivalent,
    equivalent_calls,
    group_answers,
    group_equivalent,
    read_answer,
)

PAIRS = 1_000  # of each type, equal and unequal ones alike
Pairs = Iterator[tuple[str, str, bool]]
STATED = (
    "{}",
    "**{}**",
    "\\boxed{{{}}}",
    "The answer is {}.",
    "#### {}",
    "${}$",
    "<answer>{}</answer>",
    "答案是{}",
)
IN_WORDS = (
    "La respuesta es {}.",
    "Ответ: {}",
    "Die Antwort ist {}.",
    "La réponse est {}.",
    "उत्तर है {}",
    "الإجابة هي {}",
    "答えは{}です。",
)
MONTHS = "January February March April May June July August September October November December".split()
MONATE = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
MOIS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
MESES = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()
MESYATSA = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()
UNITS = [
    ("km", "kilometers", 1000, "m"), ("kg", "kilograms", 1000, "g"), ("hours", "h", 60, "minutes"),
    ("m", "meters", 100, "cm"),
    ("L", "liters", 1000, "mL"), ("days", "Tage", 24, "hours"), ("ft", "feet", 12, "inches"),
    ("MB", "megabytes", 1000, "kB"),
    ("minutes", "min", 60, "seconds"), ("years", "años", 12, "months"),
]  # fmt: skip


def integers(rng: random.Random) -> Pairs:
    n = rng.choice([rng.randint(-50, 50), rng.randint(0, 10_000), rng.randint(10**5, 10**9)])

    def written(value: int) -> str:
        grouped = f"{value:,}"
        forms = [
            str(value),
            grouped,
            grouped.replace(",", " "),
            grouped.replace(",", "\u202f"),
            grouped.replace(",", "'"),
        ]
        if abs(value) >= 10**6:
            forms.append(grouped.replace(",", "."))
        return (
            rng.choice(IN_WORDS).format(value) if rng.random() < 0.3 else rng.choice(STATED).format(rng.choice(forms))
        )

    yield written(n), written(n), True
    yield written(n), written(n + rng.choice((-10, -1, 1, 10))), False
    yield written(n), written(n * 10 or 7), False
    yield written(n), written(-n or 1), False


def decimals(rng: random.Random) -> Pairs:
    places = rng.randint(1, 5)
    digits = rng.randint(1, 10**6)

    def written(value: int) -> str:
        plain = f"{Fraction(value, 10**places).numerator / Fraction(value, 10**places).denominator:.{places}f}"
        return rng.choice(
            [
                rng.choice(STATED).format(plain),
                f"approximately {plain}",
                f"{value} / {10**places}",
                f"\\frac{{{value}}}{{{10**places}}}",
            ]
        )

    yield written(digits), written(digits), True
    yield written(digits), written(digits + rng.choice((-1, 1))), False


def fractions(rng: random.Random) -> Pairs:
    top, bottom = rng.randint(1, 60), rng.randint(2, 60)

    def written(a: int, b: int) -> str:
        value, by = Fraction(a, b), rng.randint(1, 4)
        forms = [f"{a * by}/{b * by}", f"\\frac{{{a}}}{{{b}}}", f"\\dfrac{{{a * by}}}{{{b * by}}}", f"({a})/({b})"]
        if value > 1 and value.denominator > 1:
            whole, rest = divmod(value.numerator, value.denominator)
            forms += [f"{whole} {rest}/{value.denominator}", f"{whole}\\frac{{{rest}}}{{{value.denominator}}}"]
        return rng.choice(["{}", "\\boxed{{{}}}", "The answer is {}."]).format(rng.choice(forms))

    yield written(top, bottom), written(top, bottom), True
    yield written(top, bottom), written(top + 1, bottom), False
    yield written(top, bottom), written(top, bottom + 1), False


def magnitudes(rng: random.Random) -> Pairs:
    n = rng.randint(1, 99)
    power, word = rng.choice([(3, "thousand"), (6, "million"), (9, "billion"), (12, "trillion")])
    forms = [
        f"{n} {word}",
        f"{n * 10**power:,}",
        f"{n}e{power}",
        f"{n} \\times 10^{{{power}}}",
        f"{n} × 10^{power}",
        f"{n / 10:g} × 10^{power + 1}",
    ]
    yield rng.choice(forms), rng.choice(STATED).format(rng.choice(forms)), True
    yield rng.choice(forms), str(n), False
    yield rng.choice(forms), f"{n} {'million' if word != 'million' else 'billion'}", False


def quantities(rng: random.Random) -> Pairs:
    n = rng.randint(2, 400)
    unit, name, factor, smaller = rng.choice(UNITS)
    forms = [
        f"{n} {unit}",
        f"{n} {name}",
        f"{n * factor:,} {smaller}",
        f"\\boxed{{{n}\\text{{ {unit}}}}}",
        f"{n}\\,\\mathrm{{{unit}}}",
    ]
    yield rng.choice(forms), rng.choice(forms), True
    yield rng.choice(forms), f"{n + 1} {unit}", False
    yield rng.choice(forms), f"{n} {smaller}", False


def money(rng: random.Random) -> Pairs:
    n = rng.randint(1, 999)
    sign, code = rng.choice([("$", "USD"), ("€", "EUR"), ("£", "GBP"), ("₹", "INR")])
    forms = [f"{sign}{n}", f"{n} {code}", f"{code} {n}", f"{sign}{n}.00", f"The answer is {sign}{n}."]
    yield rng.choice(forms), rng.choice(forms), True
    yield rng.choice(forms), f"{rng.choice([s for s in '$€£₹' if s != sign])}{n}", False
    yield f"{n}%", f"{n} percent", True
    yield f"{n}%", f"{n}", False


def dates(rng: random.Random) -> Pairs:
    day = datetime.date(1800, 1, 1) + datetime.timedelta(days=rng.randint(0, 90_000))

    def written(d: datetime.date) -> str:
        m = d.month - 1
        forms = [
            d.isoformat(),
            f"{MONTHS[m]} {d.day}, {d.year}",
            f"{d.day} {MONTHS[m]} {d.year}",
            f"{MONTHS[m][:3]} {d.day}, {d.year}",
        ]
        forms += [f"{d.day}. {MONATE[m]} {d.year}", f"{d.day} {MOIS[m]} {d.year}", f"{d.day} de {MESES[m]} de {d.year}"]
        forms += [
            f"{d.day} {MESYATSA[m]} {d.year}",
            f"{d.year}年{d.month}月{d.day}日",
            f"The answer is {MONTHS[m]} {d.day}, {d.year}.",
        ]
        return rng.choice(forms)

    yield written(day), written(day), True
    yield written(day), written(day + datetime.timedelta(days=rng.choice((-1, 1, 31, 365)))), False


def times(rng: random.Random) -> Pairs:
    hour, minute = rng.randint(0, 23), rng.randint(0, 59)
    half = "AM" if hour < 12 else "PM"
    forms = [
        f"{hour % 12 or 12}:{minute:02} {half}",
        f"{hour % 12 or 12}:{minute:02}{half.lower()}",
        f"{hour % 12 or 12}:{minute:02} {half[0].lower()}.m.",
    ]
    if hour > 12 or hour == 0:
        forms.append(f"{hour:02}:{minute:02}")
    yield rng.choice(forms), rng.choice(forms), True
    yield rng.choice(forms), f"{hour % 12 or 12}:{minute:02} {'PM' if half == 'AM' else 'AM'}", False


def collections(rng: random.Random) -> Pairs:
    items = rng.sample(range(-20, 100), rng.randint(2, 5))
    other = rng.sample(items, len(items))
    joined, exchanged = ", ".join(map(str, items)), ", ".join(map(str, other))
    yield f"{{{joined}}}", f"\\{{{exchanged}\\}}", True
    yield f"({joined})", f"\\left({joined}\\right)", True
    yield f"{{{joined}}}", f"{{{joined}, 200}}", False
    yield f"{{{joined}}}", f"({joined})", False
    if items != other:
        yield f"({joined})", f"({exchanged})", False
        yield f"[{joined}]", f"[{exchanged}]", False


def intervals(rng: random.Random) -> Pairs:
    a, b = sorted(rng.sample(range(-30, 30), 2))
    kinds = [
        (f"({a}, {b}]", f"{a} < x \\le {b}", f"{a} < x <= {b}", f"x \\in ({a},{b}]"),
        (f"[{a}, {b})", f"{a} \\leq x < {b}", f"{b} > x >= {a}"),
        (f"(-\\infty, {b}]", f"x \\le {b}", f"x ≤ {b}", f"{b} >= x"), (f"({a}, \\infty)", f"x > {a}", f"{a} < x"),
        (f"x < {b}", f"(-\\infty, {b})"),
    ]  # fmt: skip
    one, another = rng.sample(kinds, 2)
    yield rng.choice(one), rng.choice(one), True
    yield rng.choice(one), rng.choice(another), False


def polynomials(rng: random.Random) -> Pairs:
    a, b, c = rng.sample(range(1, 10), 3)
    forms = [
        f"{a}x^2 + {b}x + {c}",
        f"{c} + {b}x + {a}x^2",
        f"{a}*x**2+{b}*x+{c}",
        f"{a}x^{{2}}+{b}x+{c}",
        f"y = {a}x^2+{b}x+{c}",
        f"x({a}x+{b})+{c}",
    ]
    forms += [f"$${forms[0]}$$", f"\\boxed{{{forms[0]}}}", f"\\frac{{{2 * a}x^2+{2 * b}x+{2 * c}}}{{2}}"]
    yield rng.choice(forms), rng.choice(forms), True
    yield rng.choice(forms), f"{a}x^2 + {b}x - {c}", False
    yield rng.choice(forms), f"{a}x^2 + {c}x + {b}", False


TYPES = (
    integers,
    decimals,
    fractions,
    magnitudes,
    quantities,
    money,
    dates,
    times,
    collections,
    intervals,
    polynomials,
)


@pytest.mark.parametrize("pairs", TYPES, ids=lambda kind: kind.__name__)
def test_forms_of_one_value_are_the_same_and_other_values_are_not(pairs: Callable[[random.Random], Pairs]) -> None:
    rng = random.Random(20_261_126)
    wrong = []
    for _ in range(PAIRS):
        for a, b, is_same in pairs(rng):
            found, turned = equivalent(a, b), equivalent(b, a)
            assert found.verdict == turned.verdict, (a, b)
            if bool(found) is not is_same:
                wrong.append((a, b, found))
    assert not wrong[:5]


DIFFERENT = [
    ("10 million", "10 thousand", ""), ("5M", "5", ""), ("3 km", "3 m", "What is the distance?"),
    ("3 hours", "3 minutes", "How long?"),
    ("9 AM", "9 PM", ""), ("44 BC", "44 AD", ""), ("$5", "€5", ""), ("x < 3", "x > 3", ""), ("x < 3", "x <= 3", ""),
    ("2x", "2", ""),
    ("3i", "3", ""), ("3 pi", "3", ""),
    ("5²", "5", ""), ("p*q", "p/q", ""), ("C#", "C", "Which language?"), ("!= 5", "5", ""),
    ("1234567.2", "1234567.9", ""),
    ("20 °C", "20 °F", ""), ("5 kg", "5 lb", ""),
    ("Yes", "No", ""), ("Paris", "London", ""), ("(1,2)", "(2,1)", ""), ("{1,2}", "(1,2)", ""), ("Smith", "Smiths", ""),
    ("hunter2", "Hunter2", "What is the password?"),
    ("10-12", "11", ""), ("O(n log n)", "O(n)", ""), ("2/3", "0.6", ""), ("0", "10^{-20}", ""),
    ('{"a": 1}', '{"a": true}', ""),
]  # fmt: skip
UNKNOWN = [
    ("5 km", "5", ""), ("3.14", "\\pi", ""), ("03/05/2024", "2024-03-05", ""), ("9:30", "9:30 PM", ""),
    ("3,5", "3.5", ""),
    ("007", "7", ""), ("Zürich", "Zurich", ""),
    ("The Who", "Who", ""), ("Group A", "Group", ""), ("aB3x", "ab3x", ""), ("0.7", "0.67", ""),
    ("5 apples", "5 oranges", ""),
    ("25%", "0.25", ""), ("12", "11.98", ""),
    ("Die Antwort ist 1.234", "1234", ""),
    ("It was a long and winding road that led him there", "He came by a long way with many turns", ""),
]  # fmt: skip
SAME = [
    ("\\boxed{72\\text{ km}}", "72 km", ""), ("\\boxed{90^\\circ}", "90 degrees", ""),
    ("<answer>42</answer>", "42", ""),
    ("₹42", "42", ""), ("USD 42", "$42", ""),
    ('{"a": true, "b": 2}', '{"b": 2.0, "a": true}', ""),
    ("Yes, 17 is prime because it has no divisors.", "Yes.", "Is 17 prime?"),
    ("Ja.", "yes", ""),
    ("The answer is Paris. It lies on the Seine.", "Paris", ""), ("the Eiffel Tower", "Eiffel Tower", ""),
    ("33.33", "33.3333", ""),
    ("2/3", "0.667", ""),
    ("1 hour 30 minutes", "90 minutes", ""), ("5 ft 3 in", "63 inches", ""), ("72 km/h", "20 m/s", ""),
    ("32 °F", "0 °C", ""),
    ("x=2 or x=3", "{2, 3}", ""), ("\\pm 3", "{3,-3}", ""),
    ("x<-2 or x>2", "(-\\infty,-2)\\cup(2,\\infty)", ""), ("e^{i\\pi}", "-1", ""), ("\\sin^2 x + \\cos^2 x", "1", ""),
    ("72", "72 km", "How many km?"), ("noon", "12:00 PM", ""),
    ("答案是巴黎。", "巴黎", ""), ("It costs $18 in total", "18 dollars", "How much does it cost?"),
    ("20 + 6 + 8 = 34", "34", "How many pens?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "a", "b", "query"),
    [(v, *case) for v, cases in (("different", DIFFERENT), ("unknown", UNKNOWN), ("same", SAME)) for case in cases],
)
def test_three_verdicts(verdict: str, a: str, b: str, query: str) -> None:
    found = equivalent(a, b, query)
    assert found.verdict == verdict, found
    assert found.reason


def test_an_equivalence_counts_and_tests_like_a_yes_or_no() -> None:
    assert sum([equivalent("4", "4.0"), equivalent("4", "5"), equivalent("4 km", "4")]) == 1
    assert float(Equivalence("same")) == 1.0
    assert "unknown" in str(Equivalence("unknown", "why"))


def test_groups_hold_what_is_the_same_and_name_what_may_be() -> None:
    groups = group_answers([read_answer(text) for text in ("5", "5 km", "5.0", "7", "I do not know.")])
    assert groups.keys[0] == groups.keys[2]
    assert groups.keys[4] is None
    assert len({*groups.keys}) == 4
    assert frozenset((groups.keys[0], groups.keys[1])) in groups.doubts
    assert group_equivalent(["33.3", "33.33", "33.34"]) == [[0, 1], [2]]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"}, "days": {"type": "integer", "default": 1},
                    "unit": {"type": "string", "enum": ["C", "c"]},
                    "alerts": {"type": "boolean", "description": "Whether to send alerts. Default is true."},
                    "gravity": {"type": "number", "description": "If not given, defaults to that of the earth, which "
                                                                 "is 9.81 m/s^2."},
                    "lang": {"type": "string", "description": "the language, default is English"},
                    "on": {"type": "string"},
                },
            },
        },
    }
]  # fmt: skip


def call(**arguments: object) -> dict[str, object]:
    return {"name": "weather", "arguments": arguments}


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([call(city="Rome")], [call(city="rome", days=1)], "same"),
        ([call(city="Rome", days=1)], [call(city="Rome", days=1.0)], "same"),
        ([call(city="Rome", alerts=True)], [call(city="Rome")], "same"),
        ([call(city="Rome", alerts=False)], [call(city="Rome")], "different"),
        ([call(city="Rome", gravity=9.81)], [call(city="Rome")], "same"),
        ([call(city="Rome", lang="en")], [call(city="Rome")], "same"),
        ([call(city="Rome", unit="C")], [call(city="Rome", unit="c")], "different"),
        ([call(city="Rome")], [call(city="Rome", on="Monday")], "unknown"),
        ([call(city="Rome", on="2024-03-05")], [call(city="Rome", on="March 5, 2024")], "same"),
        ([call(city="Rome")], [call(city="Paris")], "different"),
        ([call(city="Rome"), call(city="Paris")], [call(city="Paris"), call(city="Rome")], "same"),
        ([call(city="Rome")], [], "different"), ([], [], "same"),
        ([{"name": "weather", "arguments": '{"city": "Rome"}'}], [call(city="Rome")], "same"),
        ([{"name": "weather", "arguments": "{"}], [call(city="Rome")], "unknown"),
        ([call(city="Rome")], [{"name": "news", "arguments": {"city": "Rome"}}], "different"),
    ],
)  # fmt: skip
def test_tool_calls_are_compared_by_value_and_default(
    a: Sequence[dict[str, object]], b: Sequence[dict[str, object]], verdict: str
) -> None:
    assert equivalent_calls(a, b, TOOLS).verdict == verdict
    assert equivalent_calls(b, a, TOOLS).verdict == verdict


def test_calls_as_the_apis_send_them() -> None:
    wire = [{"type": "function", "id": "c1", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]
    assert equivalent_calls(wire, [call(city="Rome")], TOOLS)
    assert equivalent_calls(
        [{"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Rome"}}], wire, TOOLS
    )
    assert equivalent_calls(wire, [{"function": {"name": "news", "arguments": "{}"}}]).verdict == "different"
    assert (
        equivalent_calls([{"name": "f", "arguments": {"n": 1}}], [{"name": "f", "arguments": {"n": True}}]).verdict
        == "different"
    )
    assert (
        equivalent_calls(
            [{"name": "f", "arguments": {"path": "/A"}}], [{"name": "f", "arguments": {"path": "/a"}}]
        ).verdict
        == "unknown"
    )


# As the solutions of competition problems (MATH, Hendrycks et al. 2021) and models write them.
BOXED = [
    ("\\boxed{-\\frac{1}{2}}", "\\boxed{\\frac{-1}{2}}", ""),
    ("\\boxed{-\\frac12}", "-0.5", ""),
    ("\\boxed{11\\sqrt2}", "\\boxed{11\\sqrt{2}}", ""),
    ("\\boxed{\\left(\\frac{3}{2}, -1\\right)}", "\\boxed{(1.5,-1)}", ""),
    ("\\boxed{\\left(\\frac32,-1\\right)}", "\\boxed{\\left(\\frac{3}{2}, -1\\right)}", ""),
    ("\\boxed{6+9i}", "\\boxed{9i+6}", ""),
    ("\\boxed{(-\\infty,-5]\\cup[5,\\infty)}", "\\boxed{(-\\infty, -5] \\cup [5, \\infty)}", ""),
    (
        "\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}}",
        "\\boxed{\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}}",
        "",
    ),
    ("\\boxed{\\$18.90}", "18.90", ""),
    ("\\boxed{2:3}", "\\boxed{2 : 3}", ""),
    ("\\boxed{\\text{Evelyn}}", "Evelyn", ""),
    ("\\boxed{3:30\\text{ p.m.}}", "3:30 PM", ""),
    ("\\boxed{0.\\overline{72}}", "\\frac{8}{11}", ""),
    ("\\boxed{y=3x+2}", "\\boxed{3x+2}", ""),
    ("\\boxed{720^\\circ}", "\\boxed{720}", "What is the sum in degrees?"),
    ("\\boxed{48\\text{ square units}}", "48", ""),
    ("\\boxed{5\\frac12}", "5.5", ""),
    ("\\boxed{x \\in [-2,7]}", "\\boxed{[-2,7]}", ""),
    ("\\boxed{\\sqrt{3}-1}", "\\boxed{-1+\\sqrt{3}}", ""),
    ("\\boxed{\\frac{\\sqrt{6}}{3}}", "\\boxed{\\sqrt{\\frac{2}{3}}}", ""),
    ("\\boxed{2^{10}}", "1024", ""),
    ("\\boxed{\\binom{10}{3}}", "120", ""),
    ("\\boxed{\\frac{3\\pi}{4}}", "\\boxed{\\frac{3}{4}\\pi}", ""),
    ("\\boxed{\\text{(C)}}", "\\boxed{C}", ""),
    ("\\boxed{p - q}", "\\boxed{p-q}", ""),
    ("\\boxed{(x-3)(x+3)}", "\\boxed{x^2-9}", ""),
    ("\\boxed{1,2,3}", "\\boxed{1, 2, 3}", ""),
    ("\\boxed{-5, 1}", "\\boxed{-5,1}", ""),
    ("\\boxed{\\{1, 2\\}}", "\\boxed{1, 2}", ""),
    ("\\boxed{12\\text{ cm}}", "\\boxed{12}", "How many centimeters long is it?"),
    ("\\boxed{\\frac{1}{3}}", "\\boxed{1/3}", ""),
    ("\\boxed{\\text{even}}", "\\boxed{\\text{Even}}", ""),
    ("\\boxed{e^2}", "\\boxed{e^{2}}", ""),
    ("\\boxed{\\tan 20^\\circ}", "\\boxed{\\tan{20^\\circ}}", ""),
    ("\\boxed{4\\%}", "4", "What percent is it?"),
    ("\\boxed{10^{3}}", "1000", ""),
    ("\\boxed{a^2+b^2}", "\\boxed{b^2+a^2}", ""),
    ("\\boxed{\\left[\\frac{1}{2},1\\right)}", "\\boxed{[0.5, 1)}", ""),
    ("\\boxed{x=2}", "2", ""),
    ("\\boxed{(2,3,-1)}", "(2, 3, -1)", ""),
    ("\\boxed{\\begin{pmatrix} -1 \\\\ 2 \\end{pmatrix}}", "\\boxed{\\begin{pmatrix} -1\\\\2 \\end{pmatrix}}", ""),
    ("\\boxed{\\frac{14\\sqrt{3}}{3}}", "\\boxed{\\frac{14}{\\sqrt{3}}}", ""),
    ("\\boxed{2\\cdot 3^4}", "162", ""),
    ("\\boxed{100,\\!000}", "100000", ""),
    ("\\boxed{3+2\\sqrt{2}}", "(1+\\sqrt2)^2", ""),
    ("\\boxed{\\infty}", "\\boxed{\\infty}", ""),
    ("\\boxed{1\\frac{4}{5}}", "\\frac95", ""),
    ("\\boxed{k \\ge 4}", "[4, \\infty)", ""),
    ("\\boxed{\\emptyset}", "\\boxed{\\varnothing}", ""),
    ("\\boxed{-1 \\pm \\sqrt{2}}", "\\{-1+\\sqrt2, -1-\\sqrt2\\}", ""),
    ("\\boxed{\\frac{x+1}{2}}", "\\boxed{\\frac12 x+\\frac12}", ""),
    ("\\boxed{2516_8}", "\\boxed{2516_8}", ""),
    ("\\boxed{2516_8}", "\\boxed{2516_{8}}", ""),
    ("\\boxed{2\\text{ and }3}", "2, 3", ""),
    ("\\boxed{\\text{June 20}}", "June 20", ""),
]
NOT_BOXED = [
    ("\\boxed{2516_8}", "\\boxed{2516_7}"),
    ("\\boxed{11\\sqrt{2}}", "\\boxed{11\\sqrt{3}}"),
    ("\\boxed{(2,3)}", "\\boxed{(3,2)}"),
    ("\\boxed{x^2-9}", "\\boxed{x^2+9}"),
    ("\\boxed{\\frac{3\\pi}{4}}", "\\boxed{\\frac{\\pi}{4}}"),
    ("\\boxed{6+9i}", "\\boxed{6-9i}"),
    ("\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}}", "\\boxed{\\begin{pmatrix}1&2\\\\4&3\\end{pmatrix}}"),
    ("\\boxed{[-2,7]}", "\\boxed{(-2,7)}"),
    ("\\boxed{p-q}", "\\boxed{q-p}"),
    ("\\boxed{\\sqrt{5}}", "\\boxed{5}"),
]


@pytest.mark.parametrize(("a", "b", "query"), BOXED)
def test_boxed_forms_of_one_value(a: str, b: str, query: str) -> None:
    assert equivalent(a, b, query)
    assert equivalent(b, a, query)


@pytest.mark.parametrize(("a", "b"), NOT_BOXED)
def test_boxed_forms_of_two_values(a: str, b: str) -> None:
    assert not equivalent(a, b)
