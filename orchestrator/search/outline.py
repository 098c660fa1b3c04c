"""A search round by round without its texts: who was asked, which answers agree, what checks said, what was believed.

Answers that say the same have the same letter. Made from the recording after the answer is out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.jsontypes import JsonObject
from orchestrator.search.actions import Draft, Stop
from orchestrator.search.recording import NAMES, Change, RecordedStep, Recording
from orchestrator.search.state import SearchState

NO_ANSWER = "none#"


def search_rounds(recording: Recording) -> list[JsonObject]:
    """The rounds of a search; empty where none began.

    Each has what was asked for, what came of it (`candidates` with their number, model, letter and verdicts), and the
    belief afterwards: P(correct) by letter, and `none` that no answer is right.
    """
    state, found = recording.start, []
    letters: dict[str, str] = {}
    for step in recording.steps if state is not None else ():
        assert state is not None
        for action, _ in step.begun:
            state = state.after_beginning(action)
        before = len(state.candidates)
        judged: list[int] = []
        for _, change in step.ended:
            judged += [index for index, _ in change.verdicts]
            state = change.applied(state)
        found.append(_round(step, state, before, judged, letters))
    return found


def _round(
    step: RecordedStep, state: SearchState, before: int, judged: Sequence[int], letters: dict[str, str]
) -> JsonObject:
    belief = state.belief if state.candidates else None
    for key in state.keys if state.candidates else ():
        if not key.startswith(NO_ANSWER):
            letters.setdefault(key, _letter(len(letters)))
    stop = next((action for action in step.actions if isinstance(action, Stop)), None)
    told: JsonObject = {
        "asked": [
            {"kind": NAMES[type(action)], "model": action.model, "affordable": affordable}
            | ({"way": action.way} if isinstance(action, Draft) and action.way != "words" else {})
            for action, affordable in step.begun
        ],
        "candidates": [_candidate(state, index, letters) for index in range(before, len(state.candidates))],
        "judged": [_candidate(state, index, letters) for index in dict.fromkeys(judged)],
        "belief": {}
        if belief is None
        else {letters[key]: round(p, 4) for key, p in belief.groups.items() if key in letters},
        "none": None if belief is None else round(belief.none, 4),
    }
    return told if stop is None else {**told, "stopped": stop.reason}


def _candidate(state: SearchState, index: int, letters: dict[str, str]) -> JsonObject:
    candidate = state.candidates[index]
    return {
        "number": index,
        "model": candidate.model,
        "letter": letters.get(state.keys[index], ""),
        "revises": candidate.revises,
        "verdicts": [
            {"verifier": verdict.verifier, "score": verdict.score, "passed": verdict.passed}
            for verdict in candidate.verdicts
            if not verdict.abstained
        ],
        "p": round(state.p_right(index), 4),
    }


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"Z{number}"


def texts_of(recorded: JsonObject) -> list[str]:
    """The text of each candidate of a recorded search (`Recording.as_dict`), by its number."""
    state = SearchState("", (), {})
    for step in Recording.from_dict(recorded).steps:
        for _, change in step.ended:
            state = replace(state, candidates=Change(change.candidates).applied(state).candidates)
    return [candidate.text for candidate in state.candidates]
