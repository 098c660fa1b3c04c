"""Multiple choice: which options a question offers and which one an answer commits to.

The letter that counts is the one that is committed to, in the last such statement; options that an answer only speaks
of ("option A would be wrong") are passed over. What is stated without any of the usual marks, or only called closest,
is read, but said to be unsure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.verifiers.answers.final_answer import (
    Statement,
    all_statements,
    find_unmarked,
    is_corrected,
    taken_back_after,
    without_thoughts,
)
from orchestrator.verifiers.answers.latex import plain_of_latex
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.questions import once_a_question
from orchestrator.verifiers.verdict import Verdict

LETTERS = "ABCDEFGHIJ"
TAIL_CHARS, SHORT_CHARS = 600, 400
# Blanks inside a line only, and not too many: `\s*` after `^`, or twice in a row, takes quadratic time on runs of white
# space.
_OPTION_LINE = Pattern(r"^[^\S\n]{0,40}[*\-]{0,2}[^\S\n]?\(?([A-J])[).:]\**[^\S\n]{1,40}(\S[^\n]*)", re.MULTILINE)
_SMALL_OPTION_LINE = Pattern(r"^[^\S\n]{0,40}\(?([a-j])[).][^\S\n]{1,40}(\S[^\n]*)", re.MULTILINE)
_OPTION_INLINE = Pattern(
    r"(?<![\w)])\(?([A-J])\)[^\S\n]{1,3}([^\n()]{1,80}?)(?=[\s,;]{1,3}(?:or\s)?\(?[A-J]\)\s|\s{0,2}$|[?.]\s|\n)"
)
_AT_START = Pattern(
    r"[\s*_\"'“”„«$`>#.…–—-]{0,8}(?:(?:option|choice|letter|answer|statement|die|the|opción|opção|options?|вариант|选项"
    r"|選項|it is|that is|is)\b\**[\s:：]{0,3}){0,3}[*_\"'“`]{0,3}"
    r"(?:[(\[（{]\s?(?P<held>[A-Ja-jａ-ｊＡ-Ｊ])\s?(?:[)\]）}]|\Z)|(?P<upper>[A-JＡ-Ｊ])|(?P<lower>[a-j]))(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)
_WORDS_FOLLOW = Pattern(
    r"['’]|\s+(?!because\b|since\b|as\b|and\b|or\b|is\b|with\b|which\b|would\b|was\b|in\b|for\b|by\b|based\b|given\b"
    r"|according\b|due\b|\W)\w"
)
_NEGATED = Pattern(
    r"[)\]*_.\s]{0,4}(?:(?:is|was|would be|are|seems|looks)\s+(?:also\s+)?(?:not\b|incorrect|wrong|false"
    r"|a distractor|invalid|ruled out|eliminated|implausible|too\b)"
    r"|(?:,|but|which|and)?\s*(?:but\s+)?(?:it|that|this|which)\s+(?:is|was)\s+(?:also\s+)?(?:not\b|incorrect|wrong"
    r"|false)|can(?:not|['’]t)\b|does(?:n['’]t| not)\b|isn['’]t|would be (?:wrong|incorrect))",
    re.IGNORECASE,
)
_COMMITS = Pattern(
    r"(?:(?:\b(?:choose|chose|pick|select|selecting|go with|going with|opt for|answer with|corresponds? to|matches"
    r"|match"
    r"|equivalent to|best (?:answer|option|choice|fit|match|description)[^.\n]{0,60} is|must be|has to be|should be"
    r"|(?:correct|right|best|closest|appropriate|suitable|likely|accurate|final)\s+(?:\w+\s){0,2}?(?:one|option"
    r"|choice|answer|letter)?\s?(?:is|:|would be)"
    r"|(?:option|choice) that [^.\n]{0,80}? is|choice is|option is|would be|wähle|nehme|elijo|escolho|choisis|выбираю"
    r"|правильный ответ|correct|selected option|opción correcta|letra|alternativa|gabarito|antwort|réponse|respuesta"
    r"|correta)"
    r"|选择|选项|选|選項|選択肢|選|答案】|विकल्प|उत्तर|الخيار(?:\sالصحيح)?(?:\sهو)?)\s{0,3}[:：]?\s{0,3}(?:option|choice|letter"
    r"|answer|opción|opção|вариант"
    r"|选项)?\s{0,2}[*_\"']{0,3}[(（]?\s?(?P<a>[A-JＡ-Ｊ])(?![\w'’])(?![^\S\n](?!because|since|as\b|\W)[a-z])[)）]?"
    r"|(?:\b(?:option|choice|answer|letter|so|thus|therefore|hence)|^)[\s,:]{1,3}(?:option\s+"
    r"|choice\s+)?[*_]{0,3}[(]?(?P<b>[A-J])[)]?[*_]{0,3}\s+(?:is|ist|es|est|é)\s+(?:the\s+|therefore\s+|thus\s+"
    r"|clearly\s+|definitely\s+|our\s+|la\s+|a\s+|die\s+)?(?:only\s+|most\s+|best\s+)?(?:right|correct|answer|best"
    r"|true|closest|appropriate|likely|accurate|richtig|correcta|correcte|correta|solution|choice|option))",
    re.IGNORECASE | re.MULTILINE,
)
_LINE_PICK = Pattern(
    r"^[^\S\n]{0,20}[*_]{0,3}[(（]?(?P<a>[A-J])(?:[)）][*_]{0,3}|[*_]{0,3}[.:,])(?:[*_]{0,3}[^\S\n]|[*_]{0,3}$)",
    re.MULTILINE,
)
_LAST_HELD = Pattern(
    r"(?:(?<![\w^_\\{])[(（]|\b[oO]ption |\b[cC]hoice )(?P<a>[A-J])(?:[)）]|(?<=[nce] [A-J])(?![\w'’]))(?!\s?[=(^\d])"
)
_CLOSEST = Pattern(
    r"\b(?:closest|nearest|most similar|best match|not (?:listed|among|exactly)|approximately matches)\b",
    re.IGNORECASE,
)
_REJECTED = Pattern(r"\b(?:incorrect|wrong|false|not)\b|✗|❌", re.IGNORECASE)
_CALLED_RIGHT = Pattern(
    r"^\W{0,6}([A-J])[).:][^\n]*[-–—:(]\s*(?:correct|right|true|✓|✅)\W*$|^\W{0,6}([A-J])[).:][^\n]*(?:✓|✅)",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION_ROW = Pattern(r"(?<![\w)])([A-J])\.\s([^\n]{1,60}?)(?=\s[A-J]\.\s|\s{0,2}$)")
_JSON_CHOICE = Pattern(r'"(?:choice|option|letter|selected(?:_option)?|selection)"\s*:\s*"\(?([A-Ja-j])\b')
_BESIDE = Pattern(
    r"[^A-Za-z]{0,3}\(?[A-J]\)?\s*(?:,|or|and|/|&|oder|y|ou|и|和|或)\s*(?:or\s+|and\s+)?\(?([A-J])\)?(?![\w'’])"
)
_FULL_WIDTH = {ord("Ａ") + i: LETTERS[i] for i in range(10)} | {ord("ａ") + i: LETTERS[i] for i in range(10)}


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
    for pattern, least in ((_OPTION_LINE, 2), (_SMALL_OPTION_LINE, 2), (_OPTION_INLINE, 2), (_OPTION_ROW, 3)):
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
    if '"' in text and (field := _JSON_CHOICE.search(text)) is not None and field[1].upper() in offered:
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
    return _last_spoken_of(tail, offered) or (
        _only_mentioned(text, offered, options) if len(text) <= SHORT_CHARS else None
    )


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
    beside = _BESIDE.match(said)
    is_several = beside is not None and beside[1] in offered and beside[1] != letter
    line = text[max(0, statement.start - 40) : statement.start]
    return [(letter, not is_several and not _CLOSEST.search(line[line.rfind(". ") + 1 :]))]


def _leading_letter(said: str, offered: str) -> str | None:
    found = _AT_START.match(said)
    if found is None:
        return None
    letter = (found["held"] or found["upper"] or found["lower"] or "").translate(_FULL_WIDTH)
    rest = found["rest"]
    if letter.upper() not in offered or _NEGATED.match(rest):
        return None
    if found["held"]:
        return letter.upper()
    if re.match(r"[A-Za-z\d_^²³=+/]|-\w|\s?[?？]", rest):
        return None
    if (letter.islower() or letter in "AI") and _WORDS_FOLLOW.match(rest):
        return None
    return None if rest.startswith(("'", "’")) else letter.upper()


def _committed(tail: str, offered: str) -> ReadChoice | None:
    """The last pick in running text: "I'd choose B", "So B is right", "corresponds to option (C)"."""
    called_right = {(found[1] or found[2]).upper() for found in _CALLED_RIGHT.finditer(tail)} & set(offered)
    if len(called_right) == 1:
        return ReadChoice(called_right.pop(), is_sure=True)
    chosen = None
    for found in _COMMITS.finditer(tail):
        letter = (found["a"] or found["b"]).translate(_FULL_WIDTH).upper()
        if (
            letter in offered
            and not _NEGATED.match(tail, found.end())
            and not re.search(r"\b(?:not|n['’]t|isn['’]t)\s*$", found[0][:-1])
        ):
            around = tail[max(0, found.start() - 100) : found.end()]
            chosen = ReadChoice(letter, is_sure=not _CLOSEST.search(around))
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
    if _REJECTED.search(line, found.end()):
        return None
    return ReadChoice(letter, is_sure=True) if _folded(line[found.end() :]).startswith(_folded(text)[:40]) else None


def _first_word(text: str, offered: str) -> ReadChoice | None:
    """A short answer that begins with its letter: "B", "(B) because it is blue", "**B.** blue"."""
    letter = _leading_letter(text, offered)
    if letter is None:
        return None
    named = [m for pattern in (_LINE_PICK, _LAST_HELD) for m in pattern.finditer(text)]
    beside = _BESIDE.match(text)
    if beside is not None and beside[1] in offered and beside[1] != letter:
        return ReadChoice(letter, is_sure=False)
    others = {m["a"] for m in named if m["a"] in offered and not _NEGATED.match(text, m.end())} - {letter}
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
            for pattern in (_LINE_PICK, _LAST_HELD)
            for m in pattern.finditer(line)
            if m["a"] in offered and not _NEGATED.match(line, m.end())
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
