"""`orchestrator reencode`: another encoder for a memory."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import (
    as_json,
    config_option,
    encoder_option,
    memory_config,
    memory_option,
    reports_errors,
)


@click.command("reencode")
@encoder_option
@memory_option
@config_option
@as_json
@reports_errors
def command(encoder: str | None, memory_path: Path | None, config: Path | None, as_json: bool) -> None:
    """Encode every record of the memory anew.

    Others may go on using it until it is done; interrupted, it goes on where it was.
    """
    from orchestrator.fleet.memory import cipher_of, encoder_of
    from orchestrator.memory.memory import open_store
    from orchestrator.memory.storage.reencoding import reencode

    wanted = memory_config(config, memory_path)
    if encoder is not None:
        wanted = wanted.model_copy(update={"encoder": encoder})
    new = encoder_of(wanted)
    store = open_store(wanted.path, None, new.dimensions, cipher=cipher_of(wanted))
    try:
        done = reencode(store, new, None if as_json else lambda n: click.echo(f"{n} records", err=True))
    finally:
        store.close()
    if as_json:
        click.echo(json.dumps({"reencoded": done, "encoder": new.fingerprint, "memory": wanted.path}))
    else:
        click.echo(f"{done} records of {wanted.path} encoded by {new.fingerprint}")
