"""How a query was answered: the text with its confidence and cost, its value, its story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from orchestrator.errors import InvalidAnswer
from orchestrator.jsontypes import JsonObject
from orchestrator.types.agent_step import AgentStep
from orchestrator.types.candidate import Candidate, Receipt
from orchestrator.types.completion import Usage
from orchestrator.types.format import money
from orchestrator.types.tool_call import ToolCall

if TYPE_CHECKING:
    from orchestrator.memory import RecalledRecord
    from orchestrator.router import Route
    from orchestrator.trace import Event, Trace

Detail = Literal["brief", "standard", "full"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The result.

    `confidence` is the posterior P(correct) in [0, 1]; `partial` says that a deadline or budget cut the search short.

    `stopped` is why the search ended; `simulated` is true when any part came from a simulated model. `cost_usd` is what
    was settled; it is `None` when a model without a known price was asked. When `abstained`, `text` is empty: the best
    of `candidates` is believed too little. `print` shows the text, and a line with confidence, model and cost.
    """

    text: str
    confidence: float
    model: str
    cost_usd: float | None
    latency_s: float
    partial: bool
    stopped: str
    citations: tuple[str, ...] = ()
    """The recalled records that the text cites: `m:12`."""
    recalled: tuple[RecalledRecord, ...] = ()
    route: Route | None = None
    candidates: tuple[Candidate, ...] = ()
    usage: Usage = field(default_factory=Usage)
    simulated: bool = False
    trace: Trace | None = field(default=None, repr=False)
    receipt: Receipt | None = None
    abstained: bool = False
    calls: tuple[ToolCall, ...] = ()
    """The tools that are to be called, where the answer is that."""
    steps: tuple[AgentStep, ...] = ()
    """What a run that uses tools did before it."""
    run: str = ""
    """The id of that run: `answer(..., run=id)` goes on with it."""
    reads: Callable[[str], Any] | None = field(default=None, repr=False, compare=False)
    """What makes a value of the text; raises `ValueError`."""

    def __str__(self) -> str:
        """The text, and a line with confidence, model, cost and time."""
        parts = [
            f"P(correct) {self.confidence:.2f}",
            *(("skill not stated",) if self.rests_on_default else ()),
            self.model,
            money(self.cost_usd),
            f"{self.latency_s:.2f} s" if self.latency_s >= 1 else f"{self.latency_s * 1000:.0f} ms",
            *(("partial",) if self.partial else ()),
            *(("prompt cut to the window",) if self.is_trimmed else ()),
            *(("cut: raise max_tokens",) if self.is_cut and not self.partial else ()),
            *(("simulated",) if self.simulated else ()),
        ]
        text = "(no answer that is believed enough)" if self.abstained else self.text
        if self.calls:
            text = "\n".join(
                (*([text] if text else []), *(f"calls {call.name}({call.arguments})" for call in self.calls))
            )
        return f"{text}\n({' · '.join(parts)})"

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else f"{self.text[:57]}..."
        cut = ", partial=True" if self.partial else ", abstained=True" if self.abstained else ""
        return (
            f"Answer({text!r}, confidence={self.confidence:.3f}, model={self.model!r}, cost_usd={self.cost_usd!r}{cut})"
        )

    @property
    def value(self) -> Any:
        """The answer as the value that `output=` or `schema=` asked for; `None` where neither did.

        Raises `InvalidAnswer` where the text is no such value (the checks failed, or the search was cut short).
        """
        if self.reads is None:
            return None
        if self.abstained:
            raise InvalidAnswer("there is no value: the answer was withheld", text=self.text, remedy="See candidates")
        failed = [v.feedback for each in self.given for v in each.verdicts if v.decisive and v.passed is False]
        try:
            if failed:
                raise ValueError("; ".join(failed))
            return self.reads(self.text)
        except ValueError as error:
            said = " ".join(str(error).split())
            raise InvalidAnswer(
                f"the answer of {self.model} is not what was asked for: {said[:300]}",
                text=self.text,
                remedy="Look at answer.text, or allow more of the budget; a server that can hold the model to a JSON "
                "Schema is told to by Model(..., capabilities=['json'])",
            ) from error

    def value_as(self, kind: type[T]) -> T:
        """`value`, for type checkers. Raises `InvalidAnswer` where it is of another type than `kind`."""
        value = self.value
        if isinstance(value, kind):
            return value
        raise InvalidAnswer(
            f"the value is {type(value).__name__}, not {kind.__name__}",
            text=self.text,
            remedy=f"Ask with output={kind.__name__}",
        )

    @property
    def given(self) -> tuple[Candidate, ...]:
        """The candidate whose text this is; none where it was withheld."""
        return tuple(
            each
            for each in self.candidates
            if each.text == self.text and each.model == self.model and each.calls == self.calls
        )[:1]

    @property
    def signed(self) -> JsonObject:
        """What must go back to the model with results of its calls, as fields of its message in OpenAI's form."""
        return next((each.completion.signed for each in self.given if each.calls), {})

    @property
    def rests_on_default(self) -> bool:
        """Whether nothing was known of the model beforehand: no stated skill, no outcomes, so that `confidence` starts
        from a cautious default.
        """
        return self.route is not None and self.model in self.route.without_skill

    @property
    def is_cut(self) -> bool:
        """Whether the text ends because it reached its longest length (`max_tokens`)."""
        return any(each.completion.finish_reason == "length" for each in self.given)

    @property
    def is_trimmed(self) -> bool:
        """Whether the prompt was too long for a model, so that its middle was left out."""
        return self.trace is not None and any(event.kind == "trimmed" for event in self.trace.events)

    def explain(self) -> str:
        """What was done for this answer, and why, in plain words: a sentence a line."""
        return "\n".join(_sentences(self))

    @property
    def id(self) -> str:
        """What `Orchestrator.feedback` knows this answer by: the id of its trace."""
        return self.trace.id if self.trace else ""

    def as_dict(self, *, detail: Detail = "full") -> JsonObject:
        """The answer as JSON values.

        `brief` is what a step of a pipeline or a log needs of it, `standard` adds usage, receipt, route and trace,
        `full` also what was recalled and every candidate with its verdicts.
        """
        if detail not in get_args(Detail):
            raise ValueError(f"detail is one of {', '.join(get_args(Detail))}, not {detail!r}")
        found: dict[str, Any] = {
            "id": self.id,
            "text": self.text,
            "confidence": self.confidence,
            "model": self.model,
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
            "partial": self.partial,
            "stopped": self.stopped,
            "abstained": self.abstained,
            "simulated": self.simulated,
            "citations": list(self.citations),
        }
        if self.calls:
            found["calls"] = [call.as_dict() for call in self.calls]
        if self.run:
            found |= {"run": self.run, "steps": [step.as_dict() for step in self.steps]}
        if detail == "brief":
            return found
        if detail == "full":
            found["recalled"] = [
                {"id": each.record.id, "text": each.record.text, "score": each.score, "reason": each.reason}
                for each in self.recalled
            ]
            found["candidates"] = [candidate.as_dict() for candidate in self.candidates]
        return found | {
            "usage": asdict(self.usage),
            "receipt": None if self.receipt is None else {**asdict(self.receipt), "saved_usd": self.receipt.saved_usd},
            "route": None if self.route is None else {"chosen": self.route.chosen, "reason": self.route.reason},
            "trace": None if self.trace is None else self.trace.as_dict(),
        }


