"""A promise with a certificate.

"sending these queries to the cheap model loses at most `max_loss`, with this confidence".

Learn-then-Test (Angelopoulos et al. 2021) with fixed-sequence testing: thresholds are tried from the safest to the
cheapest on a calibration set that no training saw, and the first one that cannot be proven ends the walk; so the chance
that a certified threshold breaks the promise is at most delta.

- gross regret: the share of queries sent to the cheap model that it gets wrong and the reference gets right; exact
  binomial bound (Clopper &
Pearson 1934).
- net regret: what quality is lost on balance (the cheap model is sometimes right alone); betting bound for bounded
  means (Waudby-Smith &
Ramdas 2023).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.calibration import Array
from orchestrator.router.policy import Route

Kind = Literal["net", "gross"]
Covers = Literal["routing", "search"]
GRID = 100
MAX_LABELS = 1_000_000
BETS = np.concatenate([np.linspace(0.01, 0.2, 12), np.linspace(0.25, 0.95, 12)])


@dataclass(frozen=True, slots=True)
class Promise:
    """Lose at most `max_loss` of quality (probability points) against the model `vs`, with probability `confidence`
    over calibration sets.

    `covers` says of what: the routed model's one answer, or what a whole search ends with.
    """

    max_loss: float
    confidence: float = 0.9
    vs: str = "reference"
    kind: Kind = "net"
    covers: Covers = "routing"

    def __post_init__(self) -> None:
        if not 0.0 < self.max_loss < 1.0 or not 0.0 < self.confidence < 1.0:
            raise ValueError(
                f"max_loss and confidence must lie strictly between 0 and 1, not {self.max_loss!r}, {self.confidence!r}"
            )

    @property
    def delta(self) -> float:
        """How improbable a broken promise may be: 1 - confidence."""
        return 1.0 - self.confidence


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was proven, on what. A query is answered without the reference when its gain is at most `threshold`.

    Of routing, the gain is the predicted P(correct) of the reference - that of the cheaper model; of a whole search, it
    is 1 - the confidence in the answer (so `1 - threshold` is the target at which search stops). `cheap_share` is the
    share of calibration queries that do without; `bound` the upper confidence bound of the loss. About
    `labels_for_next_saving` labels would certify the next cheaper setting, if new ones look like these (`None`: there
    is none, or no number would). Void when a model version, the policy or the date does not match.
    """

    threshold: float
    cheap_share: float
    bound: float
    loss: float
    promise: Promise
    labels: int
    data_hash: str
    policy_hash: str
    model_versions: Mapping[str, str]
    issued: str
    expires: str
    labels_for_next_saving: int | None = None

    @property
    def id(self) -> str:
        """Names the certificate by what it rests on and when it was issued."""
        return f"{self.policy_hash}-{self.data_hash}-{self.issued}"

    def gain(self, route: Route, model: str, confidence: float) -> float:
        """The gain of asking the reference that this answer of `model` went without."""
        if self.promise.covers == "search":
            return 1.0 - confidence
        return route.option(self.promise.vs).p_success - route.option(model).p_success

    def is_valid(self, *, now: datetime, policy_hash: str, model_versions: Mapping[str, str]) -> bool:
        """Whether it still speaks of what is running."""
        same = policy_hash == self.policy_hash and dict(model_versions) == dict(self.model_versions)
        return same and now < datetime.fromisoformat(self.expires)

    def as_json(self) -> str:
        """The certificate as text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """The certificate in a text."""
        fields = json.loads(text)
        return cls(**{**fields, "promise": Promise(**fields["promise"])})


@dataclass(frozen=True, slots=True)
class Refusal:
    """No threshold can be certified.

    `labels_needed` is about how many calibration labels the next saving takes (`None`: more than a million).
    """

    reason: str
    labels: int
    labels_needed: int | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a policy (a threshold, a target) on the calibration queries.

    `lost`, shape (n,): score of the reference - score of what the policy chose, in [-1, 1]. `cheap_share`: how often it
    did not choose the reference.
    """

    value: float
    lost: Array
    cheap_share: float


