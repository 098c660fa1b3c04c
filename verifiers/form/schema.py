"""Structure: does an answer hold JSON that satisfies a schema (JSON Schema draft 2020-12, through jsonschema-rs)?"""

from __future__ import annotations

import json
import re

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.verifiers.answers.code_blocks import fenced_blocks
from orchestrator.verifiers.answers.final_answer import without_thoughts
from orchestrator.verifiers.form.bounded_schema import BoundedSchema, UnusableSchema
from orchestrator.verifiers.verdict import Verdict


def find_json(text: str) -> JsonValue:
    """The JSON value in an answer: the whole text, a fenced block, or the first object or list in what is said.

    A list within a sentence counts only where it is what the sentence states ("The primes are [2, 3, 5]."): "in the
    range [2, 6]" and code that makes a list state nothing.

    Raises `ValueError` when there is none. `NaN` and infinities are refused, as RFC 8259 does.
    """
    spoken = without_thoughts(text.lstrip("\ufeff"))
    text = spoken[0] if spoken else ""
    candidates = [
        text.strip(),
        *(block.text for block in fenced_blocks(text) if block.language in ("", "json", "json5", "jsonc")),
    ]
    for candidate in candidates:
        try:
            return json.loads(candidate, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            continue
    return _first_stated(text)


def _first_stated(text: str) -> JsonValue:
    """The first object or stated list within a text. Raises `ValueError` where there is none."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    starts = [match.start() for match in re.finditer(r"[{\[](?!\d{1,2}\])", text)][:50]  # [1] is a citation
    for start in starts:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if value and (isinstance(value, dict) or _is_stated(text, start, end)):
            found: JsonValue = value
            return found
    raise ValueError("the answer holds no JSON value")


_STATES = re.compile(r"(?:^|:|\b(?:is|are|be)[*_`]*)\s*[*_`]*$")
_ENDS = re.compile(r"[*_`]*[.,;!]?[*_`]*\s*$")


def _is_stated(text: str, start: int, end: int) -> bool:
    """Whether the list from `start` to `end` is what its line states: alone on it, or behind a colon or "is"."""
    line_end = text.find("\n", end)
    before = text[text.rfind("\n", 0, start) + 1 : start]
    after = text[end : line_end if line_end >= 0 else len(text)]
    return _STATES.search(before) is not None and _ENDS.match(after) is not None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


class JsonSchemaVerifier:
    """Passes answers whose JSON satisfies `schema`; the feedback names each failing path.

    Raises `ValueError` on a bad schema, and on one that refers to addresses or files: nothing is fetched. Abstains
    where a value cannot be checked within bounds of time (`orchestrator.verifiers.form.bounded_schema`).
    """

    name = "json_schema"

    def __init__(self, schema: JsonObject) -> None:
        try:
            self._schema = BoundedSchema(schema)
        except UnusableSchema as error:
            raise ValueError(f"not a usable JSON Schema: {error}") from error

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Finds the JSON in the answer and validates it."""
        try:
            value = find_json(candidate)
        except ValueError as error:
            return Verdict(self.name, 0.0, False, f"{error}; answer with JSON only", decisive=True)
        try:
            errors = await self._schema.errors(value)
        except TimeoutError as error:
            return Verdict.abstain(self.name, str(error))
        return Verdict(self.name, 0.0 if errors else 1.0, not errors, "; ".join(errors), tuple(errors), decisive=True)
