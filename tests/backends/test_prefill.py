"""The economics of reading.

What is marked to be cached and when, what it costs, how long it takes, and what long prompts are cut to.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import Budget, Message, Orchestrator
from orchestrator.backends.base import Request, estimate_prompt_tokens
from orchestrator.backends.http.prefix_cache import PrefixMemory
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.backends.remote import RemoteBackend
from orchestrator.config.models import parse_config
from orchestrator.engine.trimming import trimmed
from orchestrator.fleet.build import fleet_from_config
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile, Needs
from orchestrator.router.policy import choose
from orchestrator.router.profile import PriceStep
from orchestrator.router.speed import Speed, Speeds
from orchestrator.trace import Trace
from orchestrator.types import Query
from tests.support.gateway import Provider, completion, reply, served

SONNET = ModelProfile("m", 3.0, 15.0, 0.3, cache_write_usd_per_mtok=3.75, cache_write_1h_usd_per_mtok=6.0)
RULES = "Answer by these rules. " * 400  # some 2,300 tokens


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def body(*texts: str, rules: str = RULES) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": "system", "content": rules},
            *({"role": roles[i % 2], "content": text} for i, text in enumerate(texts)),
        ]
    }


def memory(
    mode: Any = "auto", provider: str = "anthropic", profile: ModelProfile = SONNET
) -> tuple[PrefixMemory, Clock]:
    clock = Clock()
    return PrefixMemory(PROVIDERS[provider], profile, mode, clock=clock), clock


def test_nothing_is_written_to_a_cache_before_something_came_back() -> None:
    prefixes, clock = memory()
    for number in range(20):
        assert prefixes.plan(body(f"question {number}", rules=f"rules {number} " * 900)) is None
        clock.now += 1


def test_rules_that_come_back_are_marked_and_stay_so() -> None:
    prefixes, clock = memory()
    plans = []
    for number in range(6):
        plans.append(prefixes.plan(body(f"question {number}")))
        clock.now += 20
    assert plans[0] is None
    assert all(plan is not None and plan.marks[0] == (0, plan.marks[0][1]) for plan in plans[2:])
    assert all(len(plan.marks) == 1 for plan in plans[2:] if plan is not None)  # the questions never came back


def test_the_lifetime_is_the_one_that_pays() -> None:
    """Every twenty minutes: five minutes would never be read again, an hour is."""
    prefixes, clock = memory()
    marks = []
    for number in range(12):
        plan = prefixes.plan(body(f"question {number}"))
        marks.append(plan.marks if plan is not None else ())
        clock.now += 20 * 60
    assert marks[-1] == ((0, "1h"),)
    seldom, clock = memory()
    for number in range(12):
        plan = seldom.plan(body(f"question {number}"))
        clock.now += 90 * 60
    assert plan is None


def test_a_growing_conversation_is_marked_at_its_end() -> None:
    prefixes, clock = memory()
    texts = ["tell me"]
    plan = None
    for turn in range(8):
        plan = prefixes.plan(body(*texts))
        texts += [f"answer {turn} " * 30, f"and then {turn}? " * 30]
        clock.now += 15
    assert plan is not None
    assert 1 <= len(plan.marks) <= 4
    assert plan.marks[-1][0] > 8


def test_a_stated_lifetime_is_kept_and_off_is_off_and_own_marks_stay() -> None:
    always, _ = memory("1h")
    plan = always.plan(body("hi"))
    assert plan is not None
    assert plan.marks[0] == (0, "1h")
    assert memory("off")[0].plan(body("hi")) is None
    assert memory("1h")[0].plan(body("hi", rules="short")) is None  # too short for any cache
    own = body("hi")
    own["messages"][0]["content"] = [{"type": "text", "text": RULES, "cache_control": {"type": "ephemeral"}}]
    assert memory("1h")[0].plan(own) is None


def test_openai_gets_a_key_that_the_turns_of_a_conversation_share() -> None:
    prefixes, _ = memory(provider="openai")
    first, second, other = (
        prefixes.plan(body("hi")),
        prefixes.plan(body("hi", "hello", "and?")),
        prefixes.plan(body("bye")),
    )
    assert first is not None
    assert second is not None
    assert other is not None
    assert first.key == second.key != other.key


def test_what_the_cache_holds_is_foreseen_and_forgotten() -> None:
    prefixes, clock = memory(provider="deepseek")
    messages = body("hi")["messages"]
    assert prefixes.expected_cached_tokens(messages) == 0
    prefixes.plan({"messages": messages})
    longer = [*messages, {"role": "assistant", "content": "x" * 400}, {"role": "user", "content": "y"}]
    assert prefixes.expected_cached_tokens(longer) == pytest.approx(len(RULES) / 4, rel=0.05)
    clock.now += 3600
    assert prefixes.expected_cached_tokens(longer) == 0


def test_a_model_that_holds_the_conversation_is_cheaper_and_quicker() -> None:
    fast = {"prefill_tokens_per_s": 2_000.0, "skill": 0.8}
    holds, other = ModelProfile("holds", 1.0, 1.0, 0.1, **fast), ModelProfile("other", 0.9, 1.0, 0.09, **fast)
    route = choose([holds, other], {"holds": 0.9, "other": 0.9}, needs=Needs(10_000, cached_tokens={"holds": 9_000}))
    assert route.chosen == "holds"
    assert route.option("other").latency_s - route.option("holds").latency_s == pytest.approx(4.5)


def test_tokens_of_each_kind_at_their_own_price() -> None:
    assert SONNET.cost_usd(2098, 503, 1800, cache_write_tokens=248, cache_write_1h_tokens=100) == pytest.approx(
        (50 * 3 + 1800 * 0.3 + 148 * 3.75 + 100 * 6 + 503 * 15) / 1e6
    )
    sound = ModelProfile("m", 1.0, 2.0, audio_input_usd_per_mtok=10.0)
    assert sound.cost_usd(100, 10, audio_prefill_tokens=60) == pytest.approx((40 * 1 + 60 * 10 + 10 * 2) / 1e6)
    assert sound.cost_usd(100, 10, audio_output_tokens=5) is None  # not known, and not zero
    long = ModelProfile("m", 1.0, 2.0, price_steps=(PriceStep(200_000, 2.0, 3.0),))
    assert long.cost_usd(200_000, 10) == pytest.approx(0.20002)
    assert long.cost_usd(200_001, 10) == pytest.approx((200_001 * 2 + 30) / 1e6)
    assert long.worst_usd(300_000, 0) == pytest.approx(0.6)
    assert SONNET.worst_usd(1000, 0) == pytest.approx(6e-3)  # it may be written for an hour


def test_marks_reach_the_provider_and_what_they_cost_is_booked() -> None:
    async def play(sent: dict[str, Any], send: Any) -> None:
        usage = {
            "input_tokens": 20,
            "cache_creation_input_tokens": 2300,
            "cache_read_input_tokens": 0,
            "output_tokens": 5,
        }
        usage["cache_creation"] = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2300}
        told = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "4"}],
            "stop_reason": "end_turn",
        }
        await reply(send, 200, {**told, "usage": usage})

    request = Request((Message("system", RULES), Message("user", "2 + 2?")), "2 + 2?", max_tokens=50)

    async def ask(url: str) -> tuple[float, float]:
        backend = RemoteBackend(SONNET, provider="anthropic", base_url=url, model="claude-sonnet-4-5", cache="1h")
        done = await backend.complete(request)
        worst = worst_case(backend, request)
        await backend.aclose()
        return bill_of(backend, done, worst).usd or 0.0, worst.usd or 0.0

    provider = Provider(play)
    with served(provider) as url:
        usd, worst_usd = asyncio.run(ask(url))
    assert provider.bodies[0]["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert usd == pytest.approx((20 * 3 + 2300 * 6 + 5 * 15) / 1e6)
    assert usd <= worst_usd


def test_a_prefix_is_made_a_resource_of_gemini_once_and_its_making_is_booked() -> None:
    async def play(sent: dict[str, Any], send: Any) -> None:
        if "ttl" in sent:
            await reply(send, 200, {"name": "cachedContents/abc", "usageMetadata": {"totalTokenCount": 2300}})
            return
        usage = {
            "promptTokenCount": 2320,
            "cachedContentTokenCount": 2300,
            "candidatesTokenCount": 5,
            "totalTokenCount": 2325,
        }
        candidate = {"content": {"parts": [{"text": "4"}]}, "finishReason": "STOP"}
        await reply(send, 200, {"candidates": [candidate], "usageMetadata": usage})

    async def ask(url: str) -> list[Any]:
        backend = RemoteBackend(SONNET, provider="gemini", base_url=url, model="gemini-3-flash", cache="1h")
        done = [
            await backend.complete(
                Request((Message("system", RULES), Message("user", f"{n} + 2?")), "?", max_tokens=50)
            )
            for n in range(3)
        ]
        await backend.aclose()
        return [one.usage for one in done]

    provider = Provider(play)
    with served(provider) as url:
        first, second, third = asyncio.run(ask(url))
    assert provider.paths == ["/cachedContents", *["/models/gemini-3-flash:generateContent"] * 3]
    assert provider.bodies[0]["systemInstruction"]["parts"][0]["text"] == RULES
    assert all(
        sent["cachedContent"] == "cachedContents/abc" and "systemInstruction" not in sent
        for sent in provider.bodies[1:]
    )
    assert first.cache_write_1h_tokens == 2300
    assert (second.cache_write_tokens, second.cached_tokens, third.prefill_tokens) == (0, 2300, 2320)


def test_a_cache_that_cannot_be_made_is_done_without() -> None:
    async def play(sent: dict[str, Any], send: Any) -> None:
        if "ttl" in sent:
            await reply(send, 400, {"error": {"message": "too few tokens"}})
            return
        await reply(send, 200, {"candidates": [{"content": {"parts": [{"text": "4"}]}, "finishReason": "STOP"}]})

    async def ask(url: str) -> str | None:
        backend = RemoteBackend(SONNET, provider="gemini", base_url=url, model="m", cache="1h")
        done = await backend.complete(Request((Message("system", RULES), Message("user", "?")), "?", max_tokens=50))
        await backend.aclose()
        return done.text

    provider = Provider(play)
    with served(provider) as url:
        assert asyncio.run(ask(url)) == "4"
    assert "systemInstruction" in provider.bodies[1]


def test_reading_and_writing_are_learned_apart() -> None:
    profile = ModelProfile("m", 1.0, 1.0, ttft_s=0.5, tokens_per_s=60.0)
    speeds = Speeds([profile])
    for tokens in (500, 4_000, 1_000, 8_000, 2_000, 16_000, 700, 3_000):
        first = 0.2 + tokens / 5_000
        speeds.observe("m", latency_s=first + 100 / 40, ttft_s=first, output_tokens=100, fresh_tokens=tokens)
    learned = speeds.profiles["m"]
    assert learned.ttft_s == pytest.approx(0.2, abs=0.01)
    assert learned.prefill_tokens_per_s == pytest.approx(5_000, rel=0.02)
    assert learned.latency_s(40, 10_000) == pytest.approx(0.2 + 2.0 + 40 / learned.tokens_per_s, rel=0.02)
    with pytest.raises(ValueError, match="finite"):
        Speed.of(profile).observe(ttft_s=0.1, decode_s=0.1, output_tokens=1, fresh_tokens=-1)


def test_prompts_of_one_length_teach_no_slope() -> None:
    speeds = Speeds([ModelProfile("m", 1.0, 1.0)])
    for _ in range(20):
        speeds.observe("m", latency_s=1.0, ttft_s=0.4, output_tokens=30, fresh_tokens=1_000)
    assert speeds.profiles["m"].prefill_tokens_per_s is None
    assert speeds.profiles["m"].ttft_s == pytest.approx(0.4, abs=0.03)


def long_text() -> str:
    paragraphs = [
        f"Paragraph {n} speaks of the weather in the month number {n} and of nothing else at all." * 4
        for n in range(300)
    ]
    paragraphs[170] = "The code that opens the vault of Aldermoor is 4417; nobody else knows."
    return "\n\n".join(paragraphs)


def test_a_long_prompt_keeps_what_the_question_is_about() -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", long_text()),
        Message("user", "Which code opens the vault of Aldermoor?"),
    )
    cut = trimmed(messages, messages[-1].content, 4_000)
    assert estimate_prompt_tokens(cut.messages) <= 4_000
    assert cut.dropped_tokens > 10_000
    assert "4417" in cut.messages[1].content
    assert "left out:" in cut.messages[1].content
    assert cut.messages[0] == messages[0]
    assert cut.messages[2] == messages[2]
    assert cut.messages[1].content.startswith("Paragraph 0 ")
    assert cut.messages[1].content.endswith(messages[1].content[-60:])
    assert trimmed(messages, "x", 10**6).messages == messages


def test_a_prompt_that_no_model_uses_well_is_cut_and_the_trace_says_so() -> None:
    async def play(sent: dict[str, Any], send: Any) -> None:
        await reply(send, 200, completion("4417"))

    async def ask(url: str) -> Any:
        profile = ModelProfile("m", 1.0, 1.0, skill=0.9, context_tokens=100_000, effective_context_tokens=6_000)
        async with Orchestrator(
            {"m": RemoteBackend(profile, base_url=url)}, strategy="single", max_tokens=200
        ) as orchestrator:
            history = [Message("user", long_text()), Message("assistant", "Thank you.")]
            return await orchestrator.answer("Which code opens the vault of Aldermoor?", history=history)

    provider = Provider(play)
    with served(provider) as url:
        answer = asyncio.run(ask(url))
    sent = "".join(message["content"] for message in provider.bodies[0]["messages"])
    assert "4417; nobody" in sent
    assert len(sent) < 30_000
    assert answer.trace.root.attributes["trimmed_tokens"] > 10_000


def test_under_a_deadline_only_what_is_quick_enough_is_chosen() -> None:
    """Reading counts.

    The model that writes fast but reads slowly is too late for a long prompt, and quick enough for a short one.
    """
    slow = ModelProfile("slow", 0.1, 0.1, skill=0.95, ttft_s=0.2, tokens_per_s=1_000.0, prefill_tokens_per_s=500.0)
    quick = ModelProfile("quick", 9.0, 9.0, skill=0.95, ttft_s=0.2, tokens_per_s=1_000.0, prefill_tokens_per_s=50_000.0)
    long, short = (Message("user", "word " * 4_000), Message("assistant", "yes")), ()

    async def chosen(history: tuple[Message, ...], seconds: float | None) -> str | None:
        orchestrator = Orchestrator({p.name: RemoteBackend(p, base_url="http://127.0.0.1:9") for p in (slow, quick)})
        query = Query.parse("What is it about?", history=history, quality=0.5)
        return (await orchestrator.plan(query, Trace(), budget=Budget(seconds=seconds))).route.chosen

    assert asyncio.run(chosen(long, None)) == "slow"
    assert asyncio.run(chosen(long, 3.0)) == "quick"
    assert asyncio.run(chosen(short, 3.0)) == "slow"
    assert asyncio.run(chosen(long, 0.01)) == "slow"  # nobody is: then it is tried as well as it can be


def test_what_stays_the_same_stands_first() -> None:
    async def plan(query: str) -> tuple[Message, ...]:
        backend = RemoteBackend(ModelProfile("m", 1.0, 1.0, skill=0.9), base_url="http://127.0.0.1:9")
        orchestrator = Orchestrator({"m": backend})
        made = await orchestrator.plan(
            Query.parse(query, schema={"type": "object"}, history=(Message("user", "a"),)), Trace(), budget=Budget()
        )
        return made.request.messages

    one, two = asyncio.run(plan("first question")), asyncio.run(plan("second question"))
    assert one[:-1] == two[:-1]
    assert [message.role for message in one] == ["system", "user", "user"]


def test_the_price_list_knows_steps_caches_and_windows() -> None:
    pytest.importorskip("genai_prices")
    text = "models:\n  m: {provider: anthropic, model: claude-sonnet-4-5, key: 'env:ANTHROPIC_TEST_KEY'}\n"
    import os

    os.environ["ANTHROPIC_TEST_KEY"] = "x"
    profile = fleet_from_config(parse_config(text)).backends["m"].profile
    assert (profile.input_usd_per_mtok, profile.cached_usd_per_mtok, profile.cache_write_usd_per_mtok) == (
        3.0,
        0.3,
        3.75,
    )
    assert profile.cache_write_1h_usd_per_mtok == 6.0
    assert profile.price_steps[0].above_tokens == 200_000
    assert profile.context_tokens == 200_000
    stated = (
        fleet_from_config(parse_config(text.replace("model:", "input_usd_per_mtok: 9, model:"))).backends["m"].profile
    )
    assert (stated.input_usd_per_mtok, stated.output_usd_per_mtok, stated.price_steps) == (9.0, 15.0, ())
