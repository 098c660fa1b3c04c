"""What serving engines tell of their load: in Prometheus' text at /metrics, and in a header of each answer (ORCA).

Names: vLLM, SGLang and TensorRT-LLM as proposal 003 of the Gateway API inference extension maps them. The header is
`endpoint-load-metrics`, asked for with `endpoint-load-metrics-format` (xDS ORCA; vLLM, Triton). What a server tells is
not believed where it cannot be: such a number counts as untold.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

MAX_METRICS_BYTES = 4_000_000
MAX_REQUESTS = 1e6
RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs", "trtllm_num_requests_running")
WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "trtllm_num_requests_waiting")
CACHE_USE = (
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "sglang:token_usage",
    "trtllm_kv_cache_utilization",
    "kv_cache_usage_perc",
    "kv_cache_utilization",
)
CONFIG = "vllm:cache_config_info{"
LABEL = re.compile(r'\b(num_gpu_blocks|block_size)="(\d{1,12})"')
MAX_LINE_CHARS = 4_096
PREFIXES = ("vllm:", "sglang:", "trtllm_")
ORCA_REQUEST, ORCA_ANSWER = "endpoint-load-metrics-format", "endpoint-load-metrics"


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine told; `None` for what it did not.

    Attributes:
        running: Requests that it works on.
        waiting: Requests that wait.
        cache_use: Share of its memory for keys and values in use, in [0, 1].
        cache_tokens: Tokens whose keys and values it can hold.
    """

    running: float | None = None
    waiting: float | None = None
    cache_use: float | None = None
    cache_tokens: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was told."""
        return self == EngineLoad()


def load_in_metrics(text: str) -> EngineLoad:
    """What a page of metrics tells; of several engines behind one address the sum, and the mean use of memory."""
    sums: dict[str, list[float]] = {}
    cache_tokens = None
    for line in text[:MAX_METRICS_BYTES].split("\n"):
        if not line.startswith(PREFIXES) or len(line) > MAX_LINE_CHARS:
            continue
        if line.startswith(CONFIG):
            cache_tokens = cache_tokens or _cache_tokens(line)
            continue
        name, number = _sample(line)
        if number is not None:
            sums.setdefault(name, []).append(number)
    uses = next((sums[name] for name in CACHE_USE if name in sums), [])
    use = sum(uses) / len(uses) if uses else None
    return EngineLoad(_sum(sums, RUNNING), _sum(sums, WAITING), _share(use), cache_tokens)


def load_in_header(value: str) -> EngineLoad:
    """What a header tells, `TEXT name=number, ...` or `JSON {...}`; nothing for what is neither."""
    kind, _, rest = value.strip().partition(" ")
    if kind.upper() == "JSON":
        try:
            told = json.loads(rest)
        except (ValueError, RecursionError):
            return EngineLoad()
        named = told.get("named_metrics") if isinstance(told, dict) else None
        pairs = {**told, **named} if isinstance(named, dict) else told
        found = {name: _number(str(number)) for name, number in pairs.items()} if isinstance(pairs, dict) else {}
    else:
        text = rest if kind.upper() == "TEXT" else value
        split = (part.partition("=") for part in text.split(","))
        found = {name.strip().removeprefix("named_metrics."): _number(number) for name, _, number in split}
    return EngineLoad(
        _count(found.get("num_requests_running")),
        _count(found.get("num_requests_waiting")),
        _share(next((found[name] for name in CACHE_USE if found.get(name) is not None), None)),
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _sum(sums: dict[str, list[float]], names: tuple[str, ...]) -> float | None:
    return next((_count(sum(sums[name])) for name in names if name in sums), None)


def _count(number: float | None) -> float | None:
    return number if number is not None and 0 <= number <= MAX_REQUESTS else None


def _share(number: float | None) -> float | None:
    return number if number is not None and 0 <= number <= 1 else None


def _sample(line: str) -> tuple[str, float | None]:
    """(name, number) of a line of metrics."""
    ends = min((place for place in (line.find("{"), line.find(" ")) if place >= 0), default=len(line))
    rest = line[line.rfind("}") + 1 :] if "{" in line else line[ends:]
    parts = rest.split(maxsplit=1)
    return line[:ends], _number(parts[0]) if parts else None


def _cache_tokens(line: str) -> int | None:
    labels = dict(LABEL.findall(line))
    if len(labels) < 2:
        return None
    tokens = int(labels["num_gpu_blocks"]) * int(labels["block_size"])
    return tokens if 0 < tokens < 10**10 else None
