"""Four simulated models of stated skill, price and speed. They are simulations: no real model stands behind them."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.backends.testing.simulated import SimulatedModel, SimulatedProblem
from orchestrator.router import ModelProfile

# name, USD per million tokens in and out, skill, output tokens, time to first token (s), tokens per second
_MODELS = (
    ("sim-small", 0.05, 0.20, 0.72, 90.0, 0.010, 4_000.0),
    ("sim-medium", 0.15, 0.60, 0.82, 110.0, 0.020, 3_000.0),
    ("sim-large", 1.00, 4.00, 0.90, 130.0, 0.040, 2_000.0),
    ("sim-xlarge", 3.00, 15.00, 0.94, 150.0, 0.060, 1_500.0),
)
SMALL, LARGE = _MODELS[0][0], _MODELS[-1][0]


def simulated_fleet(problems: Iterable[SimulatedProblem]) -> list[SimulatedModel]:
    """Models of three sizes and prices that solve generated problems; all answers are marked as simulated."""
    known = {problem.question: problem for problem in problems}
    return [
        SimulatedModel(
            ModelProfile(
                name,
                price_in,
                price_out,
                skill=skill,
                output_tokens=length,
                ttft_s=ttft_s,
                tokens_per_s=speed,
                simulated=True,
            ),
            known,
            seed=index,
        )
        for index, (name, price_in, price_out, skill, length, ttft_s, speed) in enumerate(_MODELS)
    ]
