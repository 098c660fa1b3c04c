"""`orchestrator init`: a first configuration, for the keys and servers that are at hand."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, hint, quiet_option, reports_errors
from orchestrator.cli.values import FiniteRange
from orchestrator.config.names import PLACEHOLDER

if TYPE_CHECKING:
    from orchestrator.providers.provider import Provider

MAX_MODELS = 4
ANY_SERVER = "compatible"


@dataclass(frozen=True, slots=True)
class Suggested:
    """A model for the file: its name in the fleet, whose it is, what its provider calls it, and the address of its
    server, where that is not the provider's own.
    """

    name: str
    provider: str
    model: str
    note: str = ""
    base_url: str = ""
    context_tokens: int | None = None
    skill: float | None = None


@click.command("init")
@click.option(
    "--provider", "providers", multiple=True, help="Use this provider's models, with a key or not (may be repeated)."
)
@click.option("--model", "models", multiple=True, help="Use this model, as provider/model (may be repeated).")
@click.option(
    "--base-url", metavar="URL", help="The server of these, ending in /v1: one of your own [default: the provider's]."
)
@click.option(
    "--usd", type=FiniteRange(min=0), default=0.05, show_default=True, help="The limit for one query, in USD."
)
@click.option("--memory/--no-memory", default=True, show_default=True, help="Keep a memory in .orchestrator/memory.db.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("orchestrator.yaml"),
              show_default=True, help="The file to write.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--yes", is_flag=True, help="Ask nothing: take what is found.")
@as_json
@quiet_option
@reports_errors
def command(
    providers: tuple[str, ...],
    models: tuple[str, ...],
    base_url: str | None,
    usd: float,
    memory: bool,
    output: Path,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Write a commented orchestrator.yaml for the API keys and model servers that are found on this machine.

    On a terminal it asks which of them to use. No paid API is contacted, and no key is written: the file names the
    environment variables that hold them. A server with --base-url is asked which models it has.
    """
    from orchestrator.errors import ConfigError

    if output.exists() and not force:
        raise ConfigError(f"{output} is there already", remedy="Choose another --output, or replace it with --force")
    if base_url and not models and not providers:
        providers = (ANY_SERVER,)
    chosen = _named(models, base_url) + _of_providers(providers, base_url)
    if not chosen:
        found = asyncio.run(_found())
        chosen = found if yes or as_json or not sys.stdin.isatty() else _asked(found)
    text = configuration(chosen, usd=usd, memory=memory)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}", remedy="Choose another --output") from None
    missing = _missing_keys(chosen)
    if as_json:
        told = {"file": str(output), "models": [each.name for each in chosen], "missing_keys": missing}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"wrote {output}: {', '.join(each.name for each in chosen) or 'calculator and extractive only'}")
    for variable in missing:
        hint(f"set the key first: export {variable}=...")
    where = "" if output == Path("orchestrator.yaml") else f" --config {output}"
    for each in chosen:
        if each.model == PLACEHOLDER:
            hint(f"write the name of a model of {each.provider} where the file says {PLACEHOLDER}")
        if each.base_url:
            hint(f"write what {each.name} costs: the file says {_prices(each)[0]:g} USD, and budgets believe it")
    if not chosen:
        hint("no key and no model server is found; with one: orchestrator init --force. Without: orchestrator demo")
    question = "Why is the sky blue?" if chosen else "What is 17 * 23?"
    hint(f'next: orchestrator config check{where} && orchestrator ask "{question}"{where}')


def configuration(chosen: list[Suggested], *, usd: float, memory: bool) -> str:
    """The text of the file."""
    lines = [
        "# The fleet, and what holds for every query. Check it: orchestrator config check",
        "# All fields: docs/configuration.md",
        "version: 1",
        "",
        "models:",
        "  calculator: {provider: calculator}   # exact arithmetic, units, dates; free",
        *(["  extractive: {provider: extractive}   # quotes the memory; free"] if memory else []),
    ]
    for each in chosen:
        lines += [
            f"  {each.name}:",
            f"    provider: {each.provider}" + (f"   # {each.note}" if each.note else ""),
            f"    model: {json.dumps(each.model)}",
            *_details(each),
        ]
    if not chosen:
        lines += [
            "  # small:                             # uncomment, and set the key: export OPENAI_API_KEY=...",
            "  #   provider: openai                 # all providers: orchestrator doctor --providers",
            "  #   model: gpt-5-mini",
        ]
    lines += [
        "",
        "budget:                                # for one query; nothing is begun that could overspend",
        f"  usd: {usd:g}",
        "  seconds: 60",
        "",
        "quality: 0.85                          # stop as soon as P(correct) reaches this",
        "max_tokens: 1024                       # the longest answer; its price is held back before each call",
        "# fallbacks: [small]                   # asked only when the others failed, in this order",
        "# strategy: single                     # one model, once; the default weighs what each next call brings",
        "",
        "memory:" if memory else "memory: null                           # nothing is remembered",
        *(["  path: .orchestrator/memory.db"] if memory else []),
        "",
    ]
    return "\n".join(lines)


def _details(each: Suggested) -> list[str]:
    lines = _of_own_server(each) if each.base_url else []
    if each.context_tokens is not None:
        lines.append(f"    context_tokens: {each.context_tokens:<15}    # its window, as its server tells it")
    elif each.base_url:
        lines.append("    # context_tokens: 8192             # its window; 128,000 is assumed")
    about = "share of ordinary questions that it gets right: a first guess"
    stated = f"    skill: {each.skill:g}" if each.skill is not None else "    # skill: 0.75"
    return [*lines, f"{stated:<38} # {about}"]


