"""Keeps the traces of a program's own queries, in the tables that the gateway uses, for `orchestrator ui`.

A thread writes them: a query waits for nothing.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from orchestrator.budget import to_nano
from orchestrator.config.models import Config, TracesConfig
from orchestrator.errors import ConfigError, StorageError
from orchestrator.jsontypes import JsonObject
from orchestrator.router import Route
from orchestrator.search.outline import search_rounds
from orchestrator.search.recording import Recording
from orchestrator.storage.database import Database, open_database
from orchestrator.storage.requests import Requests, ServedRequest
from orchestrator.storage.spans import count_drafts, flatten
from orchestrator.storage.trace_policy import TracePolicy
from orchestrator.tools.importing import imported
from orchestrator.trace import Trace
from orchestrator.types import Answer, Query

LOCAL_ORG = "local"
"""Whose requests those of a program are; a gateway's belong to organisations."""
WRITE_S = 0.25
DAY_S = 86_400.0
ROW_DAYS = 365.0
"""How long the rows of a program's own queries stay, without steps and texts, unless those are kept longer."""
RETRY_S = 2.0
MAX_WAITING = 10_000
log = logging.getLogger(__name__)


class TraceLog:
    """Traces in one database.

    Args:
        database: Where they are kept.
        policy: What is kept of each.
        program: How the program is called in lists.

    Raises:
        StorageError: The database cannot be used.
    """

    def __init__(self, database: Database, policy: TracePolicy | None = None, *, program: str = "sdk") -> None:
        self.policy = policy or TracePolicy()
        self.requests = Requests(database)
        self._program = program
        self._waiting: list[ServedRequest] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._process = os.getpid()
        now, days = time.time(), self.policy.keep_days
        self.requests.forget(before=now - DAY_S * max(days, ROW_DAYS), spans_before=now - DAY_S * days)
        _open.add(self)

    @classmethod
    def open(cls, stated: TraceLog | str | Path | None) -> TraceLog | None:
        """The log at a path or a postgresql:// address; `None` for none."""
        return cls(open_database(stated)) if isinstance(stated, str | Path) else stated

    @classmethod
    def of_config(cls, config: Config) -> TraceLog:
        """The log that a configuration names."""
        assert config.traces.path is not None
        return cls(open_database(config.traces.path), policy_of(config.traces, config.folder))

    def add(self, query: Query, trace: Trace, answer: Answer | None, error: str) -> None:
        """Takes the trace of a query that has ended; it is written soon after."""
        served = served_query(query, trace, answer, error, keeps_content=self.policy.content)
        served.key = self._program
        if self._process != os.getpid():
            self._begin_anew()
        with self._lock:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(served)
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._write_on, name="traces", daemon=True)
                self._thread.start()
        self._wake.set()

    def _begin_anew(self) -> None:
        """In a child of `fork`: threads and locks are its parent's, and SQLite's connections must not be shared."""
        self._process = os.getpid()
        self._waiting, self._thread = [], None
        self._lock, self._writing, self._wake = threading.Lock(), threading.Lock(), threading.Event()
        self.requests = Requests(self.requests.database.reader())

    def flush(self) -> None:
        """Returns when all that was added before is written. Blocks."""
        with self._writing:
            with self._lock:
                taken, self._waiting = self._waiting, []
            if not taken:
                return
            try:
                self.requests.add(taken, self.policy)
            except StorageError as error:  # an answer is never lost because its trace could not be written
                log.error("traces are not kept yet: %s", error, extra={"count": len(taken)})
                with self._lock:
                    self._waiting = (taken + self._waiting)[-MAX_WAITING:]
            except Exception:  # the thread goes on for those that come
                log.exception("traces were not kept", extra={"count": len(taken)})

    def close(self) -> None:
        """Writes what is left, and closes the database. Blocks."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._wake.set()
        self.flush()
        self.requests.database.close()
        _open.discard(self)

    def _write_on(self) -> None:
        while not self._is_closed:
            self._wake.wait(timeout=None if not self._waiting else RETRY_S)
            self._wake.clear()
            time.sleep(WRITE_S)
            if not self._is_closed:
                self.flush()


def served_query(
    query: Query, trace: Trace, answer: Answer | None, error: str, *, keeps_content: bool
) -> ServedRequest:
    """The record of a program's own query that has just ended; `error` is a code, "" if it was answered."""
    latency_s = trace.now_s()
    at = time.time() - latency_s
    served = ServedRequest(trace.id, at, LOCAL_ORG, None, "", "answer", "auto", scope=query.scope)
    served.latency_s, served.error, served.status = latency_s, error, 500 if error else 200
    spans = flatten(trace.as_dict())
    served.spans, (served.drafts, served.escalated) = spans, count_drafts(spans)
    served.rounds = rounds_of(trace)
    if answer is not None:
        _note_answer(served, answer)
        route_options(spans, answer.route)
        if keeps_content:
            served.content = content_of(query.text, answer.text, trace)
    return served


