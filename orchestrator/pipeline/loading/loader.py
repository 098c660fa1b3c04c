"""From a file to a pipeline that can run.

Everything that can be known to be wrong before it runs is found here, all of it in one pass.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.config.tools import Input
from orchestrator.config.yaml_loader import load_located
from orchestrator.errors import closest
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.compiled import Block, CompiledPipeline, Node, gathering, ordered, taking, without_items
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.scope import NameScope
from orchestrator.pipeline.expressions.templates import guards_of, names_used
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, TEXT, ValueType, joined, record, type_of, type_of_schema
from orchestrator.pipeline.language.diagnostics import Diagnostic, InvalidPipeline
from orchestrator.pipeline.language.document import Document, EnvVariable, Expected, Test
from orchestrator.pipeline.language.inputs import schema_of_inputs
from orchestrator.pipeline.language.sources import Sources, Where
from orchestrator.pipeline.language.step import Inner, OnError, Step, expression_fields
from orchestrator.pipeline.language.validation import field_names, validated
from orchestrator.pipeline.language.value_compiler import Values
from orchestrator.pipeline.loading.check_context import LoaderCheckContext
from orchestrator.pipeline.loading.references import Read, fields_read, inner_names, inner_steps
from orchestrator.pipeline.loading.step_registry import find_verb
from orchestrator.pipeline.tools import PipelineTool, read_tools
from orchestrator.verifiers.form.bounded_schema import BoundedSchema, UnusableSchema

MAX_NESTING = 8
MAX_STEPS = 2_000
MIN_SECRET = 4  # shorter ones stand in any text by chance
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset(("and", "or", "not", "in", "true", "false", "null", "inputs", "env"))
_INPUT_TYPES = {
    "text": "string",
    "boolean": "boolean",
    "list": "array",
    "object": "object",
    "number": "number",
    "integer": "integer",
}


def load(
    path: str | Path,
    *,
    models: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
    root: Path | None = None,
    parents: tuple[Path, ...] = (),
    allow_python: bool = False,
    warnings: list[Diagnostic] | None = None,
) -> CompiledPipeline:
    """Raises `InvalidPipeline` with every mistake; what is only doubtful goes into `warnings`.

    `models` are the names of the fleet, if it is known; files must lie within `root` (the folder one works in, or the
    file's own).
    """
    found = os.environ if environ is None else environ
    sources = Sources(Path(path), root)
    loader = Loader(sources, models=models, environ=found, parents=parents, allows_python=allow_python)
    pipeline = loader.pipeline()
    problems = loader.sources.problems
    if pipeline is None or any(problem.is_error for problem in problems):
        raise InvalidPipeline(problems, loader.sources.read)
    if warnings is not None:
        warnings += problems
    return pipeline


class Loader:
    """Loads one file; `parents` are the files that call it."""

    def __init__(
        self,
        sources: Sources,
        *,
        models: Collection[str] | None,
        environ: Mapping[str, str],
        parents: tuple[Path, ...] = (),
        allows_python: bool = False,
    ) -> None:
        self.sources = sources
        self.models = models
        self.allows_python = allows_python
        self.tools: dict[str, PipelineTool] = {}
        self.broken_tools: frozenset[str] = frozenset()
        self._environ = environ
        self._parents = (*parents, sources.path.resolve())
        self.values = Values(sources)
        self._steps = 0
        self._read: Read | None = None

    def pipeline(self) -> CompiledPipeline | None:
        """The file, checked; `None` if nothing of it can be understood."""
        sources = self.sources
        if not sources.load():
            return None
        document = validated(Document, sources.value, (), sources, "the file")
        raw = sources.value
        variables = {
            name: each for name, each in _mapping(raw.get("env")).items() if self.named(("env", name), name, "variable")
        }
        env, types = self._environment(variables)
        inputs = self._inputs(_mapping(raw.get("inputs")))
        scope = NameScope({"inputs": inputs, "env": types})
        stated = _mapping(raw.get("tools"))
        self.tools = read_tools(stated, self, scope)
        self.broken_tools = frozenset(stated) - {name.partition(".")[0] for name in self.tools}
        steps = _mapping(raw.get("steps"))
        block = self.block(steps, ("steps",), scope, output=raw.get("output"), output_at=("output",), depth=0)
        for name in variables:
            if name not in self.values.used_env and document is not None:
                sources.problem(("env", name), "W301", f"nothing uses the variable {name}", key=True)
        if document is None or block is None:
            return None
        self._unused(block)
        secrets = [
            value
            for name, value in env.items()
            if name in self.values.secret_names and value and len(value) >= MIN_SECRET
        ]
        schema = schema_of_inputs({name: self._input(each, name) for name, each in document.inputs.items()})
        pipeline = CompiledPipeline(
            document,
            sources.path,
            sources.digest,
            schema,
            env,
            tuple(secrets),
            self.tools,
            block,
            sources.root,
            tuple(sources.read),
        )
        self._tests(document.tests, pipeline)
        return pipeline

    # Sections

    def _environment(self, variables: JsonMapping) -> tuple[dict[str, str | None], ValueType]:
        values: dict[str, str | None] = {}
        types: dict[str, ValueType] = {}
        for name, stated in variables.items():
            variable = EnvVariable() if stated is None else self._quiet(EnvVariable, stated)
            if variable is None:
                types[name] = TEXT
                continue
            found = self._environ.get(name, variable.default)
            values[name] = found
            if found is None and not variable.optional:
                self.sources.problem(
                    ("env", name), "E301", f"the variable {name} is not set", f"export {name}=... first", key=True
                )
            missing = f"the variable {name} is optional" if variable.optional and variable.default is None else ""
            types[name] = TEXT.maybe(missing)
            if variable.secret:
                self.values.secret_names |= {name}
        return values, record(types)

    def _inputs(self, stated: JsonMapping) -> ValueType:
        types: dict[str, ValueType] = {}
        for name, each in stated.items():
            if not self.named(("inputs", name), name, "input"):
                continue
            one = self._quiet(Input, {"type": each} if isinstance(each, str) else each)
            types[name] = ANY if one is None else self._type_of_input(one, name)
        return record(types)

    def _type_of_input(self, one: Input, name: str) -> ValueType:
        schema = self.schema(one.schema_, ("inputs", name, "schema"))
        if schema is not None:
            found = type_of_schema(schema)
        elif one.choices is not None and one.type == "any":
            found = joined(map(type_of, one.choices))
        else:
            found = type_of_schema({"type": _INPUT_TYPES[one.type]}) if one.type != "any" else ANY
        if one.is_required or one.default is None:
            return found.maybe("" if one.is_required else f"the input '{name}' may be left out")
        if not type_of(one.default).fits(found):
            self.sources.problem(("inputs", name, "default"), "E106", f"input '{name}': the default is no {found}")
        return found

    def _input(self, stated: Input | str, name: str) -> tuple[Input, JsonObject | None]:
        one = Input.model_validate({"type": stated}) if isinstance(stated, str) else stated
        return one, self.schema(one.schema_, ("inputs", name, "schema"))

    def _quiet(self, kind: Any, stated: Any) -> Any:
        """The model of a part whose mistakes the check of the whole document has told already."""
        from pydantic import ValidationError  # heavy

        try:
            return kind.model_validate(stated)
        except ValidationError:
            return None

    def _tests(self, tests: Sequence[Test], pipeline: CompiledPipeline) -> None:
        """What tests name must be there: inputs, steps, tools, and what they look at."""
        paths = [path for path, _ in pipeline.block.walk()]
        known = ("output", "usd", "seconds", "error", "partial", *paths)
        for index, test in enumerate(tests):
            problem = pipeline.wrong_inputs(test.inputs)
            if problem:
                self.sources.problem(("tests", index, "inputs"), "E601", f"test '{test.name}': {problem}", key=True)
            for section, names in (("replies", paths), ("tools", list(self.tools))):
                for name in getattr(test, section):
                    is_broken = section == "tools" and name in self.broken_tools  # told already
                    if without_items(name) not in names and not is_broken:
                        told = f"test '{test.name}': there is no {'step' if section == 'replies' else 'tool'} '{name}'"
                        self.sources.problem(
                            ("tests", index, section, name), "E202", told, suggestion(name, names), key=True
                        )
            for name, wanted in test.expect.items():
                self._expected(wanted, ("tests", index, "expect", name), test.name)
                plain = without_items(name)
                if not any(plain == each or plain.startswith(f"{each}.") for each in known):
                    told = f"test '{test.name}': there is nothing called '{name}'"
                    self.sources.problem(
                        ("tests", index, "expect", name), "E202", told, suggestion(name, known), key=True
                    )

    def _expected(self, wanted: JsonValue, where: Where, test: str) -> None:
        """Tells a slip of the pen in what a test wants: it would be compared as a value."""
        known = field_names(Expected)
        if not isinstance(wanted, dict) or not wanted or wanted.keys() <= set(known):
            return
        for name in wanted.keys() - set(known):
            meant = closest(str(name), known, cutoff=0.8)
            if meant is not None:
                told = f"test '{test}': there is no comparison '{name}'"
                hint = f"did you mean {meant!r}? A value that looks like this is written as equals: {{...}}"
                self.sources.problem((*where, name), "E104", told, hint, key=True)

    # Steps

    def block(
        self, raw: JsonMapping, where: Where, scope: NameScope, *, output: JsonValue, output_at: Where, depth: int
    ) -> Block | None:
        """Checks steps that run together. `None` if there is none that can be understood."""
        if depth > MAX_NESTING:
            self.sources.problem(where, "E114", f"steps stand within steps at most {MAX_NESTING} deep")
            return None
        good = {name: each for name, each in raw.items() if self.named((*where, name), name, "step", scope)}
        known = {name: each for name, each in good.items() if self._step(name, each, (*where, name)) is not None}
        waits = {name: self._waits_for(name, each, good, where) & known.keys() for name, each in known.items()}
        order, cycle = ordered({name: sorted(before) for name, before in waits.items()})
        if cycle:
            told = " -> ".join([*cycle, cycle[0]])
            self.sources.problem(
                (*where, cycle[0]),
                "E206",
                f"these steps wait for each other: {told}",
                "let one of them do without the other",
                key=True,
            )
            order += [name for name in known if name not in order]
        hidden = {inner: name for name, each in good.items() for inner in inner_names(each)}
        here = scope.within(
            {}, hidden={name: outer for name, outer in hidden.items() if name not in good}, loose=good.keys()
        )
        background = {name for name, each in good.items() if isinstance(each, dict) and each.get("background") is True}
        nodes: dict[str, Node] = {}
        for name in order:
            node = self._node(name, known[name], (*where, name), here, depth)
            if node is None:
                continue
            nodes[name] = node
            here.types[name] = node.type
            for used in sorted(background & waits[name]) if name not in background else ():
                self.sources.problem(
                    (*where, name), "E209", f"step '{name}' uses '{used}', which runs in the background", key=True
                )
        return self._tied(nodes, waits, background, here, output, output_at)

    def _tied(
        self,
        nodes: Mapping[str, Node],
        waits: Mapping[str, set[str]],
        background: set[str],
        scope: NameScope,
        output: Any,
        output_at: Where,
    ) -> Block | None:
        if not nodes:
            return None
        names = list(nodes)
        index = {name: i for i, name in enumerate(names)}
        following: list[list[int]] = [[] for _ in names]
        for name in names:
            for before in waits[name]:
                if before in index:
                    following[index[before]].append(index[name])
        counts = tuple(sum(before in index for before in waits[name]) for name in names)
        needed = frozenset(index[name] for name in names if name not in background)
        if output is not None:
            type_ = self.values.type_of(output, output_at, scope, ANY, what="the output")
            compute = self.values.compute(output)
        elif len(needed) == 1:
            (only,) = (names[i] for i in needed)
            type_, compute = nodes[only].type, taking(only)
        else:
            given = [names[i] for i in sorted(needed)]
            type_, compute = record({name: nodes[name].type for name in given}), gathering(given)
        return Block(tuple(nodes.values()), counts, tuple(map(tuple, following)), compute, type_, needed)

    def _step(self, name: str, raw: Any, where: Where) -> type[Step] | None:
        """The verb of a step; what is wrong with it is told once."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            if self._steps == MAX_STEPS + 1:
                self.sources.problem(where, "E103", f"a pipeline has at most {MAX_STEPS:,} steps")
            return None
        if not isinstance(raw, dict):
            self.sources.problem(where, "E106", f"step '{name}' is a mapping with a verb, like {{say: hello}}")
            return None
        kind, problem = find_verb(raw)
        if problem is not None:
            self.sources.problem(
                (*where, *problem.field),
                problem.code,
                f"step '{name}' {problem.message}",
                problem.hint,
                key=not problem.of_value,
            )
        return kind

    def _waits_for(self, name: str, raw: JsonObject, siblings: JsonMapping, where: Where) -> set[str]:
        after = raw.get("after")
        stated: set[str] = set()
        for index, other in enumerate(after if isinstance(after, list) else ()):
            if not isinstance(other, str):
                continue  # what it should be is said when the step is checked
            if other in siblings and other != name:
                stated.add(other)
            else:
                hint = suggestion(other, [each for each in siblings if each != name])
                self.sources.problem(
                    (*where, name, "after", index), "E202", f"there is no step '{other}' beside this one", hint
                )
        used = names_used(raw)
        if name in used and name not in inner_names(raw):
            self.sources.problem((*where, name), "E206", f"step '{name}' uses its own value", key=True)
        return ((used & siblings.keys()) | stated) - {name}

    def _node(self, name: str, raw: JsonObject, where: Where, scope: NameScope, depth: int) -> Node | None:
        kind, _ = find_verb(raw)
        assert kind is not None
        step = validated(kind, raw, where, self.sources, f"step '{name}' ({kind.verb})")
        guards = guards_of(raw.get("when"))
        at = LoaderCheckContext(self, name, where, scope.assuming(guards), depth)
        fields: dict[str, Compute] = {}
        for field, (_, takes) in expression_fields(kind).items():
            if field in raw and raw[field] is not None:
                of = scope if field == "when" else at.scope
                at.types[field] = self.values.type_of(raw[field], (*where, field), of, takes.type, what=at.what)
                if step is not None and field != "when":
                    fields[field] = self.values.compute(raw[field], takes)
        if step is None:
            self._look_inside(raw, where, at)
            return None
        blocks = self._blocks(step, at)
        at.blocks = blocks
        gives = step.gives(at)
        if isinstance(step.on_error, OnError):
            give = self.values.type_of(step.on_error.give, (*where, "on_error", "give"), at.scope, ANY, what=at.what)
            fields["on_error"] = self.values.compute(step.on_error.give)
            gives = joined([gives, give])
        if step.when is not None and step.when is not True:
            gives = gives.maybe(f"step '{name}' runs only when its condition holds")
        if step.on_error == "skip" and kind.verb != "map":
            gives = gives.maybe(f"step '{name}' is skipped when it fails")
        when = None if step.when is None else self.values.compute(raw["when"])
        return Node(name, where, step, when, fields, blocks, gives)

    def _blocks(self, step: Step, at: LoaderCheckContext) -> dict[str, Block]:
        found: dict[str, Block] = {}
        for name, inner in step.inner(at).items():
            block = self._inner(inner, at)
            if block is not None:
                found[name] = block
        return found

    def _inner(self, inner: Inner, at: LoaderCheckContext) -> Block | None:
        where = (*at.where, *inner.where)
        scope = at.scope.within(inner.names)
        return self.block(
            inner.do, where, scope, output=inner.output, output_at=(*where[:-1], "output"), depth=at.depth + 1
        )

    def _look_inside(self, raw: JsonMapping, where: Where, at: LoaderCheckContext) -> None:
        """Steps within a step that is wrong itself are checked all the same."""
        for path, do in inner_steps(raw):
            names = {name for key in ("as", "index") if isinstance(name := raw.get(key), str)}
            scope = at.scope.within(dict.fromkeys((*names, "last", "index"), ANY))
            self.block(do, (*where, *path), scope, output=None, output_at=where, depth=at.depth + 1)

    def _unused(self, block: Block) -> None:
        """Warns of steps that serve nothing."""
        raw = self.sources.value
        if raw.get("output") is None:
            return
        steps = [each for each in _mapping(raw.get("steps")).values() if isinstance(each, dict)]
        used = names_used(raw.get("output")) | {name for each in steps for name in names_used(each)}
        after = [other for each in steps if isinstance(each.get("after"), list) for other in each["after"]]
        for node in block.nodes:
            if node.name not in used and node.name not in after and not _has_effects(node):
                self.sources.problem(node.where, "W201", f"nothing uses what step '{node.name}' gives", key=True)

    def schema(self, stated: str | JsonObject | None, where: Where) -> JsonObject | None:
        """A JSON Schema that stands in the file, or in one that it names."""
        if stated is None:
            return None
        found: Any = stated
        if isinstance(stated, str):
            read = self.sources.file(where, stated)
            if read is None:
                return None
            try:
                found = json.loads(read[1]) if stated.endswith(".json") else load_located(read[1], stated).value
            except Exception as error:
                self.sources.problem(where, "E505", f"{stated}: {error}"[:300])
                return None
        try:
            BoundedSchema(found)
        except UnusableSchema as error:
            self.sources.problem(where, "E505", f"this is no usable JSON Schema: {error}"[:300])
            return None
        return found if isinstance(found, dict) else None

    def called(self, where: Where, name: str) -> CompiledPipeline | None:
        """The pipeline of another file."""
        path = self.sources.path_of(where, name)
        if path is None:
            return None
        if path.resolve() in self._parents:
            told = " -> ".join([*(each.name for each in self._parents), path.name])
            self.sources.problem(where, "E114", f"a pipeline calls itself: {told}")
            return None
        if len(self._parents) > MAX_NESTING:
            self.sources.problem(where, "E114", f"pipelines call others at most {MAX_NESTING} deep")
            return None
        if not path.is_file():
            self.sources.file(where, name)
            return None
        try:
            found = load(
                path,
                models=self.models,
                environ=self._environ,
                root=self.sources.root,
                parents=self._parents,
                allow_python=self.allows_python,
            )
        except InvalidPipeline as invalid:
            errors = [each for each in invalid.diagnostics if each.is_error]
            self.sources.read += invalid.files
            self.sources.problems += errors
            self.sources.problem(
                where, "E100", f"the pipeline {name} has {len(errors)} mistake{'s' * (len(errors) != 1)} of its own"
            )
            return None
        self.sources.add(found.digest, found.files)
        return found

    def is_read(self, step: str, field: str) -> bool:
        """Whether an expression of the file may read a field of what a step of this name gives."""
        if self._read is None:
            self._read = fields_read(self.sources.value)
        return step in self._read.whole or (step, field) in self._read.fields

    def named(self, where: Where, name: str, what: str, scope: NameScope | None = None, *, is_key: bool = True) -> bool:
        """Whether a name can be one, and is free."""
        if not _NAME.fullmatch(name) or name in _RESERVED:
            told = f"'{name}' is not a name for a{'n' if what[0] in 'aeiou' else ''} {what}"
            better = re.sub(r"\W+", "_", name).strip("_")
            hint = f"write '{better}'" if _NAME.fullmatch(better) and better not in _RESERVED else "begin with a letter"
            self.sources.problem(where, "E109", told, hint, key=is_key)
            return False
        if scope is not None and scope.has(name):
            self.sources.problem(
                where, "E110", f"there is a '{name}' outside of this step already", "give it another name", key=is_key
            )
            return False
        return True


def _mapping(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _has_effects(node: Node) -> bool:
    return node.step.has_effects or any(_has_effects(each) for block in node.blocks.values() for each in block.nodes)
