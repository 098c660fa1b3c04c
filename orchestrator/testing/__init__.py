"""Doubles for tests of what is built on this package: scripted, simulated and recorded models, and a server of them.

All of them cost nothing and ask nobody; what a simulated model says is marked as simulated.
"""

from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.recorded import RecordedBackend
from orchestrator.backends.testing.scripted import ScriptedBackend
from orchestrator.backends.testing.simulated import SimulatedBackend, SimulatedModel, SimulatedProblem

__all__ = [
    "FleetApp",
    "RecordedBackend",
    "ScriptedBackend",
    "SimulatedBackend",
    "SimulatedModel",
    "SimulatedProblem",
    "running_server",
]
