"""Which turns of a conversation stand word for word in the next prompt, and when the older ones are given up.

The prompt is: rules, a summary of what is no longer there, the last turns word for word, what memory recalls for this
turn, the new message. All but the last two only grows from turn to turn, so that a provider's prefix cache holds it.
When it is full, or when giving it up pays, older turns leave it at once (compaction), and the cache is filled anew.

How much is left then is a matter of price, like the size of an order in a warehouse (Harris 1913): the less is left,
the more rarely the prefix is read anew; but less than a cache holds (`min_cached_tokens`) is read at full price each
time. What is chosen is what gives a token of context at the lowest mean price: how many tokens there may be is the
caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.router import ModelProfile

KEPT_SHARES = (
    0.25,
    0.4,
    0.55,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.95,
)  # of what fits: what may be left after a compaction
NOTES_SHARE = 0.3  # of the budget, for what memory recalls at least
MIN_CACHED_TOKENS = 1_024  # the shortest prefix that hosted providers keep
CACHE_S = 600.0  # how long a provider keeps a prefix that nobody reads, about
SUMMARY_SHARE = 0.05
CACHE_DISCOUNT = 0.5  # of the price of reading, where the provider's is not known


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """How a conversation's prompts are built.

    Args:
        token_budget: The most tokens of a prompt, the new message aside.
        notes_share: How much of them what memory recalls may fill, in [0, 1).
        input_usd: USD for reading a token.
        cached_usd: USD for reading one from the provider's cache.
        min_cached_tokens: The shortest prefix that the cache holds.
    """

    token_budget: int
    notes_share: float = NOTES_SHARE
    input_usd: float = 1e-6
    cached_usd: float = 0.5e-6
    min_cached_tokens: int = MIN_CACHED_TOKENS

    @classmethod
    def of(cls, token_budget: int, profile: ModelProfile | None) -> ContextPolicy:
        """The policy under a model's prices; one that is free, or whose prices are unknown, counts as a usual one."""
        price = (profile.input_usd_per_mtok or 0.0) if profile is not None else 0.0
        if profile is None or not price:
            return cls(token_budget)
        cached = profile.cached_usd_per_mtok
        return cls(
            token_budget,
            input_usd=price / 1e6,
            cached_usd=(CACHE_DISCOUNT * price if cached is None else cached) / 1e6,
        )

    @property
    def notes_tokens(self) -> int:
        """How many tokens what is recalled may fill."""
        return int(self.token_budget * self.notes_share)

    @property
    def summary_tokens(self) -> int:
        """How many tokens the summary may fill."""
        return int(self.token_budget * SUMMARY_SHARE)

    @property
    def window_tokens(self) -> int:
        """How many tokens the turns that stand word for word may fill."""
        return self.token_budget - self.notes_tokens - self.summary_tokens


@dataclass(frozen=True, slots=True)
class Window:
    """What of a conversation stands word for word: the turns from number `start` on.

    `since` is how many turns there were when it was last compacted; `summary` tells of those before `start`.
    """

    start: int = 0
    since: int = 0
    summary: str = ""


def choose_window(
    window: Window, sizes: Sequence[int], may_begin: Sequence[bool], policy: ContextPolicy, *, idle_s: float = 0.0
) -> int:
    """The turn from which on turns stand word for word in the next prompt: `window.start`, or a later one.

    Args:
        window: As it was.
        sizes: Tokens of every turn, shape (turns,).
        may_begin: Whether the window may begin with a turn: a tool's result never stands without its call.
        policy: Budget and prices.
        idle_s: How long nothing was said, in seconds. A cache that is cold by now need not be kept warm: then a window
            that is longer than what a compaction leaves is given up for nothing.
    """
    used = sum(sizes[window.start :])
    turns = max(sum(may_begin[window.since :]), 1)  # prompts: a message with its answer is read by one
    growth = max(sum(sizes[window.since :]) / turns, 1.0)
    target = kept_tokens(policy, growth)
    is_cold = idle_s > CACHE_S and used > target
    if used <= policy.window_tokens and not is_cold and not _pays(used, target, turns, policy):
        return window.start
    left = used
    for number in range(window.start, len(sizes)):
        if left <= target and may_begin[number]:
            return number
        left -= sizes[number]
    # nothing that may begin is small enough: the last place that may begin at all
    return max((n for n in range(window.start, len(sizes)) if may_begin[n]), default=window.start)


def kept_tokens(policy: ContextPolicy, growth: float) -> float:
    """How many tokens to leave after a compaction, where each prompt adds `growth`: what makes a token cheapest."""
    full = float(policy.window_tokens)
    return min((share * full for share in KEPT_SHARES), key=lambda kept: _usd_per_token(kept, full, growth, policy))


def _usd_per_token(kept: float, full: float, growth: float, policy: ContextPolicy) -> float:
    """The mean price of a token of the prefix, from one compaction to the next."""
    prompts = max(math.floor((full - kept) / growth), 1)
    tokens = policy.summary_tokens + kept
    total = tokens * policy.input_usd
    for number in range(1, prompts):
        before = policy.summary_tokens + kept + (number - 1) * growth
        cached = before if before >= policy.min_cached_tokens else 0.0
        total += cached * policy.cached_usd + (before - cached + growth) * policy.input_usd
        tokens += before + growth
    return total / tokens


def _pays(used: float, target: float, turns: int, policy: ContextPolicy) -> bool:
    """Whether reading a shorter prefix anew is cheaper than going on with the long one.

    It is expected to go on for as many turns as it has since it was last compacted.
    """
    saved = turns * (used - target) * policy.cached_usd
    cost = target * (policy.input_usd - policy.cached_usd)
    is_long = (
        used > 0.9 * policy.window_tokens
    )  # what fits is worth having: only a nearly full window is given up early
    return is_long and saved > cost and turns > 1
