"""What speaks for a set of tool calls before anybody else proposes one: schema, arguments, and the fit of the tools.

Each check reads the calls that `write_calls` wrote as the candidate, and abstains on what it has nothing to say of. How
much a verdict is worth is learned from graded calls (`orchestrator.verifiers.learning.fit_ensemble`); until then it
counts a little.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from orchestrator.jsontypes import JsonMapping
from orchestrator.verifiers.answers.tool_calls import default_of, states_default
from orchestrator.verifiers.calls.argument_support import SaidTexts, numbers_in, terms_of
from orchestrator.verifiers.calls.call_set import (
    ProposedCall,
    functions_of,
    leaves,
    parameters_of,
    property_schema,
    read_calls,
)
from orchestrator.verifiers.form.bounded_schema import BoundedSchema, UnusableSchema
from orchestrator.verifiers.verdict import Verdict, Verifier

SAID = 0.5  # the share of a value's words from which on it is taken as said


def call_verifiers(
    tools: Sequence[JsonMapping],
    conversation: Sequence[str],
    *,
    choice: str | JsonMapping | None = None,
    parallel: bool | None = None,
) -> list[Verifier]:
    """The checks of calls of `tools` by a model that read the texts of a conversation, in order.

    `choice` and `parallel` are what the caller says of how tools are to be used (see `CallChoiceVerifier`).
    """
    functions = functions_of(tools)
    said = SaidTexts(conversation)
    bound: list[Verifier] = []
    if choice not in (None, "auto") or parallel is False:
        bound.append(CallChoiceVerifier(choice, parallel=parallel is not False))
    return [
        *bound,
        CallSchemaVerifier(functions),
        CallArgumentsVerifier(functions, said),
        CallCoverageVerifier(),
        CallFitVerifier(functions),
        NoCallFitVerifier(functions),
    ]


class CallChoiceVerifier:
    """Passes calls that are as the caller wants them: some, none, of one function, one at a time. Decisive.

    `choice` is "required", "none", or a function in OpenAI's form; `parallel` whether several calls are wanted.
    """

    name = "call_choice"
    reads_calls = True

    def __init__(self, choice: str | JsonMapping | None, *, parallel: bool = True) -> None:
        self._choice, self._parallel = choice, parallel

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Compares the names and the number of calls."""
        names = [call.name for call in read_calls(candidate)]
        told = self._fault(names)
        return Verdict(self.name, 0.0 if told else 1.0, not told, told, decisive=True)

    def _fault(self, names: Sequence[str]) -> str:
        if isinstance(self._choice, Mapping):
            wanted = self._choice.get("function", self._choice)
            name = wanted.get("name") if isinstance(wanted, Mapping) else None
            if name is not None and set(names) != {name}:
                return f"the tool {name} must be called"
        if self._choice == "required" and not names:
            return "a tool must be called"
        if self._choice == "none" and names:
            return "no tool may be called: answer in words"
        return "only one tool may be called at a time" if not self._parallel and len(names) > 1 else ""


