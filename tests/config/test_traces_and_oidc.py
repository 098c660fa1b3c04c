"""The sections `traces` and `gateway.oidc`: mistakes are told when the file is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.config.models import parse_config
from orchestrator.errors import ConfigError

MODELS = "models: {calculator: {provider: calculator}}\n"
OIDC = "gateway: {oidc: {issuer: 'https://id.example', client_id: x, client_secret: %s, keys: {'*': first}}}\n"


@pytest.mark.parametrize("stated", ["geheim", "'env:'", "'https://x'"])
def test_a_secret_in_the_file_is_refused(stated: str) -> None:
    with pytest.raises(ConfigError, match="must be a reference"):
        parse_config(MODELS + OIDC % stated)


@pytest.mark.parametrize(
    "wrong", ["sample: 2", "sample: -0.1", "keep_days: 0", "content: maybe", "path: 3", "sampel: 0.1"]
)
def test_wrong_values_are_told_with_their_place(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"<config>:2:\d+"):
        parse_config(f"{MODELS}traces: {{{wrong}}}\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OIDC % "'env:NO_SUCH_SECRET'", "NO_SUCH_SECRET is not set"),
        ("traces: {content: true, redact: 'no_such_module:hide'}\n", "no_such_module"),
        ("traces: {content: true, redact: 'json:nothere'}\n", "nothere"),
    ],
)
def test_serve_checks_what_pages_need(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(MODELS + text)
    ran = CliRunner().invoke(main, ["serve", "--check", "--config", str(path)])
    assert ran.exit_code == 2
    assert told in ran.output
