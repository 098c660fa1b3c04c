"""The router against RouteLLM's protocol, its speed, its guarantee and its robustness.

`python -m benchmarks.routing --data DIR --json FILE`.

For each of three seeds the questions are cut into five folds; the router is trained on `labels` random questions of
four (the fifth is never seen) and ranks the fifth by predicted gain, P(strong right) - P(weak right). CPT in per cent
of strong calls. Shrinkage is chosen inside each training set by cross-validation. `--quick` runs one seed and one fold
(for tests).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import write_json
from benchmarks.routing_fleet import compare, transfer
from benchmarks.zero_shot import left_out_sets
from orchestrator.memory import StaticEncoder
from orchestrator.router import ModelProfile, Outcome, Router, SuccessModel
from orchestrator.router.guarantee.certificate import Certificate, Promise, certify
from orchestrator.router.guarantee.monitor import Audit
from orchestrator.router.learning.evaluate import expected_calibration_error, gap_recovered
from orchestrator.router.learning.train import train

WEAK, STRONG = ModelProfile("weak", 0.24, 0.24), ModelProfile("strong", 10.0, 30.0)
SEEDS, FOLDS = 3, 5
SPLITS = 500


@dataclass(frozen=True)
class Questions:
    texts: list[str]
    weak: np.ndarray[Any, np.dtype[np.float64]]
    strong: np.ndarray[Any, np.dtype[np.float64]]

    def outcomes(self, rows: Sequence[int]) -> list[Outcome]:
        pairs = ((WEAK.name, self.weak), (STRONG.name, self.strong))
        return [Outcome(self.texts[row], name, float(score[row])) for row in rows for name, score in pairs]


def load(data: Path) -> dict[str, Questions]:
    import pyarrow.parquet as parquet

    path = data / "routing" / "strong_weak.parquet"
    if not path.exists():
        sys.exit(f"{path} not found: pass the data folder with --data")
    rows = parquet.read_table(path).to_pylist()
    found = {}
    for name in ("mmlu", "gsm8k"):
        own = [row for row in rows if row["dataset"] == name]
        weak, strong = (
            np.array([row[column] for row in own], dtype=float) for column in ("weak_correct", "strong_correct")
        )
        found[name] = Questions([row["prompt"] for row in own], weak, strong)
    return found


def gains(model: SuccessModel, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    p = model.predict_many(texts, [STRONG, WEAK])
    return np.asarray(p[:, 0] - p[:, 1])


def ranked(questions: Questions, labels: int | None, seeds: int, folds: int) -> dict[str, Any]:
    """Means and standard deviations over seeds and folds; calibration errors of both models."""
    results, errors = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(questions.texts))
        for fold in range(folds):
            test = order[fold::FOLDS]
            pool = rng.permutation(np.delete(order, np.s_[fold::FOLDS]))
            model = train(questions.outcomes(pool[:labels].tolist()), encoder=StaticEncoder())
            texts = [questions.texts[row] for row in test]
            p = model.predict_many(texts, [STRONG, WEAK])
            results.append(gap_recovered(p[:, 0] - p[:, 1], questions.weak[test], questions.strong[test]))
            errors.append(
                [expected_calibration_error(p[:, i], y[test]) for i, y in enumerate((questions.strong, questions.weak))]
            )
            print(f"  {labels or 'all'} labels, seed {seed}, fold {fold}: APGR {results[-1].apgr:.4f}", file=sys.stderr)
    found: dict[str, Any] = {
        name: round(statistics.fmean(getattr(r, name) for r in results), 4) for name in ("apgr", "cpt50", "cpt80")
    }
    found["apgr_sd"] = round(statistics.pstdev([r.apgr for r in results]), 4)
    found["calibration_error"] = {
        "strong": round(float(np.mean(errors, axis=0)[0]), 4),
        "weak": round(float(np.mean(errors, axis=0)[1]), 4),
    }
    return found


def decision_speed(questions: Questions) -> dict[str, float]:
    """Microseconds from text to `Route` over 11 models, with the static encoder.

    Decisions a second in batches of 256.
    """
    names = [f"model-{i}" for i in range(11)]
    outcomes = [Outcome(questions.texts[i], name, float(questions.weak[i])) for i in range(300) for name in names]
    router = Router(train(outcomes, encoder=StaticEncoder()))
    fleet = [ModelProfile(name, 0.1 * (i + 1), 0.4 * (i + 1)) for i, name in enumerate(names)]
    words = " ".join(questions.texts[:2_000]).split()

    def p50_us(length: int) -> float:
        texts = [" ".join(words[i * length : (i + 1) * length]) for i in range(200)]
        times = []
        for text in texts:
            start = time.perf_counter()
            router.route(text, fleet)
            times.append(time.perf_counter() - start)
        return round(1e6 * statistics.median(times), 1)

    batch = [" ".join(words[i * 20 : (i + 1) * 20]) for i in range(2_560)]
    start = time.perf_counter()
    for at in range(0, len(batch), 256):
        router.route_many(batch[at : at + 256], fleet)
    per_s = len(batch) / (time.perf_counter() - start)
    return {"p50_us_20_words": p50_us(20), "p50_us_500_words": p50_us(500), "batch_per_s": round(per_s)}


def guarantee(questions: Questions, *, splits: int, labels: int = 1_000, trained_on: int = 1_500) -> dict[str, Any]:
    """How often a certified threshold breaks its promise on what it did not see, and how much it sends to the cheap
    model.

    The unseen rest is large (`judged_on` questions), so that a broken promise is no noise: judged on as many questions
    as there were labels, promises that hold look broken now and then (`looks_broken_on_few`).
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(questions.texts))
    trained_on = min(trained_on, len(order) // 3)
    model = train(questions.outcomes(order[:trained_on].tolist()), encoder=StaticEncoder())
    rest = order[trained_on:]
    labels = min(labels, len(rest) // 2)
    gain = gains(model, [questions.texts[row] for row in rest])
    weak, strong = questions.weak[rest], questions.strong[rest]
    found: dict[str, Any] = {"delta": 0.1, "splits": splits, "judged_on": len(rest) - labels}
    for kind in ("net", "gross"):
        promise = Promise(0.05, 0.9, "strong", kind)  # type: ignore[arg-type]
        broken, shares, tuned_broken, looks_broken = 0, [], 0, 0
        for split in range(splits):
            shuffled = np.random.default_rng(split).permutation(len(rest))
            known, unseen = shuffled[:labels], shuffled[labels:]
            certificate = certify(gain[known], weak[known], strong[known], promise)
            threshold = certificate.threshold if isinstance(certificate, Certificate) else -np.inf
            broken += _loss(gain, weak, strong, unseen, threshold, kind) > promise.max_loss
            looks_broken += _loss(gain, weak, strong, unseen[:labels], threshold, kind) > promise.max_loss
            shares.append(float((gain[unseen] <= threshold).mean()))
            tuned = max(
                (
                    t
                    for t in np.quantile(gain[known], np.arange(1, 101) / 100)
                    if _loss(gain, weak, strong, known, t, kind) <= 0.05
                ),
                default=-np.inf,
            )
            tuned_broken += _loss(gain, weak, strong, unseen, tuned, kind) > promise.max_loss
        found |= {f"{kind}_violation_rate": broken / splits, f"{kind}_cheap_share": round(statistics.fmean(shares), 4)}
        found[f"{kind}_violation_rate_of_plain_tuning"] = tuned_broken / splits
        found[f"{kind}_looks_broken_on_few"] = looks_broken / splits
    found["violation_rate"] = max(found["net_violation_rate"], found["gross_violation_rate"])
    return found


def _loss(gain: Any, weak: Any, strong: Any, rows: Any, threshold: float, kind: str) -> float:
    lost = np.where(gain[rows] <= threshold, strong[rows] - weak[rows], 0.0)
    return float((lost > 0).mean() if kind == "gross" else lost.mean())


def audits(*, runs: int, length: int = 3_000) -> dict[str, float]:
    """False alarms at exactly the promised loss, and audits until the alarm at twice the promised loss (net losses,
    simulated).
    """
    allowed = 0.05 / 0.39

    def first_alarm(rng: np.random.Generator, mean: float) -> float:
        wins = 0.06  # the cheap model alone is right this often
        audit = Audit(allowed)
        for start in range(0, length, 10):
            draws = rng.random(10)
            audit = audit.observe(np.where(draws < wins, -1.0, np.where(draws < 2 * wins + mean, 1.0, 0.0)).tolist())
            if audit.is_alarm:
                return start + 10
        return float("inf")

    quiet = [first_alarm(np.random.default_rng(i), allowed) for i in range(runs)]
    shifted = [first_alarm(np.random.default_rng(10_000 + i), 2 * allowed) for i in range(runs)]
    return {
        "false_alarm_rate_in_3000": sum(np.isfinite(quiet)) / runs,
        "median_audits_to_alarm": float(np.median(shifted)),
    }


def perturbed(text: str, rng: np.random.Generator) -> dict[str, str]:
    """The same query in other clothes."""
    words = text.split(" ")
    typos = list(words)
    for index in rng.permutation(len(words))[: max(len(words) // 25, 1)]:
        word = typos[index]
        if len(word) > 4:
            at = int(rng.integers(1, len(word) - 2))
            typos[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return {
        "upper case": text.upper(),
        "lower case": text.lower(),
        "typos": " ".join(typos),
        "small talk": f"Hi there! I hope you are having a nice day. {text}",
        "thanks": f"{text}\nThanks a lot in advance!",
    }


def flips(questions: Questions, *, trained_on: int = 1_500, asked: int = 400) -> dict[str, Any]:
    """The share of decisions (cheap or strong, at the median gain) that change when only the clothes of the query
    do.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(questions.texts))
    trained_on, asked = min(trained_on, len(order) // 2), min(asked, len(order) // 2)
    model = train(questions.outcomes(order[:trained_on].tolist()), encoder=StaticEncoder())
    texts = [questions.texts[row] for row in order[-asked:]]
    plain = gains(model, texts)
    threshold = float(np.median(plain))
    changed = [perturbed(text, rng) for text in texts]
    rates = {}
    for name in changed[0]:
        other = gains(model, [variants[name] for variants in changed])
        rates[name] = round(float(((plain > threshold) != (other > threshold)).mean()), 4)
    return {"flip_rate": round(statistics.fmean(rates.values()), 4), "by_perturbation": rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one seed, one fold, few splits")
    parser.add_argument(
        "--parts", nargs="*", help="only these: decision mmlu gsm8k guarantee flips fleet transfer zero_shot"
    )
    arguments = parser.parse_args()
    seeds, folds, splits, runs = (1, 1, 20, 20) if arguments.quick else (SEEDS, FOLDS, SPLITS, 400)
    found = load(arguments.data)
    mmlu, gsm8k = found["mmlu"], found["gsm8k"]
    fleet = arguments.data / "fleet"
    parts: dict[str, Callable[[], Any]] = {
        "decision": lambda: decision_speed(mmlu),
        "mmlu": lambda: {
            "labels_300": ranked(mmlu, 300, seeds, folds),
            "labels_1500": ranked(mmlu, 1_500, seeds, folds),
            "labels_all": ranked(mmlu, None, seeds, folds),
        },
        "gsm8k": lambda: {"labels_all": ranked(gsm8k, None, seeds, folds)},
        "guarantee": lambda: guarantee(mmlu, splits=splits) | {"audit": audits(runs=runs)},
        "flips": lambda: flips(mmlu),
        "fleet": lambda: {task: compare(fleet, task) for task in ("gsm", "crux", "mmlupro")},
        "transfer": lambda: {task: transfer(fleet, task) for task in ("gsm", "crux")},
        "zero_shot": lambda: left_out_sets(arguments.data, most=200 if arguments.quick else None),
    }
    result = {name: run() for name, run in parts.items() if not arguments.parts or name in arguments.parts}
    if "flips" in result:
        result["flip_rate"] = result["flips"]["flip_rate"]
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
