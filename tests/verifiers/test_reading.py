"""What is the answer? Its statement, its mark, its typed value."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest

from orchestrator.verifiers import (
    ChoiceVerifier,
    MathematicsVerifier,
    NumericVerifier,
    UnitTestVerifier,
    Verdict,
    Verifier,
    equivalent,
    equivalent_calls,
    find_choice,
    find_json,
    find_program,
    group_answers,
    read_answer,
    why_no_answer,
)
from orchestrator.verifiers.answers.value_types import Quantity
from orchestrator.verifiers.sandbox import Sandbox, level_at_hand

CHOICES = "Which one?\nA. red\nB. blue\nC. green\nD. none"


def number_in(text: str, query: str = "") -> Fraction | None:
    value = read_answer(text, query).value
    return value.number.value if isinstance(value, Quantity) else None


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 42.", "**Answer:** 42", "Final Answer: $42$", "#### 42", "\\boxed{42}",
        "<answer>42</answer>", '{"answer": 42}', "### Answer\n42",
        "Die Antwort ist 42.", "La respuesta es 42.", "La réponse est 42.", "Réponse : 42", "A resposta é 42.",
        "Ответ: 42", "答案是42",
        "答えは42です。",
        "उत्तर है 42", "الإجابة هي 42", "4 is wrong. Wait, the answer is 41. No, the answer is 42.",
        "<think>so \\boxed{4}? no</think>\nThe answer is 42",
        "The answer is 42. I checked it in 2 ways.", "The answer is 42 (see step 3).", "The answer is 42, not 43.",
        "So the result is 42 as of 2024.",
        "The answer is 42, because 6 × 7 = 42 [1].", "1. First, 6 × 7.\n2. That is 42.\n\nThe answer is 42.",
        "#### 42\n\nQuestion: Bob has 5 apples.\nAnswer: He has 3.\n#### 3", "x = 42", "42", "forty-two", "0x2A", "٤٢",
        "４２",
    ],
)  # fmt: skip
def test_the_final_statement_counts_by_whatever_mark(text: str) -> None:
    assert number_in(text) == 42


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.5", "1234.5"), ("1.234,5", "1234.5"), ("1 234,5", "1234.5"), ("1'234.5", "1234.5"),
        ("12,34,567", "1234567"),
        ("½", "1/2"),
        ("2 1/2", "5/2"), ("\\frac12", "1/2"), ("2\\frac{1}{2}", "5/2"), ("3 \\times 10^8", "300000000"),
        ("3 × 10⁸", "300000000"),
        ("1.5 million", "1500000"),
        ("1e6", "1000000"), ("0x10", "16"), ("2.5 Millionen", "2500000"), ("3万", "30000"), ("5 lakh", "500000"),
        ("2^6", "64"),
        ("\\boxed{1{,}234}", "1234"),
        ("12\\,345", "12345"), ("three dozen", "36"), ("-7", "-7"), ("−7", "-7"), ("5!", "120"), ("5x", None),
        ("1, 2, 3", None),
    ],
)  # fmt: skip
def test_numbers_of_all_countries(text: str, value: str | None) -> None:
    assert number_in(text) == (None if value is None else Fraction(value))


def test_roman_numerals_are_read_where_they_are_asked_for() -> None:
    assert number_in("XIV", "Write 14 as a Roman numeral.") == 14
    assert number_in("XIV") is None


def test_a_reading_says_where_it_stands_and_by_which_mark() -> None:
    text = "<think>hm</think>Six times seven.\nThe answer is **42**."
    reading = read_answer(text)
    assert reading.mark == "says"
    assert "42" in text[reading.start : reading.end]
    assert read_answer("\\boxed{4}").mark == "boxed"
    assert read_answer("<answer>4</answer>").mark == "tag"
    assert read_answer('{"answer": "4"}').mark == "json"


def test_several_statements_without_a_correction_are_not_sure() -> None:
    assert not read_answer("The answer is 4.\n\nThe answer is 5.").is_sure
    assert read_answer("The answer is 4.\nWait, that is wrong.\nThe answer is 5.").is_sure


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is B, because option A is red.", "B"), ("The best answer is B; choice C is a distractor.", "B"),
        ("I'd choose B. Option A would be wrong.", "B"),
        ("The answer is a bit tricky: B", "B"), ("So B is right.", "B"), ("It must be B.", "B"), ("答案是B", "B"),
        ("正确答案：B", "B"),
        ("答えはBです。", "B"),
        ("\\boxed{\\textbf{(B)}}", "B"), ("\\boxed{\\text{(B) blue}}", "B"), ("The answer is blue.", "B"),
        ("blue", "B"), ("**B**", "B"),
        ("b", "B"), ("(b)", "B"),
        ("I considered (A), but it is wrong. Final answer: D.", "D"), ("The correct answer is d.", "D"),
        ("A is tempting.\n\nAnswer: D", "D"),
        ("The answer is (B).\n\nQuestion: another\nThe answer is (C).", "B"), ("I think it depends.", None),
        ("The answer is a matter of taste.", None),
    ],
)  # fmt: skip
def test_the_letter_that_is_committed_to(text: str, letter: str | None) -> None:
    assert find_choice(text, CHOICES) == letter


def verdict(verifier: Verifier, text: str, query: str = "q") -> Verdict:
    return asyncio.run(verifier.verify(query, text))


@pytest.mark.parametrize(
    ("expected", "text", "passed"),
    [
        (12, "The answer is 12 (rounded from 11.98)", True), (1_500_000, "1 500 000", True),
        (3.5, "Die Antwort ist 3,5", True),
        (72, "72 apples", True),
        (5, "The answer is 5 million.", False), (5, "The answer is 5x", None), (5, "5 and 7 are possible", None),
        (72, "72 km^2", None),
        (7, "", None),
        (3600, "1 h", None), ("1 h", "3600 s", True), ("5 %", "5", None), ("$5", "5 dollars", True),
        ("$5", "€5", False),
    ],
)  # fmt: skip
def test_a_decisive_number_is_read_surely_or_not_at_all(expected: float | str, text: str, passed: bool | None) -> None:
    found = verdict(NumericVerifier(expected), text)
    assert found.passed is passed, found


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("2024 has 366 days.", 2024, 366), ("12 has 6 divisors.", 12, 6), ("120 km at 60 km/h takes 2 hours.", 120, 2),
        ("17 mod 5 is 2.", 17, 2),
        ("10 people came and 3 left, so 7 remained.", 10, 7), ("1 mile ≈ 1.609 km", 1, 1.609), ("2 out of 3", 2, 3),
        ("5 or 7, who knows", 5, 7),
        ("April sales = 48 clips. May sales = 48/2 = 24 clips. Total = 48 + 24 = 72 clips.", 48, 72),
        ("391? No, 381.", 391, 381),
        ("**Solution:**\n\n- April: 48 clips\n- Total = 48 + 25 = 73 clips", 48, 73),
        ("The answer is 391? No, it is 381.", 391, 381),
        ("The answer is 96. Wait, I made an error. May is 24, so total = 72.", 96, 72),
        ("$17 \\equiv 2 \\pmod 5$", 17, 2),
        ("The roots are $\\boxed{1}$ and $\\boxed{-2}$.", 1, -2),
    ],
)  # fmt: skip
def test_the_first_number_of_a_sentence_is_not_taken_for_the_answer(text: str, wrong: float, right: float) -> None:
    assert verdict(NumericVerifier(wrong), text).passed is not True
    assert verdict(NumericVerifier(right), text).passed is not False


def test_corrections_count_within_a_line_too() -> None:
    assert number_in("Answer: 391\n\nWait, that's wrong. 17*23 = 401. Answer: 401") == 401
    assert find_choice("Answer: B\n\nWait, that's wrong. Answer: C", CHOICES) == "C"
    assert verdict(ChoiceVerifier("B"), "The answer is B? No, it's C.", CHOICES).passed is not True


def test_integers_are_never_rounded() -> None:
    assert verdict(NumericVerifier(1_000_000_007), "1000000008").passed is False
    assert verdict(NumericVerifier(1_000_000.5), "1000000.6").passed


@pytest.mark.parametrize(
    "text",
    [
        "The Red Planet is Mars.",
        "Therefore B",
        "Only B fits.",
        "A) Venus - incorrect\nB) Mars - correct",
        "故选B。",
        "Letra B",
        "Gabarito: B",
    ],
)
def test_a_right_pick_in_other_words_is_not_ruled_out(text: str) -> None:
    assert (
        verdict(ChoiceVerifier("B"), text, "Which planet is red?\nA) Venus\nB) Mars\nC) Jupiter\nD) Saturn").passed
        is not False
    )


def test_a_unit_that_the_question_names_is_that_of_a_bare_number() -> None:
    assert verdict(NumericVerifier(72), "72 km", "How many km is it?").passed
    assert verdict(NumericVerifier(72), "72000 m", "How many km is it?").passed
    assert verdict(NumericVerifier(72), "72 m", "How many km is it?").passed is False


def test_a_decisive_choice_abstains_where_the_answer_is_not_sure() -> None:
    assert verdict(ChoiceVerifier("B"), "The closest option is (B).", CHOICES).abstained
    assert verdict(ChoiceVerifier("B"), "It is (A) or (B).\nA. red looks fine, B. blue, too", CHOICES).abstained
    assert verdict(ChoiceVerifier("B"), "The answer is C", CHOICES).passed is False


@pytest.mark.parametrize(
    ("expected", "text", "passed"),
    [
        ("\\frac{1}{2004!}", "\\frac{1}{2006!}", False), ("1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1", None),
        ("\\{1,2\\}", "(1,2)", False), ("10^{-20}", "0", False),
        ("\\frac{\\pi}{2}", "pi/2", True), ("e^{16}-1", "-1 + exp(16)", True), ("(0,12.5)", "0 < x < 12.5", True),
        ("[-2,2]", "-2 \\le x \\le 2", True),
        ("\\sqrt{12}", "The answer is $2\\sqrt{3}$.", True), ("(x+1)^2", "x^2+2x+1", True), ("(x+1)^2", "x^2+1", False),
        ("\\log_2 8", "3", True), ("70\\sqrt{2}", "\\boxed{70 \\sqrt{2}}", True),
        ("70", "\\boxed{70 \\sqrt{2}}", False),
        ("32,\\!348", "\\boxed{32348}", True),
        ("2,3", "\\boxed{2, 3}", True), ("(n+1)!", "\\boxed{(n+1) \\cdot n!}", True),
        ("(n+1)!", "\\boxed{n+1}", False), ("\\frac13", "\\boxed{0.\\overline{3}}", True),
        ("1/3", "\\boxed{0.3333}", None),
        ("18\\sqrt3", "\\boxed{18\\sqrt{3}\\text{ cm}}", None), ("y=2x+3", "\\boxed{2x-y+3=0}", None),
        ("1010_2", "\\boxed{1010_3}", None), ("[-2,3]", "$x \\ge -2$ and $x \\le 3$", True),
        ("n\\pi", "\\boxed{k\\pi}", None), ("5!", "\\boxed{5}", False),
        ("\\text{undefined}", "\\boxed{\\text{undefined}}", True),
    ],
)  # fmt: skip
def test_expressions_in_other_forms(expected: str, text: str, passed: bool | None) -> None:
    assert verdict(MathematicsVerifier(expected), text).passed is passed


OK = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    "text",
    [
        f"Install:\n```bash\npip install x\n```\nThen:\n```python\n{OK}\n```",
        f"```json\n{{}}\n```\n```python\n{OK}\n```",
        f"```python3\n{OK}\n```",
        f'```python title="a.py"\n{OK}\n```', f"```python\n{OK}", f"~~~python\n{OK}\n~~~",
        "\ufeff" + OK, f"```python\n{OK}\n```\nOutput:\n```\n5\n```",
    ],
)  # fmt: skip
def test_the_program_in_an_answer_however_it_is_laid_out(text: str) -> None:
    program = find_program(text)
    assert program is not None
    assert "def add" in program
    assert "pip install" not in program


def test_json_is_found_behind_other_blocks() -> None:
    assert find_json('```python\nx = {}\n```\nThat gives:\n```json\n{"a": 1}\n```') == {"a": 1}
    assert find_json('\ufeff{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2]", [1, 2]),
        ("[]", []),
        ("Here: [1, 2]", [1, 2]),
        ("The primes are [2, 3, 5].", [2, 3, 5]),
        ("Answer: **[1, 2]**", [1, 2]),
        ("The list is `[1, 2, 3]`.", [1, 2, 3]),
        ("[1, 2]\nThat is it.", [1, 2]),
        ("So:\n[\n 1,\n 2\n]", [1, 2]),
        ('I think {"a": [1]} fits', {"a": [1]}),
        ("3\n\nThis is a prime number in the range [2, 6].", None),
        ("def f():\n    result = []\n    return result", None),
        ("seen = {}", None),
        ("Take x[0] and y[1, 2] of it", None),
        ("see [1] and [2]", None),
    ],
)
def test_a_list_in_prose_counts_where_it_is_what_is_said(text: str, value: object) -> None:
    if value is None:
        with pytest.raises(ValueError, match="no JSON value"):
            find_json(text)
    else:
        assert find_json(text) == value


@pytest.mark.skipif(level_at_hand()[0] == "none", reason="nothing isolates foreign code here")
def test_a_module_that_the_sandbox_lacks_rules_nothing_out() -> None:
    async def judged() -> Verdict:
        async with Sandbox() as sandbox:
            return await UnitTestVerifier(["add(2, 3) == 5"], sandbox).verify("q", f"import not_in_the_sandbox\n\n{OK}")

    found = asyncio.run(judged())
    assert found.abstained
    assert "not_in_the_sandbox" in found.feedback


@pytest.mark.parametrize(
    "text",
    ["It was signed on March 5, 1898.", "Er wurde am 5. März 1898 unterzeichnet.", "Die Antwort ist der 5. März 1898."],
)
def test_a_date_within_a_sentence_where_a_date_is_asked_for(text: str) -> None:
    query = "On which date was the treaty signed?"
    assert equivalent(text, "1898-03-05", query)
    assert not equivalent(text, "1898-03-06", query)


@pytest.mark.parametrize("text", ["B or D", "B oder D", "B, D", "A and B", "(B) or (D)", "Answer: C or D"])
def test_several_letters_are_no_sure_pick(text: str) -> None:
    assert not read_answer(text, CHOICES).is_sure


def test_a_pick_keeps_its_mark_and_place() -> None:
    reading = read_answer("Red is too warm.\nThe answer is B.", CHOICES)
    assert (reading.choice, reading.mark, reading.start) == ("B", "says", 31)


def test_mistakes_of_callers_are_told() -> None:
    with pytest.raises(TypeError, match="an answer is text"):
        read_answer(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="group_equivalent"):
        group_answers(["5"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="an answer is text"):
        why_no_answer(b"5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list of calls"):
        equivalent_calls({"name": "f"}, [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="without a name"):
        equivalent_calls([{"arguments": {}}], [{"arguments": {}}])


def test_of_long_questions_the_beginning_and_the_end_count() -> None:
    """With the whole question looked at for each answer, this takes a quarter of a minute."""
    question = (
        "How many km is it? Say so if you don't know.\n" + "A long document. " * 100_000 + "\nWhat is the distance?"
    )
    assert all(equivalent(f"{n} km", str(n), question) for n in range(100)), "the unit is named at the beginning"
    assert read_answer("I do not know.", question).abstains
