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
    """The JSON value in an answer: the whole text, a fenced block, or the first value that starts with `{` or `[`.

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
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    starts = [match.start() for match in re.finditer(r"[{\[](?!\d{1,2}\])", text)][:50]  # [1] is a citation
    for start in starts:
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("the answer holds no JSON value")


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
