"""`orchestrator serve`: the gateway, one endpoint in front of every model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.options import config_option, reports_errors


@click.command("serve")
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8090, show_default=True)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that share the port."
)
@click.option(
    "--database", help="Where keys, budgets and records are: a file, or postgresql://... [default: gateway.database]."
)
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate for HTTPS.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its private key.")
@click.option("--behind-proxy", is_flag=True, help="A proxy in front of this address speaks HTTPS to the clients.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or replicas on a Ray cluster (extra `ray`; needs PostgreSQL).",
)
@click.option("--address", "cluster", help="Of the Ray cluster [default: one is started on this machine].")
@click.option("--min-replicas", type=click.IntRange(1), default=1, show_default=True, help="On Ray, at least.")
@click.option("--max-replicas", type=click.IntRange(1), default=4, show_default=True, help="On Ray, at most.")
@click.option("--check", is_flag=True, help="Check configuration and address, then end; nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about what is served.")
@reports_errors
def command(
    config: Path | None,
    host: str,
    port: int,
    workers: int,
    database: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    engine: str,
    cluster: str | None,
    min_replicas: int,
    max_replicas: int,
    check: bool,
    as_json: bool,
) -> None:
    """Serve the fleet to OpenAI's and Anthropic's clients, with keys, budgets and limits.

    At the first start, an admin key and a first key are made and shown once. Later keys: orchestrator keys add, or
    /v1/admin/keys.
    """
    from orchestrator.gateway.serve import Address, prepared, run

    address = Address(host, port, workers, tls_cert, tls_key, behind_proxy)
    if engine == "ray":  # what it needs is told before the first keys are made
        from orchestrator.scale.ray_serve import check as check_ray

        check_ray(prepared(address, config, database, only_checks=True), cluster)
    served = prepared(address, config, database, only_checks=check)
    if as_json:
        click.echo(json.dumps(served.as_dict()))
    elif check:
        click.echo(
            f"all is well: {served.url} can be served (using {served.using}; keys and budgets in "
            f"{served.as_dict()['database']})",
            err=True,
        )
    else:
        _show(served.as_dict())
    if check:
        return
    if engine == "ray":
        from orchestrator.scale.ray_serve import RayScaling
        from orchestrator.scale.ray_serve import run as run_on_ray

        run_on_ray(served, RayScaling(min_replicas, max(min_replicas, max_replicas)), address=cluster)
    else:
        run(served)


def _show(served: dict[str, object]) -> None:
    click.echo(
        f"orchestrator serves {served['url']} (using {served['using']}; keys and budgets in {served['database']})",
        err=True,
    )
    for name in ("admin_key", "first_key"):
        if served[name]:
            told = "manages organisations, teams and keys" if name == "admin_key" else "asks models"
            click.echo(f"  {name.replace('_', ' ')}: {served[name]}\n    {told}; shown only now", err=True)
    if served["first_key"]:
        click.echo(
            f"  try: curl {served['url']}/chat/completions -H 'authorization: Bearer {served['first_key']}' -H "
            "'content-type: application/json' \\\n"
            '         -d \'{"model": "auto", "messages": [{"role": "user", "content": "What is 17 * 23?"}]}\'',
            err=True,
        )
