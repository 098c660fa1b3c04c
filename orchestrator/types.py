"""The values that pass between the parts: queries, completions, candidates and answers. Immutable."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from orchestrator.errors import InvalidQuery
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.memory import RecalledRecord
    from orchestrator.router import Route
    from orchestrator.trace import Trace
    from orchestrator.verifiers import Verdict

Role = Literal["system", "developer", "user", "assistant", "tool"]
Way = Literal["words", "program"]
Detail = Literal["brief", "standard", "full"]
MAX_QUERY_CHARS = 2_000_000
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Query:
    """What the caller wants answered. `text` is the last user message; `history` what came before it.

    `schema` is a JSON Schema that the answer must satisfy; `quality` the P(correct) in [0, 1] at which search stops;
    `criteria` what a critique judges by. A right answer is worth `value_usd` and a second less to wait `usd_per_second`
    (`None`: as the fleet has it). With `may_abstain`, an answer that is believed less than `quality` in the end is not
    given. Without `uses_memory`, nothing is recalled. `max_tokens` and `temperature` are for every draft (`None`: as
    the fleet and the model have them). A `prompt` is what models read instead of `text`, under the rules `system`
    instead of the usual ones; `sources` are what models that answer from notes look into, beside what is recalled.
    """

    text: str
    history: tuple[Message, ...] = ()
    scope: str = "default"
    schema: dict[str, Any] | None = None
    quality: float | None = None
    models: frozenset[str] | None = None
    uses_memory: bool = True
    criteria: tuple[str, ...] = ()
    value_usd: float | None = None
    usd_per_second: float | None = None
    may_abstain: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    prompt: str | None = None
    system: str | None = None
    sources: tuple[RecalledRecord, ...] = ()

    @classmethod
    def parse(cls, text: object, **fields: Any) -> Query:
        """Checks raw input.

        Raises `InvalidQuery` on anything that is not usable text of at most 2,000,000 characters.
        """
        if isinstance(text, bytes | bytearray):
            try:
                text = bytes(text).decode("utf-8")
            except UnicodeDecodeError as error:
                raise InvalidQuery(
                    f"the query is not UTF-8 (byte {error.start})", remedy="Decode it first, or send text"
                ) from None
        if not isinstance(text, str):
            raise InvalidQuery(f"the query must be text, not {type(text).__name__}", remedy="Pass a str")
        if not text.strip():
            raise InvalidQuery("the query is empty", remedy="Ask something, for example: What is 17 * 23?")
        if len(text) > MAX_QUERY_CHARS:
            raise InvalidQuery(
                f"the query has {len(text):,} characters, the limit is {MAX_QUERY_CHARS:,}",
                remedy="Remember the document first and ask about it: orchestrator remember FILE",
            )
        control = 0 if text.isprintable() else len(_CONTROL.findall(text))
        if "\x00" in text or control > len(text) // 20:
            raise InvalidQuery("the query is binary data", remedy="Extract its text first")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidQuery(
                f"the query is not valid Unicode (character {error.start})", remedy="Repair the lone surrogate"
            ) from None
        quality = fields.get("quality")
        if quality is not None and not 0.0 <= quality <= 1.0:
            raise InvalidQuery(
                f"quality must lie in [0, 1], not {quality!r}", remedy="0.9 asks for a 90 % chance of being right"
            )
        for name in ("value_usd", "usd_per_second"):
            worth = fields.get(name)
            if worth is not None and not 0.0 <= worth < math.inf:
                raise InvalidQuery(
                    f"{name} must be a number of dollars, at least 0, not {worth!r}", remedy="value_usd=0.05 is 5 cents"
                )
        return cls(text, **fields)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, in the same words whoever counted them.

    `prefill_tokens` are all tokens read; `cached_tokens` of them came from a cache, `cache_write_tokens` were written
    to one (`cache_write_1h_tokens` of these for an hour), `audio_prefill_tokens` were sound, `tool_tokens` came from
    tools that the provider ran itself. `output_tokens` are all tokens written; `reasoning_tokens` of them were
    thoughts, `audio_output_tokens` sound. `estimated` says that the backend did not report them.
    """

    prefill_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_prefill_tokens: int = 0
    audio_output_tokens: int = 0
    tool_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """What was read and written."""
        return self.prefill_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prefill_tokens + other.prefill_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.estimated or other.estimated,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.audio_prefill_tokens + other.audio_prefill_tokens,
            self.audio_output_tokens + other.audio_output_tokens,
            self.tool_tokens + other.tool_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of one model. `text` is `None` when the backend abstains, `note` then says why.

    `confidence` is the backend's own P(correct) where it has one (a calculator, a search over memory), else `None`.
    `certainty` is the mean natural log-probability of the answer's tokens, where the request asked for it and the
    provider gives it. `others` are the further answers of a call that asked for several; `usage` is that of all.
    `thoughts` are what the model let see of its reasoning. `unseen_calls` were made beside this one and their answers
    never read, though their provider may charge for them: whoever pays books their worst case.
    """

    model: str
    text: str | None
    usage: Usage = Usage()
    latency_s: float = 0.0
    ttft_s: float | None = None
    finish_reason: str = "stop"
    citations: tuple[str, ...] = ()
    confidence: float | None = None
    certainty: float | None = None
    note: str = ""
    simulated: bool = False
    others: tuple[str, ...] = ()
    thoughts: str = ""
    unseen_calls: int = 0

    @property
    def abstained(self) -> bool:
        """Whether the model gave no answer."""
        return self.text is None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer under consideration.

    Which model wrote it, as a draft, as a revision of which candidate (index), made of which candidates.

    `way` is how it was found: in "words", or by a "program" that the model wrote and the sandbox ran.
    """

    completion: Completion
    verdicts: tuple[Verdict, ...] = ()
    revises: int | None = None
    made_of: tuple[int, ...] = ()
    way: Way = "words"

    @property
    def model(self) -> str:
        """The model that wrote it."""
        return self.completion.model

    @property
    def text(self) -> str:
        """The text of the answer; empty where there is none."""
        return self.completion.text or ""

    @property
    def ruled_out(self) -> bool:
        """A decisive verifier failed it."""
        return any(verdict.decisive and verdict.passed is False for verdict in self.verdicts)

    def as_dict(self) -> JsonObject:
        """The candidate as JSON values, with its verdicts."""
        verdicts = [
            {
                "verifier": v.verifier,
                "score": v.score,
                "passed": v.passed,
                "feedback": v.feedback,
                "cost_usd": v.cost_usd,
            }
            for v in self.verdicts
        ]
        return {"model": self.model, "text": self.text, "way": self.way, "revises": self.revises, "verdicts": verdicts}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the query cost beside what one call of `reference` would have, in USD.

    `saved_usd` is negative when routing and search cost more.

    The reference is the model of a guarantee, else the most promising one that is not free. Its price is for the same
    prompt and an answer of its usual length. Failed and discarded attempts count against us. `None` stands for a price
    that is not known.
    """

    reference: str
    reference_cost_usd: float | None
    cost_usd: float | None
    calls: int

    @property
    def saved_usd(self) -> float | None:
        """What was saved against the reference in USD; negative where it cost more."""
        return (
            None
            if self.reference_cost_usd is None or self.cost_usd is None
            else self.reference_cost_usd - self.cost_usd
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The result.

    `confidence` is the posterior P(correct) in [0, 1]; `partial` says that a deadline or budget cut the search short.

    `stopped` is why the search ended; `simulated` is true when any part came from a simulated model. `cost_usd` is what
    was settled; it is `None` when a model without a known price was asked. When `abstained`, `text` is empty: the best
    of `candidates` is believed too little.
    """

    text: str
    confidence: float
    model: str
    cost_usd: float | None
    latency_s: float
    partial: bool
    stopped: str
    citations: tuple[str, ...] = ()
    recalled: tuple[RecalledRecord, ...] = ()
    route: Route | None = None
    candidates: tuple[Candidate, ...] = ()
    usage: Usage = Usage()
    simulated: bool = False
    trace: Trace | None = field(default=None, repr=False)
    receipt: Receipt | None = None
    abstained: bool = False

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
