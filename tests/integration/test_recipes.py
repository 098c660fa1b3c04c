"""The scripts for generative students train a tiny model, made on the spot: `make recipes`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.recipes import write_recipes

PYTHON = Path(__file__).parents[2] / "build" / "fine-tune" / "bin" / "python"
TINY = """
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
marks = ["<unk>", "<s>", "</s>", "<pad>"]
raw = Tokenizer(models.BPE(unk_token="<unk>"))
raw.pre_tokenizer = pre_tokenizers.ByteLevel()
raw.train_from_iterator(open("train.huggingface.jsonl"), trainers.BpeTrainer(vocab_size=400, special_tokens=marks))
made = PreTrainedTokenizerFast(
    tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
)
made.chat_template = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
made.save_pretrained("tiny")
size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
LlamaForCausalLM(LlamaConfig(vocab_size=len(made), pad_token_id=3, **size)).save_pretrained("tiny")
"""
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="make recipes installs TRL and PEFT"),
]


def test_a_tiny_model_is_trained_and_then_preferred(tmp_path: Path) -> None:
    prompts = [[{"role": "user", "content": f"Which desk? parcel {n}"}] for n in range(12)]
    answers = [[{"role": "assistant", "content": "shipping"}], [{"role": "assistant", "content": "billing"}]]
    rows = [{"prompt": prompt, "completion": answers[0]} for prompt in prompts]
    pairs = [{"prompt": p, "chosen": answers[0], "rejected": answers[1], "margin": 0.9, "id": 1} for p in prompts]
    for name, lines in (("train.huggingface", rows), ("test.huggingface", rows[:2]), ("preferences", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    write_recipes(DistillJob.model_validate({"name": "tiny", "collect": [{"prompts": ["x"]}]}), tmp_path)
    run(tmp_path, "-c", TINY)
    run(tmp_path, "recipes/train_lora.py", "--model", "./tiny", "--out", "tuned", "--max-steps", "2", "--merge")
    run(tmp_path, "recipes/train_dpo.py", "--model", "./tuned", "--out", "preferred", "--max-steps", "1")
    assert (tmp_path / "preferred" / "model.safetensors").exists()


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run([PYTHON, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
