"""A search whose drafts are sets of tool calls: who proposes the same, what is believed, and what is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import Orchestrator, Query
from orchestrator.search.calibration.calibrate import calibrate
from orchestrator.search.calibration.calibration import Calibration
from orchestrator.search.calibration.call_grading import grade_calls
from orchestrator.search.call_groups import group_calls
from orchestrator.search.vote_model import NO_CALL, VoteModel
from orchestrator.testing import ScriptedBackend
from orchestrator.types import Answer, Completion, ToolCall, Usage

TOOL = {
    "type": "function",
    "function": {
        "name": "convert",
        "description": "Converts an amount of money from one currency to another.",
        "parameters": {
            "type": "object",
            "properties": {
                "amount": {"type": "number"},
                "to": {"type": "string"},
                "round": {"type": "boolean", "default": True},
            },
            "required": ["amount", "to"],
        },
    },
}
QUESTION = "Convert 250 dollars to euros"


def call(name: str = "convert", id: str = "c1", **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments, id)


def proposing(name: str, *calls: ToolCall, text: str = "", price: float = 1.0) -> ScriptedBackend:
    return ScriptedBackend(name, Completion(name, text, Usage(10, 10), calls=calls), price=price)


def answer(*backends: ScriptedBackend, strategy: str | None = None, question: str = QUESTION, **fields: Any) -> Answer:
    query = Query.parse(question, tools=(TOOL,), **fields)
    with Orchestrator({each.profile.name: each for each in backends}) as fleet:
        return fleet.answer_sync(query, strategy=strategy)


def test_a_draft_may_be_a_call() -> None:
    found = answer(proposing("a", call(amount=250, to="EUR")))
    assert found.calls == (call(amount=250, to="EUR"),)
    assert found.text == ""
    assert found.as_dict(detail="brief")["calls"] == [
        {"id": "c1", "name": "convert", "arguments": {"amount": 250, "to": "EUR"}}
    ]
    assert "calls convert" in str(found)


def test_the_model_is_shown_the_tools() -> None:
    model = proposing("a", call(amount=250, to="EUR"))
    answer(model, tool_choice="required", parallel_tool_calls=False)
    assert model.asked[0].tools == (TOOL,)
    assert model.asked[0].tool_choice == "required"
    assert model.asked[0].parallel_tool_calls is False


def test_two_models_that_ask_for_the_same_are_believed_over_one_that_does_not() -> None:
    found = answer(
        proposing("a", call(amount=250, to="EUR", id="x")),
        proposing("b", call(amount=250.0, to="eur", round=True, id="y")),
        proposing("c", call(amount=520, to="EUR", id="z")),
        strategy="best_of_n",
        quality=1.0,
    )
    assert found.calls[0].arguments is not None
    assert found.calls[0].arguments["amount"] == 250
    assert found.confidence > 0.8


def test_models_that_call_nothing_agree_however_they_put_it() -> None:
    state_keys = group_calls([(), (), None, (call(amount=1, to="EUR"),)], [TOOL]).keys
    assert state_keys[:3] == (NO_CALL, NO_CALL, None)
    assert state_keys[3] is not None
    found = answer(
        proposing("a", text="I cannot tell: no tool is about poets."),
        proposing("b", text="Goethe wrote it."),
        proposing("c", call(amount=1, to="Faust")),
        question="Who wrote Faust?",
        strategy="debate",
        quality=0.99,
    )
    assert found.calls == ()
    assert found.text


def test_of_texts_without_calls_the_one_that_most_say_is_given() -> None:
    found = answer(
        proposing("a", text="The answer is 41"),
        proposing("b", text="The answer is 42"),
        proposing("c", text="I get 42. The answer is 42"),
        question="What is 6 * 7?",
        strategy="debate",
        quality=1.0,
    )
    assert "42" in found.text


def test_a_call_that_breaks_its_schema_is_given_back_with_what_would_be_right() -> None:
    wrong = Completion("a", "", Usage(10, 10), calls=(call(amount="a lot", to="EUR"),))
    right = Completion("a", "", Usage(10, 10), calls=(call(amount=250, to="EUR"),))
    model = ScriptedBackend("a", wrong, right)
    found = answer(model)
    assert found.calls == (call(amount=250, to="EUR"),)
    told = model.asked[1].messages[-1].content
    assert '"a lot" is not of type "number"' in told
    assert '"a lot"' in model.asked[1].messages[-2].content


@pytest.mark.parametrize(
    "broken",
    [
        ToolCall("convert", None, "c1", '{"amount": 25'),
        ToolCall("invented", {"amount": 250, "to": "EUR"}, "c1"),
        ToolCall("convert", {}, "c1"),
        ToolCall("convert", {"amount": None, "to": None}, "c1"),
        ToolCall("", {}, ""),
    ],
)
def test_a_broken_call_never_beats_a_sound_one(broken: ToolCall) -> None:
    found = answer(proposing("a", broken), proposing("b", call(amount=250, to="EUR")), quality=0.9)
    assert found.model == "b"


def test_checks_of_text_leave_calls_alone_and_a_schema_holds_for_text() -> None:
    schema = {"type": "object", "properties": {"euros": {"type": "number"}}, "required": ["euros"]}
    found = answer(proposing("a", call(amount=250, to="EUR")), schema=schema)
    assert found.calls
    assert all(verdict.verifier != "json_schema" for each in found.candidates for verdict in each.verdicts)


def test_calls_may_come_after_results() -> None:
    model = ScriptedBackend("a", "It is 231 euros.")
    query = Query.parse(
        [{"role": "user", "content": QUESTION}],
        tools=(TOOL,),
        continued=(),
    )
    assert query.text == QUESTION
    with Orchestrator({"a": model}) as fleet:
        assert fleet.answer_sync(query).text == "It is 231 euros."


def test_two_tools_of_one_name_are_refused() -> None:
    from orchestrator.errors import InvalidQuery

    with pytest.raises(InvalidQuery, match="each with a name of its own"):
        Query.parse(QUESTION, tools=(TOOL, TOOL))


async def _graded(seed: int) -> Any:
    """A question on which `steady` is right, `eager` always calls, and `silent` never does."""
    fits = seed % 3 != 0
    question = f"Convert {seed + 2} dollars to euros" if fits else f"Who wrote book number {seed}?"
    good = call(amount=seed + 2, to="EUR")
    proposed = {
        "steady": [good] if fits else [],
        "eager": [good] if fits else [call(amount=seed, to="Book")],
        "silent": [],
    }
    right = {"steady": seed % 10 != 9, "eager": fits and seed % 10 != 8, "silent": not fits}
    return await grade_calls(question, [TOOL], proposed, right, {"steady": 0.002, "eager": 0.0001, "silent": 0.0001})


def test_calibration_learns_who_calls_when_it_should_not(tmp_path: Any) -> None:
    async def graded() -> list[Any]:
        return [await _graded(seed) for seed in range(60)]

    found = calibrate(asyncio.run(graded()), max_usd_per_query=0.01)
    model = found.vote_model
    assert [name for name, _ in model.classes] == ["calls:none", "calls:one", "calls:several"]
    ability = {(who, name): shift for who, name, shift in model.ability}
    assert ability["eager", "calls:none"] < -1
    assert ability["silent", "calls:one"] < -1
    assert found.ensemble is not None
    found.save(tmp_path / "search.json")
    kept = Calibration.load(tmp_path / "search.json")
    assert kept.ensemble is not None
    assert kept.ensemble.as_dict() == found.ensemble.as_dict()
    assert kept.vote_model == model


def test_a_fleet_that_was_calibrated_on_text_still_weighs_calls() -> None:
    assert VoteModel().for_calls.classes
    fitted = VoteModel(classes=(("calls:none", 1.0),))
    assert fitted.for_calls is fitted