def certify_settings(
    settings: Iterable[Setting],
    promise: Promise,
    *,
    data_hash: str = "",
    policy_hash: str = "",
    model_versions: Mapping[str, str] | None = None,
    now: datetime | None = None,
    valid_days: float = 90.0,
) -> Certificate | Refusal:
    """The last of `settings`, ordered from the safest to the cheapest, that can be proven before one cannot.

    Any policy may be certified so: a threshold of the router, or the target of a whole cascade. The settings must be
    fixed before the scores of the calibration queries were seen, or depend on predictions only.
    """
    passed: tuple[float, float, float, float] | None = None
    n, needed = 0, None
    for setting in settings:
        losses, n = _counted(setting.lost, promise.kind), len(setting.lost)
        bound = _upper_bound(losses, promise)
        if bound > promise.max_loss:
            if passed is None:
                reason = f"with {n} labels the loss may be as high as {bound:.3f}, {promise.max_loss:.3f} is allowed"
                return Refusal(reason, n, _labels_needed(losses, promise))
            needed = _labels_needed(losses, promise)
            break
        passed = (setting.value, setting.cheap_share, bound, float(losses.mean()))
    if passed is None:
        return Refusal("there are no calibration labels", 0, _labels_for_nothing_lost(promise))
    issued = now or datetime.now(UTC)
    return Certificate(
        *passed,
        promise,
        n,
        data_hash,
        policy_hash,
        dict(model_versions or {}),
        issued.isoformat(timespec="seconds"),
        (issued + timedelta(days=valid_days)).isoformat(timespec="seconds"),
        needed,
    )


def certify(gain: Array, cheap: Array, reference: Array, promise: Promise, **details: Any) -> Certificate | Refusal:
    """For one cheap model.

    The highest threshold on the predicted `gain` of the reference over it that keeps the promise.

    `gain`, `cheap` and `reference` have shape (n,): predictions and graded scores in [0, 1] of calibration queries that
    the router was not trained on. `details` as in `certify_settings`. Raises `ValueError` on scores outside [0, 1] or
    NaN.
    """
    gain, cheap, reference = (np.asarray(values, dtype=float) for values in (gain, cheap, reference))
    if not (gain.shape == cheap.shape == reference.shape and gain.ndim == 1):
        raise ValueError("gain, cheap and reference must be vectors of one length")
    _check(gain, cheap, reference)
    settings = (
        Setting(float(t), np.where(gain <= t, reference - cheap, 0.0), float((gain <= t).mean()))
        for t in (_thresholds(gain) if len(gain) else ())
    )
    return certify_settings(settings, promise, data_hash=data_hash(gain, cheap, reference), **details)


def fleet_settings(p_success: Array, scores: Array, cost_usd: Array, reference: int) -> Iterator[Setting]:
    """For a whole fleet.

    Each query goes to the cheapest model whose predicted P(correct) is within a gap of the reference's; safest gap
    first.

    `p_success`, `scores` and `cost_usd` have shape (n, models); `reference` is a column. Raises `ValueError` as
    `certify` does.
    """
    _check(p_success, scores)
    gap = p_success[:, [reference]] - p_success
    others = np.delete(gap, reference, axis=1)
    rows = np.arange(len(gap))
    for value in _thresholds(others.ravel()) if others.size else ():
        chosen = closest_enough(gap, cost_usd, reference, float(value))
        yield Setting(float(value), scores[:, reference] - scores[rows, chosen], float((chosen != reference).mean()))


def closest_enough(gap: Array, cost_usd: Array, reference: int, allowed: float) -> NDArray[np.int64]:
    """The cheapest column of each row whose gap to the reference is at most `allowed`.

    The reference always may be chosen.
    """
    may = gap <= allowed
    may[:, reference] = True
    return np.asarray(np.where(may, cost_usd, np.inf).argmin(axis=1))


