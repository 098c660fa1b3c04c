"""A tool in a pipeline file that is one SQL statement. It only reads unless the file says that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.config.tools import SqlOptions
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed
from orchestrator.pipeline.expressions.templates import OPEN
from orchestrator.pipeline.expressions.types import LIST, NUMBER, TEXT, ValueType, record, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.http import input_schemas
from orchestrator.pipeline.tools.tool import Arguments, PipelineTool, StepParameter
from orchestrator.tools.calling import Caller, Parameter
from orchestrator.tools.sql import SqlStatement, is_postgres, statement_parameters

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tool of an entry, mistakes told."""
    stated = validated(SqlOptions, raw, where, loader.sources, f"tool '{name}'")
    if isinstance(raw.get("sql"), str):
        loader.values.type_of(raw["sql"], (*where, "sql"), scope.only("env"), TEXT, shows=False, what="the tool")
    if stated is None:
        return {}
    statement = SqlStatement.read(stated)
    if isinstance(statement, str):
        loader.sources.problem((*where, "query"), "E507", f"tool '{name}': {statement}")
        return {}
    for one in stated.parameters:
        if one not in statement.names:
            loader.sources.problem((*where, "parameters", one), "E507", f"the query has no parameter :{one}", key=True)
    path = None
    if stated.sql.startswith("sqlite:") and OPEN not in stated.sql:
        path = loader.sources.path_of((*where, "sql"), stated.sql.removeprefix("sqlite:").removeprefix("//"))
        if path is None:
            return {}
    elif not is_postgres(stated.sql) and not stated.sql.startswith("sqlite:") and OPEN not in stated.sql:
        loader.sources.problem((*where, "sql"), "E507", f"tool '{name}': a database is sqlite:FILE or postgresql://...")
        return {}
    parameters = statement_parameters(statement, stated, input_schemas(stated.parameters, where, loader))
    schema = loader.schema(stated.gives, (*where, "gives"))
    gives = record(changed=NUMBER) if stated.writes else type_of_schema(schema) if schema is not None else LIST
    made = SqlTool(loader.values.compute(stated.sql), path, statement, parameters, gives)
    made.options = stated
    return {name: made}


class SqlTool(PipelineTool):
    """Runs one statement with bound parameters."""

    def __init__(
        self,
        url: Compute,
        path: Path | None,
        statement: SqlStatement,
        parameters: Mapping[str, Parameter],
        gives: ValueType,
    ) -> None:
        self._url = url
        self._path = path
        self._statement = statement
        self.parameters: Mapping[str, StepParameter] = StepParameter.of(parameters)
        self.gives = gives
        self.effects = "idempotent" if statement.writes else "none"

    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        try:
            url = str(self._url({"env": running.pipeline.env}))
        except ExpressionFailed as error:
            raise ToolFailed(f"the database is not known: {error.message}", remedy=error.remedy) from None
        path = None if is_postgres(url) else self._file(url, running)
        return await self._statement.run(url, arguments, caller, path)

    def _file(self, url: str, running: StepContext) -> Path:
        name = url.removeprefix("sqlite:").removeprefix("//")
        resolved = (self._path or (running.pipeline.path.parent / name)).resolve()
        if not resolved.is_relative_to(running.pipeline.root):
            raise ToolFailed(f"the database {name!r} lies outside of the project", remedy="Move it there")
        return resolved
