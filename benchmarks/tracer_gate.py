"""TRACER's own gate on the scores and splits of `benchmarks.distill`; run by the Python that has `tracer-llm`.

`build/tracer/bin/python benchmarks/tracer_gate.py IN.npz OUT.json`.
"""

import json
import sys

import numpy as np
from tracer.fit.pipeline import _calibrate_threshold  # pyright: ignore


def main(source: str, target: str) -> None:
    stored = np.load(source)
    scores, answers, labels = stored["scores"], stored["answers"], stored["labels"]
    thresholds = []
    for rows in stored["splits"]:
        found = _calibrate_threshold(scores[rows], answers[rows], labels[rows], float(stored["agreement"]))
        thresholds.append(None if found is None else found["threshold"])
    with open(target, "w", encoding="utf-8") as file:
        json.dump(thresholds, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
