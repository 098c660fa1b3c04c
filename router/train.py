"""Trains the shipped success model: `python -m router.train --data ../shared/data --out router/pretrained` (extra `train`).

Reads recorded outcomes (routing/strong_weak.parquet, fleet/*.parquet). Most models were recorded on some domains only, so a model's ability and a
domain's ease are told apart first (stage 1: an effect for each model and each domain, linked by the models that saw several); then the ease is
learned from the query's features, abilities held (stage 2); last, each model's two numbers are fitted close to stage 1. Prints log-loss and AUC on
held-out queries; the model card records them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.calibration import Array, fit_logistic, sigmoid
from router.features import BUCKETS, DIMENSIONS, SURFACE, Features
from router.success import PRETRAINED, Ability, Outcome, SuccessModel

SURFACE_SCALE = 3.0  # surface features are few and dense: scaled up, the ridge penalty spares them
RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class DomainOutcome(Outcome):
    """An outcome and the domain (data set) that its query comes from."""

    domain: str = ""


def load_outcomes(data: Path) -> list[DomainOutcome]:
    import pyarrow.parquet as parquet

    outcomes = []
    for row in parquet.read_table(data / "routing" / "strong_weak.parquet").to_pylist():
        for model, column in (("mixtral-8x7b-instruct", "weak_correct"), ("gpt-4-1106-preview", "strong_correct")):
            outcomes.append(DomainOutcome(row["prompt"], model, float(row[column]), row["dataset"]))
    for task, domain in (("gsm", "gsm8k"), ("crux", "crux")):
        prompts = {row["query_id"]: row["prompt"] for row in parquet.read_table(data / "fleet" / f"{task}_questions.parquet").to_pylist()}
        columns = ["query_id", "model", "correct"]
        rows = parquet.read_table(data / "fleet" / f"{task}_answers.parquet", columns=columns).to_pylist()
        outcomes.extend(DomainOutcome(prompts[row["query_id"]], row["model"], float(row["correct"]), domain) for row in rows)
    return outcomes


def train(outcomes: list[DomainOutcome]) -> SuccessModel:
    queries = list(dict.fromkeys(o.query for o in outcomes))
    row_of = {query: row for row, query in enumerate(queries)}
    rows = np.array([row_of[o.query] for o in outcomes])
    models = sorted({o.model for o in outcomes})
    model_of = np.array([models.index(o.model) for o in outcomes])
    scores = np.array([o.score for o in outcomes])

    abilities = separate_abilities(outcomes, models)
    features = [Features.of(query) for query in queries]
    bounds = np.quantile([f.values[-len(SURFACE) :] for f in features], [0.01, 0.99], axis=0).astype(np.float32)
    features = [f.clipped(bounds) for f in features]
    weights = learn_ease(design_matrix(features)[rows], scores, offset=abilities[model_of])
    weights[BUCKETS:] *= SURFACE_SCALE
    ease = np.array([f.dot(weights) for f in features])[rows]
    fitted = {}
    for index, name in enumerate(models):
        own = model_of == index
        x = np.column_stack([np.ones(own.sum()), ease[own]])
        bias, slope = fit_logistic(x, scores[own], prior_mean=np.array([abilities[index], 1.0]), prior_sd=np.array([0.1, 0.2]))
        fitted[name] = Ability(float(bias), float(slope))
    return SuccessModel(weights, fitted, surface_bounds=bounds)


def separate_abilities(outcomes: list[DomainOutcome], models: list[str]) -> Array:
    """Stage 1: log-odds of each model on a domain of average ease (domain effects sum to zero), shape (models,)."""
    domains = sorted({o.domain for o in outcomes})
    # One row a (model, domain) pair, weighted by nothing: its mean score stands for it.
    scores: dict[tuple[int, int], list[float]] = {}
    for o in outcomes:
        scores.setdefault((models.index(o.model), domains.index(o.domain)), []).append(o.score)
    x = np.zeros((len(scores), len(models) + len(domains) - 1))
    for row, (model, domain) in enumerate(scores):
        x[row, model] = 1.0
        if domain < len(domains) - 1:
            x[row, len(models) + domain] = 1.0
        else:
            x[row, len(models) :] = -1.0
    y = np.array([float(np.mean(values)) for values in scores.values()])
    prior_sd = np.concatenate([np.full(len(models), 20.0), np.full(len(domains) - 1, 20.0)])
    return fit_logistic(x, y, prior_mean=np.zeros(x.shape[1]), prior_sd=prior_sd)[: len(models)]


def learn_ease(x: Any, y: Array, *, offset: Array, ridge: float = RIDGE) -> NDArray[np.float32]:
    """Stage 2: ridge-penalised weights of P(right) = sigmoid(offset + x @ weights), by L-BFGS. `x` is sparse, shape (n, DIMENSIONS)."""
    from scipy.optimize import minimize

    def loss(weights: Array) -> tuple[float, Array]:
        margin = offset + x @ weights
        value = np.logaddexp(0.0, margin).sum() - y @ margin + 0.5 * ridge * (weights @ weights)
        return float(value), x.T @ (sigmoid(margin) - y) + ridge * weights

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights: NDArray[np.float32] = found.x.astype(np.float32)
    return weights


def design_matrix(features: list[Features]) -> Any:
    """Sparse matrix, shape (len(features), DIMENSIONS), with the surface features scaled up."""
    from scipy import sparse

    scaled = [np.where(f.indices >= BUCKETS, f.values * SURFACE_SCALE, f.values) for f in features]
    indptr = np.cumsum([0, *(len(f.indices) for f in features)])
    shape = (len(features), DIMENSIONS)
    return sparse.csr_matrix((np.concatenate(scaled), np.concatenate([f.indices for f in features]), indptr), shape=shape)


def evaluate(model: SuccessModel, outcomes: list[DomainOutcome]) -> list[str]:
    """Lines with log-loss, AUC, mean prediction and mean score per model and domain, on outcomes that it was not trained on."""
    from sklearn.metrics import log_loss, roc_auc_score

    ease = {query: model.ease(query) for query in {o.query for o in outcomes}}
    lines = ["| model | domain | n | log-loss | AUC | mean P(right) | right |", "|---|---|---|---|---|---|---|"]
    for name, domain in sorted({(o.model, o.domain) for o in outcomes}):
        own = [o for o in outcomes if (o.model, o.domain) == (name, domain)]
        ability = model.abilities[name]
        p = sigmoid(np.array([ability.bias + ability.slope * ease[o.query] for o in own]))
        y = [o.score for o in own]
        loss, auc = log_loss(y, p, labels=[0, 1]), roc_auc_score(y, p)
        lines.append(f"| {name} | {domain} | {len(own)} | {loss:.3f} | {auc:.3f} | {p.mean():.3f} | {np.mean(y):.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=PRETRAINED)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    outcomes = load_outcomes(arguments.data)
    queries = sorted({o.query for o in outcomes})
    held_out = set(np.random.default_rng(arguments.seed).permutation(queries)[: len(queries) // 5].tolist())
    trial = train([o for o in outcomes if o.query not in held_out])
    print("\n".join(evaluate(trial, [o for o in outcomes if o.query in held_out])))
    train(outcomes).save(arguments.out)
    print(f"saved to {arguments.out}")


if __name__ == "__main__":
    main()
