"""The command `orchestrator`.

Commands live in files of their own and are loaded when used, so that `--help` is instant.
"""

from __future__ import annotations

import os
from importlib import import_module

import click

# Looking through every installed package for plugins of pydantic takes longer than checking a file does, and commands
# have no use for them.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

COMMANDS = {
    "ask": "Answer a question with the cheapest adequate model.",
    "remember": "Store a text or files in memory.",
    "recall": "Show what memory holds for a query.",
    "summarize": "Sum up a scope of memory, with citations.",
    "forget": "Delete memories for good.",
    "export": "Print what memory holds of a scope, as JSON lines.",
    "reencode": "Give a memory another encoder, while it is in use.",
    "salvage": "Copy what can be read of a damaged memory to a new one.",
    "feedback": "Say how right an answer was; the router learns from it.",
    "run": "Run a pipeline, and resume one that was interrupted.",
    "plan": "Show a pipeline's steps, with what they will cost and take.",
    "validate": "Check a pipeline: every mistake, with its place.",
    "test": "Run the tests that stand in a pipeline's file.",
    "runs": "List, show, cancel, replay and delete runs of pipelines.",
    "schema": "Write the JSON Schema of pipelines, for editors.",
    "explain": "Explain the code of a mistake, for example E104.",
    "route": "Show which model would be asked, and why.",
    "train-router": "Train a router from graded outcomes of your own.",
    "certify": "Prove from graded outcomes that routing keeps a promised quality.",
    "replay": "Estimate another configuration on logged decisions.",
    "serve": "Serve the fleet to OpenAI's and Anthropic's clients, with keys and budgets.",
    "keys": "Add, list, rotate and revoke the keys of the gateway.",
    "orgs": "Add, list and limit the organisations of the gateway.",
    "teams": "Add, list and limit the teams of an organisation.",
    "probe": "Measure a model: reading, writing, prefix cache, effective context.",
    "calibrate": "Hold a model's stated probabilities against known answers.",
    "calibrate-search": "Find the best policy for a price on questions whose answers are known.",
    "demo": "Run the main job offline: real answers, then a simulated fleet.",
    "doctor": "Check this machine: Python, packages, keys, servers, memory.",
    "serve-fleet": "Serve simulated or recorded models as an OpenAI-compatible server.",
}


class _LazyGroup(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = import_module(f"orchestrator.cli.{name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f' To ask a question: orchestrator ask "{args[0]} ..."'
            context.fail(f"no command '{args[0]}'.{hint}")
        return super().resolve_command(context, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compound-orchestrator", prog_name="orchestrator")
def main() -> None:
    """A fleet of language models that acts as one: cheaper than the best of them, and right more often.

    \b
    Try:  orchestrator demo
          orchestrator ask "What is 15% of 80?"
          orchestrator remember notes/*.md && orchestrator ask "When do we open?"
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character
