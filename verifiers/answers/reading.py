"""What a text says as its answer: whether it is one at all, the statement and its mark, and the typed value."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from orchestrator.verifiers.answers.code_blocks import fenced_blocks
from orchestrator.verifiers.answers.final_answer import Mark, Statement, find_statement, find_unmarked, without_thoughts
from orchestrator.verifiers.answers.literals import literal_key
from orchestrator.verifiers.answers.moments import find_dates
from orchestrator.verifiers.answers.non_answers import NonAnswer, classify
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.phrases import SHORT_WORDS
from orchestrator.verifiers.answers.questions import once_a_question
from orchestrator.verifiers.answers.sentences import is_continued, without_lead
from orchestrator.verifiers.answers.units import find_units_named
from orchestrator.verifiers.answers.value_types import Data, Hints, Quantity, Value, Words, words
from orchestrator.verifiers.answers.values import prepared, quantities_in, read_value

_NUMERIC_QUESTION = Pattern(
    r"\b(?:how (?:many|much|old|long|far|tall|fast|high|deep|wide|big|heavy|hot|cold)|what (?:percent(?:age)?"
    r"|fraction|number|is the (?:\w+\s){0,3}(?:number|total|sum|value|product|average|mean|probability|area|volume"
    r"|distance|cost|price|profit))|calculate|compute|evaluate"
    r"|wie ?viele?|wie (?:lang|alt|weit|hoch)|cuánt[oa]s?|combien|quant[oa]s?|сколько)\b|多少|几个|いくつ|いくら|何(?:個|人|円)"
    r"|कितन|كم",
    re.IGNORECASE,
)
_CODE_QUESTION = Pattern(r"^[^\S\n]{0,40}(?:def|assert|class|return|import)\b", re.MULTILINE)
_EXACT_QUESTION = Pattern(
    r"\b(?:password|passphrase|case[- ]sensitive|identifier|variable|function name|command|regex|regular expression"
    r"|file ?name|url|version|phone|path|hash|token|api key|base64|code word|codeword|kennwort|passwort|contraseña"
    r"|mot de passe"
    r"|senha|пароль)\b|密码|パスワード",
    re.IGNORECASE,
)
_DATE_QUESTION = Pattern(
    r"\b(?:when|(?:what|which) (?:date|day)|on what|wann|an welchem|cuándo|quand|quando|когда)\b|什么时候|哪一天|いつ|कब|متى",
    re.IGNORECASE,
)
_ROMAN_QUESTION = Pattern(
    r"\broman (?:numeral|number)|\brömische|\bnúmeros? romanos?|\bchiffres? romains?",
    re.IGNORECASE,
)
_DECIMAL_COMMA = Pattern(
    r"\b(?:der|die|das|ist|und|wie|viel|viele|hoch|kostet|euro|für|von|mit|sind|antwort|beträgt|ergebnis|combien"
    r"|cuánt[oa]s?|quant[oa]s?|сколько|el|la|los|es|respuesta|resultado|le|les|est|réponse|résultat"
    r"|une|é|são|resposta|um|uma|равно|ответ|составляет|и|это)\b",
    re.IGNORECASE,
)
MAX_SENTENCE_CHARS = 400
_EXCITED = Pattern(r"(\D{0,3}\d[\d.,]*)!(?=\s|\Z)")
_SENTENCE_GOES_ON = Pattern(
    r"[^.!?\n;(]*?\b(?:is|are|was|were|has|have|had|takes?|took|equals?|makes?|gives?|gave|plus|minus|times|mod"
    r"|divided|cubed|squared|percent of|came|left|at)\b"
    r"|[^.!?\n;(]*?%?\s(?:of|at|and|by|[-+*/=×÷≈~])\s[^.!?\n]*\d"
)
_VERB = Pattern(
    r"(?:\b(?:is|are|was|were|has|have|had|takes?|equals?|makes?|gives?|remain(?:s|ed)?|left|total(?:s|ed|ing)?)\b"
    r"|=)\s*",
    re.IGNORECASE,
)
_AMBIGUOUS = Pattern(r"\d[.,]\d")
_ENGLISH = Pattern(r"\b(?:the|is|of|and|to|are|was|for|it|what|how|which)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """The final answer of a text.

    `value` is what it says (one of the types in `value_types`; of a pick among options the words, see `choice`); `None`
    where the text is no answer, and `non_answer` then its kind. `text` is the part that says so, from `start` to `end`
    in the text that was read. `mark` is how it was found: in a `tag` (<answer>), the field of `json`, `boxed`, behind
    `hashes` (####), because the text `says` so ("the answer is"), below a `heading`, in `bold`, in the `last_line`,
    `alone`; `None` for running text. `choice` is the letter that it picks where the question offers options. `is_sure`
    is false where the text says several things, or this one without committing to it. Of an answer about code,
    `literal` is its exact form, and `in_full` says that it is put as it should be. `abstains` says that it is a "do not
    know" where the query takes that for an answer.
    """

    text: str
    start: int
    end: int
    mark: Mark | None
    value: Value | None
    choice: str | None = None
    non_answer: NonAnswer | None = None
    is_sure: bool = True
    in_full: bool = True
    literal: str | None = None
    abstains: bool = False


def read_answer(text: str, query: str = "", *, finish_reason: str = "stop", may_abstain: bool = False) -> Reading:
    """The final answer in `text`, typed.

    `query` says what kind of answer is expected; `finish_reason` is how the model ended (`length` makes JSON and code
    incomplete). With `may_abstain`, or where the query invites it, not knowing is an answer.

    Cost is linear in the text; of a text without marks only its last 20,000 characters are looked at.
    """
    classified = classify(text, query, finish_reason, may_abstain=may_abstain)
    if classified.non_answer is not None:
        return Reading("", 0, 0, None, None, non_answer=classified.non_answer, is_sure=False)
    said, statement = classified.said, classified.statement
    if classified.abstains:
        reading = Reading(said.strip(), 0, len(said), "alone", words("does not know"), abstains=True)
    elif classified.choice is not None:
        stated = statement or find_statement(said) or Statement(said.strip(), 0, len(said), "alone")
        reading = Reading(
            stated.text,
            stated.start,
            stated.end,
            stated.mark,
            words(stated.text),
            classified.choice.letter,
            is_sure=classified.choice.is_sure,
        )
    else:
        hints = hints_of(query)
        reading = _of_code(said, statement) if hints.is_code else _of_text(said, statement, hints, query)
    return (
        replace(reading, start=classified.offset + reading.start, end=classified.offset + reading.end)
        if classified.offset
        else reading
    )


@once_a_question
def hints_of(query: str) -> Hints:
    """What a question lets expect of its answer."""
    return Hints(
        bool(_NUMERIC_QUESTION.search(query)),
        bool(_ROMAN_QUESTION.search(query)),
        bool(_CODE_QUESTION.search(query)),
        find_units_named(query),
        bool(_DATE_QUESTION.search(query)),
    )


@once_a_question
def case_counts(query: str) -> bool:
    """Whether a question asks for something in which every letter counts: a password, a name in code, a path."""
    return bool(_EXACT_QUESTION.search(query))


def read_number(text: str, query: str = "") -> Quantity | None:
    """The final number of a text that is known to be one, with its unit.

    Of a statement that holds several values the one that it begins with, or the only one. `None` where none is stated
    surely.
    """
    spoken = without_thoughts(text)
    if spoken is None:
        return None
    hints = replace(hints_of(query), is_numeric=True)
    statement = find_statement(spoken[0])
    reading = _of_text(spoken[0], statement, hints, query)
    return reading.value if isinstance(reading.value, Quantity) and reading.is_sure else None


def _of_code(said: str, statement: Statement | None) -> Reading:
    """The answer to a question about code: an exact literal, in which case and signs count.

    A bare word stands for the string.
    """
    final = statement.text.strip().strip("*").strip() if statement else said.strip()
    exact = literal_key(final)
    start, end, mark = (statement.start, statement.end, statement.mark) if statement else (0, len(said), "alone")
    key = final if exact is None else exact
    return Reading(final, start, end, mark, Words(final, key, is_exact=True), in_full=exact is not None, literal=key)


def _of_text(said: str, statement: Statement | None, hints: Hints, query: str) -> Reading:
    if statement is None:
        statement = find_unmarked(said) or (_of_numeric_text(said, hints) if hints.is_numeric else None)
    if statement is None:
        whole = said.strip()
        return Reading(whole, 0, len(said), None, _code_block(whole) or words(whole), is_sure=False)
    text = prepared(statement.text)
    if _AMBIGUOUS.search(text) and (
        _writes_decimal_commas(said[max(0, statement.start - 300) : statement.end]) or _writes_decimal_commas(query)
    ):
        hints = replace(hints, decimal_comma=True)
    excited = _EXCITED.match(text) if statement.mark in ("says", "heading", "last_line") else None
    if excited:  # "The answer is 72!" is hardly meant as a factorial
        text = f"{excited[1]}.{text[excited.end() :]}"
    value, end = (words(text), len(text)) if case_counts(query) else read_value(text, hints)
    is_sure = statement.is_sure and not excited and not text[end:].lstrip(" *").startswith("?")
    if (
        statement.mark in ("alone", "last_line", "bold")
        and isinstance(value, Quantity)
        and _SENTENCE_GOES_ON.match(text, end)
    ):
        value, is_sure = _concluded(text, hints, value), False  # "2024 has 366 days"
    if isinstance(value, Words):
        value, is_sure = _second_look(text, value, is_sure, statement, hints)
        if isinstance(value, Words) and case_counts(query):
            value = replace(value, is_exact=True)
    elif isinstance(value, Quantity) and is_continued(text, end):
        value, is_sure = words(text), False
    shown, at = _span_of(text[:end], statement)
    return Reading(shown, at, at + len(shown), statement.mark, value, is_sure=is_sure)


def _span_of(read: str, statement: Statement) -> tuple[str, int]:
    """The part of a statement that was read as the value, and where it stands.

    The whole statement where it was rewritten in reading (LaTeX).
    """
    read = read.strip()
    at = statement.text.find(read) if read else -1
    if at >= 0:
        return read, statement.start + at
    whole = statement.text.strip().strip("*").strip()
    return whole, statement.start + statement.text.find(whole)


def _concluded(text: str, hints: Hints, first: Quantity) -> Quantity:
    """Of a sentence that begins with a number and goes on.

    The number behind its last "is", "has" or "=", else the last one.
    """
    inside = [each for each in quantities_in(text[:MAX_SENTENCE_CHARS], hints) if not is_continued(text, each[2])]
    verbs = [found.end() for found in _VERB.finditer(text[:MAX_SENTENCE_CHARS])]
    behind = [each for each in inside if verbs and each[1] >= verbs[-1] - 1]
    return behind[0][0] if behind else inside[-1][0] if inside else first


def _second_look(text: str, value: Words, is_sure: bool, statement: Statement, hints: Hints) -> tuple[Value, bool]:
    """A sentence around the value: "It costs $18 in total", "they need 12 apples"."""
    sentence = without_lead(text)
    if sentence != text:
        inner, _ = read_value(sentence, hints)
        if not isinstance(inner, Words):
            return inner, is_sure
    if len(text) <= 400 and (hints.is_numeric or statement.mark != "alone"):
        every = quantities_in(text, hints)
        inside = [each for each in every if not is_continued(text, each[2])]
        is_sure = is_sure and len(every) == len(inside)
        if len(inside) == 1 and hints.is_numeric:
            return inside[0][0], is_sure
        if inside and hints.is_numeric:
            equals = text.rfind("=")
            behind = [each for each in inside if each[1] > equals >= 0]
            chosen = behind[0] if behind else inside[-1]
            return chosen[0], is_sure and len({each[0].base for each in inside}) == 1
    if hints.is_date and len(dates := {*find_dates(text)}) == 1:
        return dates.pop(), is_sure
    if re.search(r"\d\s?:\s?\d|[=^\\√…]|\.\.\.|\d\s?[*/+]", text):
        value = replace(value, is_mathematics=True)
    return value, is_sure


def _of_numeric_text(said: str, hints: Hints) -> Statement | None:
    """The last sentence of a longer text that holds a number, where a number is asked for."""
    tail = said.rstrip()[-2_000:]
    base = len(said.rstrip()) - len(tail)
    sentences = [(m.start(), m.end()) for m in re.finditer(r"[^\n.!?]*(?:\.\d[^\n.!?]*)*[.!?]?", tail) if m[0].strip()]
    for start, end in reversed(sentences):
        if re.search(r"\d", tail[start:end]):
            return Statement(tail[start:end].strip(), base + start, base + end, "last_line", is_sure=False)
    return None


def _code_block(text: str) -> Data | None:
    block = next((block for block in fenced_blocks(text) if block.text.strip()), None)
    return None if block is None else Data(block.text, f"code:{block.text.strip()}")


@once_a_question
def _writes_decimal_commas(text: str) -> bool:
    """Whether a text is in a language whose countries write 3,5 for three and a half."""
    return len(_DECIMAL_COMMA.findall(text)) > 2 * len(_ENGLISH.findall(text))


def is_free_text(reading: Reading) -> bool:
    """Whether a reading is of running text, which nothing but its own copy equals for sure."""
    return (
        isinstance(reading.value, Words)
        and not reading.value.is_exact
        and reading.choice is None
        and len(reading.value.folded.split()) > SHORT_WORDS
    )
