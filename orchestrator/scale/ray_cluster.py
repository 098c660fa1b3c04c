"""A Ray cluster: connected to, or started on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

CONNECT_S = 5.0
PASSED_ON = ("_API_KEY", "_BASE_URL")  # ends of names of variables that workers get


def ray_module() -> ModuleType:
    """Ray. Raises `ConfigError` where it is not installed."""
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # Ray's future default, asked for without a warning
    try:
        import ray
    except ImportError:
        raise ConfigError("Ray is not installed", remedy="pip install 'compound-orchestrator[ray]'") from None
    module: ModuleType = ray
    return module


def connect_ray(address: str | None, *, environment: Mapping[str, str] | None = None) -> ModuleType:
    """Ray, connected to the cluster at `address` ("auto", "ray://host:10001", ...), or started on this machine.

    Workers get the variables of `environment`, and of this process those that end in `_API_KEY` or `_BASE_URL`.

    Raises `ConfigError` where there is no cluster at the address.
    """
    ray = ray_module()
    if ray.is_initialized():
        return ray
    check_reachable(address)
    passed = {name: value for name, value in os.environ.items() if name.endswith(PASSED_ON)}
    variables = {**passed, **(environment or {})}
    try:
        ray.init(
            address=address or "local",
            namespace="orchestrator",
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=False if address is None else None,
            runtime_env={"env_vars": variables} if variables else None,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_cluster(address or "this machine", str(error)) from error
    return ray


def check_reachable(address: str | None) -> None:
    """Raises `ConfigError` where nobody listens: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(str(address), error.strerror or str(error)) from error


def _no_cluster(where: str, why: str) -> ConfigError:
    told = next(iter(why.splitlines()), "") or "no answer"
    remedy = "Check --address, and that `ray status` sees the cluster"
    return ConfigError(f"there is no Ray cluster at {where}: {told}", remedy=remedy)
