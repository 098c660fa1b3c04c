"""The provider table.

Adding a provider is adding a row; what a switch means stands in `orchestrator.providers.provider`.

Facts from the SDK packages openai 3.54, anthropic 2.12, google-genai 3.4, groq 1.7, mistralai 3.7, together 3.1,
cerebras-cloud-sdk 1.91, fireworks-ai 1.2, from LiteLLM 1.109 and pydantic-ai 2.68, and from each provider's public
documentation, November 2026. docs/providers.md says which is which.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.providers.provider import DefaultModel, Provider

_OPENAI_ONLY = frozenset(
    {"store", "metadata", "service_tier", "prediction", "verbosity", "safety_identifier", "moderation", "modalities"}
)
_CACHE_HINTS = frozenset({"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"})
_FOREIGN = _OPENAI_ONLY | _CACHE_HINTS  # what only OpenAI documents: a hint to others at best, an error at worst
_NO_LOGPROBS = frozenset({"logprobs", "top_logprobs"})
_LEAST = frozenset(
    "model messages stream temperature top_p max_tokens stop n presence_penalty frequency_penalty user".split()
)  # what every copy of the API of 2023 knows
_TRTLLM = _LEAST | frozenset(
    "stream_options response_format tools tool_choice seed logprobs top_logprobs logit_bias top_k min_p "
    "repetition_penalty "
    "reasoning_effort chat_template_kwargs max_completion_tokens cache_salt".split()
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({
    row.name: row
    for row in (
        Provider(
            "openai", "https://api.openai.com/v1", "OpenAI", "OPENAI_API_KEY",
            token_field="max_completion_tokens", several=True, developer_role=True, thoughts="none",
            no_sampling=r"^(o\d|gpt-[5-9](?!-chat))", cache="openai", cache_minutes=(30, 720), decisions="/decisions",
            batches="openai",
            defaults=(DefaultModel("gpt-4o-mini", 0.15, 0.60, 0.80), DefaultModel("gpt-4o", 2.50, 10.00, 0.88)),
        ),
        Provider(
            "openai-responses", "https://api.openai.com/v1", "OpenAI (Responses)", "OPENAI_API_KEY",
            dialect="responses", developer_role=True, no_sampling=r"^(o\d|gpt-[5-9](?!-chat))", cache="openai",
            cache_minutes=(30, 720),
            lacks=frozenset({"n", "stop", "logit_bias", "audio", "prediction", "seed"}), logprobs=False,
            decisions="/decisions", prices="openai",
        ),
        Provider(
            "azure", "", "Azure OpenAI", "AZURE_OPENAI_API_KEY",
            auth="api-key", token_field="max_completion_tokens", several=True, developer_role=True, thoughts="none",
            no_sampling=r"^(o\d|gpt-[5-9](?!-chat))", cache="openai",
            drops=frozenset({"service_tier", "safety_identifier"}), batches="openai",
        ),
        Provider(
            "anthropic", "https://api.anthropic.com/v1", "Anthropic", "ANTHROPIC_API_KEY",
            auth="x-api-key", dialect="anthropic", headers={"anthropic-version": "2023-06-01"},
            limit_headers="anthropic-ratelimit-",
            most_temperature=1.0, no_sampling=r"^claude-((opus|sonnet|haiku|fable|mythos)-[5-9]|opus-4-[78]|mythos)",
            lacks=frozenset({"n", "logprobs", "top_logprobs", "logit_bias", "audio"}), logprobs=False,
            efforts={"none": "", "minimal": "low"}, cache="anthropic", cache_minutes=(5, 60), batches="anthropic",
            defaults=(DefaultModel("claude-haiku-4-5", 1.00, 5.00, 0.86),
            DefaultModel("claude-sonnet-4-5", 3.00, 15.00, 0.91)),
        ),
        Provider(
            "gemini", "https://generativelanguage.googleapis.com/v1beta", "Google Gemini", "GEMINI_API_KEY",
            auth="x-goog-api-key", dialect="gemini", several=True, most_choices=8, limit_headers="",
            lacks=frozenset({"logit_bias", "audio", "parallel_tool_calls"}), cache="gemini", least_cached_tokens=2_048,
            cache_minutes=(60,),
            prices="google",
            defaults=(DefaultModel("gemini-2.5-flash", 0.30, 2.50, 0.86),
            DefaultModel("gemini-2.5-pro", 1.25, 10.00, 0.91)),
        ),
        Provider(
            "zai", "https://api.z.ai/api/paas/v4", "Z.ai (Zhipu GLM)", "ZAI_API_KEY",
            drops=_FOREIGN | {"seed", "user", "parallel_tool_calls"}, lacks=_NO_LOGPROBS | {"n", "logit_bias"},
            logprobs=False,
            json="object", effort_field="thinking", efforts={"none": "disabled", "minimal": "disabled"},
            thoughts_back=True,
            tool_choices={"required": "auto", "none": ""}, most_temperature=1.0,
        ),
        Provider(
            "zhipu", "https://open.bigmodel.cn/api/paas/v4", "Zhipu AI (China)", "ZHIPUAI_API_KEY",
            drops=_FOREIGN | {"seed", "user", "parallel_tool_calls"}, lacks=_NO_LOGPROBS | {"n", "logit_bias"},
            logprobs=False,
            json="object", effort_field="thinking", efforts={"none": "disabled", "minimal": "disabled"},
            thoughts_back=True,
            tool_choices={"required": "auto", "none": ""}, most_temperature=1.0, prices="zhipuai",
        ),
        Provider(
            "groq", "https://api.groq.com/openai/v1", "Groq", "GROQ_API_KEY",
            token_field="max_completion_tokens", drops=(_FOREIGN - {"service_tier"}) | {"user"},
            lacks=_NO_LOGPROBS | {"n", "logit_bias"},
            logprobs=False, names_in_messages=False, least_temperature=1e-8, thoughts="reasoning", timings="groq",
            efforts={"minimal": "low", "xhigh": "high", "max": "high"},
            defaults=(DefaultModel("llama-3.3-70b-versatile", 0.59, 0.79, 0.82),),
        ),
        Provider(
            "together", "https://api.together.ai/v1", "Together AI", "TOGETHER_API_KEY",
            completions=True, drops=_FOREIGN | {"user", "parallel_tool_calls"}, several=True, thoughts="reasoning",
            efforts={"none": "low", "minimal": "low", "xhigh": "high", "max": "high"},
        ),
        Provider(
            "fireworks", "https://api.fireworks.ai/inference/v1", "Fireworks AI", "FIREWORKS_API_KEY",
            completions=True, drops=_OPENAI_ONLY | {"prompt_cache_options", "prompt_cache_retention"}, several=True,
            timings="fireworks",
            limit_headers="x-ratelimit-",
        ),
        Provider(
            "mistral", "https://api.mistral.ai/v1", "Mistral AI", "MISTRAL_API_KEY",
            renames={"seed": "random_seed"},
            drops=(_FOREIGN - {"prompt_cache_key", "prediction"}) | {"user", "stream_options"},
            lacks=_NO_LOGPROBS | {"logit_bias"}, logprobs=False, several=True, most_choices=16, most_temperature=1.5,
            tool_choices={"required": "any"}, stream_options=False, limit_headers="x-ratelimit", batches=None,
            efforts={"minimal": "none", "low": "none", "medium": "high", "xhigh": "high", "max": "high"},
            defaults=(DefaultModel("mistral-small-latest", 0.10, 0.30, 0.78),),
        ),
        Provider(
            "ai21", "https://api.ai21.com/studio/v1", "AI21 (Jamba)", "AI21_API_KEY",
            drops=_FOREIGN | {"seed", "user", "stream_options", "parallel_tool_calls", "reasoning_effort"},
            lacks=_NO_LOGPROBS | {"logit_bias"}, logprobs=False, several=True, most_choices=16, json="object",
            parts=False, stream_options=False,
            thoughts="none", cache="none",
        ),
        Provider(
            "deepseek", "https://api.deepseek.com", "DeepSeek", "DEEPSEEK_API_KEY",
            drops=_FOREIGN | {"seed", "user", "parallel_tool_calls"}, lacks=frozenset({"n", "logit_bias"}),
            json="object", thoughts_back=True,
            efforts={"none": "low", "minimal": "low", "medium": "high", "xhigh": "max"}, least_cached_tokens=64,
            limit_headers="",
            defaults=(DefaultModel("deepseek-chat", 0.28, 0.42, 0.86),),
        ),
        Provider(
            "cerebras", "https://api.cerebras.ai/v1", "Cerebras", "CEREBRAS_API_KEY",
            token_field="max_completion_tokens", drops=_FOREIGN, lacks=frozenset({"n", "logit_bias"}),
            thoughts="reasoning", timings="cerebras",
            efforts={"minimal": "low", "xhigh": "high", "max": "high"}, most_temperature=1.5,
        ),
        Provider(
            "openrouter", "https://openrouter.ai/api/v1", "OpenRouter", "OPENROUTER_API_KEY",
            completions=True, drops=_CACHE_HINTS | {"store", "metadata", "service_tier", "safety_identifier",
            "moderation"}, thoughts="reasoning",
            cache="anthropic", cache_minutes=(5, 60), limit_headers="x-ratelimit-",
        ),
        Provider(
            "vllm", "http://127.0.0.1:8000/v1", "vLLM", port=8000, health_path="/health",
            completions=True, several=True, drops=_FOREIGN, thoughts="reasoning", cache_salt=True, tells_load=True,
            limit_headers="", least_cached_tokens=16,
        ),
        Provider(
            "sglang", "http://127.0.0.1:30000/v1", "SGLang", port=30_000, health_path="/health",
            completions=True, several=True, drops=_FOREIGN, cache_salt=True, tells_load=True, limit_headers="",
            least_cached_tokens=1, decisions="/systemone",
        ),
        Provider(
            "trtllm", "http://127.0.0.1:8000/v1", "TensorRT-LLM (trtllm-serve)", port=8000, health_path="/health",
            completions=True, several=True, only=_TRTLLM, cache_salt=True, tells_load=True, limit_headers="",
            least_cached_tokens=32,
        ),
        Provider(
            "llamacpp", "http://127.0.0.1:8080/v1", "llama.cpp server", port=8080, health_path="/health",
            completions=True, drops=_FOREIGN | {"user"}, timings="llamacpp", limit_headers="", least_cached_tokens=1,
            decisions="/systemone",
        ),
        Provider(
            "ollama", "http://127.0.0.1:11434/v1", "Ollama", port=11_434,
            drops=_FOREIGN | {"user", "parallel_tool_calls", "logit_bias"}, lacks=frozenset({"n"}), strict_json=False,
            thoughts="reasoning",
            completions=True, limit_headers="", least_cached_tokens=1, decisions="/systemone", health_path="/",
        ),
        Provider(
            "triton", "http://127.0.0.1:9000/v1", "NVIDIA Triton", port=9000, health_path="/v2/health/ready",
            completions=True, drops=_FOREIGN | {"user", "parallel_tool_calls"}, several=True, limit_headers="",
            cache="none", thoughts="none",
        ),
        Provider(
            "dynamo", "http://127.0.0.1:8000/v1", "NVIDIA Dynamo", port=8000, health_path="/health",
            completions=True, drops=_FOREIGN, limit_headers="", least_cached_tokens=16,
        ),
        Provider(
            "lmstudio", "http://127.0.0.1:1234/v1", "LM Studio", port=1234,
            completions=True, drops=_FOREIGN | {"user", "parallel_tool_calls"}, lacks=frozenset({"n"}),
            limit_headers="", least_cached_tokens=1,
        ),
        Provider(
            "fastchat", "http://127.0.0.1:8000/v1", "FastChat", port=8000,
            only=_LEAST, lacks=_NO_LOGPROBS | {"tools", "tool_choice"}, logprobs=False, several=True, most_choices=16,
            json="none", parts=False,
            completions=True, stream_options=False, thoughts="none", limit_headers="", cache="none",
        ),
        Provider(
            "transformers", "http://127.0.0.1:8000/v1", "Hugging Face transformers serve", port=8000,
            health_path="/health",
            only=_LEAST - {"n"} | {"seed", "tools", "response_format"}, lacks=_NO_LOGPROBS | {"n"}, logprobs=False,
            json="none",
            stream_options=False, limit_headers="", cache="none", decisions="/systemone",
        ),
        Provider("compatible", "", "any compatible server", limit_headers="x-ratelimit-", most_choices=128,
        completions=True),
    )
})  # fmt: skip