_DONE = {
    "drafted": "answered",
    "revised": "revised the answer",
    "criticised": "criticised the answer",
    "compared": "compared two answers",
    "combined": "made one answer of several",
}
_BEGUN = {
    "drafting": "was asked",
    "revising": "was asked for a revision",
    "criticising": "was asked for the answer's faults",
    "comparing": "was asked which answer is better",
    "combining": "was asked to make one answer of several",
}


def _steps_in_words(answer: Answer) -> Iterator[str]:
    """The steps of a run that used tools; what follows then tells of the last one."""
    for number, step in enumerate(answer.steps, 1):
        called = ", ".join(f"{each.call.name} ({each.outcome})" for each in step.called)
        yield f"Step {number}, {step.model}: {called}; right with P {step.confidence:.2f}, {money(step.cost_usd)}."
    if answer.steps:
        yield f"All of it cost {money(answer.cost_usd)}. The last step was the answer:"


def _sentences(answer: Answer) -> Iterator[str]:
    yield from _steps_in_words(answer)
    if answer.recalled:
        yield f"Memory gave {_count(len(answer.recalled), 'note')} for this query."
    if answer.route is not None and answer.route.reason:
        yield f"The router weighed {_count(len(answer.route.options), 'model')}: {answer.route.reason}."
        yield from (
            f"- {option.model}: P(correct) {option.p_success:.2f}, {money(option.cost_usd)}"
            + (f" ({option.rejected})" if option.rejected and option.model != answer.route.chosen else "")
            for option in answer.route.options
        )
    for event in answer.trace.events if answer.trace is not None else ():
        if (sentence := _sentence(event)) is not None:
            yield f"{event.at_s:.2f} s: {sentence}."
    yield f"The search ended because {answer.stopped}." if answer.stopped else "The search ended."
    yield _result(answer)
    if answer.receipt is not None:
        receipt = answer.receipt
        yield (
            f"{_count(receipt.calls, 'call')}: {money(receipt.cost_usd)}; one call of {receipt.reference}: "
            f"{money(receipt.reference_cost_usd)}."
        )


def _sentence(event: Event) -> str | None:
    detail = event.detail
    model = detail.get("model")
    if event.kind in _BEGUN:
        return f"{model} {_BEGUN[event.kind]}"
    if event.kind in _DONE:
        return f"{model} {_DONE[event.kind]} in {detail.get('seconds', 0.0):.2f} s for {money(detail.get('cost_usd'))}"
    if event.kind == "verified":
        found = "passed" if detail.get("passed") else "failed" if detail.get("passed") is False else "scored"
        return f"the check {detail.get('verifier')} {found} on the answer of {model} ({detail.get('score', 0.0):.2f})"
    if event.kind == "unverified":
        return f"the check {detail.get('verifier')} says nothing: {detail.get('reason')}"
    if event.kind == "unaffordable":
        return f"{model} was not affordable: {detail.get('reason')}"
    if event.kind == "abstained":
        return f"{model} gave no answer: {detail.get('reason')}"
    if event.kind == "failed":
        return f"{model} failed: {detail.get('reason')}"
    if event.kind == "fallback":
        return f"{model} is asked as a fallback: {detail.get('reason')}"
    if event.kind == "trimmed":
        return f"the prompt was cut by about {detail.get('dropped_tokens')} tokens"
    return None


def _result(answer: Answer) -> str:
    if answer.abstained:
        return f"The best answer is right with P {answer.confidence:.2f}, less than was asked for, so none was given."
    cut = " A limit cut the search short." if answer.partial else ""
    if answer.is_cut and not answer.partial:
        cut = " Its text ends because it reached its longest length: raise max_tokens."
    simulated = " Part of it is a simulation." if answer.simulated else ""
    default = ""
    if answer.rests_on_default:
        default = f" Nothing is known of {answer.model}, so that rests on a cautious default: state its skill."
    return f"The answer is {answer.model}'s, right with P {answer.confidence:.2f}.{default}{cut}{simulated}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
