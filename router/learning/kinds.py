"""The stated kinds of query (`kinds.txt`), and the prior that is fitted to them.

`python -m orchestrator.router.learning.kinds` makes `pretrained/difficulty.npz`; a minute.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orchestrator.router.calibration import fit_logistic, logit
from orchestrator.router.difficulty import ORDINARY, SHIPPED, DifficultyPrior
from orchestrator.router.features.feature_space import FeatureSpace
from orchestrator.text.static_encoder import static_encoder

KINDS = Path(__file__).parent / "kinds.txt"
PER_TEMPLATE = 12
DOMAINS = 200
SURFACE_SD, EMBEDDING_SD, DOMAIN_SD = 0.1, 0.7, 2.0  # of weights; chosen with templates left out
_UNFILLED = re.compile(r"\[[^\[\]]*(?:\[[^\[\]]*\])?[^\[\]]*\|[^\[\]]*")
_ALTERNATIVES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")


class StatedQuery(NamedTuple):
    """A query of a stated kind, and the share of such that an ordinary model is stated to get right, in (0, 1)."""

    kind: str
    p: float
    text: str
    template: int


def stated_queries(path: Path = KINDS, *, per_template: int = PER_TEMPLATE, seed: int = 0) -> list[StatedQuery]:
    """At most `per_template` different queries of each template, drawn at random. Raises `ValueError` with the line."""
    rng, found = random.Random(seed), []
    for number, kind, p, template in _templates(path):
        drawn = dict.fromkeys(_filled(template, rng) for _ in range(4 * per_template))
        if any(_UNFILLED.search(text) for text in drawn):
            raise ValueError(f"{path}, line {number}: an alternative holds brackets of its own; use others")
        found += [StatedQuery(kind, p, text, number) for text in list(drawn)[:per_template]]
    return found


def fit_prior(queries: list[StatedQuery], *, seed: int = 0) -> DifficultyPrior:
    """Ridge regression of the stated log-odds on what the queries look like."""
    texts, p = [query.text for query in queries], np.array([query.p for query in queries])
    space = FeatureSpace.fit(texts, encoder=static_encoder(), buckets=1, domains=DOMAINS, seed=seed)
    points = space.points(texts)
    n_domains, scales = points.n_domains, space.scales
    memberships = points.dense[:, points.dense.shape[1] - n_domains :] / np.float32(scales.domains)
    x = np.concatenate((np.ones((len(texts), 1)), points.looks.located, memberships), axis=1)
    n_surface = points.looks.surface.shape[1]
    sizes = (1, n_surface, points.looks.located.shape[1] - n_surface, n_domains)
    sd = np.repeat([2.0, SURFACE_SD, EMBEDDING_SD, DOMAIN_SD], sizes)
    mean = np.concatenate(([logit(ORDINARY)], np.zeros(x.shape[1] - 1)))
    weights = fit_logistic(x.astype(float), p, prior_mean=mean, prior_sd=sd)
    return DifficultyPrior(space.arrays, weights.astype(np.float32), static_encoder())


def _templates(path: Path) -> Iterator[tuple[int, str, float, str]]:
    kind, p = "", 0.0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            kind, _, share = line[3:].rpartition(" | ")
            p = float(share)
            if not 0.0 < p < 1.0:
                raise ValueError(f"{path}, line {number}: a share lies strictly between 0 and 1, not {share}")
        elif line and not line.startswith("# ") and line != "#":
            yield number, kind, p, line


def _filled(template: str, rng: random.Random) -> str:
    """The template with one alternative in each place, innermost places first."""
    while found := _ALTERNATIVES.search(template):
        template = template[: found.start()] + rng.choice(found[1].split("|")) + template[found.end() :]
    return " ".join(template.split())


def main() -> None:
    """The command line: fits the prior and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    queries = stated_queries()
    fit_prior(queries).save(arguments.out)
    print(f"{len(queries)} queries of {len({query.kind for query in queries})} kinds; saved to {arguments.out}")


if __name__ == "__main__":
    main()
