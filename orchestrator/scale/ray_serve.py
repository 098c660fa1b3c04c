"""The gateway on Ray Serve: replicas that come and go with the load, their state in PostgreSQL."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.scale.ray_cluster import check_reachable, connect_ray, ray_module

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway
    from orchestrator.gateway.serve import PreparedGateway

NAME = "orchestrator"
MANY = 10_000


@dataclass(frozen=True, slots=True)
class RayScaling:
    """How many replicas there are.

    Attributes:
        least: As many as there always are.
        most: As many as there are at most.
        requests: How many requests a replica should have under way; with more of them, replicas are added.
        num_cpus: What each takes of a machine.
    """

    least: int = 1
    most: int = 4
    requests: float = 64.0
    num_cpus: float = 1.0


def build_gateway() -> Gateway:
    """The gateway of one replica."""
    from orchestrator.gateway.serve import application

    return application()


def check(served: PreparedGateway, address: str | None) -> None:
    """Raises `ConfigError` where the state would not be shared, Ray is not installed, or nobody listens at `address`.

    Nothing is started or made by it.
    """
    if not served.database.startswith("postgres"):
        raise ConfigError(
            "replicas on Ray share keys, budgets and records in PostgreSQL",
            remedy="Give --database postgresql://... or gateway.database",
        )
    ray_module()
    check_reachable(address)


def start(served: PreparedGateway, scaling: RayScaling, *, address: str | None = None) -> None:
    """Serves on the cluster at `address`, and returns once it does.

    Raises `ConfigError` where Ray is not installed or not there, and where the state would not be shared.
    """
    check(served, address)
    connect_ray(address, environment=served.environment())
    from ray import serve

    serve.start(http_options={"host": served.address.host, "port": served.address.port})
    deployment = serve.deployment(
        serve.ingress(build_gateway)(),
        name=NAME,
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": scaling.num_cpus},
        graceful_shutdown_timeout_s=served.drain_s,
        autoscaling_config={
            "min_replicas": scaling.least,
            "max_replicas": scaling.most,
            "target_ongoing_requests": scaling.requests,
        },
    )
    serve.run(deployment.bind(), name=NAME, route_prefix="/")


def run(served: PreparedGateway, scaling: RayScaling, *, address: str | None = None) -> None:
    """Serves until it is told to end; on a cluster of others the gateway is taken down then."""
    start(served, scaling, address=address)
    from ray import serve

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    serve.shutdown()
