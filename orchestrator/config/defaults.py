"""What holds for a query that says nothing else: one value, for Python, configuration, command line and pipelines."""

from __future__ import annotations

QUALITY = 0.85
"""A search stops as soon as P(correct) of its best answer reaches this."""
VALUE_USD = 0.05
"""What a right answer is worth in USD: a draft is bought only for less than it is expected to bring."""
STRATEGY = "adaptive"
MAX_TOKENS = 1_024
"""The longest answer, in tokens."""
MEMORY_TOKENS = 800
"""How many tokens of a prompt memories may fill."""
