"""Texts that the static encoder learns from: sentences of the recorded questions and answers, and made-up ones.

The recorded ones come from sources under Apache-2.0 alone (`routing/`, `fleet/` and `tools/` of the data folder). The
made-up ones put every word of the vocabulary into everyday frames,
or among other words, so that each has been seen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RECORDED, MADE_UP = 76_000, 44_000  # texts
_ANSWERS = {"mmlupro_answers": 12_000, "gsm_answers": 2_500}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_LETTERS = re.compile("[a-zA-Z]{3}")
_WHOLE_WORD = re.compile("[a-z]{3,}")
_FRAMES = (
    "I went to {} with {} last weekend.", "My {} loves {} and {}.", "Have you ever tried {}?",
    "We talked about {} at the {}.", "{} told me that {} is great!", "I'm so excited about my new {}!",
    "That's awesome, {}! How did the {} go?", "She bought a {} for her {}.",
    "I've been working on {} lately, it really helps with {}.", "What do you think of {}?",
    "Thanks, {}. The {} was amazing.", "When did {} visit {}?", "Where does {} keep the {}?",
    "What kind of {} does {} like?", "How long has {} been doing {}?", "I remember the {} from my {}.",
    "They are planning a {} in {} next month.", "Here is a photo of my {} by the {}.", "The {} of the {} is {}.",
    "Who gave {} the {}?", "{} and {} are both fans of {}.", "You should use {} to fix the {}.",
    "In {}, the {} was moved to {}.", "It costs {} to repair the {}.",
)  # fmt: skip


def texts_to_learn_from(data: Path, vocabulary: Sequence[str]) -> list[str]:
    """Recorded and made-up texts, the same each time, shortest first (batches of one length encode faster)."""
    recorded = sorted({sentence for text in _recorded(data) for sentence in _sentences(text)})
    random.Random(0).shuffle(recorded)
    return sorted([*recorded[:RECORDED], *_made_up(vocabulary)], key=len)


def _recorded(data: Path) -> Iterator[str]:
    import pandas as pd  # optional: extra `train`

    def column(name: str, of: str, sample: int | None = None) -> list[Any]:
        found = pd.read_parquet(data / f"{name}.parquet")[of]
        return list(found if sample is None else found.sample(sample, random_state=0))

    yield from column("routing/strong_weak", "prompt")
    for name in ("gsm", "crux", "mmlupro"):
        yield from column(f"fleet/{name}_questions", "prompt")
    for name, sample in _ANSWERS.items():
        yield from column(f"fleet/{name}", "output", sample)
    yield from map(str, column("tools/tool_questions", "question"))


def _sentences(text: str | None) -> Iterator[str]:
    for part in _SENTENCE_END.split(text or ""):
        sentence = part.strip()
        if not 4 <= len(sentence.split()) <= 60 or not _LETTERS.search(sentence):
            continue
        if sum(c.isalpha() or c == " " for c in sentence) > 0.7 * len(sentence):
            yield sentence


def _made_up(vocabulary: Sequence[str]) -> Iterator[str]:
    chosen, words = random.Random(1), [word for word in vocabulary if _WHOLE_WORD.fullmatch(word)]
    for number in range(MADE_UP):
        if number % 2:
            yield " ".join(chosen.sample(words, chosen.randint(2, 7)))
        else:
            frame = chosen.choice(_FRAMES)
            yield frame.format(*chosen.sample(words, frame.count("{}")))
