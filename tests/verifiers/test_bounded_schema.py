"""Schemas of strangers: nothing is fetched or read, nothing takes long, and what a schema says within itself counts."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import InvalidQuery, Query
from orchestrator.verification.from_query import checks_for
from orchestrator.verifiers import JsonSchemaVerifier
from orchestrator.verifiers.form.bounded_schema import BoundedSchema, UnusableSchema
from tests.support.gateway import completion, reply, running_gateway


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    """A site that answers every address with a schema, and what was fetched of it."""
    fetched: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", fetched
    server.shutdown()
    server.server_close()
    thread.join()


def outside(url: str, file: Path) -> list[tuple[dict[str, Any], str]]:
    """Schemas that refer to something outside, and what of it must be named."""
    return [
        ({"$ref": f"{url}/a"}, f"{url}/a"),
        ({"type": "object", "properties": {"total": {"$ref": f"{url}/b"}}}, f"{url}/b"),
        ({"$schema": f"{url}/meta", "type": "object"}, f"{url}/meta"),
        ({"$id": f"{url}/base/", "properties": {"x": {"$ref": "rel.json"}}}, f"{url}/base/rel.json"),
        ({"$ref": f"file://{file}"}, str(file)),
        ({"$ref": f"file://localhost{file}"}, str(file)),
        ({"$ref": str(file)}, file.name),
        ({"$dynamicRef": f"{url}/d"}, f"{url}/d"),
        (
            {
                "$schema": "https://json-schema.org/draft/2019-09/schema",
                "$recursiveRef": "#",
                "allOf": [{"$ref": f"{url}/e"}],
            },
            f"{url}/e",
        ),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "id": f"{url}/x/", "items": {"$ref": "y.json"}},
            "y.json",
        ),
        ({"if": {"$ref": f"{url}/f"}, "then": False}, f"{url}/f"),
        ({"$defs": {"a": {"$id": f"{url}/in/", "$ref": "other"}}, "$ref": "#/$defs/a"}, f"{url}/in/other"),
        ({"patternProperties": {"^a": {"$ref": "ftp://127.0.0.1/x"}}}, "ftp://127.0.0.1/x"),
    ]


def test_nothing_outside_of_a_schema_is_fetched_or_read(tmp_path: Path, site: tuple[str, list[str]]) -> None:
    url, fetched = site
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"const": "value-on-the-server"}))
    for schema, named in outside(url, file):
        with pytest.raises(UnusableSchema) as refusal:
            BoundedSchema(schema)
        assert named in str(refusal.value)
        with pytest.raises(ValueError, match="not a usable JSON Schema"):
            JsonSchemaVerifier(schema)
        with pytest.raises(InvalidQuery):
            checks_for(Query.parse("go", schema=schema), None)
    assert fetched == []


def test_the_gateway_refuses_such_schemas_by_name(tmp_path: Path, site: tuple[str, list[str]]) -> None:
    url, fetched = site

    async def play(body: Any, send: Any) -> None:
        await reply(send, 200, completion('{"total": 3}'))

    with running_gateway(tmp_path, play) as run:
        for schema, named in outside(url, tmp_path / "gateway.db"):
            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
            text = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
            answers = [
                run.chat("go", model="auto", response_format=form),
                run.post("/v1/answer", {"query": "go", "schema": schema}),
                run.post("/v1/responses", {"model": "auto", "input": "go", "text": text}),
            ]
            for answer in answers:
                assert answer.status_code == 400, answer.text
                assert named in answer.json()["error"]["message"]
    assert fetched == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"type": "integer"}}, "properties": {"total": {"$ref": "#/$defs/a"}}, "required": ["total"]},
        {
            "$id": "https://example.org/root",
            "$defs": {"a": {"$id": "item", "type": "integer"}},
            "properties": {"total": {"$ref": "item"}},
        },
        {"$defs": {"a": {"$anchor": "n", "type": "integer"}}, "properties": {"total": {"$ref": "#n"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"total": {"type": "integer"}}},
        {"properties": {"total": {"type": "integer"}, "other": {"enum": [{"$ref": "http://example.org/data"}]}}},
    ],
)
def test_what_a_schema_says_within_itself_counts(schema: dict[str, Any]) -> None:
    found = BoundedSchema(schema)
    assert asyncio.run(found.errors({"total": 3})) == []
    (error,) = asyncio.run(found.errors({"total": "three"}))
    assert error.startswith("$.total:")


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (deep(5_000), "nested deeper than 100 levels"),
        ({"properties": {f"p{n}": {"type": "string"} for n in range(30_000)}}, "more than 20,000 values"),
        ({"pattern": "a" * 30_000}, "patterns have 30,000 characters"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "regex"),
        ({"type": 5}, "5 is not valid"),
        ([], "is an object, not list"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
    ],
)
def test_schemas_that_are_none_or_too_large(schema: Any, says: str) -> None:
    with pytest.raises(UnusableSchema, match=says):
        BoundedSchema(schema)


def fan_out(combinator: str, levels: int) -> dict[str, Any]:
    """A schema of a few lines in which as many paths lead to one place as 2 to the power of `levels`."""
    parts: dict[str, Any] = {f"a{n}": {combinator: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{levels}": {"type": "string"}}}


BRANCH = {"properties": {"a": {"$ref": "#"}}, "required": ["z"]}
NEST: dict[str, Any] = {}
for _ in range(30):
    NEST = {"a": NEST}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        *((fan_out(combinator, 30), 3) for combinator in ("anyOf", "allOf")),
        ({"anyOf": [BRANCH, BRANCH]}, NEST),
        ({"pattern": "^(?=a)(a|aa)+$"}, "a" * 40_000 + "b"),
        ({"pattern": "^(a+)+$"}, "a" * 400_000 + "b"),
        ({"type": "array", "uniqueItems": True}, [{"a": n} for n in range(5_000)] + [{"a": 0}]),
    ],
)
def test_what_would_take_for_ever_takes_moments_and_blocks_nobody(schema: dict[str, Any], value: Any) -> None:
    found = BoundedSchema(schema)

    async def checked() -> tuple[bool | None, float]:
        longest, last = 0.0, time.monotonic()
        checking = asyncio.ensure_future(found.errors(value))
        while not checking.done():
            await asyncio.sleep(0.001)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        try:
            return not checking.result(), longest
        except TimeoutError:
            return None, longest

    undecided, longest = asyncio.run(checked())
    assert undecided is not True  # nothing of this satisfies its schema
    assert longest < 5


def test_a_value_that_cannot_be_checked_in_time_is_left_undecided() -> None:
    verifier = JsonSchemaVerifier(fan_out("anyOf", 60))
    verdict = asyncio.run(verifier.verify("q", "3"))
    assert verdict.score is None
    assert "no answer within 2 s" in verdict.feedback
    assert asyncio.run(JsonSchemaVerifier({"type": "integer"}).verify("q", "3")).passed
