"""More machines than one: batches and the gateway on Ray (extra `ray`), and an actor for one's own Ray programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.scale.ray_actor import orchestrator_actor

__all__ = ["orchestrator_actor"]


def __getattr__(name: str) -> object:
    if name == "orchestrator_actor":
        from orchestrator.scale.ray_actor import orchestrator_actor

        return orchestrator_actor
    raise AttributeError(name)
