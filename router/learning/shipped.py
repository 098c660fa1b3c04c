"""The shipped success model: the recorded outcomes behind it, and the table of its card.

`python -m orchestrator.router.learning.shipped --data DIR` makes both (extra `train`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.router.learning.table import DomainOutcome
from orchestrator.router.learning.train import train
from orchestrator.router.profile import ModelProfile
from orchestrator.router.success import PRETRAINED, SuccessModel
from orchestrator.text.static_encoder import static_encoder

# Public MMLU scores (5 shots), by the models' makers' reports: the biases of models are anchored there.
SKILLS: Mapping[str, float] = {
    "Llama-3.1-405B-Inst": 0.873, "Meta-Llama-3.1-70B-Instruct": 0.836, "Meta-Llama-3.1-8B-Instruct": 0.694,
    "Mistral-7B-Instruct-v0.2": 0.60, "Phi-3-mini-4k-instruct": 0.69, "Qwen1.5-72B-Chat": 0.77, "Qwen1.5-7B-Chat": 0.61,
    "Qwen2-7B-Instruct": 0.705, "c4ai-command-r-v01": 0.68, "claude-3-5-sonnet-20241022": 0.887,
    "claude-3-5-sonnet-20240620": 0.887, "claude-3-haiku-20240307": 0.752, "firefunction-v2": 0.76,
    "gemini-1.5-flash": 0.789, "gemini-1.5-pro-002": 0.859, "gemma-2-2b-it": 0.513, "gpt-3.5-turbo-0125": 0.70,
    "gpt-4-1106-preview": 0.86, "gpt-4-turbo-2024-04-09": 0.86, "gpt-4o-2024-08-06": 0.887,
    "gpt-4o-mini-2024-07-18": 0.82, "jamba-1.5-large": 0.80, "mathstral-7B": 0.63, "mistral-large-2407": 0.84,
    "mixtral-8x7b-instruct": 0.706, "open-mistral-nemo-2407": 0.68,
}  # fmt: skip
REFERENCE = "mmlu"
# One model under two names in the recordings.
_SAME_MODEL = {
    "Meta-Llama-3_1-70B-Instruct": "Meta-Llama-3.1-70B-Instruct",
    "Meta-Llama-3_1-8B-Instruct": "Meta-Llama-3.1-8B-Instruct",
    "Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b-instruct",
    "gemini-1.5-flash-002": "gemini-1.5-flash",
    "gemini-1.5-flash-preview-0514": "gemini-1.5-flash",
}


def load_outcomes(data: Path) -> list[DomainOutcome]:
    """The recorded outcomes behind the shipped model: routing/strong_weak.parquet, fleet/*.parquet, tools/*.parquet."""
    import pyarrow.parquet as parquet  # optional and heavy: extra `train`

    outcomes = []
    for row in parquet.read_table(data / "routing" / "strong_weak.parquet").to_pylist():
        for model, column in (("mixtral-8x7b-instruct", "weak_correct"), ("gpt-4-1106-preview", "strong_correct")):
            outcomes.append(DomainOutcome(row["prompt"], model, float(row[column]), domain=row["dataset"]))
    sets = (("fleet/gsm", "gsm8k"), ("fleet/crux", "crux"), ("fleet/mmlupro", "mmlupro"), ("tools/tool", "tools"))
    for stem, domain in sets:
        key, text = ("id", "question") if domain == "tools" else ("query_id", "prompt")
        questions = parquet.read_table(data / f"{stem}_questions.parquet", columns=[key, text]).to_pylist()
        prompts = {row[key]: row[text] for row in questions}
        rows = parquet.read_table(data / f"{stem}_answers.parquet", columns=[key, "model", "correct"]).to_pylist()
        for row in rows:
            name = row["model"].removesuffix("-Any").removesuffix("-FC")
            score = float(row["correct"])
            outcomes.append(DomainOutcome(prompts[row[key]], _SAME_MODEL.get(name, name), score, domain=domain))
    return outcomes


def evaluate(model: SuccessModel, outcomes: Sequence[DomainOutcome]) -> list[str]:
    """Markdown rows with log-loss, AUC, mean prediction and mean score per model and domain, for outcomes that it was
    not trained on.
    """
    from sklearn.metrics import log_loss, roc_auc_score  # optional and heavy: extra `train`

    queries = list(dict.fromkeys(o.query for o in outcomes))
    models = sorted({o.model for o in outcomes})
    p = model.predict_many(queries, [ModelProfile(name) for name in models])
    row_of = {query: row for row, query in enumerate(queries)}
    lines = ["| model | domain | n | log-loss | AUC | mean P(correct) | right |", "|---|---|---|---|---|---|---|"]
    for name, domain in sorted({(o.model, o.domain) for o in outcomes}):
        own = [o for o in outcomes if (o.model, o.domain) == (name, domain)]
        predicted = np.array([p[row_of[o.query], models.index(name)] for o in own])
        y = [o.score for o in own]
        loss, auc = log_loss(y, predicted, labels=[0, 1]), roc_auc_score(y, predicted)
        lines.append(
            f"| {name} | {domain} | {len(own)} | {loss:.3f} | {auc:.3f} | {predicted.mean():.3f} | {np.mean(y):.3f} |"
        )
    return lines


def main() -> None:
    """The command line: trains the shipped router and writes its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=PRETRAINED)
    parser.add_argument("--buckets", type=int, default=1 << 14)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    outcomes = load_outcomes(arguments.data)
    queries = sorted({o.query for o in outcomes})
    held_out = set(np.random.default_rng(arguments.seed).permutation(queries)[: len(queries) // 5].tolist())
    settings: Any = {
        "buckets": arguments.buckets,
        "encoder": static_encoder(),
        "skills": SKILLS,
        "reference": REFERENCE,
    }
    trial = train([o for o in outcomes if o.query not in held_out], **settings)
    print("\n".join(evaluate(trial, [o for o in outcomes if o.query in held_out])))
    shipped = train(outcomes, **settings)
    # Weights too small to matter are dropped, so that the file stays small.
    assert shipped.heads is not None
    small = np.abs(shipped.heads.sparse) < 1e-3
    heads = replace(shipped.heads, sparse=np.where(small, 0, shipped.heads.sparse).astype(np.float32))
    SuccessModel(shipped.space, heads, shipped.abilities).save(arguments.out)
    print(f"saved to {arguments.out}")


if __name__ == "__main__":
    main()
