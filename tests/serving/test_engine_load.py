"""What engines tell: pages of metrics, headers, events; as they are, as they lie, and as nonsense."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.serving.engine_load import EngineLoad, load_in_header, load_in_metrics
from orchestrator.serving.kv_events import CacheState
from orchestrator.serving.placement import ReplicaLoad, ReplicaSpeeds, placement_s
from orchestrator.serving.prefix_index import PrefixIndex
from orchestrator.serving.prompt_chunks import CHUNK_CHARS, MAX_CHUNKS, prompt_chunks

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.41
vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="2700"} 1.0
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VLLM, EngineLoad(12, 3, 0.41, 43_200)),
        (VLLM + VLLM.replace('engine="0"', 'engine="1"'), EngineLoad(24, 6, 0.41, 43_200)),
        ("sglang:num_running_reqs 2\nsglang:num_queue_reqs 1\nsglang:token_usage 0.5\n", EngineLoad(2, 1, 0.5)),
        (
            "trtllm_num_requests_running 1\ntrtllm_num_requests_waiting 0\ntrtllm_kv_cache_utilization 0.1 1700\n",
            EngineLoad(1, 0, 0.1),
        ),
        ("vllm:num_requests_running NaN\nvllm:num_requests_waiting -4\nvllm:kv_cache_usage_perc 7\n", EngineLoad()),
        ("vllm:num_requests_running 1e300\nvllm:num_requests_waiting +Inf\n", EngineLoad()),
        ('vllm:cache_config_info{block_size="x",num_gpu_blocks="9"} 1', EngineLoad()),
        ("<html>404</html>", EngineLoad()),
        ("", EngineLoad()),
    ],
)
def test_pages_of_metrics(text: str, expected: EngineLoad) -> None:
    assert load_in_metrics(text) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2",
            EngineLoad(None, 2, 0.4),
        ),
        ('JSON {"named_metrics": {"kv_cache_utilization": 0.3, "num_requests_waiting": 1}}', EngineLoad(None, 1, 0.3)),
        ("kv_cache_usage_perc=0.9,num_requests_running=4", EngineLoad(4, None, 0.9)),
        ("JSON {", EngineLoad()),
        ("JSON [1]", EngineLoad()),
        ("BIN AAAA", EngineLoad()),
        ("TEXT kv_cache_usage_perc=99, num_requests_waiting=-1", EngineLoad()),
    ],
)
def test_headers_of_answers(header: str, expected: EngineLoad) -> None:
    assert load_in_header(header) == expected


@given(st.text(max_size=200))
def test_no_header_and_no_page_raises(text: str) -> None:
    load_in_header(text)
    load_in_header(f"JSON {text}")
    found = load_in_metrics(text)
    assert found.cache_use is None or 0 <= found.cache_use <= 1


def test_a_page_that_is_made_to_be_slow_is_read_in_time() -> None:
    began = time.monotonic()
    for page in (
        "vllm:num_requests_running{" * 40_000,
        'vllm:num_requests_running{a="' + "\\" * 1_000_000,
        "{" * 10**6,
    ):
        assert load_in_metrics(page) == EngineLoad()
    assert time.monotonic() - began < 5


# Events


def stored(*hashes: int, size: int = 16) -> list[object]:
    return ["BlockStored", list(hashes), None, [1] * size, size, None, "GPU"]


def test_events_are_counted_in_both_forms() -> None:
    state = CacheState()
    state.take(0, [1.0, [stored(1, 2, 3)], 0])
    state.take(1, {"ts": 2.0, "events": [{"type": "BlockStored", "block_hashes": [b"x"], "block_size": 64}]})
    assert state.tokens == 3 * 16 + 64
    state.take(2, [1.0, [["BlockRemoved", [2], "GPU"], ["BlockRemoved", [99], None], stored(1)]])
    assert state.tokens == 2 * 16 + 64
    state.take(3, [1.0, [["AllBlocksCleared"]]])
    assert (state.tokens, state.clears, state.missed) == (0, 1, 0)


def test_gaps_are_counted_and_a_server_that_began_anew_holds_nothing() -> None:
    state = CacheState()
    state.take(5, [1.0, [stored(1)]])
    state.take(9, [1.0, [stored(2)]])
    assert state.missed == 3
    state.take(0, [1.0, [stored(7)]])
    assert (state.tokens, state.clears) == (16, 1)


@pytest.mark.parametrize(
    "batch",
    [
        None,
        7,
        [],
        [1.0],
        [1.0, "x"],
        [1.0, [None, [], [3], ["BlockStored"], ["BlockStored", 5, 1, 2, 3]]],
        {"events": 4},
    ],
)
def test_messages_that_are_none_are_left_out(batch: object) -> None:
    state = CacheState()
    state.take(0, batch)
    assert state.tokens == 0


def test_a_flood_of_blocks_is_bounded() -> None:
    state = CacheState(max_blocks=100)
    for number in range(50):
        state.take(number, [1.0, [stored(*range(number * 100, number * 100 + 100))]])
    assert state.tokens == 100 * 16
    state.take(50, [1.0, [["BlockStored", [None, [1], {}, "x" * 10**6, 2**90], None, [], 10**9]]])
    assert state.tokens == 100 * 16


# The index and the placement


def test_the_index_forgets_the_oldest_ends_first_and_stays_within_its_bounds() -> None:
    index = PrefixIndex(2, max_chunks=64)
    index.record(0, list(range(20)))
    assert (index.matched(0, list(range(25))), index.matched(1, [0])) == (20, 0)
    index.record(0, [0, 1, *range(100, 120)])
    assert len(index) <= 64
    assert index.matched(0, [0, 1, 100]) == 3
    assert index.matched(0, list(range(20))) < 20
    index.resize(0, 16)
    assert len(index) <= 16
    index.clear(0)
    assert index.matched(0, [0]) == 0


def test_chunks_are_shared_up_to_where_prompts_differ_and_never_between_salts() -> None:
    rules = "Be kind. " * 400
    one, other = prompt_chunks([rules, "a" * 3_000]), prompt_chunks([rules, "b" * 3_000])
    same = sum(a == b for a, b in zip(one, other, strict=False))
    assert same == len(rules) // CHUNK_CHARS
    assert not set(prompt_chunks([rules], "ann")) & set(prompt_chunks([rules], "ben"))
    assert len(prompt_chunks(["x" * 10_000_000])) == MAX_CHUNKS
    assert prompt_chunks(["short"]) == []


def test_a_request_goes_to_its_prefix_unless_others_there_would_be_held_up_longer() -> None:
    speeds = ReplicaSpeeds(1e-4, 5e-5)
    idle, busy = ReplicaLoad(), ReplicaLoad(queued_tokens=500_000, running=60)
    cached = placement_s(idle, speeds, 8_000, 7_000, 250)
    assert cached < placement_s(idle, speeds, 8_000, 0, 250)
    assert placement_s(busy, speeds, 8_000, 7_000, 250) > placement_s(idle, speeds, 8_000, 0, 250)
    full = ReplicaLoad(running=60, waiting=5, cache_use=0.99)
    assert placement_s(full, speeds, 100, 0, 250) > placement_s(ReplicaLoad(running=60, waiting=5), speeds, 100, 0, 250)
