"""What a fleet of serving engines would do: simulated, from engines that were learned from a hundred of their requests.

Everything here is a simulation and says so in what it returns. No engine is asked and no clock is read.
"""

from orchestrator.simulation.engine import Engine
from orchestrator.simulation.fleet import SimulatedFleet, simulate
from orchestrator.simulation.learn import learn_engine
from orchestrator.simulation.request import SimulatedOutcome, SimulatedRequest
from orchestrator.simulation.summary import SimulationSummary, summarize

__all__ = [
    "Engine",
    "SimulatedFleet",
    "SimulatedOutcome",
    "SimulatedRequest",
    "SimulationSummary",
    "learn_engine",
    "simulate",
    "summarize",
]