def policy_of(stated: TracesConfig, folder: Path) -> TracePolicy:
    """The policy that a configuration states; `folder` is where its file is. Raises `ConfigError`."""
    if stated.redact is None:
        return TracePolicy(stated.sample, stated.content, None, stated.keep_days)
    try:
        found = imported(stated.redact, folder)
    except Exception as error:
        raise ConfigError(
            f"traces.redact: {stated.redact!r} cannot be used: {type(error).__name__}: {error}",
            remedy="Name a function of a module beside this file: `mymodule:redact`",
        ) from None
    return TracePolicy(stated.sample, stated.content, lambda text: str(found(text)), stated.keep_days)


def content_of(question: object, answer: str, trace: Trace | None) -> JsonObject:
    """The texts of a request as they are kept: question, answer, and the search with its drafts."""
    searched = {"search": trace.search.as_dict()} if trace is not None and trace.search is not None else {}
    return {"question": question, "answer": answer, **searched}


def rounds_of(trace: Trace | None) -> Callable[[], list[JsonObject]] | None:
    """Makes the rounds of a trace's search; `None` where nothing was searched."""
    record = None if trace is None else trace.search
    return partial(search_rounds, record) if isinstance(record, Recording) else None


def route_options(spans: list[JsonObject], route: Route | None) -> None:
    """Notes on the span of the route every model that was weighed, and why it was not chosen."""
    if route is None:
        return
    for span in spans:
        if span["name"] == "route":
            options = [
                {
                    "model": option.model,
                    "p": round(option.p_success, 4),
                    "cost_usd": option.cost_usd,
                    "latency_s": round(option.latency_s, 4),
                    "rejected": option.rejected,
                }
                for option in route.options
            ]
            # A new mapping: the old one is the caller's trace.
            span["attributes"] = {**span.get("attributes", {}), "options": options}
            return


def reference_nano(route: Route | None) -> int | None:
    """What the model that is likeliest to be right was expected to cost, in nano-dollars; `None` if nobody knows."""
    able = [] if route is None else [option for option in route.options if not option.excluded]
    best = max(able, key=lambda option: (option.p_success, option.cost_usd or 0.0), default=None)
    return None if best is None or best.cost_usd is None else to_nano(best.cost_usd)


def _note_answer(served: ServedRequest, answer: Answer) -> None:
    used = answer.usage
    served.model, served.confidence, served.simulated = answer.model, answer.confidence, answer.simulated
    served.prefill_tokens, served.output_tokens = used.prefill_tokens, used.output_tokens
    served.cached_tokens = used.cached_tokens
    served.cost_nano = None if answer.cost_usd is None else to_nano(answer.cost_usd)
    served.reference_nano = reference_nano(answer.route)
    served.trace = {
        "model": answer.model,
        "stopped": answer.stopped,
        "reason": answer.route.reason if answer.route else "",
    }


_open: weakref.WeakSet[TraceLog] = weakref.WeakSet()


@atexit.register
def _write_all() -> None:
    for one in list(_open):
        one.flush()
