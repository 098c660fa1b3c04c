"""`orchestrator chat`: a conversation on the terminal, kept and gone on with."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.approval import approve_option, approver, show_waiting, tool_option
from orchestrator.cli.options import engine_options, is_quiet, printable

if TYPE_CHECKING:
    from orchestrator.engine.conversation import Conversation
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings
    from orchestrator.types import Answer

STORAGE = Path(".orchestrator/conversations.db")
HISTORY = Path(".orchestrator/chat_history")
MAX_HISTORY = 1_000
BLOCK = '"""'
HELP = """\
/model [NAME]   ask this model only; without a name all of the fleet again
/cost           what the conversation has cost
/why            why the last answer is what it is
/forget ID|all  delete a memory (m:12), or everything that this scope holds
/rewind         take the last message and its answer back
/save FILE      write the conversation to a file, as JSON
/help, /quit    this list; leave (Ctrl-D does, too)
End a line with \\ to go on in the next one, or put several between lines of \"\"\".
Ctrl-C stops an answer; what was said is kept."""


@click.command("chat")
@click.option("--session", help="The conversation to begin or go on with.")
@click.option("-c", "--continue", "goes_on", is_flag=True, help="Go on with the latest conversation of the scope.")
@click.option("-m", "--model", "models", multiple=True, help="Use only this model (may be repeated).")
@click.option("-s", "--system", help="The rules that stand before the conversation.")
@click.option("--context-tokens", type=int, default=8_000, show_default=True, help="The most tokens of a prompt.")
@tool_option
@approve_option
@click.option("--usd", "--budget", "usd", type=float, help="Spend at most this many USD on each message.")
@click.option("--total-usd", type=float, help="Spend at most this many USD on the whole conversation.")
@engine_options
def command(
    session: str | None,
    goes_on: bool,
    models: tuple[str, ...],
    system: str | None,
    context_tokens: int,
    tools: tuple[str, ...],
    approve_all: bool,
    usd: float | None,
    total_usd: float | None,
    scope: str,
    memory_path: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Talk with the fleet. What is said is kept, and remembered in the scope.

    Messages may be piped in, one a line: then each answer is printed, with --json as an object a line.
    """
    from orchestrator.cli.options import connect, stated_config

    settings: QuerySettings = {"models": list(models) or None, "budget": {"usd": usd}}
    if system is not None:
        settings["system"] = system
    if tools:
        settings["tools"] = list(tools)
    stated = stated_config(config)
    kept_in = STORAGE if stated is None or stated.storage is None else stated.storage
    fleet = asyncio.run(connect(config, memory_path, models=models, storage=kept_in))
    with fleet:
        assert fleet.storage is not None
        if session is None and goes_on:
            known = fleet.storage.conversations.sessions(scope)
            session = known[0][0] if known else None
        session = session or f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {secrets.token_hex(2)}"
        with fleet.conversation(
            scope, session=session, context_tokens=context_tokens, total_usd=total_usd, **settings
        ) as chat:
            terminal = Terminal(fleet, chat, as_json=as_json, approves_all=approve_all)
            terminal.run()
    if terminal.has_waited or (terminal.has_failed and not sys.stdin.isatty()):
        raise SystemExit(1)


class Terminal:
    """The loop of a chat: reads messages and commands, shows answers."""

    def __init__(self, fleet: Orchestrator, chat: Conversation, *, as_json: bool, approves_all: bool = False) -> None:
        self._approves_all = approves_all
        self.has_waited = self.has_failed = False
        """Whether a call waits for an approval that nobody could give, and whether a command could not be done."""
        self._fleet, self._chat, self._as_json = fleet, chat, as_json
        self._is_live = sys.stdin.isatty() and not as_json
        self._models: list[str] | None = None
        self._last: Answer | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "/model": self._choose_model,
            "/cost": self._show_cost,
            "/why": self._show_why,
            "/forget": self._forget,
            "/rewind": self._rewind,
            "/save": self._save,
            "/help": lambda _: self._tell(HELP),
        }

    def run(self) -> None:
        """Until the end of the input, /quit, or Ctrl-D."""
        if self._is_live and not is_quiet():
            turns = len(self._chat.messages)
            told = f"going on after {turns} turns" if turns else "a new conversation"
            click.echo(f"{self._fleet.origin}; {told} ({self._chat.session}). /help lists the commands.", err=True)
            if (pending := self._chat.pending) is not None:
                click.echo(f"not answered yet: {printable(pending[:200])}", err=True)
        for text in self._messages():
            name, _, rest = text.partition(" ")
            if name in ("/quit", "/exit"):
                return
            if name in self._commands:
                self._do(self._commands[name], rest.strip(), goes_on=True)
            elif text.startswith("/") and " " not in text:
                click.echo(f"there is no command {name}; /help lists them", err=True)
                self.has_failed = True
            else:
                self._do(self._say, text)

    def _do(self, action: Callable[[str], None], text: str, *, goes_on: bool = False) -> None:
        """One message or command; an error is told, and the conversation goes on.

        Where messages are piped in, it ends with a message that cannot be answered, but `goes_on` after a command.
        """
        from orchestrator.cli.options import show_error
        from orchestrator.errors import OrchestratorError

        try:
            action(text)
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
        except OrchestratorError as error:
            if not (self._is_live or goes_on):
                raise
            show_error(error)
            self.has_failed = True

    def _messages(self) -> Iterator[str]:
        if not self._is_live:
            yield from (line.strip() for line in sys.stdin if line.strip())
            return
        with line_history(HISTORY):
            while True:
                try:
                    text = read_message()
                except EOFError:
                    click.echo()
                    return
                except KeyboardInterrupt:
                    click.echo("\n(/quit or Ctrl-D leaves)", err=True)
                    continue
                if text.strip():
                    yield text.strip()

    def _say(self, text: str) -> None:
        import json

        from orchestrator.cli.ask import answer_dict
        from orchestrator.cli.show import Printer, Progress, show_facts

        wishes: QuerySettings = {} if self._models is None else {"models": self._models}
        if not self._is_live:
            wishes["approve"] = approver(approves_all=self._approves_all)
            answer = self._last = self._chat.send_sync(text, **wishes)
            click.echo(json.dumps(answer_dict(answer), ensure_ascii=False) if self._as_json else answer.text)
            show_waiting(answer)
            self.has_waited |= bool(answer.calls)
            return
        with Progress("thinking") as progress:
            wishes["approve"] = approver(approves_all=self._approves_all, pausing=progress.paused)
            printer = Printer(progress, streams=True)
            stream = self._chat.stream_sync(text, **wishes)
            try:
                for item in stream:
                    printer.take(item)
            finally:
                stream.close()
        self._last = printer.finish()
        show_facts(self._last)

    def _choose_model(self, name: str) -> None:
        from orchestrator.engine.settings import check_models

        check_models([name] if name else None, self._fleet.backends)
        self._models = [name] if name else None
        click.echo(f"asking {name or ', '.join(self._fleet.backends)}", err=True)

    def _show_cost(self, _: str) -> None:
        from orchestrator.types.format import money

        answers = sum(turn.role == "assistant" and turn.about is not None for turn in self._chat.turns)
        self._tell(f"{money(self._chat.cost_usd)} for {answers} answer{'s' * (answers != 1)}")

    def _show_why(self, _: str) -> None:
        self._tell("nothing was answered yet" if self._last is None else printable(self._last.explain()))

    def _tell(self, text: str) -> None:
        """What a command shows: beside the answers where these are JSON."""
        click.echo(text, err=self._as_json)

    def _forget(self, what: str) -> None:
        from orchestrator.errors import InvalidQuery

        number = what.removeprefix("m:")
        if what != "all" and not number.isdigit():
            raise InvalidQuery("say what to forget", remedy="/forget m:12, or /forget all")
        gone = self._fleet.forget_sync(self._chat.scope, None if what == "all" else [int(number)])
        if not gone and what != "all":
            raise InvalidQuery(f"this scope holds no m:{number}", remedy="/forget takes the numbers that answers cite")
        self._chat.reload_sync()
        click.echo(f"forgotten: {len(gone)} records", err=True)

    def _rewind(self, _: str) -> None:
        click.echo(f"taken back: {self._chat.rewind_sync()} turns", err=True)

    def _save(self, name: str) -> None:
        import json

        from orchestrator.errors import InvalidQuery

        if not name:
            raise InvalidQuery("say where to save it", remedy="/save chat.json")
        try:
            Path(name).write_text(json.dumps(self._chat.export(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        except OSError as error:
            raise InvalidQuery(f"{name} cannot be written: {error.strerror}", remedy="Name another file") from None
        click.echo(f"saved in {name}", err=True)


def read_message(read: Callable[[str], str] = input) -> str:
    """A message of one line or several. Raises `EOFError` at the end of the input."""
    line = read("> ")
    if line.strip() == BLOCK:
        lines: list[str] = []
        while (line := read(". ")).strip() != BLOCK:
            lines.append(line)
        return "\n".join(lines)
    said = [line]
    while said[-1].endswith("\\"):
        said[-1] = said[-1][:-1]
        said.append(read(". "))
    return "\n".join(said)


@contextlib.contextmanager
def line_history(path: Path) -> Iterator[None]:
    """Arrow keys find earlier messages, also those of earlier programs."""
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(MAX_HISTORY)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
            path.chmod(0o600)
