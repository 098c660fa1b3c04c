"""Runs that are kept: begun, resumed, replayed, ended from elsewhere.

One process works on a run at a time, and says every second that it does.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.budget import Ledger
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.compiled import CompiledPipeline
from orchestrator.pipeline.execution.result import RunCancelled, RunResult, UnknownRun
from orchestrator.pipeline.execution.runtime import Runtime
from orchestrator.pipeline.execution.scheduler import RunScheduler
from orchestrator.storage.runs import SILENT_S, Runs, StoredRun, StoredStep
from orchestrator.trace import Event

HEARD_EVERY_S = 1.0
OnEvent = Callable[[Event], None] | None


def new_id() -> str:
    """Ids sort by the time they were made."""
    return f"run_{int(time.time() * 1000):011x}{secrets.token_hex(8)}"


async def start(
    pipeline: CompiledPipeline,
    host: Runtime,
    given: JsonObject,
    id: str,
    on_event: OnEvent,
    *,
    within: Ledger | None = None,
    seconds: float | None = None,
) -> RunResult:
    """A new run; kept, if the host keeps runs, and with spans, if it makes some."""
    id = id or new_id()
    if host.telemetry is None:
        return await _started(pipeline, host, given, id, on_event, within, seconds)
    with host.telemetry.run(on_event) as tell:
        return await _started(pipeline, host, given, id, tell, within, seconds)


async def _started(
    pipeline: CompiledPipeline,
    host: Runtime,
    given: JsonObject,
    id: str,
    on_event: OnEvent,
    within: Ledger | None,
    seconds: float | None,
) -> RunResult:
    if host.runs is None:
        return await RunScheduler(pipeline, given, host, id, on_event, within=within, seconds=seconds).result()
    now = host.runs.clock()
    where = str(pipeline.path.absolute())
    stored = StoredRun(
        id, host.owner, pipeline.name, where, pipeline.digest, "running", given, None, "", now, None, host.holder, now
    )
    await asyncio.to_thread(host.runs.begin, stored)
    return await _worked_on(pipeline, host, stored, {}, on_event, within, seconds)


async def resume(
    pipeline: CompiledPipeline,
    id: str,
    host: Runtime,
    on_event: OnEvent,
    *,
    may_differ: bool,
    within: Ledger | None = None,
    seconds: float | None = None,
) -> RunResult:
    """See `Pipeline.resume`."""
    runs, stored = await _stored(host, id)
    if stored.pipeline != pipeline.name:
        message = f"the run {id} is one of the pipeline {stored.pipeline!r}, not of {pipeline.name!r}"
        raise ConfigError(message, remedy=f"Resume it with its own file: {stored.file}")
    if stored.digest != pipeline.digest and not may_differ:
        message = f"the run {id} began with other files: {stored.pipeline} was changed since"
        raise ConfigError(message, remedy="Bring them back, start anew, or resume with --changed")
    steps = {step.path: step for step in await asyncio.to_thread(runs.steps, id)}
    if stored.status == "done":  # nothing is left to do: its result is made again from what its steps gave
        return await RunScheduler(pipeline, stored.inputs, host, id, on_event, steps).result()
    if stored.has_ended:
        await asyncio.to_thread(runs.reopen, id)
    gone = stored.holder if _is_gone(stored.holder) else ""
    if not await asyncio.to_thread(runs.hold, id, host.holder, held_before=runs.clock() - SILENT_S, take_from=gone):
        message = f"another process works on the run {id}"
        raise ConfigError(message, remedy=f"Wait for it, or until it was silent for {SILENT_S:g} s")
    if host.journal is not None:
        host.journal.begin(id)
    return await _worked_on(pipeline, host, stored, steps, on_event, within, seconds)


async def replay(
    pipeline: CompiledPipeline,
    id: str,
    host: Runtime,
    on_event: OnEvent,
    *,
    begin: str | None,
    within: Ledger | None = None,
    seconds: float | None = None,
) -> RunResult:
    """See `Pipeline.replay`."""
    runs, stored = await _stored(host, id)
    anew = set() if begin is None else _following(pipeline, begin)
    steps = await asyncio.to_thread(runs.steps, id)
    kept = [step for step in steps if step.status != "begun" and _outermost(step.path) not in anew]
    now = runs.clock()
    copy = replace(
        stored,
        id=new_id(),
        digest=pipeline.digest,
        status="running",
        output=None,
        error="",
        created_at=now,
        ended_at=None,
        holder=host.holder,
        held_at=now,
    )
    await asyncio.to_thread(runs.begin, copy)
    await asyncio.to_thread(runs.copy_steps, id, copy.id, [step.path for step in kept])
    steps_kept = {step.path: replace(step, cost_usd=0.0) for step in kept}
    return await _worked_on(pipeline, host, copy, steps_kept, on_event, within, seconds)


def _following(pipeline: CompiledPipeline, begin: str) -> set[str]:
    """A step of the outermost level, and all that wait for it."""
    block = pipeline.block
    names = [node.name for node in block.nodes]
    if begin not in names:
        raise ConfigError(f"there is no step {begin!r} to begin from", remedy=f"There are: {', '.join(names)}")
    found: set[str] = set()
    left = [names.index(begin)]
    while left:
        index = left.pop()
        if names[index] not in found:
            found.add(names[index])
            left += block.next[index]
    return found


def _outermost(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


async def _stored(host: Runtime, id: str) -> tuple[Runs, StoredRun]:
    if host.runs is None:
        raise ConfigError("this host keeps no runs", remedy="Pass runs=Runs(open_database(path)) to Host")
    found = await asyncio.to_thread(host.runs.find, host.owner, id)
    if found is None:
        raise UnknownRun(f"there is no run {id!r}", remedy="orchestrator runs lists them")
    return host.runs, found


async def _worked_on(
    pipeline: CompiledPipeline,
    host: Runtime,
    stored: StoredRun,
    steps: Mapping[str, StoredStep],
    on_event: OnEvent,
    within: Ledger | None = None,
    seconds: float | None = None,
) -> RunResult:
    """A run whose steps are kept, and that can be ended from elsewhere."""
    assert host.runs is not None
    run = RunScheduler(
        pipeline, stored.inputs, host, stored.id, on_event, steps, is_kept=True, within=within, seconds=seconds
    )
    assert run.purse is not None
    run.purse.goes_on(*await asyncio.to_thread(host.runs.spent, stored.id))
    working = asyncio.ensure_future(run.result())
    watching = asyncio.ensure_future(_watch(host.runs, host.holder, stored.id, working))
    try:
        found = await working
    except BaseException as error:
        watching.cancel()
        if isinstance(error, asyncio.CancelledError):
            await _cancelled(run, host, stored.id, working)
        else:
            await _end(host, stored.id, "failed", None, str(error))
        raise
    finishing = asyncio.ensure_future(_finish(run, host, stored.id, found, watching))
    host.background.add(finishing)
    finishing.add_done_callback(host.background.discard)
    if found.background is None:
        await finishing
        return found
    await asyncio.to_thread(host.runs.answered, stored.id, found.output)
    return replace(found, background=finishing)


async def _finish(run: RunScheduler, host: Runtime, id: str, found: RunResult, watching: asyncio.Future[None]) -> None:
    """Ends a run when its steps in the background have: until then, it can be resumed to do them."""
    try:
        await run.settle()
        await _end(host, id, "partial" if found.partial else "done", found.output, "")
    finally:
        watching.cancel()


async def _cancelled(run: RunScheduler, host: Runtime, id: str, working: asyncio.Future[RunResult]) -> None:
    """Ends what was under way. Raises `RunCancelled` unless it is the caller who left."""
    working.cancel()
    run.abandon()
    await asyncio.gather(working, return_exceptions=True)
    task = asyncio.current_task()
    has_left = task is not None and task.cancelling() > 0
    await _end(host, id, "cancelled", None, "its caller left" if has_left else "it was cancelled")
    if not has_left:
        raise RunCancelled(f"the run {id} was cancelled", remedy=f"Go on with it: --resume {id}")


async def _end(host: Runtime, id: str, status: str, output: Any, error: str) -> None:
    assert host.journal is not None
    assert host.runs is not None
    await host.journal.kept()
    await asyncio.to_thread(host.runs.end, id, status, output, error)


async def _watch(runs: Runs, holder: str, id: str, working: asyncio.Future[RunResult]) -> None:
    """Says that the run goes on, and ends it when somebody wants that, or has taken it over."""
    while not working.done():
        await asyncio.sleep(HEARD_EVERY_S)
        if await asyncio.to_thread(runs.heard, id, holder) in ("cancelling", "lost"):
            working.cancel()


def _is_gone(holder: str) -> bool:
    """Whether the process that worked on a run is known to have ended.

    It was on this machine, and there is none of its number.
    """
    machine, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    if machine != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
