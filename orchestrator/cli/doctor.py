"""`orchestrator doctor`: what this machine has, and the exact fix for what it lacks. Only `--providers` contacts anybody."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sqlite3
from importlib import metadata, util
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.options import MEMORY_PATH, as_json, reports_errors


@click.command("doctor")
@click.option("--providers", is_flag=True, help="List the provider table, and try each that has a key or answers on its port.")
@as_json
@reports_errors
def command(providers: bool, as_json: bool) -> None:
    """Check this machine: Python, packages, keys, model servers, memory."""
    if providers:
        from orchestrator.cli.provider_table import show

        show(as_json=as_json)
        return
    checks = _checks()
    if as_json:
        click.echo(json.dumps({"checks": checks}, indent=2))
        return
    for check in checks:
        mark = {True: click.style("ok  ", fg="green"), False: click.style("fix ", fg="red"), None: click.style("none", dim=True)}[
            check["ok"]
        ]
        click.echo(f"{mark} {check['what']:18} {check['detail']}")


def _checks() -> list[dict[str, Any]]:
    from memory.encoder import STATIC_WEIGHTS
    from orchestrator.backends.servers import find_local_servers
    from orchestrator.providers import PROVIDERS
    from verifiers.sandbox import level_at_hand

    isolation, why = level_at_hand()
    rows: list[tuple[str, bool | None, str]] = [
        ("python", True, platform.python_version()),
        ("package", True, f"compound-orchestrator {metadata.version('compound-orchestrator')}"),
        ("sqlite", True, f"SQLite {sqlite3.sqlite_version}"),
        ("faiss", util.find_spec("faiss") is not None, "the vector index" if util.find_spec("faiss") else "pip install faiss-cpu"),
        (
            "static encoder",
            STATIC_WEIGHTS.exists() or None,
            "shipped" if STATIC_WEIGHTS.exists() else "missing: the hashing encoder is used",
        ),
        (
            "embeddings extra",
            util.find_spec("sentence_transformers") is not None or None,
            "optional: pip install 'compound-orchestrator[embeddings]'",
        ),
        (
            "prices extra",
            util.find_spec("genai_prices") is not None or None,
            "list prices of hosted models" if util.find_spec("genai_prices") else "optional: pip install 'compound-orchestrator[prices]'",
        ),
        (
            "gateway extra",
            util.find_spec("prometheus_client") is not None or None,
            "orchestrator serve" if util.find_spec("prometheus_client") else "optional: pip install 'compound-orchestrator[gateway]'",
        ),
        ("sandbox", isolation != "none" or None, f"{isolation}: {why}"),
        (
            "sandbox extra",
            util.find_spec("pydantic_monty") is not None or None,
            "tests are tried in a fast interpreter first"
            if util.find_spec("pydantic_monty")
            else "optional: pip install 'compound-orchestrator[sandbox]'",
        ),
        ("configuration", *_config_state()),
        ("decision log", *_decision_log_state()),
        (
            "memory",
            True,
            f"{MEMORY_PATH} ({Path(MEMORY_PATH).stat().st_size:,} bytes)" if Path(MEMORY_PATH).exists() else f"{MEMORY_PATH} (new)",
        ),
    ]
    for provider in PROVIDERS.values():
        if provider.key_variable:
            present = bool(os.environ.get(provider.key_variable))
            rows.append(
                (
                    f"key {provider.name}",
                    present or None,
                    f"{provider.key_variable} is set" if present else f"export {provider.key_variable}=...",
                )
            )
    servers = {server.provider.name: server for server in asyncio.run(find_local_servers())}
    for provider in PROVIDERS.values():
        if provider.port is not None:
            found = servers.get(provider.name)
            detail = f"{', '.join(found.models)}" if found else f"nothing answers on port {provider.port}"
            rows.append((f"server {provider.name}", bool(found) or None, detail))
    return [{"what": what, "ok": ok, "detail": detail} for what, ok, detail in rows]


def _config_state() -> tuple[bool | None, str]:
    from orchestrator.config import DEFAULT_NAME, load_config
    from orchestrator.errors import ConfigError

    if not Path(DEFAULT_NAME).exists():
        return None, f"no {DEFAULT_NAME} here: keys and local servers are used"
    try:
        return True, f"{len(load_config(DEFAULT_NAME).models)} models"
    except ConfigError as error:
        return False, str(error)


def _decision_log_state() -> tuple[bool | None, str]:
    from orchestrator.config import DEFAULT_NAME, load_config
    from orchestrator.errors import ConfigError, StorageError
    from orchestrator.storage import DecisionLog

    try:
        online = load_config(DEFAULT_NAME).online
        if online is None:
            return None, "off: online: {} in the configuration keeps decisions and learns from feedback"
        if not Path(online.path).exists():
            return True, f"{online.path} (new)"
        log = DecisionLog(online.path)
    except ConfigError:
        return None, "no configuration that names one"
    except StorageError as error:
        return False, str(error)
    counted = ", ".join(f"{count} {name}" for name, count in log.counts().items())
    log.close()
    return True, f"{online.path} ({counted})"
