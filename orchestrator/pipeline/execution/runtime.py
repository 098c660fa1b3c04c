"""What runs of pipelines share: the engine, the store of runs, connections for tools.

And a way to play models and tools instead of asking them.
"""

from __future__ import annotations

import asyncio
import copy
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.agent.journal import RunStore
from orchestrator.storage.journal import Journal

if TYPE_CHECKING:
    import httpx

    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.storage.runs import Runs
    from orchestrator.telemetry import Telemetry
    from orchestrator.tools.catalog import ToolCatalog

AGENTS = "agents/"  # behind the owner of pipelines' runs: those of their steps are not listed with them
EngineFactory = Callable[[str], Awaitable["Orchestrator"]]


class Runtime:
    """`engine` is what answers.

    Without it one is made of what is at hand when the first step needs it, and closed with the host. Runs are kept in
    `runs`, if given, as those of `owner`. `engine_of` chooses an engine by the path of a step, and `played` gives
    values instead of calling tools: for tests of pipelines.
    """

    def __init__(
        self,
        engine: Orchestrator | None = None,
        *,
        runs: Runs | None = None,
        engine_of: EngineFactory | None = None,
        played: Mapping[str, Callable[[], Any]] | None = None,
        owner: str = "",
        scope_of: Callable[[str], str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.runs = runs
        self.journal = Journal(runs) if runs is not None else None
        self.owner = owner
        self.scope_of = scope_of or _as_it_is
        self.log_scope = "default"
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.played = dict(played or {})
        self._engine = engine
        self._owns_engine = False
        self._engine_of = engine_of
        self._transport = transport
        self._making = asyncio.Lock()
        self._clients: list[httpx.AsyncClient] = []  # one at most; a list, so that `for_owner` shares it
        self._catalogs: dict[tuple[str, str], ToolCatalog] = {}
        self.background: set[asyncio.Task[Any]] = set()

    def for_owner(self, owner: str, scope_of: Callable[[str], str], log_scope: str) -> Runtime:
        """The same for somebody else.

        Who sees no other's runs, and reaches memory where `scope_of` lets a scope lead (it raises `ScopeError`).

        Decisions are logged under `log_scope`.
        """
        found = copy.copy(self)
        found.owner, found.scope_of, found.log_scope = owner, scope_of, log_scope
        return found

    @property
    def telemetry(self) -> Telemetry | None:
        """What makes spans of runs: the engine's, if it was given."""
        return None if self._engine is None else self._engine.telemetry

    async def engine(self, path: str) -> Orchestrator:
        """The engine for the step at a path. Raises `ConfigError`."""
        if self._engine_of is not None:
            return await self._engine_of(path)
        if self._engine is None:
            async with self._making:
                if self._engine is None:
                    self._engine = await engine_at_hand()
                    self._owns_engine = True
        return self._engine

    @property
    def agent_runs(self) -> RunStore | None:
        """Where runs of models that use tools are kept; `None` where runs are not kept."""
        if self.runs is None or self.journal is None:
            return None
        return RunStore.sharing(self.runs, self.journal, f"{self.owner}{AGENTS}")

    def catalog(self, of: tuple[str, str], make: Callable[[], ToolCatalog]) -> ToolCatalog:
        """What is connected for a file's entry: made once, closed with the runtime."""
        if of not in self._catalogs:
            self._catalogs[of] = make()
        return self._catalogs[of]

    def client(self) -> httpx.AsyncClient:
        """The connections of tools. Redirects are not followed: they could lead where a tool may not go."""
        if not self._clients:
            import httpx  # heavy: 60 ms

            self._clients.append(httpx.AsyncClient(follow_redirects=False, trust_env=False, transport=self._transport))
        return self._clients[0]

    async def aclose(self) -> None:
        """Waits for what still runs in the background, then closes what it opened itself."""
        while self.background:
            await asyncio.gather(*self.background, return_exceptions=True)
        for client in self._clients:
            await client.aclose()
        for catalog in self._catalogs.values():
            await catalog.aclose()
        if self.journal is not None:
            await asyncio.to_thread(self.journal.close)
        if self._owns_engine and self._engine is not None:
            await self._engine.aclose()

    async def __aenter__(self) -> Runtime:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def engine_at_hand() -> Orchestrator:
    """As the command line does it.

    The configuration of this folder, else keys, local servers, calculator and memory.
    """
    from orchestrator.config.models import DEFAULT_NAME  # pydantic and YAML
    from orchestrator.engine.orchestrator import Orchestrator  # the whole engine

    if await asyncio.to_thread(Path(DEFAULT_NAME).exists):
        return await asyncio.to_thread(Orchestrator.from_config, DEFAULT_NAME)
    return await Orchestrator.at_hand(memory_path=".orchestrator/memory.db")


def _as_it_is(scope: str) -> str:
    return scope
