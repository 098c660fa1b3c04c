"""Tools of an MCP server (Model Context Protocol), by the official SDK (extra `mcp`): over stdio or streamable HTTP.

What a server says of itself is untrusted: names are made safe, descriptions are bounded and left out where they look
like instructions, a schema that is none is taken for one that takes anything, results are quoted as those of any tool.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.jsontypes import JsonObject
from orchestrator.tools.tool import TIMEOUT_S, CallContext, Effects, Tool, ToolFailed
from orchestrator.tools.untrusted import content_text, safe_description, safe_name, safe_schema

if TYPE_CHECKING:
    import httpx2
    from mcp import Client, StdioServerParameters
    from mcp.client import Transport
    from mcp.shared.dispatcher import ProgressFnT
    from mcp_types import Tool as McpTool

log = logging.getLogger(__name__)
MAX_TOOLS, MAX_PAGES = 200, 50
MAX_RESTARTS = 3  # one after the other, with no call that succeeded between them
LIST_EVERY_S = 0.5
CONNECT_S = 30.0


class McpServer:
    """A connection to one MCP server; `tools` are its tools while it is open.

    Args:
        name: Stands before the names of its tools.
        command: What is started, for a server over stdio: `["npx", "-y", "@modelcontextprotocol/server-filesystem",
            "."]`.
        url: The address of a server over streamable HTTP, instead.
        env: Variables of the environment for the command, beside a safe few.
        headers: Sent with every request to the address.
        cwd: The folder in which the command is started.
        roots: Folders that the server is told it may work in.
        effects: What its tools change (default: as each tool says of itself; "once" where it says nothing).
        needs_approval: Whether somebody is asked before each call, whatever the server says of it.
        timeout: The longest that a call may take, in seconds.
        connect_timeout: The longest that connecting may take, in seconds.

    Raises:
        InvalidArgument: Neither a command nor an address is given, or both.
        ConfigError: The extra `mcp` is missing, or the server cannot be reached (when it is opened).

    Use it in `with` or `async with`; its calls run in a thread of its own, so any event loop may make them:

        with McpServer("files", command=["npx", "-y", "@modelcontextprotocol/server-filesystem", "."]) as files:
            answer = fleet.answer_sync("What is in notes.txt?", tools=files.tools)
    """

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str] | None = None,
        url: str | None = None,
        env: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        roots: Sequence[str | Path] = (),
        effects: Effects | None = None,
        needs_approval: bool = False,
        timeout: float = TIMEOUT_S,
        connect_timeout: float = CONNECT_S,
    ) -> None:
        if (command is None) == (url is None):
            raise InvalidArgument(
                f"the MCP server {name} needs a command or an address",
                remedy='command=["npx", ...], or url="https://..."',
            )
        if command is not None and (isinstance(command, str) or not command):
            raise InvalidArgument(
                f"the command of the MCP server {name} must be a list", remedy='command=["npx", "-y", "package"]'
            )
        if url is not None and not url.startswith(("http://", "https://")):
            raise InvalidArgument(f"the address of the MCP server {name} is {url!r}", remedy="It begins with https://")
        self.name = name
        self._command, self._url, self._env, self._cwd = command, url, env, cwd
        self._headers, self._names = dict(headers or {}), dict[str, str]()
        self._roots = [Path(root).resolve().as_uri() for root in roots]
        self._effects, self._needs_approval = effects, needs_approval
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._running: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._client: Client | None = None
        self._tools: tuple[Tool, ...] = ()
        self._restarts = 0
        self._left: anyio.Event | None = None
        self._changed = anyio.Event()
        self._is_closing = self._is_stale = self._is_listing = False

    def __repr__(self) -> str:
        return f"McpServer({self.name!r}, {len(self._tools)} tools)"

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Its tools, as it listed them last: a list that changes is read again."""
        return self._tools

    def stated_name(self, tool: Tool) -> str:
        """What the server calls one of its tools."""
        return self._names.get(tool.name, tool.name)

    def open(self) -> McpServer:
        """Connects, and lists the tools. Raises `ConfigError`. Blocks."""
        try:
            import mcp  # noqa: F401 - optional: extra `mcp`
        except ImportError:
            raise ConfigError(
                "MCP servers need the package mcp", remedy="pip install 'compound-orchestrator[mcp]'"
            ) from None
        self._running = start_blocking_portal()
        self._portal = self._running.__enter__()
        try:
            self._portal.start_task(self._serve)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            raise ConfigError(
                f"the MCP server {self.name} cannot be used: {_told(error)}",
                remedy=f"Try it by hand: {' '.join(self._command or ())}{self._url or ''}",
            ) from error
        return self

    def close(self) -> None:
        """Ends the connection, and the process that was started for it."""
        self._is_closing = True
        if self._portal is not None and self._left is not None:
            self._portal.call(self._left.set)
        if self._running is not None:
            running, self._running, self._portal = self._running, None, None
            running.__exit__(None, None, None)

    def __enter__(self) -> McpServer:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> McpServer:
        return await asyncio.to_thread(self.open)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    # in the thread of the connection

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Holds the connection; opens it again when it breaks, at most three times."""
        while not self._is_closing:
            try:
                await self._hold(task_status)
            except Exception as error:
                if not self._tools:  # it never was open
                    raise
                log.warning("the MCP server %s: %s", self.name, _told(error))
                self._restarts += 1
            finally:
                self._client = None
                self._changed.set()
            task_status = anyio.TASK_STATUS_IGNORED
            if self._restarts > MAX_RESTARTS:
                return

    async def _hold(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        """One connection, until it is left. Raises `TimeoutError` where it cannot be made in time."""
        import httpx2

        left = self._left = anyio.Event()
        timeout = httpx2.Timeout(self._connect_timeout, read=None)  # each call has a limit of its own
        with anyio.CancelScope(deadline=anyio.current_time() + self._connect_timeout) as scope:
            async with (
                httpx2.AsyncClient(headers=self._headers, timeout=timeout) as http,
                self._new_client(http) as client,
            ):
                self._tools = tuple(await self._listed(client))
                scope.deadline = math.inf
                self._client = client
                self._changed.set()
                self._changed = anyio.Event()
                task_status.started()
                await left.wait()
        if scope.cancelled_caught:
            raise TimeoutError(f"it did not answer within {self._connect_timeout:g} s")

    def _new_client(self, http: httpx2.AsyncClient) -> Client:
        import mcp_types
        from mcp import Client
        from pydantic import FileUrl

        async def list_roots(context: object) -> mcp_types.ListRootsResult:
            return mcp_types.ListRootsResult(roots=[mcp_types.Root(uri=FileUrl(uri)) for uri in self._roots])

        async def on_message(message: object) -> None:
            if "ToolListChanged" in type(message).__name__:
                await self._list_anew()

        roots = list_roots if self._roots else None
        return Client(
            self._transport(http),
            read_timeout_seconds=self._timeout,
            list_roots_callback=roots,
            message_handler=on_message,
            cache=None,
        )

    def _transport(self, http: httpx2.AsyncClient) -> StdioServerParameters | Transport:
        """How the server is reached."""
        from mcp import StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client

        if self._command is not None:
            program, *arguments = map(str, self._command)
            environment = dict(self._env) if self._env else None
            return StdioServerParameters(command=program, args=arguments, env=environment, cwd=self._cwd)
        assert self._url is not None
        return streamable_http_client(self._url, http_client=http)

    async def _list_anew(self) -> None:
        """Lists the tools after they changed; however often that is said, once in half a second."""
        self._is_stale = True
        if self._is_listing:
            return
        self._is_listing = True
        try:
            while self._is_stale and self._client is not None:
                self._is_stale = False
                self._tools = tuple(await self._listed(self._client))
                await anyio.sleep(LIST_EVERY_S)
        finally:
            self._is_listing = False

    async def _listed(self, client: Client) -> list[Tool]:
        """All tools, at most 200 of them; two that would have one name are told apart."""
        found: list[Tool] = []
        names: set[str] = set()
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            for each in page.tools:
                made = self._tool(each, names)
                names.add(made.name)
                found.append(made)
            cursor = page.next_cursor
            if not cursor or len(found) >= MAX_TOOLS:
                break
        return found[:MAX_TOOLS]

    def _tool(self, stated: McpTool, taken: set[str]) -> Tool:
        name = safe_name(f"{self.name}_{stated.name}", taken)
        self._names[name] = str(stated.name)
        hints = stated.annotations
        is_read = bool(hints is not None and hints.read_only_hint)
        is_idempotent = bool(hints is not None and hints.idempotent_hint)
        effects: Effects = self._effects or ("none" if is_read else "idempotent" if is_idempotent else "once")

        async def call(arguments: JsonObject, context: CallContext) -> str:
            portal = self._portal
            if portal is None:
                raise ToolFailed(f"the MCP server {self.name} is closed", remedy="Keep it open while it is used")
            loop = asyncio.get_running_loop()

            async def tell(progress: float, total: float | None, message: str | None) -> None:
                told = message or (f"{progress:g} of {total:g}" if total else f"{progress:g}")
                loop.call_soon_threadsafe(context.progress, told)

            return await asyncio.wrap_future(
                portal.start_task_soon(partial(self._call, str(stated.name), arguments, tell))
            )

        about = safe_description(stated.description or "")
        return Tool(name, call, safe_schema(stated.input_schema), about, effects, self._needs_approval, self._timeout)

    async def _call(self, name: str, arguments: JsonObject, progress: ProgressFnT) -> str:
        """One call. Raises `ToolFailed`; a server that is gone is started again for later calls."""
        client = await self._connected()
        try:
            result = await client.call_tool(name, arguments, progress_callback=progress)
        except Exception as error:
            told = _told(error)
            if is_lost(error):
                self._restart(client)
                told = f"the MCP server {self.name} ended during the call ({told})"
            raise ToolFailed(told, may_have_happened=True) from error
        self._restarts = 0
        text = content_text(result)
        if result.is_error:
            raise ToolFailed(text or f"{name} failed without a word")
        return text

    async def _connected(self) -> Client:
        """The connection, when it is there; waits while it is made again."""
        with anyio.move_on_after(self._connect_timeout):
            while self._client is None and self._restarts <= MAX_RESTARTS and not self._is_closing:
                await self._changed.wait()
        if self._client is None:
            raise ToolFailed(f"the MCP server {self.name} is not running", remedy="Look at its own log")
        return self._client

    def _restart(self, broken: Client) -> None:
        """Leaves a connection that broke, once, so that another one is made."""
        if self._client is broken and self._left is not None:
            self._client = None
            self._restarts += 1
            self._left.set()


def is_lost(error: BaseException) -> bool:
    """Whether an error says that the connection is gone, and not that a call failed."""
    import httpx2
    import mcp
    import mcp_types

    if isinstance(error, mcp.MCPError):
        return error.error.code == mcp_types.CONNECTION_CLOSED and error.error.message == "Connection closed"
    gone = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError, httpx2.TransportError)
    return isinstance(error, gone) and not isinstance(error, TimeoutError)


def _told(error: BaseException) -> str:
    """An error in a line; of a group the first one in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split())
    return (said or type(error).__name__)[:300]
