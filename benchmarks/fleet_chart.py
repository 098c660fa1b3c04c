"""The picture of `benchmarks.fleet` (needs matplotlib)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def draw(found: dict[str, Any], task: str, file: Path) -> None:
    """Left: accuracy by price of everything measured, the oracle aside.

    Right: how often answers are right by how much they are believed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (frontier_axes, reliability_axes) = pyplot.subplots(
        1, 2, figsize=(12, 5), width_ratios=(3, 2), layout="constrained"
    )

    def points(rows: dict[str, dict[str, float]], marker: str, colour: str, label: str) -> None:
        frontier_axes.scatter(
            [row["cost_usd_per_1k"] for row in rows.values()],
            [row["accuracy"] for row in rows.values()],
            marker=marker,
            color=colour,
            label=label,
        )
        for name, row in rows.items():
            at = row["cost_usd_per_1k"], row["accuracy"]
            short = re.sub(r"^Meta-|-Inst\w*|-20\d+(-\d\d)*|-0\d{3}$", "", name)
            frontier_axes.annotate(
                short,
                at,
                fontsize=7,
                color=colour,
                rotation=-35,
                va="top",
                xytext=(3, -3),
                textcoords="offset points",
                annotation_clip=True,
            )

    points(found["models"], "o", "tab:gray", "single models")
    points(found["baselines"], "s", "tab:orange", "fixed policies")
    curve = sorted((row["cost_usd_per_1k"], row["accuracy"]) for row in found["frontier"])
    frontier_axes.plot(
        *zip(*curve, strict=True), "-", color="tab:blue", label="this engine, by its price limit (replayed)"
    )
    frontier_axes.scatter(
        [found["cost_usd_per_1k"]],
        [found["accuracy"]],
        marker="*",
        s=180,
        color="tab:blue",
        label="this engine, measured over HTTP",
    )
    best = found["best_single_accuracy"]
    frontier_axes.set(
        xscale="log",
        xlabel="USD for 1,000 questions",
        ylabel="accuracy",
        title=f"{task}: accuracy by price",
        ylim=(best - 0.2, best + 0.03),
    )
    frontier_axes.legend(loc="lower right", fontsize=8)
    frontier_axes.grid(alpha=0.3)
    stated, right = ([row[name] for row in found["reliability"]] for name in ("confidence", "accuracy"))
    low = min(*stated, *right) - 0.03
    reliability_axes.plot((low, 1), (low, 1), "--", color="tab:gray", label="as stated")
    reliability_axes.plot(stated, right, "o-", color="tab:blue", label=f"tenths of the answers, ECE {found['ece']:.3f}")
    reliability_axes.set(xlabel="stated confidence", ylabel="share that is right", title="reliability")
    reliability_axes.legend(fontsize=8)
    reliability_axes.grid(alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
