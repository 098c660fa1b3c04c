"""A pipeline that was checked and can run: from Python, the command line and the gateway alike."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.config.yaml_loader import load_located
from orchestrator.engine.streaming import events_of
from orchestrator.engine.sync import blocking_once
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.compiled import CompiledPipeline
from orchestrator.pipeline.execution.durable import replay, resume, start
from orchestrator.pipeline.execution.result import RunResult
from orchestrator.pipeline.execution.runtime import Runtime
from orchestrator.pipeline.language.diagnostics import Diagnostic
from orchestrator.pipeline.loading.loader import load

if TYPE_CHECKING:
    from orchestrator.budget import Ledger
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.trace import Event


@dataclass(frozen=True)
class Pipeline(CompiledPipeline):
    """A pipeline that can run. Made by `Pipeline.load`."""

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        models: Collection[str] | None = None,
        root: Path | None = None,
        allow_python: bool = False,
        warnings: list[Diagnostic] | None = None,
    ) -> Pipeline:
        """Reads and checks a file.

        Raises `InvalidPipeline` with every mistake in it. `models` are the names of the fleet, if it is known; the
        files that a pipeline names must lie within `root`. `allow_python` lets it call functions of installed modules.
        What is only doubtful goes into `warnings`.
        """
        return cls.of(load(path, models=models, root=root, allow_python=allow_python, warnings=warnings))

    @classmethod
    def of(cls, compiled: CompiledPipeline) -> Pipeline:
        """The same with the ways to run it."""
        return cls(**{each.name: getattr(compiled, each.name) for each in fields(compiled)})

    async def run(
        self,
        inputs: JsonMapping | None = None,
        *,
        host: Runtime | None = None,
        orchestrator: Orchestrator | None = None,
        id: str = "",
        on_event: Callable[[Event], None] | None = None,
        within: Ledger | None = None,
        seconds: float | None = None,
        **more: JsonValue,
    ) -> RunResult:
        """Runs it with `inputs` (or keyword arguments), answered by `orchestrator`, or within a `host` that keeps runs.

        Beside its own budget, it spends from the account `within`, and takes at most `seconds`. Raises `InvalidInputs`,
        `RunFailed` (a step failed), `RunCancelled`. A spent budget gives what there is, marked `partial`, unless the
        file says `when_spent: fail`.
        """
        given = self.inputs_of({**(inputs or {}), **more})
        if host is not None:
            return await start(self, host, given, id, on_event, within=within, seconds=seconds)
        async with Runtime(orchestrator) as own:
            found = await start(self, own, given, id, on_event, within=within, seconds=seconds)
            await found.settled()
            return found

    run_sync = blocking_once(run)

    def stream(
        self,
        inputs: JsonMapping | None = None,
        *,
        host: Runtime | None = None,
        orchestrator: Orchestrator | None = None,
        id: str = "",
        within: Ledger | None = None,
        seconds: float | None = None,
        **more: JsonValue,
    ) -> AsyncGenerator[Event | RunResult, None]:
        """As `run`, but yields every event as it happens, and last the result. Closing it cancels the run."""
        given = {**(inputs or {}), **more}
        return events_of(
            lambda on_event: self.run(
                given, host=host, orchestrator=orchestrator, id=id, on_event=on_event, within=within, seconds=seconds
            )
        )

    async def resume(
        self,
        id: str,
        *,
        host: Runtime,
        on_event: Callable[[Event], None] | None = None,
        may_differ: bool = False,
        within: Ledger | None = None,
        seconds: float | None = None,
    ) -> RunResult:
        """Goes on with a run that was interrupted, failed or cancelled: what finished is not done again.

        A run that has its result gives it again.

        Raises `UnknownRun`; `ConfigError` if the files are others than those it began with (unless they `may_differ`),
        or if another process works on it.
        """
        return await resume(self, id, host, on_event, may_differ=may_differ, within=within, seconds=seconds)

    async def replay(
        self,
        id: str,
        *,
        host: Runtime,
        begin: str | None = None,
        on_event: Callable[[Event], None] | None = None,
        within: Ledger | None = None,
        seconds: float | None = None,
    ) -> RunResult:
        """A new run with the inputs of another one and what its steps gave.

        `begin`, and all that follows from it, is done anew; on the account `within`, in so many `seconds`, if given.

        Raises `UnknownRun`, or `ConfigError` on a step that is not there.
        """
        return await replay(self, id, host, on_event, begin=begin, within=within, seconds=seconds)


def read_inputs(path: Path) -> JsonObject:
    """Inputs from a file of JSON or YAML. Raises `ConfigError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", remedy="Check the path") from None
    found = json.loads(text) if path.suffix == ".json" else load_located(text, str(path)).value
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no mapping of inputs", remedy="Write name: value")
    return found
