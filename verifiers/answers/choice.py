"""Multiple choice: which options a question offers and which one an answer commits to.

The letter that counts is the one that is committed to, in the last such statement; options that an answer only speaks
of ("option A would be wrong") are passed over. What is stated without any of the usual marks, or only called closest,
is read, but said to be unsure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.verifiers.answers.choice_patterns import (
    AT_START,
    BESIDE,
    CALLED_RIGHT,
    CLOSEST,
    COMMITS,
    FULL_WIDTH,
    JSON_CHOICE,
    LAST_HELD,
    LETTERS,
    LINE_PICK,
    NEGATED,
    OPTION_INLINE,
    OPTION_LINE,
    OPTION_ROW,
    REJECTED,
    SMALL_OPTION_LINE,
    WORDS_FOLLOW,
)
from orchestrator.verifiers.answers.final_answer import (
    Statement,
    all_statements,
    find_unmarked,
    is_corrected,
    taken_back_after,
    without_thoughts,
)
from orchestrator.verifiers.answers.latex import plain_of_latex
from orchestrator.verifiers.answers.questions import once_a_question
from orchestrator.verifiers.verdict import Verdict

TAIL_CHARS, SHORT_CHARS = 600, 400


@dataclass(frozen=True, slots=True)
class ReadChoice:
    """The letter that an answer commits to.

    `is_sure` is false for one that is stated without a usual mark, or beside another.
    """

    letter: str
    is_sure: bool


@once_a_question
def options_of(question: str) -> tuple[tuple[str, str], ...]:
    """The options (letter, text) that a question lists.

    On lines of their own (`A. ...`, `(B) ...`, `c) ...`) or in a row (`A) ... B) ...`).

    () if it is not multiple choice: letters must start at A and run without a gap, and there must be at least two.
    """
    for pattern, least in ((OPTION_LINE, 2), (SMALL_OPTION_LINE, 2), (OPTION_INLINE, 2), (OPTION_ROW, 3)):
        found: dict[str, str] = {}
        for option in pattern.finditer(question):
            found.setdefault(option[1].upper(), option[2].strip())
        letters = "".join(found)
        if len(letters) >= least and letters == LETTERS[: len(letters)]:
            return tuple(found.items())
    return ()


def offered_choices(question: str) -> tuple[str, ...]:
    """The option letters that a question offers, or () if it is not multiple choice."""
    return tuple(letter for letter, _ in options_of(question))


def find_choice(answer: str, question: str = "") -> str | None:
    """The option letter that an answer commits to (the last one stated), or `None`."""
    choice = read_choice(answer, question)
    return choice.letter if choice else None


def read_choice(answer: str, question: str = "") -> ReadChoice | None:
    """The option that an answer commits to, by its letter or by its whole text.

    With a `question`, only letters that it offers count.
    """
    spoken = without_thoughts(answer)
    if spoken is None or not spoken[0].strip():
        return None
    text = spoken[0]
    options = options_of(question)
    offered = "".join(letter for letter, _ in options) or LETTERS
    if '"' in text and (field := JSON_CHOICE.search(text)) is not None and field[1].upper() in offered:
        return ReadChoice(field[1].upper(), is_sure=True)
    if choice := _stated(text, offered, options):
        return choice
    tail = text[-TAIL_CHARS:]
    if options and (choice := _restated(tail, options)):
        return choice
    if choice := _committed(tail, offered):
        return choice
    if len(text) <= SHORT_CHARS and (choice := _first_word(text, offered)):
        return choice
    if options and (letter := _by_text(find_unmarked(text), options)):
        return ReadChoice(letter, is_sure=True)
    mentioned = _only_mentioned(text, offered, options) if len(text) <= SHORT_CHARS else None
    return _last_spoken_of(tail, offered) or mentioned


def _stated(text: str, offered: str, options: tuple[tuple[str, str], ...]) -> ReadChoice | None:
    """The pick of the last marked statement that picks.

    Sure unless another one picks otherwise and is not taken back.
    """
    picks = [
        (each, letter, sure)
        for each in all_statements(text)
        for letter, sure in _of_statement(each, text, offered, options)
    ]
    if not picks:
        return None
    last, letter, is_sure = picks[-1]
    if taken_back_after(text, last.start):
        is_sure = False
    other = next((each for each, another, _ in reversed(picks) if another != letter), None)
    if other is not None and picks[0][1] != letter and not is_corrected(text, other.end, last.start):
        is_sure = False
    return ReadChoice(letter, is_sure)


def _of_statement(
    statement: Statement, text: str, offered: str, options: tuple[tuple[str, str], ...]
) -> list[tuple[str, bool]]:
    """The letter of a statement and whether it is sure; empty if it names none."""
    said = plain_of_latex(statement.text)
    letter = _leading_letter(said, offered) or _by_text(statement, options)
    if letter is None:
        # "The answer is a bit tricky: B"
        found = re.search(rf"[:：]\s{{0,3}}[*(]{{0,3}}([{offered}])[)*.]{{0,3}}\s*$", said)
        letter = found[1] if found else None
    if letter is None:
        return []
    beside = BESIDE.match(said)
    is_several = beside is not None and beside[1] in offered and beside[1] != letter
    line = text[max(0, statement.start - 40) : statement.start]
    return [(letter, not is_several and not CLOSEST.search(line[line.rfind(". ") + 1 :]))]


def _leading_letter(said: str, offered: str) -> str | None:
    found = AT_START.match(said)
    if found is None:
        return None
    letter = (found["held"] or found["upper"] or found["lower"] or "").translate(FULL_WIDTH)
    rest = found["rest"]
    if letter.upper() not in offered or NEGATED.match(rest):
        return None
    if found["held"]:
        return letter.upper()
    if re.match(r"[A-Za-z\d_^²³=+/]|-\w|\s?[?？]", rest):
        return None
    if (letter.islower() or letter in "AI") and WORDS_FOLLOW.match(rest):
        return None
    return None if rest.startswith(("'", "’")) else letter.upper()


def _committed(tail: str, offered: str) -> ReadChoice | None:
    """The last pick in running text: "I'd choose B", "So B is right", "corresponds to option (C)"."""
    called_right = {(found[1] or found[2]).upper() for found in CALLED_RIGHT.finditer(tail)} & set(offered)
    if len(called_right) == 1:
        return ReadChoice(called_right.pop(), is_sure=True)
    chosen = None
    for found in COMMITS.finditer(tail):
        letter = (found["a"] or found["b"]).translate(FULL_WIDTH).upper()
        if (
            letter in offered
            and not NEGATED.match(tail, found.end())
            and not re.search(r"\b(?:not|n['’]t|isn['’]t)\s*$", found[0][:-1])
        ):
            around = tail[max(0, found.start() - 100) : found.end()]
            chosen = ReadChoice(letter, is_sure=not CLOSEST.search(around))
    return chosen


def _restated(tail: str, options: tuple[tuple[str, str], ...]) -> ReadChoice | None:
    """The only option that the last line names, by its letter and its text.

    "It is best described as a B. easement for public use".
    """
    line = tail.rstrip()[tail.rstrip().rfind("\n") + 1 :]
    named = [
        (letter, text, found)
        for letter, text in options
        if (found := re.search(rf"(?<![\w'’])[(]?{letter}[).:]\s", line))
    ]
    if len(named) != 1:
        return None
    letter, text, found = named[0]
    if REJECTED.search(line, found.end()):
        return None
    return ReadChoice(letter, is_sure=True) if _folded(line[found.end() :]).startswith(_folded(text)[:40]) else None


def _first_word(text: str, offered: str) -> ReadChoice | None:
    """A short answer that begins with its letter: "B", "(B) because it is blue", "**B.** blue"."""
    letter = _leading_letter(text, offered)
    if letter is None:
        return None
    named = [m for pattern in (LINE_PICK, LAST_HELD) for m in pattern.finditer(text)]
    beside = BESIDE.match(text)
    if beside is not None and beside[1] in offered and beside[1] != letter:
        return ReadChoice(letter, is_sure=False)
    others = {m["a"] for m in named if m["a"] in offered and not NEGATED.match(text, m.end())} - {letter}
    return ReadChoice(letter, is_sure=not others)


def _by_text(statement: Statement | None, options: tuple[tuple[str, str], ...]) -> str | None:
    if statement is None:
        return None
    said = _folded(plain_of_latex(statement.text))
    matching = [letter for letter, text in options if said and said == _folded(plain_of_latex(text))]
    if not matching and len(said) < 200:
        first = _folded(re.split(r"[.;,](?:\s|$)|\s(?:because|since)\s", statement.text, maxsplit=1)[0])
        matching = [letter for letter, text in options if first and first == _folded(text)]
    return matching[0] if len(matching) == 1 else None


def _last_spoken_of(tail: str, offered: str) -> ReadChoice | None:
    """The option that is named on the last line that names one; never sure."""
    for line in reversed(tail.split("\n")):
        picks = [
            m
            for pattern in (LINE_PICK, LAST_HELD)
            for m in pattern.finditer(line)
            if m["a"] in offered and not NEGATED.match(line, m.end())
        ]
        letters = dict.fromkeys(m["a"] for m in picks)
        if letters:
            return ReadChoice([*letters][-1], is_sure=False) if len(letters) == 1 else None
    return None


def _only_mentioned(tail: str, offered: str, options: tuple[tuple[str, str], ...]) -> ReadChoice | None:
    """The only option whose letter stands alone in the last line ("Therefore B"), or whose text does ("The Red Planet
    is Mars"); never sure.
    """
    line = tail.rstrip()[tail.rstrip().rfind("\n") + 1 :]
    letters = {found[1] for found in re.finditer(r"(?<![\w'’])([A-J])(?![\w'’^_=+])", line)} & set(offered) - {"A", "I"}
    if len(letters) == 1:
        return ReadChoice(letters.pop(), is_sure=False)
    said = f" {_folded(line)} "
    named = [letter for letter, text in options if len(text) >= 2 and f" {_folded(text)} " in said]
    return ReadChoice(named[0], is_sure=False) if len(named) == 1 else None


def _folded(text: str) -> str:
    return re.sub(r"[\s*_`\"'“”$.,;:!?]+", " ", text.casefold()).strip()


class ChoiceVerifier:
    """Fails an answer that picks none of the offered options (or, with `expected`, another than the right one).

    Decisive where the pick is sure; abstains where an answer names options without clearly committing to one.
    """

    name = "choice"

    def __init__(self, expected: str | None = None) -> None:
        self._expected = expected.strip().strip("().").upper() if expected else None

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Fails answers that pick no option; compares with the expected one where it is known."""
        offered = offered_choices(query)
        if not offered and self._expected is None:
            return Verdict.abstain(self.name, "the question offers no lettered options")
        choice = read_choice(candidate, query)
        if choice is None:
            if self._expected not in (None, *LETTERS) or _names_options(candidate, query, offered):
                return Verdict.abstain(self.name, "the answer speaks of options and clearly picks none")
            return Verdict(self.name, 0.0, False, f"answer with one of {', '.join(offered or ('A-J',))}", decisive=True)
        if self._expected is None:
            return Verdict.abstain(self.name, f"{choice.letter} is one of the options")
        if not choice.is_sure:
            return Verdict.abstain(self.name, f"it may pick {choice.letter}, but does not say so clearly")
        passed = choice.letter == self._expected
        return Verdict(
            self.name,
            float(passed),
            passed,
            "" if passed else f"picked {choice.letter}",
            (choice.letter,),
            decisive=True,
        )


def _names_options(candidate: str, question: str, offered: tuple[str, ...]) -> bool:
    """Whether an answer speaks of options, by letter, by their text or by their numbers.

    Then it may mean one, though it is not clear which.
    """
    letters = "".join(offered) or LETTERS
    if re.search(rf"(?<![\w'’])[(]?[{letters}](?![\w'’])", candidate):
        return True
    said = f" {_folded(candidate)} "
    texts = [_folded(text) for _, text in options_of(question)]
    numbers = set(re.findall(r"\d+", candidate))
    return any(f" {text} " in said for text in texts if len(text) > 1) or any(
        numbers & set(re.findall(r"\d+", text)) for text in texts
    )