class CallSchemaVerifier:
    """Passes calls of tools that there are, whose arguments satisfy their JSON Schemas.

    Decisive; the feedback says what is wrong and what would be right. Abstains where a schema is no usable one.
    """

    name = "call_schema"
    reads_calls = True

    def __init__(self, functions: dict[str, JsonMapping]) -> None:
        self._functions = functions

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Checks every call; the first mistakes are told."""
        calls = read_calls(candidate)
        if not calls:
            return Verdict.abstain(self.name, "no tool is called")
        try:
            errors = [error for call in calls for error in await self.errors(call)]
        except (UnusableSchema, TimeoutError) as error:
            return Verdict.abstain(self.name, f"the schema of a tool cannot be used: {error}"[:300])
        told = "; ".join(errors[:3])
        return Verdict(self.name, 0.0 if errors else 1.0, not errors, told, tuple(errors), decisive=True)

    async def errors(self, call: ProposedCall) -> list[str]:
        """What is wrong with one call, each with what would be right. Raises `UnusableSchema`, `TimeoutError`."""
        function = self._functions.get(call.name)
        if function is None:
            known = ", ".join(sorted(self._functions)[:20]) or "none"
            return [f"there is no tool {call.name!r}; there are: {known}"]
        if call.arguments is None:
            return [f"the arguments of {call.name} are not a JSON object: {call.written[:120]!r}"]
        schema = _compiled(json.dumps(parameters_of(function)))
        found = [f"{call.name}: {error}" for error in await schema.errors(call.arguments)]
        return found + [f"{call.name} has no argument {name!r}" for name in unknown_arguments(call, function)]


@lru_cache(maxsize=512)
def _compiled(schema: str) -> BoundedSchema:
    """A compiled schema: the tools of a conversation are the same with each of its steps."""
    return BoundedSchema(json.loads(schema))


def unknown_arguments(call: ProposedCall, function: JsonMapping) -> list[str]:
    """Arguments that a tool does not name, where its schema lists them and does not say that others may be there."""
    schema = parameters_of(function)
    properties = schema.get("properties")
    if not isinstance(properties, dict) or schema.get("additionalProperties", False) is not False:
        return []
    if any(name in schema for name in ("patternProperties", "$ref", "allOf", "anyOf", "oneOf", "if")):
        return []
    return [name for name in call.arguments or {} if name not in properties]


class CallArgumentsVerifier:
    """Scores calls by how far the values of their arguments stand in the conversation: the mean of all values.

    Values that a schema lists, and those that would be taken anyway, need not be said.
    """

    name = "call_arguments"
    reads_calls = True

    def __init__(self, functions: dict[str, JsonMapping], said: SaidTexts) -> None:
        self._functions, self._said = functions, said

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Looks every value up, by words and by number; abstains where none says anything."""
        supports = [each for call in read_calls(candidate) for each in self._supports(call)]
        if not supports:
            return Verdict.abstain(self.name, "no argument says anything that could be looked up")
        return Verdict(self.name, sum(supports) / len(supports), None)

    def _supports(self, call: ProposedCall) -> Iterator[float]:
        """The support of every value of a call's arguments that says something, in [0, 1]."""
        schema = parameters_of(self._functions.get(call.name, {}))
        for name, value in (call.arguments or {}).items():
            stated = property_schema(schema, name, schema)
            listed = stated.get("enum")
            if states_default(stated) and value == default_of(stated):
                continue
            for leaf in leaves(value):
                support = self._said.share_of(leaf)
                if support is not None and not (isinstance(listed, list) and leaf in listed and support < SAID):
                    yield support


class CallCoverageVerifier:
    """Scores calls by the share of the numbers in the question that some argument takes up."""

    name = "call_coverage"
    reads_calls = True

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Compares numbers by value; abstains where the question holds none, or nothing is called."""
        calls, asked = read_calls(candidate), numbers_in(query)
        if not calls or not asked:
            return Verdict.abstain(self.name, "there are no numbers to compare")
        text = " ; ".join(str(leaf) for call in calls for leaf in leaves(call.arguments))
        given = numbers_in(text) | numbers_in(query) & {each * 100 for each in numbers_in(text)}
        return Verdict(self.name, len(asked & given) / len(asked), None)


class CallFitVerifier:
    """Scores calls by how much of the question is about what their tools say they do."""

    name = "call_fit"
    reads_calls = True

    def __init__(self, functions: dict[str, JsonMapping]) -> None:
        self._functions = functions

    async def verify(self, query: str, candidate: str) -> Verdict:
        """The largest share of the question's words that a called tool knows."""
        called = {call.name for call in read_calls(candidate)} & self._functions.keys()
        if not called:
            return Verdict.abstain(self.name, "no tool is called")
        return Verdict(self.name, max(fit(query, self._functions[name]) for name in called), None)


class NoCallFitVerifier:
    """Scores an answer without calls by how little of the question is about what any tool says that it does."""

    name = "no_call_fit"
    reads_calls = True

    def __init__(self, functions: dict[str, JsonMapping]) -> None:
        self._functions = functions

    async def verify(self, query: str, candidate: str) -> Verdict:
        """One less the best fit of any tool."""
        if read_calls(candidate) or not self._functions:
            return Verdict.abstain(self.name, "a tool is called")
        return Verdict(self.name, 1.0 - max(fit(query, each) for each in self._functions.values()), None)


def fit(query: str, function: JsonMapping) -> float:
    """The share of a question's words that a tool's name and description know, in [0, 1]."""
    asked = terms_of(query)
    known = terms_of(f"{function.get('name', '')} {function.get('description', '')}")
    return len(asked & known) / len(asked) if asked else 0.0
