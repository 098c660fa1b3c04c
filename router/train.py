"""Trains the shipped success model: `python -m router.train --data ../shared/data --out router/pretrained` (extra `train`).

Reads recorded outcomes (routing/strong_weak.parquet, fleet/*.parquet), fits the shared ease as one logistic regression over all models with a
bias for each, then two ability numbers a model. Prints log-loss and AUC on held-out queries; the model card records them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from router.calibration import fit_logistic
from router.features import BUCKETS, DIMENSIONS, Features
from router.success import PRETRAINED, Ability, Outcome, SuccessModel

SURFACE_SCALE = 3.0  # surface features are few and dense: scaled up, the ridge penalty spares them


def load_outcomes(data: Path) -> list[Outcome]:
    import pyarrow.parquet as parquet

    outcomes = []
    for row in parquet.read_table(data / "routing" / "strong_weak.parquet").to_pylist():
        for model, column in (("mixtral-8x7b-instruct", "weak_correct"), ("gpt-4-1106-preview", "strong_correct")):
            outcomes.append(Outcome(row["prompt"], model, float(row[column])))
    for task in ("gsm", "crux"):
        prompts = {row["query_id"]: row["prompt"] for row in parquet.read_table(data / "fleet" / f"{task}_questions.parquet").to_pylist()}
        columns = ["query_id", "model", "correct"]
        rows = parquet.read_table(data / "fleet" / f"{task}_answers.parquet", columns=columns).to_pylist()
        outcomes.extend(Outcome(prompts[row["query_id"]], row["model"], float(row["correct"])) for row in rows)
    return outcomes


def train(outcomes: list[Outcome], *, regularisation: float = 1.0) -> SuccessModel:
    """Fits the shared weights (ridge-penalised, `regularisation` = scikit-learn's C), then each model's ability."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    queries = list(dict.fromkeys(o.query for o in outcomes))
    row_of = {query: row for row, query in enumerate(queries)}
    matrix = design_matrix(queries)
    models = sorted({o.model for o in outcomes})
    column_of = {model: column for column, model in enumerate(models)}
    rows = np.array([row_of[o.query] for o in outcomes])
    one_hot = sparse.csr_matrix((np.ones(len(outcomes)), (range(len(outcomes)), [column_of[o.model] for o in outcomes])))
    target = np.array([o.score for o in outcomes]) >= 0.5
    fitted = LogisticRegression(C=regularisation, max_iter=2_000, fit_intercept=False)
    fitted.fit(sparse.hstack([matrix[rows], one_hot * 5.0]).tocsr(), target)
    weights = fitted.coef_[0][:DIMENSIONS].astype(np.float32)
    weights[BUCKETS:] *= SURFACE_SCALE
    ease = np.array([Features.of(query).dot(weights) for query in queries])
    weights[-1] -= ease.mean()  # the constant feature: ease 0 is the mean training query
    ease -= ease.mean()
    abilities = {}
    for model in models:
        index = np.array([i for i, o in enumerate(outcomes) if o.model == model])
        x = np.column_stack([np.ones(len(index)), ease[rows[index]]])
        y = np.array([outcomes[i].score for i in index])
        bias, slope = fit_logistic(x, y, prior_mean=np.array([0.0, 1.0]), prior_sd=np.array([3.0, 0.5]))
        abilities[model] = Ability(float(bias), float(slope))
    return SuccessModel(weights, abilities)


def design_matrix(queries: list[str]) -> Any:
    from scipy import sparse

    features = [Features.of(query) for query in queries]
    scaled = [np.where(f.indices >= BUCKETS, f.values * SURFACE_SCALE, f.values) for f in features]
    indptr = np.cumsum([0, *(len(f.indices) for f in features)])
    shape = (len(queries), DIMENSIONS)
    return sparse.csr_matrix((np.concatenate(scaled), np.concatenate([f.indices for f in features]), indptr), shape=shape)


def evaluate(model: SuccessModel, outcomes: list[Outcome]) -> dict[str, tuple[float, float, int]]:
    """(log-loss, AUC, n) per model on outcomes that it was not trained on."""
    from sklearn.metrics import log_loss, roc_auc_score

    ease = {query: model.ease(query) for query in {o.query for o in outcomes}}
    report = {}
    for name, ability in sorted(model.abilities.items()):
        own = [o for o in outcomes if o.model == name]
        p = [1 / (1 + np.exp(-(ability.bias + ability.slope * ease[o.query]))) for o in own]
        y = [o.score for o in own]
        report[name] = (float(log_loss(y, p)), float(roc_auc_score(y, p)), len(own))
    return report


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
    for name, (loss, auc, n) in evaluate(trial, [o for o in outcomes if o.query in held_out]).items():
        print(f"{name:32s} log-loss {loss:.3f}  AUC {auc:.3f}  n {n}")
    train(outcomes).save(arguments.out)
    print(f"saved to {arguments.out}")


if __name__ == "__main__":
    main()