def data_hash(*columns: Array) -> str:
    """Identifies data: equal for equal columns."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, dtype=float).tobytes())
    return digest.hexdigest()[:16]


def clopper_pearson_upper(failures: int, n: int, delta: float) -> float:
    """The largest p under which at most `failures` of `n` still have probability delta (exact one-sided bound), by
    bisection.
    """
    if failures >= n:
        return 1.0
    low, high = failures / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_cdf(failures, n, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def betting_p_value(values: Array, mean: float) -> float:
    """p-value of "the mean of these independent values in [0, 1] is at least `mean`".

    The wealth of bets against it (a mixture over `BETS`).

    Each bet pays 1 + b * (mean - x) / (1 - mean) on a value x; under the hypothesis no bet gains on average, so wealth
    W has P(W >= 1/delta) <= delta (Ville 1939; Waudby-Smith & Ramdas 2023, section 4). The order of the values does not
    matter for a fixed bet.
    """
    if not 0.0 < mean < 1.0:
        return 1.0
    found, counts = np.unique(values, return_counts=True)
    growth = np.log1p(BETS[:, None] * (mean - found) / (1.0 - mean)) @ counts
    top = float(growth.max())
    return float(min(1.0, np.exp(-(top + np.log(np.exp(growth - top).mean())))))


def net_loss_bound(lost: Array, delta: float) -> float:
    """Upper confidence bound at level `delta` of the mean of losses in [-1, 1], by betting; to 0.0005.

    As it comes from wagers that are fixed beforehand, it holds after every loss as much as after the last: whoever
    looks again and again may trust the lowest bound that was seen (Ville 1939).
    """
    scaled = (lost + 1.0) / 2.0
    low, high = float(lost.mean()), 1.0
    while high - low > 0.0005:
        middle = (low + high) / 2
        if betting_p_value(scaled, (middle + 1.0) / 2.0) <= delta:
            high = middle
        else:
            low = middle
    return high


def _upper_bound(losses: Array, promise: Promise) -> float:
    """Upper confidence bound of the mean loss at the promise's level."""
    if promise.kind == "gross":
        return clopper_pearson_upper(int((losses > 0).sum()), len(losses), promise.delta)
    return net_loss_bound(losses, promise.delta)


def _counted(lost: Array, kind: Kind) -> Array:
    """What counts as loss: net, or gross (only where the choice was worse).

    Graded scores count as lost if they are at all worse.
    """
    return np.asarray((lost > 0).astype(float) if kind == "gross" else lost)


def _check(predictions: Array, *scores: Array) -> None:
    if not np.isfinite(predictions).all() or not all(((values >= 0) & (values <= 1)).all() for values in scores):
        raise ValueError("predictions must be finite and scores lie in [0, 1]")


def _thresholds(gain: Array) -> Array:
    """Quantiles of the predicted gain from 1 % of the queries to all: safest first."""
    return np.unique(np.quantile(gain, np.arange(1, GRID + 1) / GRID, method="inverted_cdf"))


def _labels_needed(losses: Array, promise: Promise) -> int | None:
    """About how many labels with losses like these would prove the promise."""
    if losses.mean() >= promise.max_loss:
        return None
    n = max(len(losses), 1)
    while n <= MAX_LABELS:
        repeated = np.resize(losses, n)
        if _upper_bound(repeated, promise) <= promise.max_loss:
            return n
        n = int(n * 1.2) + 1
    return None


def _labels_for_nothing_lost(promise: Promise) -> int:
    """Labels needed if the cheap model never lost: (1 - max_loss)^n <= delta."""
    return int(np.ceil(np.log(promise.delta) / np.log1p(-promise.max_loss)))


def _binomial_cdf(k: int, n: int, p: float) -> float:
    if p <= 0.0:
        return 1.0
    if p >= 1.0:
        return float(k >= n)
    ks = np.arange(k + 1)
    logs = _log_choose(n)[: k + 1] + ks * np.log(p) + (n - ks) * np.log1p(-p)
    top = float(logs.max())
    return float(min(1.0, np.exp(top) * np.exp(logs - top).sum()))


@lru_cache(maxsize=8)
def _log_choose(n: int) -> Array:
    """log(n choose k) for k = 0..n."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return np.asarray(logs[n] - logs - logs[::-1])
