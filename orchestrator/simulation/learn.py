"""Learns an engine from a few of its own requests: when they came, and when their first and last tokens did.

The numbers of a step are fitted by Levenberg-Marquardt (Marquardt 1963) on simulated against observed times; its limits
(token budget, requests at once, memory), which change times by leaps, by trying them one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject
from orchestrator.simulation.engine import UNLIMITED, Engine
from orchestrator.simulation.observation import FITTED, Array, Observation, ObservedRequest
from orchestrator.simulation.request import SimulatedRequest

MIN_OBSERVED, MAX_OBSERVED = 10, 100
BUDGETS = (512, 1_024, 2_048, 4_096, 8_192, 16_384)
SEQUENCES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1_024)
KV_STEPS, KV_AROUND, KV_HALVINGS = 12, 1.25, 7
KV_FINE = (0.985, 0.9925, 0.996, 1.004, 1.0075, 1.015)
ROUGH, QUICK, THOROUGH = 8, 20, 60  # rounds of a fit
MAX_STEPS, ENOUGH = 4, 0.9  # from one set of limits to the next, and what a step must gain
KEPT = 3  # hypotheses that are looked at closely
LIMIT_COSTS = 2.0  # what a limit must explain
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class LearnedEngine:
    """An engine as it was learned, and how well it explains what it was learned from.

    Attributes:
        engine: Its numbers.
        observed: From how many requests.
        ttft_error: How far the mean time to first token is off on them, as a share.
        per_token_error: The same of the time per token.
        latency_error: The same of the time to the last token.
    """

    engine: Engine
    observed: int
    ttft_error: float
    per_token_error: float
    latency_error: float

    def as_dict(self) -> JsonObject:
        """JSON values; a limit that was not met is `null`."""
        numbers = {each.name: getattr(self.engine, each.name) for each in fields(self.engine)}
        limits = {name: None for name in ("max_sequences", "kv_tokens") if numbers[name] >= UNLIMITED}
        errors = {name: getattr(self, name) for name in ("ttft_error", "per_token_error", "latency_error")}
        return {"engine": numbers | limits, "observed": self.observed, **errors}

    def describe(self) -> str:
        """A line for people: the numbers as a file states them, and how well they explain what was seen."""
        stated = {name: value for name, value in self.as_dict()["engine"].items() if value is not None}
        told = ", ".join(f"{name}: {value:.4g}" for name, value in stated.items() if not isinstance(value, bool))
        return (
            f"learned from {self.observed} requests: {{{told}}}; off by {abs(self.ttft_error):.1%} in the mean time to "
            f"first token, {abs(self.per_token_error):.1%} a token, {abs(self.latency_error):.1%} in latency"
        )


def learn_engine(
    observed: Sequence[ObservedRequest], others: Sequence[SimulatedRequest] = (), *, known: Engine | None = None
) -> LearnedEngine:
    """The engine that explains what was observed best.

    Args:
        observed: 10 to 100 requests of one engine; of more, the first 100 are used.
        others: Requests of which only arrival and lengths are known, and that ran beside the observed ones.
        known: An engine whose limits are taken as they are, where its configuration is known.

    Returns:
        The learned engine. Limits that the requests did not meet stay unlimited: they cannot be seen.

    Raises:
        InvalidArgument: There are too few requests, or their times cannot be.
    """
    run = Observation(_checked(observed), others)
    if known is not None:
        return _learned(run, _fitted(run, replace(run.guess(known), overhead_s=known.overhead_s), THOROUGH)[0])
    found = [_refined_memory(run, fit) for fit in _best(run, _hypotheses(run), (ROUGH, QUICK))[:KEPT]]
    for _ in range(MAX_STEPS):
        before = _cost(_simplest(found))
        tried = [other for fit in found for other in _neighbours(run, fit[0])]
        found = sorted(found + _best(run, tried, (ROUGH, QUICK)), key=_cost)[:KEPT]
        found = [_refined_memory(run, fit) for fit in found]
        if _cost(_simplest(found)) > ENOUGH * before:
            break
    found += [_fitted(run, each, QUICK, names) for fit in found for each, names in _variants(fit[0])]
    return _learned(run, _fitted(run, _simplest(found)[0], THOROUGH)[0])


Fit = tuple[Engine, float]


def _cost(fit: Fit) -> float:
    """What an engine leaves unexplained, more for each limit: what explains as much with fewer limits is believed."""
    limits = (fit[0].max_sequences < UNLIMITED) + (fit[0].kv_tokens < UNLIMITED)
    return fit[1] * LIMIT_COSTS**limits


def _simplest(fits: Sequence[Fit]) -> Fit:
    return min(fits, key=_cost)


def _checked(observed: Sequence[ObservedRequest]) -> list[ObservedRequest]:
    """Raises `InvalidArgument`."""
    if len(observed) < MIN_OBSERVED:
        raise InvalidArgument(
            f"an engine cannot be learned from {len(observed)} requests",
            remedy=f"Give {MIN_OBSERVED} to {MAX_OBSERVED} with arrival, first token and last token",
        )
    for number, each in enumerate(observed):
        after = each.first_token_s if math.isfinite(each.first_token_s) else each.request.arrival_s
        if not each.request.arrival_s <= after <= each.last_token_s or not math.isfinite(each.last_token_s):
            raise InvalidArgument(
                f"request {number}: its tokens come in no order (arrived at {each.request.arrival_s:.3f} s, first "
                f"token at {each.first_token_s:.3f} s, last at {each.last_token_s:.3f} s)",
                remedy="Give all three in seconds of one clock",
            )
    return list(observed[:MAX_OBSERVED])


def _fitted(run: Observation, engine: Engine, rounds: int, names: tuple[str, ...] = FITTED) -> Fit:
    """The engine with its step fitted, and what is left unexplained."""
    at = np.log([max(getattr(engine, name), 1e-13) for name in names])

    def made(logs: Array) -> Engine:
        return engine.with_seconds({name: math.exp(log) for name, log in zip(names, logs.tolist(), strict=True)})

    here, slopes = run.residuals(made(at), names)
    damping = 1e-2
    for _ in range(rounds):
        normal = slopes.T @ slopes
        damped = normal + damping * np.diag(np.diag(normal) + 1e-6)
        there = at - np.clip(np.linalg.solve(damped, slopes.T @ here), -1.0, 1.0)
        left, changed = run.residuals(made(there), names)
        gained = 1 - (left @ left) / (here @ here)
        if gained > 0:
            at, here, slopes, damping = there, left, changed, max(damping / 4, 1e-6)
        else:
            damping *= 6
        if 0 < gained < 1e-4 or damping > 1e3:
            break
    return made(at), float(here @ here)


def _best(run: Observation, engines: Sequence[Engine], rounds: Sequence[int]) -> list[Fit]:
    """The engines that explain best, the best first: all are fitted roughly, the better ones further."""
    fits = [_fitted(run, engine, rounds[0]) for engine in engines]
    for more in rounds[1:]:
        fits = sorted(fits, key=_cost)[: max(len(fits) // 4, KEPT)]
        fits = [_fitted(run, engine, more) for engine, _ in fits]
    return sorted(fits, key=_cost)


def _hypotheses(run: Observation) -> list[Engine]:
    """Engines with no limit or one, of requests or of memory, and with a small or a large token budget."""
    found = []
    for budget in BUDGETS[2], BUDGETS[4]:
        engine = run.guess(Engine(1.0, 0.0, token_budget=budget))
        longest = max(each.prompt_tokens + each.output_tokens for each in run.requests)
        running, held = run.peaks(engine)
        found += [engine, *(replace(engine, max_sequences=most) for most in SEQUENCES if most < 2 * running)]
        low, high = math.log(longest + 1.0), math.log(max(1.5 * held, longest + 2.0))
        steps = [math.exp(low + (high - low) * (step + 0.5) / KV_STEPS) for step in range(KV_STEPS)]
        found += [replace(engine, kv_tokens=round(tokens)) for tokens in steps]
    return found


def _neighbours(run: Observation, engine: Engine) -> list[Engine]:
    """The engine with one limit changed."""
    found = [replace(engine, token_budget=budget) for budget in BUDGETS if budget != engine.token_budget]
    found += [replace(engine, max_sequences=most) for most in (*SEQUENCES, UNLIMITED) if most != engine.max_sequences]
    found.append(replace(engine, schedules_ahead=not engine.schedules_ahead))
    if engine.kv_tokens < UNLIMITED:
        unlimited = replace(engine, kv_tokens=UNLIMITED)
        found += [unlimited, *(replace(unlimited, max_sequences=most) for most in SEQUENCES)]
    return found


def _variants(engine: Engine) -> list[tuple[Engine, tuple[str, ...]]]:
    """The engine with what changes times a little: planning ahead, attention within prompts, or both."""
    ahead = replace(engine, schedules_ahead=not engine.schedules_ahead)
    attentive = [replace(each, attention_s=each.prefill_token_s / 50_000) for each in (engine, ahead)]
    return [(ahead, FITTED), *((each, (*FITTED, "attention_s")) for each in attentive)]


def _refined_memory(run: Observation, best: Fit) -> Fit:
    """The memory by golden sections around what was found, then by small steps: the last tokens decide."""
    if best[0].kv_tokens == UNLIMITED:
        return best
    longest = max(each.prompt_tokens + each.output_tokens for each in run.requests)

    def at(log: float) -> Fit:
        return _fitted(run, replace(best[0], kv_tokens=max(round(math.exp(log)), longest + 1)), ROUGH)

    low, high = math.log(best[0].kv_tokens / KV_AROUND), math.log(best[0].kv_tokens * KV_AROUND)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    below, above = at(left), at(right)
    tried = [best, below, above]
    for _ in range(KV_HALVINGS):
        if below[1] < above[1]:
            high, right, above = right, left, below
            left = high - GOLDEN * (high - low)
            below = at(left)
        else:
            low, left, below = left, right, above
            right = low + GOLDEN * (high - low)
            above = at(right)
        tried += [below, above]
    best = min(tried, key=_cost)
    fine = (at(math.log(best[0].kv_tokens * step)) for step in KV_FINE)
    return min(best, *fine, key=_cost)


def _learned(run: Observation, engine: Engine) -> LearnedEngine:
    return LearnedEngine(engine, len(run.arrival), *run.errors(engine))
