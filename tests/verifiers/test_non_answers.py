"""Is it an answer at all? In ten languages, on what models really wrote, and never mistaken for free text or code."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from orchestrator import NoAdequateModel, Orchestrator
from orchestrator.engine.answer import NO_ANSWER_P
from orchestrator.testing import ScriptedBackend as Scripted
from orchestrator.types import Answer
from orchestrator.verifiers import Agreement, NonAnswer, RegexVerifier, group_equivalent, read_answer, why_no_answer

LABELLED = (
    Path(__file__).parent / "non_answers.jsonl"
)  # 585 texts of models (WildEval/ZeroEval, TIGER-AI-Lab/MMLU-Pro, BFCL; all Apache-2.0), by hand
QUESTION = "What is the boiling point of water in Denver?"
REFUSALS = [
    "I cannot answer that.", "I'm sorry, I can't help with that.", "Ich kann diese Frage leider nicht beantworten.",
    "Es tut mir leid, dabei kann ich nicht helfen.",
    "Das kann ich leider nicht beantworten.", "Lo siento, no puedo ayudar con eso.",
    "Je suis désolé, je ne peux pas répondre à cette question.",
    "Desculpe, não posso ajudar com isso.", "Извините, я не могу ответить на этот вопрос.", "抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お答えできません。", "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।", "عذراً، لا أستطيع مساعدتك في ذلك.",
]  # fmt: skip
UNKNOWING = [
    "I do not know.", "The answer is unknown.", "N/A", "None", "There is not enough information to answer.",
    "\\boxed{\\text{unknown}}",
    "Ich weiß es nicht.", "Die Antwort ist unbekannt.", "No lo sé.", "No hay suficiente información para responder.",
    "Je ne sais pas.",
    "Il n'y a pas assez d'informations.", "Não sei.", "Não há informações suficientes para responder.", "Я не знаю.",
    "Недостаточно информации для ответа.", "我不知道。", "信息不足，无法确定。", "わかりません。", "情報が不足しているため、判断できません。",
    "मुझे नहीं पता।", "पर्याप्त जानकारी नहीं है।", "لا أعرف.", "لا توجد معلومات كافية للإجابة.",
]  # fmt: skip
OTHERS: list[tuple[NonAnswer, str]] = [
    ("empty", ""), ("empty", " \n "), ("empty", "\u200b"), ("empty", '{"answer": null}'),
    ("placeholder", "The answer is ..."), ("placeholder", "Answer: ___"),
    ("placeholder", "The answer is [your answer here]."),
    ("error", "Error: upstream unavailable"), ("error", "502 Bad Gateway"),
    ("error", "<html><head><title>504 Gateway Time-out</title>"),
    ("error", '{"error": {"message": "rate limit"}}'), ("error", "Rate limit exceeded. Please try again later."),
    ("cut", "<think>hmm, so it is"), ("echo", "What is the boiling point of water in Denver"),
    ("question_back", "Which city do you mean?"),
    ("question_back", "Können Sie bitte angeben, welche Stadt Sie meinen?"),
    ("question_back", "¿Podría especificar a qué ciudad se refiere?"), ("question_back", "请问您指的是哪个城市？"),
    ("repetition", "It is warm there and " * 30),
]  # fmt: skip
ANSWERS = [
    "42", "The answer is 42.", "No.", "It is 95 °C, but I do not know the exact altitude.", "I am not sure, but 42.",
    "Water boils at 95 °C there. I cannot say more precisely.", "def f():\n    return None",
    "```python\nraise Error('x')\n```",
    "No one knows who built it; scholars think it was the Incas.", "It cannot be proven within ZFC.",
    "The error is in line 3: the loop never ends.", "Unknown Pleasures", "None of them passed the test; all 12 failed.",
    "'I do not know' is the last line of the poem.", "Socrates said that he knew nothing.",
    "Das weiß niemand genau, vermutlich 95 Grad.",
    "大约95度。", "Sorry, no: it boils at 95 °C.", "You can't divide by zero.", "404", "X",
    "<think>I do not know... yes!</think>\n95 °C",
]  # fmt: skip


def test_what_models_really_wrote_is_told_apart() -> None:
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    pairs = [(row["label"] != "answer", why_no_answer(row["text"], row["query"]) is not None) for row in rows]
    hits = sum(truth and found for truth, found in pairs)
    assert len(pairs) > 500
    assert hits / sum(found for _, found in pairs) >= 0.97, "precision"
    assert hits / sum(truth for truth, _ in pairs) >= 0.97, "recall"


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_in_ten_languages(text: str) -> None:
    assert why_no_answer(text, QUESTION) == "refusal"


@pytest.mark.parametrize("text", UNKNOWING)
def test_not_knowing_in_ten_languages(text: str) -> None:
    assert why_no_answer(text, QUESTION) in ("does_not_know", "not_enough_information")


@pytest.mark.parametrize(("kind", "text"), OTHERS)
def test_every_other_kind(kind: NonAnswer, text: str) -> None:
    assert why_no_answer(text, QUESTION) == kind


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_that_only_sound_like_it(text: str) -> None:
    assert why_no_answer(text, QUESTION) is None


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("I do not know.", "Who won? Say so if you don't know."),
        ("Unknown", "Who? Answer 'unknown' if the text doesn't say."),
        ("我不知道", "谁赢了？如果不知道请说不知道"),
        ("Ich weiß es nicht.", "Wer? Falls du es nicht weißt, sag es."),
        ("No sé.", "Si no lo sabes, dilo: ¿quién ganó?"),
        ("I don't know.", "Translate 'Je ne sais pas' into English."),
        ("None", "Which of these are prime: 4, 6, 8?"),
        ("None", "def f(): pass\nassert f() == ??"),
        ("Error: division by zero", "What error message does this program print?"),
        ("Hello! How can I help you today?", "Hi"),
        ("E. not enough information", "Q?\nA. 1\nB. 2\nC. 3\nD. 4\nE. not enough information"),
    ],
)
def test_a_query_may_ask_for_just_that(text: str, query: str) -> None:
    assert why_no_answer(text, query) is None


@pytest.mark.parametrize(
    ("text", "finish_reason", "kind"),
    [
        ("The total is the sum of", "length", "cut"),
        ('{"answer": 42', "length", "cut"),
        ("[1, 2, 3]", "length", "cut"),
        ("```python\ndef f():\n    return 1", "length", "cut"),
        ("```python\ndef f():\n    return 1\n```\nThis function", "length", None),
        ("The answer is 42. In other words", "length", None),
        ("Here is how to", "content_filter", "filtered"),
        ("", "content_filter", "filtered"),
        ("", "length", "cut"),
    ],
)
def test_how_the_model_ended_counts(text: str, finish_reason: str, kind: str | None) -> None:
    query = "Write a function." if "def" in text else QUESTION
    assert why_no_answer(text, query, finish_reason) == kind


def test_not_knowing_is_an_answer_where_the_caller_says_so() -> None:
    assert read_answer("I do not know.", QUESTION).value is None
    assert read_answer("I do not know.", QUESTION, may_abstain=True).abstains
    assert group_equivalent(["I do not know.", "unknown", "95"], "Who won? Say so if you don't know.") == [[0, 1], [2]]


def ask(*texts: str, question: str = QUESTION, **settings: object) -> Answer:
    models = {f"m{i}": Scripted(f"m{i}", text) for i, text in enumerate(texts)}
    with Orchestrator(models) as orchestrator:
        return orchestrator.answer_sync(question, quality=0.95, **settings)


@pytest.mark.parametrize(
    "text",
    ["I do not know.", "I'm sorry, I can't help with that.", "The answer is ...", "N/A", "No lo sé.", "我不知道。"],
)
def test_non_answers_are_no_evidence_for_each_other(text: str) -> None:
    answer = ask(text, text, text)
    assert (answer.text, answer.confidence) == (text, NO_ANSWER_P)
    assert len(answer.candidates) == 3, "each of them makes the search go on"


@pytest.mark.parametrize("text", ["", "Error: upstream unavailable", "502 Bad Gateway"])
def test_nothing_of_use_ends_in_an_error_that_says_what_was_said(text: str) -> None:
    with pytest.raises(NoAdequateModel) as caught:
        ask(text, text)
    assert set(caught.value.tried) == {"m0", "m1"}
    assert (text or "it said nothing") in str(caught.value)


def test_one_answer_beats_two_refusals_and_is_believed_less_for_them() -> None:
    answer = ask("I cannot answer that.", "The answer is 95 C.", "I cannot answer that.")
    alone = ask("The answer is 95 C.")
    assert answer.text == "The answer is 95 C."
    assert 0.3 < answer.confidence < alone.confidence


def test_a_single_draft_that_says_nothing_is_followed_by_another() -> None:
    assert ask("", "95 °C", strategy="single").text == "95 °C"
    assert ask("I do not know.", "95 °C", strategy="single").text == "I do not know."


def test_what_a_model_said_is_rather_told_than_silence_or_another_models_failure() -> None:
    assert ask("I'm sorry, I can't help with that.", "", "").text == "I'm sorry, I can't help with that."
    with (
        pytest.raises(NoAdequateModel, match="m1: it said nothing") as caught,
        Orchestrator({"m0": Scripted("m0"), "m1": Scripted("m1", "")}) as orchestrator,
    ):
        orchestrator.answer_sync(QUESTION, quality=0.95)
    assert "out of order" in caught.value.tried["m0"]


def test_what_a_decisive_check_passes_is_an_answer_whatever_it_says() -> None:
    with Orchestrator({"m0": Scripted("m0", "")}, verifiers=[RegexVerifier(r"\d*", whole=True)]) as orchestrator:
        answer = orchestrator.answer_sync("The digits in 'abc', nothing else:")
    assert answer.text == ""
    assert answer.confidence > 0.5


def test_agreement_knows_no_agreement_of_refusals() -> None:
    verifier = Agreement(["I cannot answer that.", ""])
    assert asyncio.run(verifier.verify(QUESTION, "I cannot answer that.")).abstained
    assert asyncio.run(Agreement(["95 °C", "I do not know"]).verify(QUESTION, "95 °C")).score == 1.0
