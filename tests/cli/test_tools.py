"""Tools of the configuration on the command line; a terminal is asked before a call that needs approval."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Provider, begin_stream, chunk, completion, delta, reply, served

CALL = {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": '{"id": "7"}'}}


async def play(body: dict[str, Any], send: Any) -> None:
    """Asks for a refund first; says that it is done once there is a result."""
    is_done = body["messages"][-1]["role"] == "tool"
    if not body.get("stream"):
        await reply(send, 200, completion("All done.") if is_done else completion(None, tool_calls=[CALL]))
        return
    await begin_stream(send)
    await chunk(send, delta({"content": "All done."} if is_done else {"tool_calls": [{"index": 0, **CALL}]}))
    await chunk(send, delta({}, "stop" if is_done else "tool_calls"))
    await chunk(send, b"data: [DONE]\n\n", more=False)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A folder with a configuration, and a function beside it that refunds."""
    (tmp_path / "shop_of_tests.py").write_text(
        "def refund(id: str) -> str:\n"
        '    """Refund an order."""\n'
        "    with open('refunded', 'a') as file:\n"
        "        file.write(id)\n"
        "    return 'refunded'\n"
    )
    with served(Provider(play)) as url:
        model = {"provider": "compatible", "base_url": f"{url}/v1", "model": "m"}
        config = {
            "models": {"small": model | {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}},
            "tools": {"refund": {"python": "shop_of_tests:refund", "needs": "approval"}},
        }
        (tmp_path / "orchestrator.yaml").write_text(json.dumps(config))
        yield tmp_path


def command(folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "orchestrator", *arguments]
    return subprocess.run(line, input=said, capture_output=True, text=True, cwd=folder, timeout=120)


def on_terminal(folder: Path, *arguments: str, turns: list[tuple[str, str]], seconds: float = 60.0) -> tuple[int, str]:
    """Runs a command on a terminal: waits for each text and types what belongs to it. The exit code, what was shown."""
    pty = pytest.importorskip("pty")
    main, side = pty.openpty()
    line = [sys.executable, "-m", "orchestrator", *arguments]
    process = subprocess.Popen(
        line, stdin=side, stdout=side, stderr=side, cwd=folder, start_new_session=True, preexec_fn=_owns_terminal
    )
    os.close(side)
    shown, seen, waiting, end = "", 0, list(turns), time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([main], [], [], 0.2)[0]:
            try:
                shown += os.read(main, 4_096).decode(errors="replace")
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
        if waiting and (found := shown.find(waiting[0][0], seen)) >= 0:
            seen = found + len(waiting[0][0])
            os.write(main, waiting.pop(0)[1].encode())
    os.close(main)
    if waiting:
        process.kill()
        process.wait(10)
    assert not waiting, shown
    return process.wait(10), shown


def _owns_terminal() -> None:
    import fcntl
    import signal
    import termios

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background inherit that it is ignored
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C arrives


def test_without_a_terminal_a_call_that_needs_approval_waits(shop: Path) -> None:
    done = command(shop, "ask", "Refund order 7", "--tool", "refund")
    assert done.returncode == 1
    assert 'not called, it needs approval: refund {"id": "7"}' in done.stderr
    assert "--approve-all" in done.stderr
    assert not (shop / "refunded").exists()
    told = json.loads(command(shop, "ask", "Refund order 7", "-t", "refund", "--json").stdout)
    assert told["calls"][0]["name"] == "refund"


def test_every_argument_is_shown_before_the_question() -> None:
    from orchestrator.cli.approval import shown

    told = shown("pay", {"note": "thanks " * 300, "amount\x1b[2J\u200b": 1_000_000, "to": "\u202eevil\x07"})
    assert '"amount[2J": 1000000' in told
    assert "(2,102 characters)" in told
    assert not set(told) & set("\x1b\u200b\u202e\x07")


def test_a_piped_chat_tells_by_its_exit_code_that_something_waits(shop: Path) -> None:
    done = command(shop, "chat", "-t", "refund", said="Refund order 7\n")
    assert done.returncode == 1
    assert "not called, it needs approval" in done.stderr


def test_the_chat_is_kept_where_the_configuration_says(shop: Path) -> None:
    config = json.loads((shop / "orchestrator.yaml").read_text())
    (shop / "orchestrator.yaml").write_text(json.dumps(config | {"storage": "kept.db"}))
    command(shop, "chat", "--session", "w1", "-t", "refund", "--approve-all", said="Refund order 7\n")
    again = command(shop, "chat", "--session", "w1", said="/save out.json\n")
    assert again.returncode == 0
    assert json.loads((shop / "out.json").read_text())[-1]["content"] == "All done."
    assert (shop / "kept.db").exists()
    assert not (shop / ".orchestrator" / "conversations.db").exists()


def test_functions_are_found_beside_the_configuration(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    config = str(shop / "orchestrator.yaml")
    done = command(elsewhere, "ask", "Refund order 7", "-t", "refund", "--approve-all", "--config", config)
    assert (done.returncode, done.stdout.strip()) == (0, "All done.")


def test_progress_does_not_call_an_undecided_check_failed() -> None:
    from orchestrator.cli.show import describe
    from orchestrator.trace import Event

    told = [describe(Event("verified", 0.1, {"model": "m", "verifier": "v", "passed": p})) for p in (True, False, None)]
    assert [line.rsplit(" ", 1)[1] for line in told] == ["passed", "failed", "scored"]


def test_all_may_be_approved_beforehand(shop: Path) -> None:
    done = command(shop, "ask", "Refund order 7", "-t", "refund", "--approve-all")
    assert (done.returncode, done.stdout.strip()) == (0, "All done.")
    assert (shop / "refunded").read_text() == "7"
    talked = command(shop, "chat", "-t", "refund", "--approve-all", said="Refund order 7\n")
    assert talked.stdout.strip() == "All done."


def test_an_unknown_tool_is_told(shop: Path) -> None:
    done = command(shop, "ask", "x", "-t", "refunds")
    assert done.returncode == 2
    assert "Did you mean 'refund'?" in done.stderr


@pytest.mark.parametrize(("said", "refunded"), [("y\n", "7"), ("n\n", ""), ("\n", ""), ("always\n", "7")])
def test_the_terminal_is_asked(shop: Path, said: str, refunded: str) -> None:
    code, shown = on_terminal(shop, "ask", "Refund order 7", "-t", "refund", turns=[("[y/N/always] ", said)])
    assert code == 0, shown
    assert 'refund {"id": "7"}' in shown
    assert "All done." in shown
    assert ((shop / "refunded").read_text() if (shop / "refunded").exists() else "") == refunded


def test_what_is_no_answer_is_asked_again(shop: Path) -> None:
    turns = [("[y/N/always] ", "maybe\n"), ("[y/N/always] ", "y\n")]
    _, shown = on_terminal(shop, "ask", "Refund order 7", "-t", "refund", turns=turns)
    assert "y (yes), n (no), or always" in shown
    assert (shop / "refunded").read_text() == "7"


def test_ctrl_c_at_the_question_stops_the_answer_and_not_the_chat(shop: Path) -> None:
    turns = [("> ", "Refund order 7\n"), ("[y/N/always] ", "\x03"), ("> ", "/cost\n"), ("> ", "/quit\n")]
    code, shown = on_terminal(shop, "chat", "-t", "refund", turns=turns)
    assert code == 0, shown
    assert "stopped" in shown
    assert "answers" in shown
    assert not (shop / "refunded").exists()