def _of_own_server(each: Suggested) -> list[str]:
    usd_in, usd_out = _prices(each)
    return [
        f"    base_url: {json.dumps(each.base_url)}",
        "    # key: env:MY_KEY                  # where the server wants one",
        f"    input_usd_per_mtok: {usd_in:<14g} # what a million tokens cost you: budgets believe it",
        f"    output_usd_per_mtok: {usd_out:g}",
        "    # capabilities: [json, tools]      # what it can: hold answers to a JSON Schema, call tools",
    ]


def _prices(each: Suggested) -> tuple[float, float]:
    """What a million tokens read and written cost, in USD: by the provider's list, whoever hands them on; else 0."""
    from orchestrator.providers.prices import list_prices
    from orchestrator.providers.table import PROVIDERS

    row = PROVIDERS.get(each.provider)
    found = None if row is None else list_prices(row.prices or row.name, each.model)
    if found is None:
        return 0.0, 0.0
    return found.input_usd_per_mtok or 0.0, found.output_usd_per_mtok or 0.0


def _named(models: tuple[str, ...], base_url: str | None) -> list[Suggested]:
    from orchestrator.fleet.named import split_name
    from orchestrator.providers.table import PROVIDERS

    found = []
    for whole in models:
        provider, model = split_name(whole)
        if provider in PROVIDERS:
            _check_address(PROVIDERS[provider], base_url)
        found.append(Suggested(_fleet_name(model), provider, model, _key_note(provider), base_url or ""))
    return found


def _of_providers(providers: tuple[str, ...], base_url: str | None) -> list[Suggested]:
    from orchestrator.errors import UnknownModel, did_you_mean
    from orchestrator.providers.table import PROVIDERS

    found: list[Suggested] = []
    for name in providers:
        row = PROVIDERS.get(name)
        if row is None:
            raise UnknownModel(f"unknown provider {name!r}", remedy=did_you_mean(name, PROVIDERS))
        _check_address(row, base_url)
        offered = _listed_by(row, base_url) if base_url else _models_of(row)
        found += offered or [Suggested(name, name, PLACEHOLDER, "write the name of one of its models", base_url or "")]
    return found


def _check_address(row: Provider, base_url: str | None) -> None:
    """Raises `ConfigError` where the file would name a server without an address, or no address."""
    from orchestrator.errors import ConfigError
    from orchestrator.providers.addresses import checked_address

    if not base_url and not row.base_url:
        raise ConfigError(
            f"servers of {row.name!r} have no address of their own",
            remedy="Name it: --base-url http://127.0.0.1:8000/v1",
        )
    try:
        checked_address(base_url or row.base_url)
    except ValueError as error:
        raise ConfigError(f"--base-url: {error}", remedy="Write it as http://127.0.0.1:8000/v1") from None


def _listed_by(row: Provider, base_url: str) -> list[Suggested]:
    """The models that a server says it has; none where it cannot be asked, which is told."""
    from orchestrator.fleet.discovery import reach

    reached = asyncio.run(reach(row, base_url=base_url))
    if reached.problem:
        hint(f"its models are not known: {reached.problem}")
    return [
        Suggested(_fleet_name(each), row.name, each, base_url=base_url, context_tokens=reached.windows.get(each))
        for each in reached.models[:MAX_MODELS]
    ]


async def _found() -> list[Suggested]:
    """Models of all keys that are set, else of servers on this machine."""
    from orchestrator.fleet.discovery import find_local_servers, keys_in_environment

    keyed = [each for row in keys_in_environment() for each in _models_of(row)]
    if keyed:
        return keyed
    servers = await find_local_servers()
    return [
        Suggested(
            _fleet_name(model),
            server.provider.name,
            model,
            "a server on this machine; free",
            context_tokens=server.windows.get(model),
        )
        for server in servers
        for model in server.models[:MAX_MODELS]
    ]


def _models_of(row: Provider) -> list[Suggested]:
    return [
        Suggested(_fleet_name(each.model), row.name, each.model, _key_note(row.name), skill=each.skill)
        for each in row.defaults
    ]


def _key_note(provider: str) -> str:
    from orchestrator.providers.table import PROVIDERS

    row = PROVIDERS.get(provider)
    return f"the key is read from {row.key_variable}" if row is not None and row.key_variable else ""


def _asked(found: list[Suggested]) -> list[Suggested]:
    """Those of the models found that the user wants."""
    if not found:
        hint("no API key and no model server was found; the file will say how to add one")
        return []
    try:
        return [
            each for each in found if click.confirm(f"use {each.model} of {each.provider}?", default=True, err=True)
        ]
    except click.Abort:
        raise KeyboardInterrupt from None


def _fleet_name(model: str) -> str:
    """A plain name: what stands behind the last slash, without the ending of a file."""
    name = model.rpartition("/")[2].removesuffix(".gguf")
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in name) or "model"


def _missing_keys(chosen: list[Suggested]) -> list[str]:
    from orchestrator.fleet.discovery import key_of
    from orchestrator.providers.table import PROVIDERS

    rows = {each.provider: PROVIDERS[each.provider] for each in chosen if each.provider in PROVIDERS}
    return [row.key_variable for row in rows.values() if row.key_variable and not key_of(row)]
