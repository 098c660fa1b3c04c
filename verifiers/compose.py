"""Verifiers made of verifiers: `all_of`, `any_of`, `weighted`.

The cheap and decisive ones belong first: they spare the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.verifiers.verdict import Verdict, Verifier, price_of


def all_of(*verifiers: Verifier) -> Verifier:
    """Passes what all pass that have an opinion.

    Asks in order, and nobody after a decisive failure. Raises `ValueError` without verifiers.
    """
    return _AllOf(_some(verifiers))


def any_of(*verifiers: Verifier) -> Verifier:
    """Passes what one of them passes; asks in order, and nobody after that. Rules out only what each rules out."""
    return _AnyOf(_some(verifiers))


def weighted(weights: Mapping[Verifier, float], *, at_least: float = 0.5) -> Verifier:
    """The weighted mean of the scores of those that have an opinion; passes from `at_least` on. Never decisive.

    Raises `ValueError` on weights that are not positive.
    """
    if not weights or not all(weight > 0 for weight in weights.values()):
        raise ValueError("weighted needs verifiers, each with a positive weight")
    return _Weighted(dict(weights), at_least)


class _AllOf:
    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = verifiers
        self.name = f"all_of({', '.join(v.name for v in verifiers)})"

    def price_usd(self, query: str, candidate: str) -> float | None:
        return _price_of_all(self._verifiers, query, candidate)

    async def verify(self, query: str, candidate: str) -> Verdict:
        found: list[Verdict] = []
        for verifier in self._verifiers:
            found.append(await verifier.verify(query, candidate))
            if found[-1].passed is False and found[-1].decisive:
                break
        opinions = [verdict for verdict in found if verdict.score is not None]
        failed = [verdict for verdict in opinions if verdict.passed is False]
        if not opinions:
            return _abstained(self.name, found)
        return Verdict(
            self.name,
            min(verdict.score or 0.0 for verdict in opinions),
            not failed,
            _told(failed),
            tuple(e for verdict in opinions for e in verdict.evidence),
            sum(verdict.cost_usd for verdict in found),
            any(verdict.decisive for verdict in (failed or opinions)),
        )


class _AnyOf:
    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = verifiers
        self.name = f"any_of({', '.join(v.name for v in verifiers)})"

    def price_usd(self, query: str, candidate: str) -> float | None:
        return _price_of_all(self._verifiers, query, candidate)

    async def verify(self, query: str, candidate: str) -> Verdict:
        found: list[Verdict] = []
        for verifier in self._verifiers:
            found.append(await verifier.verify(query, candidate))
            if found[-1].passed:
                break
        opinions = [verdict for verdict in found if verdict.score is not None]
        if not opinions:
            return _abstained(self.name, found)
        passed = found[-1].passed is True
        best = max(opinions, key=lambda verdict: verdict.score or 0.0)
        decisive = (
            found[-1].decisive
            if passed
            else len(opinions) == len(found) and all(verdict.decisive for verdict in opinions)
        )
        cost_usd = sum(verdict.cost_usd for verdict in found)
        return Verdict(
            self.name, best.score, passed, "" if passed else _told(opinions), best.evidence, cost_usd, decisive
        )


class _Weighted:
    def __init__(self, weights: Mapping[Verifier, float], at_least: float) -> None:
        self._weights, self._at_least = weights, at_least
        self.name = f"weighted({', '.join(v.name for v in weights)})"

    def price_usd(self, query: str, candidate: str) -> float | None:
        return _price_of_all([*self._weights], query, candidate)

    async def verify(self, query: str, candidate: str) -> Verdict:
        found = [(await verifier.verify(query, candidate), weight) for verifier, weight in self._weights.items()]
        opinions = [(verdict, weight) for verdict, weight in found if verdict.score is not None]
        if not opinions:
            return _abstained(self.name, [verdict for verdict, _ in found])
        score = sum((verdict.score or 0.0) * weight for verdict, weight in opinions) / sum(
            weight for _, weight in opinions
        )
        passed = score >= self._at_least
        failed = [verdict for verdict, _ in opinions if verdict.passed is False]
        cost_usd = sum(verdict.cost_usd for verdict, _ in found)
        return Verdict(self.name, min(max(score, 0.0), 1.0), passed, "" if passed else _told(failed), cost_usd=cost_usd)


def _some(verifiers: Sequence[Verifier]) -> Sequence[Verifier]:
    if not verifiers:
        raise ValueError("name at least one verifier")
    return verifiers


def _price_of_all(verifiers: Sequence[Verifier], query: str, candidate: str) -> float | None:
    prices = [price_of(verifier, query, candidate) for verifier in verifiers]
    return None if None in prices else sum(price or 0.0 for price in prices)


def _told(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(f"{verdict.verifier}: {verdict.feedback}" for verdict in verdicts if verdict.feedback)


def _abstained(name: str, verdicts: Sequence[Verdict]) -> Verdict:
    return Verdict(name, None, None, _told(verdicts), cost_usd=sum(verdict.cost_usd for verdict in verdicts))
