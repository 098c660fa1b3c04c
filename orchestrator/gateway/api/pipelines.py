"""/v1/pipelines and /v1/runs.

What pipelines there are, running them, and looking at, cancelling, resuming and deleting runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator.budget import from_nano
from orchestrator.engine.streaming import events_of
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.chat.pipeline_models import PREFIX, TOLD, Pipelines, outside, problem_for
from orchestrator.gateway.chat.synthetic import progress
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.gateway.http.request import EVENTS
from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.execution.durable import new_id
from orchestrator.pipeline.execution.result import RunResult, UnknownRun
from orchestrator.pipeline.pipeline import Pipeline
from orchestrator.storage.runs import SILENT_S, StoredRun
from orchestrator.trace import Event

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services


async def list_pipelines(services: Services, call: ClientRequest, _: object) -> None:
    """Lists the pipelines that the key may run."""
    found = services.serving.pipelines.allowed(call.principal)
    await call.reply_json({"object": "list", "data": [_described(name, each) for name, each in found.items()]})


async def one_pipeline(services: Services, call: ClientRequest, _: object) -> None:
    """Describes one pipeline: what it takes and which steps it has."""
    name = call.params["name"]
    await call.reply_json(_described(name, services.serving.pipelines.named(call.principal, name)))


def _described(name: str, pipeline: Pipeline) -> JsonObject:
    return {**pipeline.as_dict(), "name": name, "model": f"{PREFIX}{name}"}


async def begin_run(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Begins a run, and gives its result or its events."""
    serving, name, id = services.serving, call.params["name"], new_id()
    pipeline = serving.pipelines.named(call.principal, name)
    call.tab = RequestAccount(services.limiter, call, "run", f"{PREFIX}{name}")
    if body.get("background"):
        tab = call.tab
        work = serving.pipelines.begin(call, pipeline, name, body, None, id)
        call.tab = None  # it is recorded when the run has ended

        async def go_on() -> None:
            status, why = 200, ""
            try:
                await work
            except Exception as error:
                problem = problem_for(error, id)
                status, why = problem.status, problem.code or "error"
                await asyncio.to_thread(_keep_refused, services, tab.principal, pipeline, id, body, problem)
            finally:
                services.recorder.add(tab.close(status, why, {"run": id}))

        serving.later(go_on())
        await call.reply_json({"id": id, "pipeline": name, "status": "running", "output": None, "cost_usd": None})
        return
    serving.running += 1
    try:
        async with call.watched():
            if body.get("stream"):
                await _streamed(serving.pipelines, call, pipeline, name, body, id)
            else:
                found = await serving.pipelines.begin(call, pipeline, name, body, None, id)
                await call.reply_json(_ended(name, found))
    finally:
        await serving.ended()


def _keep_refused(
    services: Services, principal: Principal, pipeline: Pipeline, id: str, body: JsonObject, problem: GatewayError
) -> None:
    """A run that was refused before it began (no money, too many at once) can be looked up like any other."""
    owner = f"{principal.org}/{principal.key}"
    if services.runs.find(owner, id) is not None:
        return
    now = services.clock()
    inputs = dict(body.get("inputs") or {})
    services.runs.begin(
        StoredRun(id, owner, pipeline.name, "", pipeline.digest, "failed", inputs, None, "", now, now, "", 0.0)
    )
    services.runs.end(id, "failed", None, problem.message)


async def _streamed(
    pipelines: Pipelines, call: ClientRequest, pipeline: Pipeline, name: str, body: JsonObject, id: str
) -> None:
    pipeline.inputs_of(body.get("inputs") or {})  # what is wrong with them is told before the stream begins
    await call.begin(200, EVENTS)
    running = events_of(lambda on_event: pipelines.begin(call, pipeline, name, body, on_event, id))
    try:
        async for step in running:
            if isinstance(step, Event):
                await call.write(progress(outside(step), typed=True))
            else:
                await call.write(sse.event(_ended(name, step), "orchestrator.run"))
    except Exception as error:
        await call.write(sse.event(problem_for(error, call.id).as_openai()))
    finally:
        await running.aclose()
    await call.write(sse.DONE)
    await call.end()


def _ended(name: str, found: RunResult) -> JsonObject:
    told = found.as_dict()
    told["steps"] = [{key: value for key, value in step.items() if key not in TOLD} for step in told["steps"]]
    return {**told, "pipeline": name, "status": "partial" if found.partial else "done"}


