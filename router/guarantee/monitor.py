"""The guarantee that watches itself.

An anytime-valid test on a small shadow share of traffic tightens or withdraws a certificate that stops holding.

A share of the queries that went to the cheap model is also asked of the reference. The losses feed an e-process, a
mixture of bets that the promise is broken: while it holds, the wealth reaches 1/alpha at any time ever with probability
at most alpha (Ville 1939; Waudby-Smith & Ramdas 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from orchestrator.router.guarantee.certificate import Certificate

State = Literal["holds", "tightened", "withdrawn"]
FRACTIONS = np.array([0.03, 0.06, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8])
TIGHTER = 0.5


@dataclass(frozen=True, slots=True)
class Audit:
    """The running test. Immutable: `observe` returns the next state. `log_wealth` has one entry a bet."""

    allowed_loss: float
    alpha: float = 0.05
    audits: int = 0
    total_loss: float = 0.0
    log_wealth: tuple[float, ...] = (0.0,) * len(FRACTIONS)

    @property
    def e_value(self) -> float:
        """Evidence that the promise is broken; 1 at the start, an alarm at 1/alpha."""
        wealth = np.array(self.log_wealth)
        top = float(wealth.max())
        return float(np.exp(top) * np.exp(wealth - top).mean())

    @property
    def is_alarm(self) -> bool:
        """Whether the promise is refuted at level `alpha` (Ville's inequality)."""
        return self.e_value >= 1.0 / self.alpha

    def observe(self, losses: Sequence[float]) -> Audit:
        """Losses in [-1, 1] of audited queries that went to the cheap model: reference score - cheap score.

        Raises `ValueError` outside.
        """
        values = np.asarray(losses, dtype=float)
        if not ((values >= -1.0) & (values <= 1.0)).all():
            raise ValueError("audited losses must be numbers in [-1, 1]")
        # The largest stake whose factor cannot turn negative at a loss of -1 is 1 / (1 + allowed).
        stakes = FRACTIONS / (1.0 + self.allowed_loss)
        gained = np.log1p(stakes[:, None] * (values[None, :] - self.allowed_loss)).sum(axis=1)
        wealth = tuple((np.array(self.log_wealth) + gained).tolist())
        return replace(
            self, audits=self.audits + len(values), total_loss=self.total_loss + float(values.sum()), log_wealth=wealth
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """A certificate and its audit. `threshold` is what may be used now (`None`: nothing may go to the cheap model)."""

    certificate: Certificate
    audit: Audit
    threshold: float | None
    state: State = "holds"

    @classmethod
    def of(cls, certificate: Certificate, *, alpha: float = 0.05) -> Guard:
        """Audits only what went to the cheap model: there the promise allows `max_loss / cheap_share`.

        `alpha` bounds the chance of any false alarm; the test before and the one after tightening get half of it each.
        """
        return cls(
            certificate,
            Audit(_allowed(certificate.promise.max_loss, certificate.cheap_share), alpha / 2),
            certificate.threshold,
        )

    def observe(self, losses: Sequence[float], gains: Sequence[float]) -> Guard:
        """Feeds audited losses with the predicted gains of their queries.

        Under a gross promise a loss is 1 where the cheap model was worse, else 0.

        At the first alarm the threshold moves to the median of `gains` (half the cheap share) and the audit begins
        anew; at the second the certificate is withdrawn.
        """
        if self.state == "withdrawn":
            return self
        audit = self.audit.observe(losses)
        if not audit.is_alarm:
            return replace(self, audit=audit)
        if self.state == "tightened" or not len(gains):
            return replace(self, audit=audit, threshold=None, state="withdrawn")
        tighter = float(np.quantile(np.asarray(gains, dtype=float), TIGHTER))
        allowed = _allowed(self.certificate.promise.max_loss, self.certificate.cheap_share * TIGHTER)
        return replace(self, audit=Audit(allowed, self.audit.alpha), threshold=tighter, state="tightened")

    def sends_cheap(self, gain: float) -> bool:
        """Whether a query with this predicted gain of the reference goes to the cheaper model."""
        return self.threshold is not None and gain <= self.threshold


def _allowed(max_loss: float, cheap_share: float) -> float:
    return min(max_loss / max(cheap_share, 1e-9), 0.95)
