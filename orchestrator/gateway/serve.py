"""Starting the gateway: what must be true before it listens, its first keys, and its worker processes.

Each worker is one process with one event loop; they share the port and the database. On SIGTERM they take no new
connections, finish what runs (for at most `gateway.drain_seconds`) and book what was spent; on SIGHUP they read the
configuration again.
"""

from __future__ import annotations

import gc
import inspect
import json
import logging
import math
import os
import signal
import socket
import ssl
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.config.models import DEFAULT_NAME, Config, GatewayConfig, load_config
from orchestrator.config.secrets import secret
from orchestrator.errors import ConfigError
from orchestrator.fleet.build import fleet_from_config
from orchestrator.jsontypes import JsonObject
from orchestrator.packages import need_packages
from orchestrator.providers.addresses import is_loopback
from orchestrator.storage.account_types import Found, NewKey
from orchestrator.storage.accounts import Accounts, digest_of
from orchestrator.storage.database import check_readable, open_database

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway

log = logging.getLogger(__name__)
MIN_KEY_CHARS = 24
MIN_KEY_BITS = 80.0
PACKAGES = ("orjson", "httptools", "prometheus_client", "python_multipart", "starlette")
_KNOWN_WEAK = ("1234", "password", "secret", "changeme", "admin", "test", "example", "letmein", "qwerty", "master")
_CONFIG, _DATABASE, _SHARED = "ORCHESTRATOR_SERVE_CONFIG", "ORCHESTRATOR_SERVE_DATABASE", "ORCHESTRATOR_SERVE_SHARED"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, and how."""

    host: str
    port: int
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False


@dataclass(frozen=True, slots=True)
class PreparedGateway:
    """A gateway that may start. The keys are those made just now, else empty."""

    address: Address
    config: Path | None
    database: str
    using: str
    drain_s: float
    admin_key: str
    first_key: str

    @property
    def url(self) -> str:
        """The address that the gateway listens at."""
        scheme = "https" if self.address.tls_cert else "http"
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{scheme}://{host}:{self.address.port}/v1"

    def environment(self) -> dict[str, str]:
        """What the processes that serve read from their environment."""
        is_shared = self.address.workers > 1 or self.database.startswith("postgres")
        return {
            _CONFIG: "" if self.config is None else str(self.config.resolve()),
            _DATABASE: self.database,
            _SHARED: "1" if is_shared else "",
        }

    def as_dict(self) -> JsonObject:
        """What is told when it listens, as JSON values."""
        return {
            "url": self.url,
            "using": self.using,
            "database": self.database.rpartition("@")[2],
            "workers": self.address.workers,
            "admin_key": self.admin_key,
            "first_key": self.first_key,
        }


def prepared(
    address: Address, config: Path | None, database: str | None, *, only_checks: bool = False
) -> PreparedGateway:
    """Checks everything that would make serving unsafe or impossible, and makes the first keys, unless it
    `only_checks`. Raises `ConfigError`.
    """
    check_packages()
    check_address(address)
    chosen = config or (Path(DEFAULT_NAME) if Path(DEFAULT_NAME).exists() else None)
    parsed = configured(chosen)
    fleet = fleet_from_config(parsed)
    if parsed.pipelines:
        from orchestrator.gateway.chat.pipeline_models import loaded  # pipelines, where there are any

        loaded(
            parsed.pipelines, list(parsed.models)
        )  # one that cannot be served is told before anything is made, and by --check
    check_traces_and_provider(parsed)
    where = database or parsed.gateway.database
    chosen_key = secret(parsed.gateway.admin_key, "ORCHESTRATOR_ADMIN_KEY")
    if chosen_key is not None:
        check_key(chosen_key)
    port = address.port or _free_port(address.host)
    if not only_checks:  # the gateway that this one shall replace may serve there
        check_port(address.host, port)
    admin_key = first_key = ""
    if only_checks:
        check_readable(where)
    else:
        opened = open_database(where)
        try:
            admin_key, first_key = _first_keys(Accounts(opened), chosen_key)
        finally:
            opened.close()
    placed = Address(address.host, port, address.workers, address.tls_cert, address.tls_key, address.behind_proxy)
    return PreparedGateway(placed, chosen, where, fleet.origin, parsed.gateway.drain_seconds, admin_key, first_key)


def check_traces_and_provider(config: Config) -> None:
    """What the pages and the keeping of traces need is told before anything is made. Raises `ConfigError`."""
    from orchestrator.engine.trace_log import policy_of  # the engine

    policy_of(config.traces, config.folder)
    if config.gateway.oidc is not None:
        need_packages("signing in with OpenID Connect", "oidc", ["authlib"])
        secret(config.gateway.oidc.client_secret, None)


def configured(path: Path | None) -> Config:
    """The configuration; without one, the calculator and answers from memory."""
    if path is not None:
        return load_config(path)
    return Config.model_validate(
        {"models": {"calculator": {"provider": "calculator"}, "extractive": {"provider": "extractive"}}}
    )


def check_packages() -> None:
    """What the gateway is built on comes with an extra."""
    need_packages("the gateway", "gateway", PACKAGES)


def check_address(address: Address) -> None:
    """Keys and what is said must not go over a network in the clear."""
    if (address.tls_cert is None) != (address.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together", remedy="Give both, or neither")
    if address.tls_cert is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(address.tls_cert, address.tls_key)
        except (OSError, ssl.SSLError) as error:
            told = f"{address.tls_cert} and {address.tls_key} are no certificate and its key: {error}"
            raise ConfigError(told, remedy="Check both files, and that they are not mistaken for each other") from None
    if address.tls_cert is None and not address.behind_proxy and not is_loopback(address.host):
        raise ConfigError(
            f"{address.host} is reachable from other machines, and keys would pass in the clear",
            remedy="Give --tls-cert and --tls-key, or --behind-proxy if a proxy in front speaks HTTPS, or listen on "
            "127.0.0.1",
        )


def check_port(host: str, port: int) -> None:
    """Nothing else may listen there: that is told before it is announced that we do."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            told = error.strerror or str(error)
            raise ConfigError(
                f"cannot listen on {host}:{port}: {told}",
                remedy="Choose another with --port, or end what listens there",
            ) from None


