"""Doubles for tests of what is built on this package: scripted, simulated and recorded models, and a server of them.

`record` keeps what a real fleet answers in a file, and `replay` gives it again without a network.

All of them cost nothing and ask nobody; what a simulated model says is marked as simulated.
"""

from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.recorded import RecordedBackend
from orchestrator.backends.testing.scripted import ScriptedBackend
from orchestrator.backends.testing.simulated import SimulatedBackend, SimulatedModel, SimulatedProblem
from orchestrator.testing.recording import NotRecorded, record, record_or_replay, replay

__all__ = [
    "FleetApp",
    "NotRecorded",
    "RecordedBackend",
    "ScriptedBackend",
    "SimulatedBackend",
    "SimulatedModel",
    "SimulatedProblem",
    "record",
    "record_or_replay",
    "replay",
    "running_server",
]