async def list_runs(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Lists the runs of a pipeline."""
    pipeline = services.serving.pipelines.named(call.principal, call.params["name"])
    found = await asyncio.to_thread(
        services.runs.recent, _owner(call), pipeline=pipeline.name, limit=query.get("limit", 100)
    )
    await call.reply_json({"object": "list", "data": [_stored(run, services.runs.spent(run.id)[0]) for run in found]})


async def one_run(services: Services, call: ClientRequest, _: object) -> None:
    """Shows one run with its steps."""
    stored = await _find(services, call)
    steps = await asyncio.to_thread(services.runs.steps, stored.id)
    nano = (await asyncio.to_thread(services.runs.spent, stored.id))[0]
    await call.reply_json({**_stored(stored, nano), "steps": [step.as_dict() for step in steps]})


async def cancel_run(services: Services, call: ClientRequest, _: object) -> None:
    """Ends a run."""
    stored = await _find(services, call)
    if not await asyncio.to_thread(services.runs.cancel, stored.owner, stored.id):
        raise GatewayError(409, f"the run has ended already: {stored.status}", code="run_ended")
    await one_run(services, call, None)


async def resume_run(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Goes on with a run that was interrupted."""
    await _again(services, call, body, services.serving.pipelines.resume)


async def replay_run(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """A new run with the inputs of another: what its steps gave is taken over, up to one that is done anew."""
    await _again(services, call, body, services.serving.pipelines.replay)


async def _again(
    services: Services,
    call: ClientRequest,
    body: JsonObject,
    work: Callable[[ClientRequest, StoredRun, JsonObject], Awaitable[RunResult]],
) -> None:
    stored = await _find(services, call)
    call.tab = RequestAccount(services.limiter, call, "run", f"{PREFIX}{stored.pipeline}")
    serving = services.serving
    serving.running += 1
    try:
        async with call.watched():
            found = await work(call, stored, body)
            await call.reply_json(_ended(stored.pipeline, found))
    finally:
        await serving.ended()


async def delete_run(services: Services, call: ClientRequest, _: object) -> None:
    """Deletes a run with everything that was kept of it."""
    stored = await _find(services, call)
    if not stored.has_ended and services.clock() - stored.held_at < SILENT_S:
        raise GatewayError(409, "the run is still going on: cancel it first", code="run_not_ended", should_retry=False)
    await asyncio.to_thread(services.runs.delete, stored.owner, stored.id)
    await asyncio.to_thread(services.database.erase)
    await call.reply_json({"id": stored.id, "deleted": True})


def _owner(call: ClientRequest) -> str:
    return f"{call.principal.org}/{call.principal.key}"


async def _find(services: Services, call: ClientRequest) -> StoredRun:
    found = await asyncio.to_thread(services.runs.find, _owner(call), call.params["id"])
    if found is None:
        raise UnknownRun(f"there is no run {call.params['id']!r}", remedy="GET /v1/pipelines/NAME/runs lists them")
    return found


def _stored(run: StoredRun, nano: int) -> JsonObject:
    told = run.as_dict()
    told["error"] = run.error.split(": ", 1)[0]
    return {**told, "cost_usd": from_nano(nano)}


_NAME = (("name", "Name"),)
_ID = (("id", "Id"),)
_LIMIT = Param("limit", {"type": "integer", "minimum": 1, "maximum": 1000})
ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/pipelines",
        list_pipelines,
        "The pipelines that this key may run",
        "inference",
        answer="PipelineList",
    ),
    Endpoint(
        "GET",
        "/v1/pipelines/{name}",
        one_pipeline,
        "What a pipeline takes",
        "inference",
        answer="Pipeline",
        path_schemas=_NAME,
        errors=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/pipelines/{name}/runs",
        begin_run,
        "Run a pipeline",
        "inference",
        body="RunRequest",
        answer="Run",
        path_schemas=_NAME,
        streams=True,
        errors=(404, 409),
    ),
    Endpoint(
        "GET",
        "/v1/pipelines/{name}/runs",
        list_runs,
        "The newest runs of this key",
        "inference",
        answer="RunList",
        path_schemas=_NAME,
        params=(_LIMIT,),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/runs/{id}",
        one_run,
        "A run, with what its steps gave",
        "inference",
        answer="Run",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/cancel",
        cancel_run,
        "Ask a run to end; it can be resumed",
        "inference",
        answer="Run",
        path_schemas=_ID,
        errors=(404, 409),
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/resume",
        resume_run,
        "Go on with a run; what finished is not done again",
        "inference",
        body="ResumeRequest",
        answer="Run",
        path_schemas=_ID,
        errors=(404, 409),
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/replay",
        replay_run,
        "A new run with the inputs of this one; steps are done anew from the one that is named",
        "inference",
        body="ReplayRequest",
        answer="Run",
        path_schemas=_ID,
        errors=(400, 404, 409),
    ),
    Endpoint(
        "DELETE",
        "/v1/runs/{id}",
        delete_run,
        "Delete a run and what its steps gave, for good",
        "inference",
        answer="Deleted",
        path_schemas=_ID,
        errors=(404, 409),
    ),
)
