"""The loop.

Runs what a strategy asks for, concurrently and under the budget, checks each answer, and cancels what can no longer
matter.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff

from orchestrator.backends.base import Backend, Request
from orchestrator.backends.metering import Bill, WorstCase, complete_metered, metered, worst_case
from orchestrator.budget import Ledger, Reservation, from_nano
from orchestrator.errors import BackendError, BudgetExceeded, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.search.actions import Combine, Compare, Critique, Draft, ModelAction, Revise, Stop
from orchestrator.search.graded_evidence import CERTAINTY, certainty_verdict, read_comparison
from orchestrator.search.live_text import LiveText
from orchestrator.search.prompts import (
    combination_messages,
    comparison_messages,
    critique_messages,
    program_messages,
    revision_messages,
)
from orchestrator.search.recording import Change, Recording
from orchestrator.search.revisions import read_critique
from orchestrator.search.state import SearchState, Strategy
from orchestrator.trace import Trace
from orchestrator.types import Candidate, Completion, Usage
from orchestrator.verifiers import Verdict, Verifier, find_program, price_of
from orchestrator.verifiers.calls.call_set import ProposedCall, write_calls
from orchestrator.verifiers.sandbox import Limits, Sandbox, SandboxUnavailable

log = logging.getLogger(__name__)
SAMPLING_TEMPERATURE = 0.8
VERIFY_S = 60.0
MAX_DIFF_LINES = 40
MAX_ANSWER_CHARS = 1_000_000
MAX_PRINTED = 500


@dataclass(frozen=True, slots=True)
class SearchResult:
    """How a search ended.

    `tried` maps a model to why it gave no candidate; `partial` says that a limit cut the search short; `abstained` that
    the best candidate is not believable enough to be given.
    """

    state: SearchState
    stopped: str
    partial: bool
    tried: Mapping[str, str]
    errors: tuple[Exception, ...]
    abstained: bool = False


Begun = tuple[Coroutine[None, None, Change], ModelAction, Reservation]


class Search:
    """One search over one query."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        verifiers: Sequence[Verifier],
        ledger: Ledger,
        trace: Trace,
        *,
        seconds: float | None = None,
        live: LiveText | None = None,
    ) -> None:
        self._backends = backends
        self._live = live
        self._verifiers = tuple(verifiers)
        self._ledger = ledger
        self._trace = trace
        self._seconds = seconds
        self._tried: dict[str, str] = {}
        self._errors: list[Exception] = []
        self._usage = Usage()
        self._unchecked: dict[ModelAction, tuple[Candidate, ...]] = {}
        self.record = Recording()

    @property
    def usage(self) -> Usage:
        """What the calls used so far."""
        return self._usage

    async def run(self, state: SearchState, strategy: Strategy, request: Request) -> SearchResult:
        """Runs `strategy` until it stops or a limit does. Always returns: the best candidate so far is in the state."""
        state = state.changed(fleet=state.fleet or state.choices)
        self.record.begin(state)
        running: dict[asyncio.Task[Change], tuple[ModelAction, Reservation]] = {}
        if self._seconds_left() == 0.0:  # nothing can be answered in no time: nothing is sent
            return self._result(state, "the deadline passed", partial=True)
        try:
            while True:
                state = state.changed(
                    running=tuple(begun for begun, _ in running.values()), seconds_left=self._seconds_left()
                )
                actions = strategy(state)
                self.record.decided(state.seconds_left, actions)
                stop = next((action for action in actions if isinstance(action, Stop)), None)
                if stop is not None:
                    return self._result(state, stop.reason, abstained=stop.abstain)
                if self._live is not None and self._live.must_keep:
                    return self._result(state, "its text was shown as it was written")
                state, begun = self._begin(
                    state, [action for action in actions if not isinstance(action, Stop)], request, bool(running)
                )
                if len(begun) == 1 and not running and self._seconds is None:  # nothing to wait for beside it
                    state = await self._alone(*begun[0], state)
                    continue
                for call, action, reservation in begun:
                    running[asyncio.ensure_future(call)] = (action, reservation)
                if not running and self._seconds_left() == 0.0:
                    return self._result(self._with_shown(state), "the deadline passed", partial=True)
                if not running:
                    reason = self._errors[-1].args[0] if self._errors else "nothing is left to do"
                    return self._result(state, str(reason))
                done, _ = await asyncio.wait(running, timeout=self._seconds_left(), return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    for action, _ in running.values():
                        if action in self._unchecked:  # written in time: it counts, though its checks are late
                            late = tuple(
                                Verdict.abstain(verifier.name, "it took too long") for verifier in self._verifiers
                            )
                            change = Change(
                                tuple(replace(candidate, verdicts=late) for candidate in self._unchecked[action])
                            )
                            self.record.ended(action, change)
                            state = change.applied(state)
                    return self._result(self._with_shown(state), "the deadline passed", partial=True)
                for task in sorted(done, key=lambda task: state.begun.index(running[task][0])):
                    action, _ = running.pop(task)
                    change = task.result()
                    self.record.ended(action, change)
                    state = change.applied(state)
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.gather(*running, return_exceptions=True)
            for _, reservation in running.values():
                if self._ledger.is_open(reservation):  # cancelled before its first step: nothing was sent
                    self._ledger.release(reservation)

    async def _alone(
        self, call: Coroutine[None, None, Change], action: ModelAction, reservation: Reservation, state: SearchState
    ) -> SearchState:
        """The state after one action, with no task of its own."""
        change = await call
        self.record.ended(action, change)
        return change.applied(state)

    def _begin(
        self, state: SearchState, actions: Sequence[ModelAction], request: Request, is_running: bool
    ) -> tuple[SearchState, list[Begun]]:
        """Begins what is affordable and was not begun before.

        Returns the state without the models that were begun or cannot be afforded, and the calls to be made.

        If nothing could be begun, the models that are left are tried, cheapest first: something cheaper may still fit.
        """
        pending = [action for action in dict.fromkeys(actions) if action not in state.begun]
        begun: list[Begun] = []
        for action in pending:
            self._check(action, state)
        while pending:
            action = pending.pop(0)
            asked = self._request_for(action, state, request)
            state = state.after_beginning(action)
            worst = worst_case(self._backends[action.model], asked)
            try:
                reservation = self._ledger.reserve(usd=worst.usd, tokens=worst.tokens)
            except BudgetExceeded as error:
                self.record.began(action, affordable=False)
                self._tried[action.model] = error.message
                self._errors.append(error)
                self._trace.emit("unaffordable", model=action.model, reason=error.message)
                if not pending and not begun and not is_running and state.choices:
                    pending.append(Draft(state.choices[0].model))
                continue
            self.record.began(action, affordable=True)
            is_alone = not pending and not begun and not is_running
            live = self._live if self._live and self._live.shows(action, state, is_alone=is_alone) else None
            begun.append((self._perform(action, state, worst, reservation, live), action, reservation))
        return state, begun

    def _check(self, action: ModelAction, state: SearchState) -> None:
        """Raises `ConfigError` on what a strategy cannot ask for."""
        if action.model not in self._backends:
            raise ConfigError(
                f"the strategy asks for a model that is not here: {action}",
                remedy=f"Models: {', '.join(self._backends)}",
            )
        if not all(0 <= i < len(state.candidates) for i in _named(action)):
            raise ConfigError(
                f"the strategy names a candidate that is not there: {action}",
                remedy=f"There are {len(state.candidates)}",
            )

    def _request_for(self, action: ModelAction, state: SearchState, request: Request) -> Request:
        left = self._seconds_left()
        messages = request.messages
        sample = action.sample if isinstance(action, Draft | Revise) else 0
        several = action.several if isinstance(action, Draft) else 1
        if sample or several > 1:
            temperature = SAMPLING_TEMPERATURE if request.temperature is None else request.temperature
            seed = sample if request.seed is None else request.seed + sample
            request = replace(request, seed=seed, temperature=temperature, several=several)
        if isinstance(action, Revise):
            messages = revision_messages(
                messages, state.candidates[action.candidate], [state.candidates[i] for i in action.beside]
            )
        elif isinstance(action, Draft) and action.way == "program":
            messages = program_messages(messages)
        elif isinstance(action, Critique):
            candidate = state.candidates[action.candidate]
            messages = critique_messages(request.question, candidate, state.criteria, request.parts)
        elif isinstance(action, Compare):
            pair = state.candidates[action.first], state.candidates[action.second]
            messages = comparison_messages(request.question, *pair, state.criteria, request.parts)
        elif isinstance(action, Combine):
            messages = combination_messages(messages, [state.candidates[i] for i in action.of])
        if not isinstance(action, Draft | Revise | Combine) or (isinstance(action, Draft) and action.way == "program"):
            # Schema and stops are the answer's: a critique or a program has a form of its own.
            request = replace(request, schema=None, stop=())
        elif CERTAINTY in state.ensemble.evidence:
            request = replace(request, certainty=True)
        if left is None and messages is request.messages and request.deadline_s is None:
            return request
        return replace(request, messages=messages, deadline_s=None if left is None else max(left, 0.001))

    def _seconds_left(self) -> float | None:
        return None if self._seconds is None else max(self._seconds - self._trace.now_s(), 0.0)

    async def _perform(
        self,
        action: ModelAction,
        state: SearchState,
        worst: WorstCase,
        reservation: Reservation,
        live: LiveText | None = None,
    ) -> Change:
        """One call: ask, settle, verify. Nothing changes when the model abstains or fails; the reason is kept."""
        model, (kind, beginning, ended) = action.model, _WORDS[type(action)]
        with self._trace.span(kind, model=model) as span:
            self._trace.emit(beginning, model=model)
            span.attributes["cost_usd"] = 0.0
            try:
                completion = checked(await self._ask_twice(model, worst, reservation, span.attributes, live))
            except Exception as error:  # whatever a backend does, it must not cost the answers of others
                reason = error.message if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"[:500]
                if not isinstance(error, BackendError):
                    log.exception("the backend of %s is broken", model)
                self._tried[model] = reason
                self._errors.append(error)
                span.attributes["error"] = reason
                self._trace.emit("failed", model=model, reason=reason)
                return Change()
            if completion.abstained:
                self._tried[model] = completion.note or "abstained"
                self._trace.emit("abstained", model=model, reason=completion.note)
                return Change()
            self._trace.emit(
                ended,
                model=model,
                cost_usd=span.attributes["cost_usd"],
                seconds=completion.latency_s,
                prefill_tokens=span.attributes["prefill_tokens"],
                output_tokens=span.attributes["output_tokens"],
            )
            if isinstance(action, Critique):
                verdict = read_critique(completion.text or "", span.attributes["cost_usd"])
                span.attributes["feedback"] = verdict.feedback[:300]
                return Change(verdicts=((action.candidate, verdict),))
            if isinstance(action, Compare):
                preferred = read_comparison(completion.text or "", span.attributes["cost_usd"])
                span.attributes["preferred"] = preferred[0].score
                return Change(verdicts=tuple(zip((action.first, action.second), preferred, strict=True)))
            if isinstance(action, Revise):
                span.attributes["diff"] = difference(state.candidates[action.candidate].text, completion.text or "")
                written = [Candidate(completion, revises=action.candidate, made_of=action.beside)]
            elif isinstance(action, Combine):
                written = [Candidate(completion, made_of=action.of)]
            elif isinstance(action, Draft) and action.way == "program":
                told = await self._ran(completion)
                if told is None:
                    return Change()
                written = [Candidate(told, way="program")]
            else:
                written = [Candidate(each) for each in one_by_one(completion)]
            self._unchecked[action] = tuple(written)
            if len(written) == 1:  # the usual case needs no tasks
                return Change((await self._verify(written[0], state),))
            return Change(tuple(await asyncio.gather(*(self._verify(candidate, state) for candidate in written))))

    async def _ask_twice(
        self,
        model: str,
        worst: WorstCase,
        reservation: Reservation,
        attributes: JsonObject,
        live: LiveText | None = None,
    ) -> Completion:
        """Asks once more, with a reservation of its own, when an answer broke off that may be billed.

        Such calls no backend repeats.
        """
        try:
            return await self._ask(model, worst, reservation, attributes, live)
        except BackendError as error:
            if not (error.retryable and error.may_be_billed) or self._seconds_left() == 0.0:
                raise
            if worst.request is not None and worst.request.retries == 0:
                raise
            if live is not None and live.must_keep:
                raise
            self._trace.emit("failed", model=model, reason=f"{error.message}; asking once more")
            try:
                again = self._ledger.reserve(usd=worst.usd, tokens=worst.tokens)
            except BudgetExceeded:
                raise error from None
        return await self._ask(model, worst, again, attributes, live)

    async def _ask(
        self,
        model: str,
        worst: WorstCase,
        reservation: Reservation,
        attributes: JsonObject,
        live: LiveText | None = None,
    ) -> Completion:
        """Asks, and notes what it cost."""

        def note_worst_case(booked: bool) -> None:
            if booked:
                attributes["cost_usd"] += from_nano(reservation.nano)
                attributes["worst_case"] = True

        backend = self._backends[model]
        if live is not None:
            live.begin(model)
        on_text = None if live is None else live.add
        completion, bill = await complete_metered(
            backend, worst, self._ledger, reservation, on_failure=note_worst_case, on_text=on_text
        )
        if completion.unseen_calls:
            attributes["unseen_calls"] = completion.unseen_calls
        self._usage += bill.usage
        attributes["cost_usd"] += bill.usd or 0.0
        attributes.update(prefill_tokens=bill.usage.prefill_tokens, output_tokens=bill.usage.output_tokens)
        return completion

    async def _ran(self, completion: Completion) -> Completion | None:
        """What the program in an answer prints, as the answer.

        `None` where it prints nothing, or there is nowhere safe to run it.
        """
        program = find_program(completion.text or "")
        why = "it wrote no program" if program is None else ""
        try:
            if program is not None:
                async with Sandbox(self._limits()) as sandbox:
                    ran = await sandbox.run(program)
                lines = ran.stdout.strip().splitlines()
                if ran.finished and lines:
                    return replace(completion, text=f"{completion.text}\n\nThe answer is {lines[-1][:MAX_PRINTED]}")
                why = f"its program printed nothing ({ran.ending}): {ran.error}"[:300]
        except SandboxUnavailable as reason:
            why = str(reason)
        self._tried[completion.model] = why
        self._trace.emit("failed", model=completion.model, reason=why)
        return None

    def _limits(self) -> Limits:
        left = self._seconds_left()
        return Limits() if left is None else Limits(wall_s=max(min(Limits().wall_s, left), 0.05))

    async def _verify(self, candidate: Candidate, state: SearchState) -> Candidate:
        """All verdicts. Free verifiers come first; after a decisive failure nothing more is paid for."""
        verdicts = [] if candidate.completion.certainty is None else [certainty_verdict(candidate.completion.certainty)]
        shown = [(verifier, text_to_verify(verifier, candidate)) for verifier in self._verifiers]
        priced = [
            (verifier, text, self._worst_usd(verifier, state.question, text))
            for verifier, text in shown
            if text is not None
        ]
        for verifier, text, worst_usd in sorted(priced, key=lambda row: row[2] != 0):
            if worst_usd != 0 and replace(candidate, verdicts=tuple(verdicts)).ruled_out:
                continue
            with self._trace.span("verify", verifier=verifier.name, model=candidate.model) as span:
                verdict = await self._verdict(verifier, state.question, text, worst_usd)
                span.attributes.update(score=verdict.score, passed=verdict.passed, feedback=verdict.feedback[:300])
                if verdict.cost_usd:
                    span.attributes["cost_usd"] = verdict.cost_usd
            verdicts.append(verdict)
            if not verdict.abstained:
                self._trace.emit(
                    "verified",
                    model=candidate.model,
                    verifier=verdict.verifier,
                    passed=verdict.passed,
                    score=verdict.score,
                )
        return replace(candidate, verdicts=tuple(verdicts)) if verdicts else candidate

    def _worst_usd(self, verifier: Verifier, question: str, text: str) -> float | None:
        """What a verdict may cost at most; a verifier that cannot even say that has no known price."""
        try:
            return price_of(verifier, question, text)
        except Exception:
            log.exception("the verifier %s is broken", verifier.name)
            return None

    async def _verdict(self, verifier: Verifier, question: str, text: str, worst_usd: float | None) -> Verdict:
        """A verifier that raises, hangs or answers nonsense abstains, with the reason: it must not cost an answer.

        What it costs is booked.
        """
        left = self._seconds_left()
        try:
            held = None if worst_usd == 0 else self._ledger.reserve(usd=worst_usd)
        except BudgetExceeded as error:
            return Verdict.abstain(verifier.name, f"it is not affordable: {error.message}")
        try:
            async with asyncio.timeout(VERIFY_S if left is None else min(VERIFY_S, left)):
                if held is None:
                    found = await _verdict_of(verifier, question, text)
                else:
                    found, _ = await metered(
                        self._ledger,
                        held,
                        lambda: _verdict_of(verifier, question, text),
                        lambda verdict: Bill(verdict.cost_usd),
                    )
        except TimeoutError:
            return self._broken(verifier, "it took too long")
        except _NoVerdict as error:
            return self._broken(verifier, str(error))
        except Exception as error:
            return self._broken(verifier, f"it failed: {type(error).__name__}: {error}"[:300])
        if held is None and found.cost_usd > 0:  # it said that it is free
            self._ledger.book(usd=found.cost_usd)
        return found

    def _broken(self, verifier: Verifier, reason: str) -> Verdict:
        """The abstention of a verifier that could not do its work, which whoever wrote it should hear of."""
        log.warning("the check %s says nothing: %s", verifier.name, reason)
        self._trace.emit("unverified", verifier=verifier.name, reason=reason)
        return Verdict.abstain(verifier.name, reason)

    def _with_shown(self, state: SearchState) -> SearchState:
        """The state with what was written and shown before the time was over, where there is nothing else."""
        live = self._live
        if live is None or not live.has_shown or state.candidates:
            return state
        return state.with_candidates(Candidate(Completion(live.model, live.text, finish_reason="length")))

    def _result(
        self, state: SearchState, stopped: str, *, partial: bool = False, abstained: bool = False
    ) -> SearchResult:
        cut = partial or (
            any(isinstance(error, BudgetExceeded) for error in self._errors) and state.confidence < state.quality
        )
        gives_up = abstained or (state.may_abstain and bool(state.candidates) and state.confidence < state.quality)
        return SearchResult(state, stopped, cut, dict(self._tried), tuple(self._errors), gives_up)


_WORDS: dict[type[ModelAction], tuple[str, str, str]] = {
    Draft: ("draft", "drafting", "drafted"),
    Revise: ("revise", "revising", "revised"),
    Critique: ("critique", "criticising", "criticised"),
    Compare: ("compare", "comparing", "compared"),
    Combine: ("combine", "combining", "combined"),
}


def _named(action: ModelAction) -> tuple[int, ...]:
    """The candidates that an action is about."""
    if isinstance(action, Combine):
        return action.of
    if isinstance(action, Compare):
        return action.first, action.second
    return (
        () if isinstance(action, Draft) else (action.candidate, *(action.beside if isinstance(action, Revise) else ()))
    )


class _NoVerdict(Exception):
    """What a verifier gave is no verdict."""


async def _verdict_of(verifier: Verifier, question: str, text: str) -> Verdict:
    begun: object = verifier.verify(question, text)
    if not inspect.isawaitable(begun):
        raise _NoVerdict("verify is no coroutine: write `async def verify(self, query, candidate)`")
    found: object = await begun
    if not isinstance(found, Verdict):
        raise _NoVerdict(f"it gave no verdict but {type(found).__name__}")
    return found


def text_to_verify(verifier: Verifier, candidate: Candidate) -> str | None:
    """What a verifier is shown of a candidate: its calls where it reads calls, else its text; `None` to leave it out.

    Calls of tools are no text that a check of answers could judge.
    """
    if getattr(verifier, "reads_calls", False):
        return write_calls([ProposedCall(call.name, call.arguments, call.written) for call in candidate.calls])
    return None if candidate.calls else candidate.text


def checked(completion: Completion) -> Completion:
    """Raises `BackendError` on an answer that is no text, or so long that no check would end."""
    if completion.text is not None and not isinstance(completion.text, str):
        raise BackendError(f"{completion.model} answered with {type(completion.text).__name__}, not text")
    if completion.text is not None and len(completion.text) > MAX_ANSWER_CHARS:
        raise BackendError(
            f"{completion.model} answered with {len(completion.text):,} characters", remedy="Lower max_tokens"
        )
    return completion


def one_by_one(completion: Completion) -> list[Completion]:
    """The answers of one call as if each had come alone; the first one carries the usage of all."""
    others = [replace(completion, text=text, usage=Usage(), others=()) for text in completion.others]
    return [replace(completion, others=()), *others] if others else [completion]


def difference(before: str, after: str) -> str:
    """What a revision changed, as a unified diff of at most 40 lines."""
    lines = list(unified_diff(before.splitlines(), after.splitlines(), "draft", "revision", lineterm="", n=1))
    return "\n".join(lines[:MAX_DIFF_LINES] + ["..."] * (len(lines) > MAX_DIFF_LINES))
