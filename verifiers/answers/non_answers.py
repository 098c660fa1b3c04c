"""Is it an answer at all?

Models return nothing, refuse, do not know, ask back, break off: none of that is evidence for another text like it.

Classified are whole texts and what they state as their answer, never single words: what is said beside an answer ("I am
not sure, but 42"), a text that was asked for ("Translate: I do not know") and code are answers. English, Chinese,
Spanish, Hindi, Arabic, French, Portuguese, Russian, Japanese, German.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, cast, get_args

from orchestrator.verifiers.answers import non_answer_phrases as phrases
from orchestrator.verifiers.answers.choice import ReadChoice, offered_choices, read_choice
from orchestrator.verifiers.answers.code_blocks import is_cut_in_a_block
from orchestrator.verifiers.answers.final_answer import Statement, find_statement, without_thoughts
from orchestrator.verifiers.answers.latex import plain_of_latex
from orchestrator.verifiers.answers.questions import once_a_question

NonAnswer = Literal[
    "empty",
    "refusal",
    "does_not_know",
    "not_enough_information",
    "placeholder",
    "error",
    "cut",
    "filtered",
    "echo",
    "question_back",
    "repetition",
]
MAX_CHARS = 1_500  # of a text that as a whole says that it does not answer
MAX_TEMPLATE_CHARS = 120
MAX_EXPLAINED_CHARS = 600  # of a text that says why it picks no option; of longer ones the last sentence tells
MIN_REPEATS = 5
MIN_CUT_CHARS = 200  # of a text that says nothing of the options before it breaks off
MAX_MATTER, LESS_MATTER = (
    0.5,
    0.25,
)  # of a non-answer: how much of it may be about the matter, where it begins with what it lacks, or not
MAX_BEFORE_A_REQUEST, MAX_BEFORE_GIVING_UP = 0.7, 0.85

_OWN_KINDS = ("refusal", "does_not_know", "not_enough_information", "question_back")


def why_no_answer(text: str, query: str = "", finish_reason: str = "stop") -> NonAnswer | None:
    """Of which kind a text is that is no answer to `query`; `None` for an answer.

    `finish_reason` is how the model ended, in the words of the chat completions API: `length` and `content_filter`
    count. A query that invites an abstention ("say so if you do not know") takes one for an answer.
    """
    return classify(text, query, finish_reason).non_answer


@dataclass(frozen=True, slots=True)
class Classified:
    """Whether a text is an answer, and what was found on the way.

    The text behind its thoughts (which begins at `offset`), the marked statement, and the option that it picks.
    `abstains` says that it gives no answer where the query takes that for one.
    """

    said: str
    offset: int = 0
    statement: Statement | None = None
    choice: ReadChoice | None = None
    non_answer: NonAnswer | None = None
    abstains: bool = False


def classify(text: str, query: str = "", finish_reason: str = "stop", *, may_abstain: bool = False) -> Classified:
    """See `why_no_answer`. `may_abstain` says that not knowing is an answer, whatever the query says."""
    if not isinstance(text, str):
        raise TypeError(f"an answer is text, not {type(text).__name__}")
    spoken = without_thoughts(text)
    if spoken is None:
        return Classified(text, non_answer="cut")
    said, offset = phrases.SPECIAL_TOKENS.sub("", spoken[0]) if "<" in spoken[0] else spoken[0], spoken[1]
    if not said.strip(" \t\r\n\u200b\ufeff\u2060"):
        kind: NonAnswer = (
            "filtered" if finish_reason == "content_filter" else "cut" if finish_reason == "length" else "empty"
        )
        return Classified(said, offset, non_answer=kind)
    if finish_reason == "content_filter":
        return Classified(said, offset, non_answer="filtered")
    if finish_reason == "length" and is_cut_in_a_block(said):
        return Classified(said, offset, non_answer="cut")
    choice = None
    if _is_code_question(query):
        statement = find_statement(said)
        found = _of_code(said, statement, finish_reason)
    elif options := offered_choices(query):
        choice = read_choice(said, query)
        statement = None if choice is not None and choice.is_sure else find_statement(said)
        found = _of_picking(said, statement, choice, query, finish_reason, options)
    else:
        statement = find_statement(said)
        found = _of_words(said, statement, query, finish_reason)
    if found in ("does_not_know", "not_enough_information") and (may_abstain or invites_abstention(query)):
        return Classified(said, offset, statement, choice, abstains=True)
    return Classified(said, offset, statement, choice, found)


@once_a_question
def invites_abstention(query: str) -> bool:
    """Whether a query says that not knowing is an answer ("say so if you don't know"), or offers it among its
    options.
    """
    return bool(phrases.INVITES.search(query))


@once_a_question
def _is_code_question(query: str) -> bool:
    return bool(phrases.CODE_QUESTION.search(query))


@once_a_question
def _asks_for_text(query: str) -> bool:
    return bool(phrases.ASKS_FOR_TEXT.search(query)) or (
        bool(query.strip()) and len(query.split()) < 3 and "?" not in query
    )


def _of_code(said: str, statement: Statement | None, finish_reason: str) -> NonAnswer | None:
    if statement is not None:
        return (
            "placeholder" if re.fullmatch(r"(?:\?+|\.{3}|_{2,}|…|<[a-z ]+>)", statement.text.strip(" \"'`")) else None
        )
    if finish_reason == "length":
        return "cut"
    if len(said) <= MAX_CHARS and "```" not in said and phrases.REFUSAL.match(said.strip()):
        return "refusal"
    return "repetition" if is_loop(said) else None


def _of_picking(
    said: str,
    statement: Statement | None,
    choice: ReadChoice | None,
    query: str,
    finish_reason: str,
    options: tuple[str, ...],
) -> NonAnswer | None:
    """Where options are offered: what picks none of them is cut off, or says why."""
    if choice is not None:
        if choice.is_sure:
            return None
        ends = phrases.SENTENCE_END.split(said.rstrip())[-1]
        if read_choice(ends, query) is not None:
            return None
        return "does_not_know" if phrases.NO_OPTION.search(ends) else "repetition" if is_loop(said) else None
    if (
        statement is not None
        and (statement.mark == "json" or len(said) <= MAX_CHARS)
        and (kind := _of_stated(statement.text, said, query)) is not None
    ):
        return kind
    kind = (
        _of_words(said, None, query, finish_reason)
        if len(said) <= MAX_EXPLAINED_CHARS
        else "repetition"
        if is_loop(said)
        else None
    )
    return (
        kind
        or _unknowing(phrases.SENTENCE_END.split(said[-MAX_EXPLAINED_CHARS:].rstrip())[-1])
        or ("cut" if len(said) > MIN_CUT_CHARS else None)
    )


def _of_words(said: str, statement: Statement | None, query: str, finish_reason: str) -> NonAnswer | None:
    if statement is not None:
        return _of_stated(statement.text, said, query)
    if len(said) <= MAX_CHARS:
        if phrases.CODE_TEXT.search(said):
            return "cut" if finish_reason == "length" and "```" not in said else None
        if phrases.UNFILLED.search(said):
            return "placeholder"
        if phrases.ERROR.match(said) and not (len(said) < MIN_CUT_CHARS and phrases.ASKS_OF_ERRORS.search(query)):
            return "error"
    if not _asks_for_text(query) and (kind := _of_whole(said.strip(), query)) is not None:
        return kind
    return (
        "repetition"
        if len(said) > MAX_TEMPLATE_CHARS and is_loop(said)
        else "cut"
        if finish_reason == "length"
        else None
    )


def _of_stated(stated: str, said: str, query: str) -> NonAnswer | None:
    """What a marked answer says, if it says that there is none."""
    stated = plain_of_latex(stated.strip())
    if not stated.strip(" \n\t*\"'`.()[]{}$"):
        return "placeholder" if stated.strip() or not said.lstrip().startswith("{") else "empty"
    if (
        not phrases.PLAIN_VALUE.fullmatch(stated)
        and len(stated) <= MAX_TEMPLATE_CHARS
        and phrases.PLACEHOLDER.fullmatch(stated)
    ):
        return "placeholder"
    if len(stated) <= 200 and not (phrases.PLAIN_VALUE.fullmatch(stated) or _asks_for_text(query)):
        if stated.casefold().strip(" \"'.") == "null":
            return "empty"
        if (
            len(stated) <= MAX_TEMPLATE_CHARS
            and phrases.ALONE_UNKNOWN.fullmatch(stated)
            and not _may_be_none(stated, query)
        ):
            return "does_not_know"
        return _unknowing(stated)
    return None


def _of_whole(said: str, query: str) -> NonAnswer | None:
    if len(said) <= MAX_TEMPLATE_CHARS and phrases.PLACEHOLDER.fullmatch(said):
        return "placeholder"
    if len(said) <= MAX_TEMPLATE_CHARS and phrases.ALONE_UNKNOWN.fullmatch(said):
        return None if _may_be_none(said, query) else "does_not_know"
    if _is_echo(said, query):
        return "echo"
    return _of_sentences(said) if len(said) <= MAX_CHARS else None


def _of_sentences(said: str) -> NonAnswer | None:
    """What a text without a marked answer says, sentence by sentence.

    A non-answer if hardly anything in it is about the matter itself.
    """
    sentences = [sentence for sentence in phrases.SENTENCE_END.split(said) if sentence.strip()]
    kinds = [_kind_of(sentence) for sentence in sentences]
    chars = Counter[str]()
    for kind, sentence in zip(kinds, sentences, strict=True):
        chars[kind] += len(sentence)
    if len(sentences) > 1 and phrases.SHORT_VALUE.fullmatch(sentences[0].strip()):
        return None  # "391. Do you want me to show the steps?"
    own = [kind for kind in kinds if kind in get_args(NonAnswer)]
    requests = [
        bool(phrases.NEEDS.search(sentence) and not phrases.CONDITIONAL.search(sentence)) for sentence in sentences
    ]
    needs = any(requests[-3:])
    if not own and not needs:
        return None
    share = chars["matter"] / chars.total()
    is_hedged = any(
        kind == "matter" and phrases.EVEN_SO.search(sentence) for kind, sentence in zip(kinds, sentences, strict=True)
    )
    is_hedged = is_hedged or any(
        kind == "matter" and phrases.FIGURES.search(sentence) for kind, sentence in zip(kinds, sentences, strict=True)
    )
    begins = kinds[0] != "matter" and not is_hedged
    if needs and "refusal" not in own and (share <= MAX_BEFORE_A_REQUEST or sum(requests) > 1):
        return "question_back"
    if share <= (MAX_MATTER if begins else LESS_MATTER):
        return (
            "question_back"
            if own[:1] == ["question_back"] or (kinds[-1] == "question_back" and "refusal" not in own)
            else cast("NonAnswer", own[0])
            if own
            else None
        )
    concludes = kinds[-1] in ("does_not_know", "not_enough_information", "refusal") and not is_hedged
    return cast("NonAnswer", kinds[-1]) if concludes and not begins and share < MAX_BEFORE_GIVING_UP else None


def _kind_of(sentence: str) -> str:
    """A sentence's kind.

    One of the kinds of non-answers, "offer" (other help, where else to look, what one's tools are), or "matter".
    """
    sentence = (
        phrases.QUOTED.sub(" ", sentence)
        if phrases.QUOTED.search(sentence) and not phrases.QUOTED.fullmatch(sentence.strip())
        else sentence
    )
    if phrases.CONDITIONAL.search(sentence):
        return "question_back" if phrases.NEEDS.search(sentence) else "offer"
    if (refusing := phrases.REFUSAL.search(sentence)) is not None:
        if phrases.FIGURES.search(sentence[: refusing.start()]) or _goes_on_to_answer(sentence, refusing.end()):
            return "matter"
        return "refusal"
    if (unknowing := _unknowing(sentence)) is not None:
        return unknowing
    if phrases.OFFERS_MORE.search(sentence):
        return "offer"
    is_question = sentence.rstrip(" *_\"'”）)").endswith(("?", "？", "؟"))
    if phrases.ASKS_BACK.search(sentence) and (is_question or phrases.REQUESTS.search(sentence)):
        return "question_back"
    return "offer" if phrases.OFFERS.search(sentence) or phrases.ASKS_BACK.search(sentence) else "matter"


def _unknowing(text: str) -> NonAnswer | None:
    """Whether a text says that it does not know.

    What stands behind figures that it does give, or before an answer, is no such saying.
    """
    for kind, pattern in (("not_enough_information", phrases.INSUFFICIENT), ("does_not_know", phrases.UNKNOWING)):
        found = pattern.search(text)
        if found is None:
            continue
        before = text[: found.start()]
        is_beside = bool(re.search(r"\d", before) and re.search(r"[,;]|\bbut\b", before)) or (
            len(before.split()) > 3 and bool(re.search(r"\b(?:but|although|though)\s*$", before, re.IGNORECASE))
        )
        return None if is_beside or _goes_on_to_answer(text, found.end()) else cast("NonAnswer", kind)
    return None


def _goes_on_to_answer(sentence: str, start: int) -> bool:
    """Whether behind words of doubt in one sentence an answer follows.

    "I don't know for certain, but it is probably Canberra".
    """
    but = phrases.BUT.search(sentence, start)
    if but is None:
        return False
    rest = sentence[but.end() :]
    if phrases.OFFERS_OWN.match(rest):
        return False
    others = (phrases.OFFERS, phrases.ASKS_BACK, phrases.NEEDS, phrases.REFUSAL, phrases.UNKNOWING)
    return len(rest.split()) >= 2 and not any(pattern.search(rest) for pattern in others)


def _may_be_none(said: str, query: str) -> bool:
    """An answer of "None" fits a question for how many, for which of several, or for a value of a language."""
    is_none = bool(re.fullmatch(r"\W*(?:none|null|nil|nan|undefined|无|n\s?/\s?a|pass|-+)\W*", said, re.IGNORECASE))
    return is_none and bool(
        re.search(
            r"\b(?:how many|which of|if any|any of|are there|null|none|nil|nan|undefined|python|javascript|value"
            r"|returns?)\b|多少|哪些|哪个",
            query,
            re.IGNORECASE,
        )
    )


def _is_echo(said: str, query: str) -> bool:
    if 2 * len(said) < len(query):
        return False
    own, asked = _folded(said), _folded(query)
    return len(own) >= 12 and (own == asked or (own in asked and len(own) >= 0.8 * len(asked)))


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def is_loop(text: str) -> bool:
    """Whether a text ends in five or more copies of the same piece of 2 to 160 characters."""
    tail = text[-1_000:]
    return any(
        len(tail) >= MIN_REPEATS * period
        and len(set(tail[-period:])) > 1
        and tail[-period * MIN_REPEATS :] == tail[-period:] * MIN_REPEATS
        for period in range(2, 161)
    ) or bool(re.search(r"(\d)\1{40}\W*$", tail))
