"""The command line's face: groups, first steps, asking from pipes and on terminals, errors, widths, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import COMMANDS, EXAMPLES, GROUPS, main
from orchestrator.cli.options import DefaultGroup, error_lines, printable
from orchestrator.config.models import load_config
from orchestrator.providers.prices import list_prices
from tests.support.faulty_server import chunk, completion, faulty_server, reply, stream

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.endswith(("_API_KEY", "_TOKEN")) and name not in ("NO_COLOR", "COLUMNS")
}
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def run(folder: Path, *arguments: str, stdin: bytes | None = None, **environment: str) -> Any:
    command = [sys.executable, "-m", "orchestrator", *arguments]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        command, **streams, capture_output=True, cwd=folder, env={**CLEAN, **environment}, timeout=120, check=False
    )


def on_terminal(folder: Path, *arguments: str, columns: int = 80, **environment: str) -> tuple[int, bytes]:
    """Exit code, and all that a terminal of so many columns is sent."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**CLEAN, "COLUMNS": str(columns), "TERM": "xterm", **environment},
    )
    os.close(follower)
    said, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        if not select.select([leader], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            piece = os.read(leader, 65_536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(leader)
    return process.wait(30), said


def configured(folder: Path, url: str, **fields: Any) -> None:
    """A configuration of one model behind an address."""
    model = {"provider": "compatible", "base_url": url, "input_usd_per_mtok": 1, "output_usd_per_mtok": 1, "skill": 0.9}
    config = {"models": {"far": model}, "memory": {"path": "memory.db"}, "strategy": "single", **fields}
    (folder / "orchestrator.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


# Help


def test_every_command_stands_in_one_group_with_an_example_that_could_be_typed() -> None:
    assert len(COMMANDS) == sum(map(len, GROUPS.values()))
    for name, example in EXAMPLES.items():
        words = shlex.split(example)
        assert words[:2] == ["orchestrator", name]
        command: click.Command | None = main.get_command(click.Context(main), name)
        assert command is not None
        rest = words[2:]
        while isinstance(command, click.Group) and rest and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        if isinstance(command, DefaultGroup):
            command = command.commands["run"]
        options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= options, example


def test_every_command_has_json(tmp_path: Path) -> None:
    def commands(command: click.Command, path: tuple[str, ...]) -> Any:
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), name)
                assert found is not None
                yield from commands(found, (*path, name))
        else:
            yield path, {option for each in command.params for option in each.opts}

    lacking = [" ".join(path) for path, options in commands(main, ()) if "--json" not in options]
    assert set(lacking) <= {"demo", "mcp", "serve", "serve-fleet"}  # servers: they have no result


def test_help_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    for columns in (80, 100):
        told = run(tmp_path, "--help", COLUMNS=str(columns)).stdout.decode()
        assert max(map(len, told.splitlines())) <= columns
        assert "Start:" in told
        assert "Measure and learn:" in told


# First steps


def test_init_writes_what_is_named_and_config_check_takes_it(tmp_path: Path) -> None:
    arguments = ("--provider", "anthropic", "--model", "groq/openai/gpt-oss-20b", "--usd", "0.5")
    done = run(tmp_path, "init", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    config = load_config(tmp_path / "orchestrator.yaml")
    assert {"calculator", "extractive", "gpt-oss-20b", "claude-haiku-4-5"} <= set(config.models)
    assert config.budget.usd == 0.5
    assert config.models["claude-haiku-4-5"].skill == 0.86
    assert "export ANTHROPIC_API_KEY" in done.stderr.decode()
    assert "sk-" not in (tmp_path / "orchestrator.yaml").read_text(encoding="utf-8")
    checked = run(tmp_path, "config", "check")
    assert checked.returncode == 2
    assert b"no API key" in checked.stderr
    keys = {"ANTHROPIC_API_KEY": "x", "GROQ_API_KEY": "y"}
    checked = run(tmp_path, "config", "check", "--json", **keys)
    assert checked.returncode == 0, checked.stderr.decode()
    assert json.loads(checked.stdout)["ok"] is True
    assert run(tmp_path, "init", "--yes").returncode == 2  # it is there already
    assert run(tmp_path, "init", "--yes", "--force", "--no-memory", OPENAI_API_KEY="z").returncode == 0
    config = load_config(tmp_path / "orchestrator.yaml")
    assert config.memory is None
    assert any(model.provider == "openai" for model in config.models.values())


def test_init_without_a_model_suggests_what_works(tmp_path: Path) -> None:
    done = run(tmp_path, "init", "--yes")
    assert done.returncode == 0
    told = " ".join(done.stderr.decode().split())
    assert "orchestrator init --force" in told
    question = told.partition('orchestrator ask "')[2].partition('"')[0]
    assert b"391" in run(tmp_path, "ask", question).stdout


def test_every_variable_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    models = "models: {a: {provider: openai, model: gpt-5, key: env:FIRST}, b: {provider: anthropic, model: claude-x}}"
    (tmp_path / "orchestrator.yaml").write_text(models)
    done = run(tmp_path, "config", "check")
    assert done.returncode == 2
    told = done.stderr.decode()
    assert "FIRST" in told
    assert "ANTHROPIC_API_KEY" in told


def test_init_refuses_what_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path, "init", "--provider", "opnai")
    assert done.returncode == 2
    assert b"Did you mean 'openai'" in done.stderr
    assert run(tmp_path, "init", "--model", "gpt-5-mini").returncode == 2
    for arguments in (("--provider", "compatible"), ("--model", "compatible/llama"), ("--base-url", "localhost:8000")):
        done = run(tmp_path, "init", *arguments)
        assert done.returncode == 2, arguments
        assert b"http://127.0.0.1:8000/v1" in done.stderr
    assert not (tmp_path / "orchestrator.yaml").exists()


def test_init_asks_a_server_of_ones_own_for_its_models(tmp_path: Path) -> None:
    listed = {"data": [{"id": "llama-3.2-3b", "meta": {"n_ctx": 2048}}, {"id": "qwen/qwen3-8b", "max_model_len": 4096}]}
    with faulty_server(reply(200, listed)) as server:
        url = server.url
        done = run(tmp_path, "init", "--base-url", url)
    assert done.returncode == 0, done.stderr.decode()
    config = load_config(tmp_path / "orchestrator.yaml")
    assert config.models["qwen3-8b"].model == "qwen/qwen3-8b"
    assert config.models["qwen3-8b"].base_url == url
    assert config.models["qwen3-8b"].provider == "compatible"
    assert [config.models[name].context_tokens for name in ("llama-3.2-3b", "qwen3-8b")] == [2048, 4096]
    assert "what llama-3.2-3b costs" in done.stderr.decode()
    assert run(tmp_path, "config", "check").returncode == 0
    assert run(tmp_path, "init", "--model", "openai/gpt-5-mini", "--base-url", url, "--force").returncode == 0
    model = load_config(tmp_path / "orchestrator.yaml").models["gpt-5-mini"]
    listed = list_prices("openai", "gpt-5-mini")
    assert listed is not None
    assert (model.input_usd_per_mtok, model.output_usd_per_mtok) == (
        listed.input_usd_per_mtok,
        listed.output_usd_per_mtok,
    )
    gone = run(tmp_path, "init", "--base-url", url, "--force")  # nothing answers there any more
    assert gone.returncode == 0
    assert b"its models are not known" in gone.stderr
    assert b"where the file says MODEL" in gone.stderr


def test_config_check_tells_every_mistake_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text("models:\n  a: {provider: gorq}\nbudgt: 3\n", encoding="utf-8")
    done = run(tmp_path, "config", "check")
    told = done.stderr.decode()
    assert done.returncode == 2
    assert "orchestrator.yaml:2:17" in told
    assert "Did you mean 'budget'" in told
    assert run(tmp_path, "config", "check", "--config", "no.yaml").returncode == 2
    assert b"no.yaml: no such file" in run(tmp_path, "config", "check", "no.yaml").stderr


def test_models_and_scopes_show_what_there_is(tmp_path: Path) -> None:
    name = "a-model-with-quite-a-long-name-7b"
    config = {"models": {name: {"provider": "ollama", "model": "x"}, "calculator": {"provider": "calculator"}}}
    (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rows = json.loads(run(tmp_path, "models", "--json").stdout)["models"]
    assert [row["name"] for row in rows] == [name, "calculator"]
    assert rows[1]["input_usd_per_mtok"] == 0
    shown = run(tmp_path, "models", COLUMNS="80").stdout.decode()
    assert name[:32] in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert run(tmp_path, "route", "What is it?", COLUMNS="80").stdout.decode().count(name[:32]) >= 1
    assert run(tmp_path, "remember", "x is 1", "--scope", "a/b").returncode == 0
    assert json.loads(run(tmp_path, "scopes", "--json").stdout) == [{"scope": "a/b", "records": 1}]
    assert "a/b  1 record" in run(tmp_path, "scopes").stdout.decode()


# Asking


def test_what_is_piped_in_stands_below_the_question(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    with faulty_server(reply(200, completion("Four apples."))) as server:
        configured(tmp_path, server.url)
        arguments = ("How many?", "-s", "Be terse.", "-a", "p.png", "--max-tokens", "9", "--temperature", "0.5")
        done = run(tmp_path, "ask", *arguments, "--save", "out.txt", stdin=b"four apples\n")
        assert done.returncode == 0, done.stderr.decode()
        body = server.requests[0]
    assert done.stdout == b"Four apples.\n"
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "Four apples.\n"
    assert body["messages"][0] == {"role": "system", "content": "Be terse."}
    assert body["messages"][1]["content"][0]["text"] == "How many?\n\nfour apples\n"
    assert body["messages"][1]["content"][1]["type"] == "image_url"
    assert (body["max_tokens"], body["temperature"]) == (9, 0.5)


def test_quiet_prints_the_answer_alone_and_a_long_one_is_not_wrapped(tmp_path: Path) -> None:
    text = "word " * 60
    with faulty_server(reply(200, completion(text))) as server:
        configured(tmp_path, server.url)
        for arguments in (("ask", "-q", "Why?"), ("--quiet", "ask", "Why?")):
            done = run(tmp_path, *arguments)
            assert (done.stdout.decode(), done.stderr) == (f"{text}\n", b"")


def test_a_schema_may_stand_on_the_command_line(tmp_path: Path) -> None:
    with faulty_server(reply(200, completion('{"n": 4}'))) as server:
        configured(tmp_path, server.url)
        schema = '{"type": "object", "properties": {"n": {"type": "integer"}}}'
        done = run(tmp_path, "ask", "How many?", "--schema", schema, "--json")
        assert json.loads(done.stdout)["answer"] == '{"n": 4}'
        assert run(tmp_path, "ask", "How many?", "--schema", "{").returncode == 2
        assert run(tmp_path, "ask", "How many?", "--schema", "nowhere.json").returncode == 2


def test_on_a_terminal_the_answer_is_printed_as_it_is_written_and_cannot_take_it_over(tmp_path: Path) -> None:
    pieces = [chunk("It is \x1b]0;owned\x07"), chunk("\x1b[2Jblue.\nReally"), chunk(finish="stop"), b"data: [DONE]\n\n"]
    with faulty_server(stream(*pieces)) as server:
        configured(tmp_path, server.url)
        status, said = on_terminal(tmp_path, "ask", "Why is the sky blue?")
    assert status == 0
    assert b"]0;owned" in said  # as text, without what makes it an order
    assert b"\x1b]0" not in said
    assert b"\x1b[2J" not in said
    assert b"blue." in ESCAPE.sub(b"", said)
    assert b'"stream": true' in json.dumps(server.requests[0]).encode()


def test_a_broken_stream_is_told_as_such_on_a_terminal(tmp_path: Path) -> None:
    whole = stream(chunk("It is blue."), chunk(finish="stop"), b"data: [DONE]\n\n")
    with faulty_server(stream(chunk("It is gre")), whole) as server:
        configured(tmp_path, server.url)
        status, said = on_terminal(tmp_path, "ask", "Why is the sky blue?")
    plain = ESCAPE.sub(b"", said)
    assert status == 0
    assert plain.index(b"It is gre") < plain.index(b"a better answer") < plain.index(b"It is blue.")


def test_colours_are_for_terminals_and_not_where_they_are_unwanted(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text("models: {a: {provider: calculator}}\nmemory: null\n", encoding="utf-8")
    status, said = on_terminal(tmp_path, "ask", "Who?", columns=60)
    assert status == 1
    assert b"\x1b[31m" in said
    lines = [line for line in ESCAPE.sub(b"", said).decode().splitlines() if line.strip()]
    error = next(number for number, line in enumerate(lines) if line.startswith("error:"))
    assert len(lines[error:]) <= 3
    assert all(len(line) <= 60 for line in lines[error:])
    _, plain = on_terminal(tmp_path, "ask", "Who?", NO_COLOR="1")
    assert b"\x1b[31m" not in plain
    assert b"\x1b[" not in run(tmp_path, "ask", "Who?").stderr


# Errors


@given(
    message=st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=400),
    remedy=st.text(st.characters(codec="ascii", min_codepoint=32), max_size=400),
    width=st.integers(40, 140),
)
def test_an_error_is_at_most_three_lines_within_the_width(message: str, remedy: str, width: int) -> None:
    lines = error_lines(message, remedy, width)
    assert 1 <= len(lines) <= 3
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("error:")


@given(st.text())
def test_what_is_printed_holds_no_control_characters(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printable(text))


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("ask", "Who wrote Faust?"), 1, "no_adequate_model"),
        (("ask", "Hi", "--model", "nobody"), 2, "unknown_model"),
        (("ask", "Hi", "--usd", "-1"), 2, "invalid_budget"),
        (("ask", "Hi", "-a", "nowhere.png"), 2, "invalid_argument"),
        (("ask", "Hi", "--strategy", "adaptve"), 2, "config"),
        (("ask", "Hi", "--config", "nowhere.yaml"), 2, "config"),
        (("recall", "x", "--scope", "../etc"), 2, "invalid_scope"),
        (("models", "--config", "nowhere.yaml"), 2, "config"),
        (("init", "--provider", "nobody", "--output", "new.yaml"), 2, "unknown_model"),
        (("runs", "delete", "run_1"), 1, "unknown_run"),
    ],
)
def test_errors_have_codes_for_scripts(tmp_path: Path, arguments: tuple[str, ...], status: int, code: str) -> None:
    (tmp_path / "orchestrator.yaml").write_text("models: {a: {provider: calculator}}\n", encoding="utf-8")
    done = run(tmp_path, *arguments, "--json")
    assert json.loads(done.stdout)["error"]["code"] == code
    assert done.returncode == status
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("amount", ["nan", "inf", "-1"])
def test_amounts_are_finite(tmp_path: Path, amount: str) -> None:
    for arguments in (("keys", "add", "k", "--usd", amount), ("init", "--yes", "--usd", amount)):
        done = run(tmp_path, *arguments, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"]["code"] == "usage"


def test_odd_places_end_in_an_error_and_no_traceback(tmp_path: Path) -> None:
    for arguments in (("init", "--yes", "--output", "no/such/folder.yaml"), ("ask", "q", "-a", "/dev/zero")):
        done = run(tmp_path, *arguments)
        assert done.returncode in (1, 2), done.stderr.decode()
        assert b"Traceback" not in done.stderr


def test_names_in_tables_are_texts_and_no_markup(tmp_path: Path) -> None:
    for name in ("[/oops]", "[red]mark[/red]", "a\u202eb"):
        assert run(tmp_path, "keys", "add", name).returncode == 0
        assert run(tmp_path, "orgs", "add", name).returncode == 0
        assert run(tmp_path, "teams", "add", name, "--org", name).returncode == 0
    for command in (("keys", "list"), ("orgs", "list"), ("teams", "list", "--org", "[/oops]")):
        done = run(tmp_path, *command)
        assert done.returncode == 0, done.stderr.decode()
        told = done.stdout.decode()
        assert "[/oops]" in told
        assert "\u202e" not in told
    assert "[red]mark[/red]" in run(tmp_path, "keys", "list").stdout.decode()


def test_commands_that_look_at_a_memory_make_none(tmp_path: Path) -> None:
    for command in (("recall", "food"), ("export",), ("scopes",), ("forget", "m:1")):
        done = run(tmp_path, *command, "--memory", "bto.db")
        assert done.returncode == 2, command
        assert b"there is no memory at bto.db" in done.stderr
    assert not (tmp_path / "bto.db").exists()
    assert run(tmp_path, "remember", "The shop opens at nine.", "--memory", "bto.db").returncode == 0
    assert b"opens at nine" in run(tmp_path, "recall", "opening hours", "--memory", "bto.db").stdout


@pytest.mark.parametrize(
    "line",
    [
        "ask hello --save no/a.md",
        "ask hello --record no/a.json",
        "plan p.yaml --svg no/p.svg",
        "eval s.yaml --html no/s.html",
        "eval s.yaml --out no/s.json",
        "simulate f.yaml --rate 1 --chart no/c.svg",
    ],
)
def test_a_file_in_a_folder_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *line.split()], cwd=tmp_path, env=CLEAN, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no folder no. Make it first" in done.stderr
    assert list(tmp_path.iterdir()) == []
