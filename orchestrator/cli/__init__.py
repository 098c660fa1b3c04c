"""The command `orchestrator`.

Commands live in files of their own and are loaded when used, so that `--help` is instant.

Exit codes: 0 answered or done, 1 no answer (no adequate model, budget, backend) or something is broken, 2 wrong use
(options, configuration, query), 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

# Looking through every installed package for plugins of pydantic takes longer than checking a file does, and commands
# have no use for them.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
MAX_WIDTH = 120

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "init": ("Write a commented orchestrator.yaml for the keys and servers at hand.", "orchestrator init"),
        "doctor": ("Check this machine, and say what to do next.", "orchestrator doctor"),
        "demo": ("Run the main job offline: real answers, then a simulated fleet.", "orchestrator demo"),
        "config": ("Check the configuration: every mistake, with its place.", "orchestrator config check"),
    },
    "Ask": {
        "ask": (
            "Answer a question with the cheapest adequate model.",
            'orchestrator ask "What is in this picture?" -a picture.png',
        ),
        "chat": ("Talk with the fleet; what is said is kept.", "orchestrator chat --continue"),
        "batch": (
            "Ask a question of each row of a file, or run a pipeline with it.",
            'orchestrator batch mails.csv --ask "Sum this up: {text}" --out done/',
        ),
        "route": (
            "Show which model would be asked, and why.",
            'orchestrator route "Prove that 2 is irrational" --explain',
        ),
        "models": ("Show the fleet: prices, windows, health, skill.", "orchestrator models"),
        "trace": ("Show what was done for one request.", "orchestrator trace 3f2a"),
        "top": ("Show what the fleet does at the moment.", "orchestrator top --every 2"),
        "feedback": ("Say how right an answer was; the router learns from it.", "orchestrator feedback ID --score 1"),
    },
    "Remember": {
        "remember": ("Store a text or files in memory.", "orchestrator remember notes/*.md --scope shop/ann"),
        "recall": ("Show what memory holds for a query.", 'orchestrator recall "opening hours"'),
        "scopes": ("List the scopes of memory.", "orchestrator scopes"),
        "summarize": ("Sum up a scope of memory, with citations.", "orchestrator summarize --scope shop/ann"),
        "forget": ("Delete memories for good.", "orchestrator forget m:12"),
        "export": ("Print what memory holds of a scope, as JSON lines.", "orchestrator export --scope shop/ann"),
        "memory-eval": (
            "Measure what memory finds on questions of your own.",
            "orchestrator memory-eval questions.jsonl",
        ),
        "reencode": ("Give a memory another encoder, while it is in use.", "orchestrator reencode"),
        "salvage": (
            "Copy what can be read of a damaged memory to a new one.",
            "orchestrator salvage memory.db --into new.db",
        ),
    },
    "Pipelines": {
        "run": (
            "Run a pipeline, and resume one that was interrupted.",
            'orchestrator run help_desk.yaml -i question="Is it open?"',
        ),
        "plan": ("Show a pipeline's steps, with what they will cost and take.", "orchestrator plan help_desk.yaml"),
        "validate": ("Check a pipeline: every mistake, with its place.", "orchestrator validate help_desk.yaml"),
        "test": ("Run the tests that stand in a pipeline's file.", "orchestrator test help_desk.yaml"),
        "runs": ("List, show, cancel, replay and delete runs of pipelines.", "orchestrator runs"),
        "schema": ("Write the JSON Schema of pipelines, for editors.", "orchestrator schema"),
        "explain": ("Explain the code of a mistake.", "orchestrator explain E104"),
    },
    "Gateway": {
        "serve": (
            "Serve the fleet to OpenAI's and Anthropic's clients, with keys and budgets.",
            "orchestrator serve --port 8000",
        ),
        "ui": ("Show traces, memory and runs of this machine in a browser.", "orchestrator ui"),
        "mcp": ("Serve answers and memory to a client of the Model Context Protocol.", "orchestrator mcp --scope me"),
        "keys": (
            "Add, list, rotate and revoke the keys of the gateway.",
            "orchestrator keys add app --usd 5 --rpm 600",
        ),
        "orgs": ("Add, list and limit the organisations of the gateway.", "orchestrator orgs add acme --usd 100"),
        "backup": (
            "Copy everything that is kept, while it is in use.",
            "orchestrator backup backups/monday",
        ),
        "restore": ("Bring back what `backup` wrote.", "orchestrator restore backups/monday"),
        "teams": ("Add, list and limit the teams of an organisation.", "orchestrator teams add search --org acme"),
    },
    "Measure and learn": {
        "probe": ("Measure a model: reading, writing, prefix cache, effective context.", "orchestrator probe small"),
        "calibrate": (
            "Hold a model's stated probabilities against known answers.",
            "orchestrator calibrate small examples.jsonl",
        ),
        "calibrate-search": (
            "Find the best policy for a price on questions whose answers are known.",
            "orchestrator calibrate-search examples.jsonl --price 0.001",
        ),
        "train-router": ("Train a router from graded outcomes of your own.", "orchestrator train-router log.jsonl"),
        "certify": (
            "Prove from graded outcomes that routing keeps a promised quality.",
            "orchestrator certify log.jsonl",
        ),
        "distill": (
            "Let strong models teach a small one that answers for nothing.",
            "orchestrator distill news.yaml",
        ),
        "eval": (
            "Compare configurations on examples, with intervals and honest stopping.",
            "orchestrator eval suite.yaml --html report.html",
        ),
        "tune": (
            "Find a cheaper configuration that is shown to lose nothing that counts.",
            "orchestrator tune graded.jsonl --max-loss 0.03",
        ),
        "replay": (
            "Estimate another configuration on logged decisions.",
            "orchestrator replay log.jsonl --policy new.yaml",
        ),
        "simulate": (
            "Predict times, replicas and cost of a fleet of serving engines.",
            "orchestrator simulate fleet.yaml --rate 50",
        ),
        "serve-fleet": (
            "Serve simulated or recorded models as an OpenAI-compatible server.",
            "orchestrator serve-fleet --port 9000",
        ),
    },
}
COMMANDS = {name: about for commands in GROUPS.values() for name, (about, _) in commands.items()}
EXAMPLES = {name: example for commands in GROUPS.values() for name, (_, example) in commands.items()}


class _LazyGroup(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = import_module(f"orchestrator.cli.{name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        if command.epilog is None:
            command.epilog = f"\b\nExample:  {EXAMPLES[name]}"
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, about) for name, (about, _) in commands.items()], col_max=18)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text("orchestrator COMMAND --help has an example of each.")

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """As click does it; with --json a wrong option is told as JSON, too, and Ctrl-C ends with 130."""
        arguments = sys.argv[1:] if args is None else list(args)
        if extra.pop("standalone_mode", True) is False:
            return super().main(args, standalone_mode=False, **extra)
        try:
            sys.exit(super().main(args, standalone_mode=False, **extra) or 0)
        except click.ClickException as error:
            if "--json" in arguments:
                click.echo(json.dumps({"error": _told(error)}, indent=2))
            else:
                error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Aborted!", err=True)
            sys.exit(130)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ENOSPC):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more can be printed there
            if error.errno == errno.ENOSPC:
                click.echo("error: no space is left where the output goes", err=True)
            sys.exit(0 if error.errno == errno.EPIPE else 1)  # who closed the pipe has seen enough

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from orchestrator.errors import closest

            close = closest(args[0], COMMANDS)
            hint = f" Did you mean '{close}'?" if close else f' To ask a question: orchestrator ask "{args[0]} ..."'
            context.fail(f"no command '{args[0]}'.{hint}")
        return super().resolve_command(context, args)


def _told(error: click.ClickException) -> dict[str, str]:
    context = getattr(error, "ctx", None)
    remedy = "orchestrator --help" if context is None else f"{context.command_path} --help"
    return {"code": "usage", "message": error.format_message(), "remedy": remedy}


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MAX_WIDTH})
@click.version_option(package_name="compound-orchestrator", prog_name="orchestrator")
@click.option("-q", "--quiet", is_flag=True, help="Print results only: no progress, no hints.")
@click.pass_context
def main(context: click.Context, quiet: bool) -> None:
    """A fleet of language models that acts as one: cheaper than the best of them, and each answer says how
    likely it is right.

    \b
    Try:  orchestrator demo
          orchestrator ask "What is 15% of 80?"
          orchestrator remember notes/*.md && orchestrator ask "When do we open?"
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character
    if os.environ.get("NO_COLOR"):  # no-color.org
        context.color = False
    if quiet:
        from orchestrator.cli.options import be_quiet

        be_quiet()