def check_key(key: str) -> None:
    """Refuses an admin key that can be guessed: too short, too regular, or made of what everybody tries first."""
    counts = Counter(key)
    bits = len(key) * -sum(n / len(key) * math.log2(n / len(key)) for n in counts.values()) if key else 0.0
    is_known = any(weak in key.lower() for weak in _KNOWN_WEAK) and len(key) < 40
    if len(key) < MIN_KEY_CHARS or bits < MIN_KEY_BITS or is_known:
        raise ConfigError(
            "the admin key can be guessed",
            remedy="Take 32 random bytes: export ORCHESTRATOR_ADMIN_KEY=$(python3 -c 'import secrets; "
            "print(secrets.token_urlsafe(32))')",
        )


def _first_keys(accounts: Accounts, chosen: str | None) -> tuple[str, str]:
    """(admin key, first key) as far as they are made now."""
    keys = accounts.keys()
    admin = first = ""
    operator = NewKey("admin", None, permissions=("admin",))
    if chosen is not None:
        if (known := accounts.find(digest_of(chosen))) is None:
            accounts.add_key(operator, chosen)
        else:
            _check_operator(known)
    elif not any(key.org is None and key.revoked_at is None for key in keys):
        admin = accounts.add_key(operator)[1]
    if not accounts.orgs():
        org = accounts.add_org("default")
        first = accounts.add_key(NewKey("first", org.id))[1]
    return admin, first


def _check_operator(known: Found) -> None:
    if known.key.org is not None or known.why_not:
        raise ConfigError(f"the admin key is {known.why_not or 'the key of an organisation'}", remedy="Choose another")


def run(served: PreparedGateway) -> None:
    """Serves until it is told to end."""
    import uvicorn  # heavy

    from orchestrator.gateway.http.connection_limits import GuardedProtocol  # uvicorn

    address = served.address
    environment = served.environment()
    with tempfile.TemporaryDirectory(prefix="orchestrator-metrics-") as folder:
        if address.workers > 1:
            environment["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ.update(environment)
        config = uvicorn.Config(
            "orchestrator.gateway.serve:application",
            factory=True,
            host=address.host,
            port=address.port,
            workers=address.workers,
            loop="auto",
            http=GuardedProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # addresses of clients are not used, so that nobody can make them up
            date_header=True,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=math.ceil(served.drain_s),
            ssl_certfile=None if address.tls_cert is None else str(address.tls_cert),
            ssl_keyfile=None if address.tls_key is None else str(address.tls_key),
            backlog=2_048,
        )
        if address.workers == 1:
            uvicorn.Server(config).run()
            return
        from uvicorn.supervisors import Multiprocess  # heavy

        class Workers(Multiprocess):
            """On SIGHUP, workers that serve are not replaced by ones that could not start."""

            def handle_hup(self) -> None:
                try:
                    configured(served.config)
                except ConfigError as error:
                    log.error("the new configuration is not used: %s", error)
                    return
                super().handle_hup()

        given: dict[str, Any] = {"sockets": [config.bind_socket()]}
        if "target" in inspect.signature(Multiprocess).parameters:  # until uvicorn made it itself
            given["target"] = uvicorn.Server(config).run
        Workers(config, **given).run()


def application() -> Gateway:
    """The application of one worker, from what `run` left in the environment."""
    from orchestrator.engine.orchestrator import Orchestrator  # the whole engine
    from orchestrator.gateway.app import Gateway  # the whole gateway

    path = Path(os.environ[_CONFIG]) if os.environ.get(_CONFIG) else None

    def load() -> tuple[Config, Orchestrator]:
        parsed = configured(path)
        return parsed, Orchestrator.from_config(parsed)

    config, engine = load()
    _log(config.gateway)
    database = open_database(os.environ[_DATABASE])
    gateway = Gateway(config, engine, database=database, is_shared=bool(os.environ.get(_SHARED)), load=load)
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, lambda *_: gateway.services.ask_for_reload())
    gc.collect()
    gc.freeze()  # what is loaded by now stays: no collection need look at it again
    return gateway


def _log(settings: GatewayConfig) -> None:
    """Log lines of ours with their time and level, as text or as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines()
        if settings.log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    ours = logging.getLogger("orchestrator")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(settings.log_level.upper())


_OF_EVERY_RECORD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"))


class JsonLines(logging.Formatter):
    """One object a line: time (ISO 8601), level, logger, message, what is told beside it, and what happened to it."""

    def format(self, record: logging.LogRecord) -> str:
        """A log record as one line of JSON."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
