"""The synchronous face of coroutines: one event loop in a thread of its own, so that connections outlive a call.

`SyncMethods` is the base of `Orchestrator` that holds its methods for scripts and notebooks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from orchestrator.decisions import Decisions, Question
    from orchestrator.memory import Recall, Record
    from orchestrator.types import Answer, Query

T = TypeVar("T")
S = TypeVar("S", bound="SyncMethods")


class BlockingLoop:
    """Runs coroutines from ordinary code, from any number of threads. The thread starts with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[None, None, T]) -> T:
        """The coroutine's result.

        Ctrl-C cancels it. Raises `RuntimeError` inside a running event loop, which it would block.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            coroutine.close()
            raise RuntimeError(
                "a blocking method cannot run inside an event loop: await the method of the same name without _sync"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the thread; a later `run` starts another."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, daemon=True, name="orchestrator-blocking"
                )
                self._thread.start()
            return self._loop


class SyncMethods:
    """The blocking twins of coroutines.

    None may be called from a running event loop; `close` at the end, or use `with`.
    """

    def __init__(self) -> None:
        self._blocking = BlockingLoop()

    def answer_sync(self, query: str | bytes | Query, **options: Any) -> Answer:
        """`answer` for scripts."""
        found: Answer = self._run("answer", query, **options)
        return found

    def decide_sync(self, state: str, questions: Mapping[str, Question | str], **options: Any) -> Decisions:
        """`decide` for scripts."""
        found: Decisions = self._run("decide", state, questions, **options)
        return found

    def feedback_sync(self, answer: Answer | str, score: float | None = None, **options: Any) -> dict[str, float]:
        """`feedback` for scripts."""
        found: dict[str, float] = self._run("feedback", answer, score, **options)
        return found

    def remember_sync(self, text: str, scope: str = "default", **fields: Any) -> Record:
        """`remember` for scripts."""
        found: Record = self._run("remember", text, scope, **fields)
        return found

    def recall_sync(self, query: str, scope: str = "default", *, token_budget: int | None = None) -> Recall:
        """`recall` for scripts."""
        found: Recall = self._run("recall", query, scope, token_budget=token_budget)
        return found

    def close(self) -> None:
        """`aclose` for scripts."""
        self._run("aclose")
        self._blocking.close()

    def _run(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._blocking.run(getattr(self, method)(*arguments, **options))

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
