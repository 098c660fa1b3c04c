"""A pipeline that was checked and can run: from Python, the command line and the gateway alike."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError, InvalidQuery
from orchestrator.pipeline.compiled import Block
from orchestrator.pipeline.language.document import Document

if TYPE_CHECKING:
    from orchestrator.budget import Ledger
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline.execution.result import RunResult
    from orchestrator.pipeline.execution.runtime import Host
    from orchestrator.pipeline.tools import Tool
    from orchestrator.trace import Event
    from orchestrator.verifiers.form.bounded_schema import BoundedSchema


class InvalidInputs(InvalidQuery):
    """What a run was given does not fit what the pipeline takes."""

    code = "invalid_inputs"


@dataclass(frozen=True)
class Pipeline:
    """Made by `Pipeline.load`. `schema` is the JSON Schema of its inputs, `digest` that of all its files."""

    document: Document
    path: Path
    digest: str
    schema: dict[str, Any]
    env: Mapping[str, str | None] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    tools: Mapping[str, Tool] = field(repr=False)
    block: Block = field(repr=False)
    root: Path = field(repr=False, default_factory=Path)
    files: tuple[Path, ...] = field(repr=False, default=())
    """All that was read for it."""

    @classmethod
    def load(
        cls, path: str | Path, *, models: Collection[str] | None = None, root: Path | None = None, allow_python: bool = False
    ) -> Pipeline:
        """Reads and checks a file. Raises `InvalidPipeline` with every mistake in it. `models` are the names of the fleet, if it is known; the files
        that a pipeline names must lie within `root`. `allow_python` lets it call functions of installed modules.
        """
        from orchestrator.pipeline.loading.loader import load

        return load(path, models=models, root=root, allow_python=allow_python)

    @property
    def name(self) -> str:
        return self.document.name

    def wrong_inputs(self, given: Mapping[str, Any], *, whole: bool = True) -> str:
        """What is wrong with the inputs of a run, in words; nothing if nothing is. Unless they shall be `whole`, some may be missing."""
        from orchestrator.pipeline.language.inputs import wrong_inputs

        if not whole:
            return "; ".join(wrong_inputs({**self.schema, "required": []}, given))
        errors = self._checked.find_errors(dict(given))
        return "; ".join(wrong_inputs(self.schema, given) or errors) if errors else ""

    def inputs_of(self, given: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
        """The inputs with their defaults. Raises `InvalidInputs`."""
        problem = self.wrong_inputs(given, whole=whole)
        if problem:
            takes = ", ".join(self.schema["properties"]) or "nothing"
            raise InvalidInputs(f"the inputs of {self.name} are wrong: {problem}"[:1_000], remedy=f"It takes: {takes}")
        defaults = {name: one["default"] for name, one in self.schema["properties"].items() if "default" in one}
        return {**defaults, **given}

    async def run(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        host: Host | None = None,
        orchestrator: Orchestrator | None = None,
        id: str = "",
        on_event: Callable[[Event], None] | None = None,
        within: Ledger | None = None,
        seconds: float | None = None,
        **more: Any,
    ) -> RunResult:
        """Runs it with `inputs` (or keyword arguments), answered by `orchestrator`, or within a `host` that may keep runs. Beside its own budget, it
        spends from the account `within`, and takes at most `seconds`.

        Raises `InvalidInputs`, `RunFailed` (a step failed), `RunCancelled`. A spent budget gives what there is, marked `partial`, unless the file
        says `when_spent: fail`.
        """
        from orchestrator.pipeline.execution.durable import started
        from orchestrator.pipeline.execution.runtime import Host

        given = self.inputs_of({**(inputs or {}), **more})
        if host is not None:
            return await started(self, host, given, id, on_event, within=within, seconds=seconds)
        async with Host(orchestrator) as own:
            found = await started(self, own, given, id, on_event, within=within, seconds=seconds)
            await found.settled()
            return found

    def run_sync(self, inputs: Mapping[str, Any] | None = None, **settings: Any) -> RunResult:
        """`run` for scripts. Must not be called from a running event loop."""
        from orchestrator.engine.sync import BlockingLoop

        loop = BlockingLoop()
        try:
            return loop.run(self.run(inputs, **settings))
        finally:
            loop.close()

    def stream(self, inputs: Mapping[str, Any] | None = None, **settings: Any) -> AsyncGenerator[Event | RunResult, None]:
        """As `run`, but yields every event as it happens, and last the result. Closing it cancels the run."""
        from orchestrator.engine.streaming import events_of

        return events_of(lambda on_event: self.run(inputs, **settings, on_event=on_event))

    async def resume(
        self,
        id: str,
        *,
        host: Host,
        on_event: Callable[[Event], None] | None = None,
        may_differ: bool = False,
        within: Ledger | None = None,
        seconds: float | None = None,
    ) -> RunResult:
        """Goes on with a run that was interrupted, failed or cancelled: what finished is not done again. A run that has its result gives it again.

        Raises `UnknownRun`; `ConfigError` if the files are others than those it began with (unless they `may_differ`), or if another process works on
        it.
        """
        from orchestrator.pipeline.execution.durable import resumed

        return await resumed(self, id, host, on_event, may_differ=may_differ, within=within, seconds=seconds)

    async def replay(self, id: str, *, host: Host, begin: str | None = None, on_event: Callable[[Event], None] | None = None) -> RunResult:
        """A new run with the inputs of another one and what its steps gave; `begin`, and all that follows from it, is done anew.

        Raises `UnknownRun`, or `ConfigError` on a step that is not there.
        """
        from orchestrator.pipeline.execution.durable import replayed

        return await replayed(self, id, host, on_event, begin=begin)

    @cached_property
    def _checked(self) -> BoundedSchema:
        from orchestrator.verifiers.form.bounded_schema import BoundedSchema

        return BoundedSchema(self.schema)

    def as_dict(self) -> dict[str, Any]:
        """What one must know to call it."""
        return {
            "name": self.name,
            "release": self.document.release,
            "description": self.document.description,
            "inputs": self.schema,
            "steps": [{"path": path, "verb": node.step.verb} for path, node in self.block.walk()],
        }


def read_inputs(path: Path) -> dict[str, Any]:
    """Inputs from a file of JSON or YAML. Raises `ConfigError`."""
    from orchestrator.config.yaml_loader import load_located

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", remedy="Check the path") from None
    found = json.loads(text) if path.suffix == ".json" else load_located(text, str(path)).value
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no mapping of inputs", remedy="Write name: value")
    return found
