"""Generated word problems with known answers, of stated difficulty: what the simulated fleet is asked."""

from __future__ import annotations

import random

from orchestrator.backends.testing.simulated import SimulatedProblem

_GOODS = ("lanterns", "wicks", "brass rings", "glass chimneys", "tins of polish", "mooring lamps")
_NAMES = ("Petra", "Silas", "Odalys", "Ravi", "Mireille", "Bosun")


def generate_problems(count: int, *, seed: int = 0) -> list[SimulatedProblem]:
    """`count` different problems; difficulty grows with the number of steps, from about -2 (one step) to 2 (four)."""
    rng = random.Random(seed)
    problems: dict[str, SimulatedProblem] = {}
    while len(problems) < count:
        problem = _problem(rng, steps=rng.randint(1, 4))
        problems.setdefault(problem.question, problem)
    return list(problems.values())


def _problem(rng: random.Random, *, steps: int) -> SimulatedProblem:
    name, goods = rng.choice(_NAMES), rng.choice(_GOODS)
    value = rng.randint(6, 40)
    parts = [f"{name} has {value} {goods}."]
    for step in range(steps):
        kind = rng.choice(("buy", "sell", "boxes", "share")) if step else rng.choice(("buy", "boxes"))
        if kind == "buy":
            more = rng.randint(3, 60)
            value += more
            parts.append(f"Then {rng.choice(_NAMES)} brings {more} more.")
        elif kind == "sell" and value > 4:
            fewer = rng.randint(1, value - 2)
            value -= fewer
            parts.append(f"A customer takes {fewer} of them.")
        elif kind == "share" and value % 2 == 0:
            value //= 2
            parts.append("Half of what is there goes to the museum.")
        else:
            times = rng.randint(2, 6)
            value *= times
            parts.append(f"A delivery makes it {times} times as many.")
    parts.append(f"How many {goods} are there in the end?")
    return SimulatedProblem(" ".join(parts), str(value), difficulty=(steps - 2.5) * 1.3 + rng.gauss(0, 0.7))
