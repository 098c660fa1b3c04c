"""Values of a YAML file are changed, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import ConfigError
from orchestrator.config.edit import edit_yaml
from orchestrator.config.yaml_loader import load_located

TEXT = """# ours
version: 1
models:
  a:   # the first
    provider: calculator
  b:
    provider: openai
    model: x
quality: 0.85  # target
memory:
  path: m.db
  # how many
  token_budget: 800
"""


def test_comments_order_and_spelling_stay() -> None:
    changes = {
        "quality": 0.7,
        "models.b": None,
        "memory.token_budget": 400,
        "memory.encoder": "static",
        "search": "tuned/search.json",
        "strategy": None,
    }
    assert (
        edit_yaml(TEXT, changes)
        == """# ours
version: 1
models:
  a:   # the first
    provider: calculator
quality: 0.7  # target
memory:
  encoder: static
  path: m.db
  # how many
  token_budget: 400
search: tuned/search.json
"""
    )


@given(
    st.dictionaries(
        st.sampled_from(["quality", "value_usd", "strategy", "search", "memory.token_budget", "memory.path"]),
        st.one_of(st.integers(0, 9), st.floats(0, 1), st.booleans(), st.text(max_size=12)),
    )
)
def test_what_was_written_is_read_and_all_else_is_as_it_was(changes: dict[str, object]) -> None:
    found = load_located(edit_yaml(TEXT, changes)).value  # type: ignore[arg-type]
    expected = load_located(TEXT).value
    for path, value in changes.items():
        *parents, name = path.split(".")
        (expected[parents[0]] if parents else expected)[name] = value
    assert found == expected


def test_what_cannot_be_edited_is_told() -> None:
    with pytest.raises(ConfigError, match="gateway is not in the file"):
        edit_yaml(TEXT, {"gateway.cache.semantic": 0.9})
    with pytest.raises(ConfigError, match="stands in one line"):
        edit_yaml("models: {a: {provider: x}, b: {provider: y}}\n", {"models.b": None})
    assert edit_yaml("models: {a: {provider: x}}\nquality: 1\n", {"quality": 0.5}).endswith("quality: 0.5\n")
