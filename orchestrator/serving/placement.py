"""Which replica should answer: the one where the request ends soonest for what it costs all others.

A request sent to a replica waits until the prompts before it are read, then its own prompt is read where it is not
cached, then its answer is written beside those of others. Reading also holds up every answer that the replica is
writing, so that a cached prefix is worth more than the time of this request alone (cf. Preble, ICLR 2025, section 4.2,
and llm-d's scorers, which weigh the same three things by hand).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaSpeeds:
    """How fast the replicas of a model are: seconds for a prompt token read, and for one request more in a step."""

    prefill_token_s: float = 2e-4
    sequence_s: float = 5e-5


@dataclass(slots=True)
class ReplicaLoad:
    """What is known of one replica at this moment.

    Attributes:
        queued_tokens: Prompt tokens that were sent to it and are not read yet.
        running: Requests that it works on.
        waiting: Requests that wait in it for room.
        cache_use: Share of its memory for keys and values in use, in [0, 1].
    """

    queued_tokens: float = 0.0
    running: float = 0.0
    waiting: float = 0.0
    cache_use: float = 0.0


LOST = 1.0  # reading what is held elsewhere takes capacity, although nobody waits for it at this moment
FULL = 0.95  # above, requests wait for memory, not for their turn


def placement_s(load: ReplicaLoad, speeds: ReplicaSpeeds, prompt: float, cached: float, written: float) -> float:
    """What a request costs on a replica, in seconds: its own and those by which it holds up others.

    Args:
        load: The replica's.
        speeds: Of the model on this kind of replica.
        prompt: Tokens of the prompt.
        cached: Of these, those that the replica probably holds.
        written: Tokens that the answer will have, as far as known.
    """
    fresh_s = speeds.prefill_token_s * max(prompt - cached, 1.0)
    wait_s = speeds.prefill_token_s * load.queued_tokens
    held_up_s = fresh_s * (LOST + load.running + load.waiting)
    beside_s = speeds.sequence_s * written * (load.running + load.waiting)
    no_room_s = wait_s + beside_s if load.waiting and load.cache_use > FULL else 0.0
    return wait_s + fresh_s + held_up_s + beside_s + no_room_s
