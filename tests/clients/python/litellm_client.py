"""litellm as a client: chat, streams, tools, responses, Anthropic's messages, embeddings, texts."""

import os

import litellm

litellm.telemetry = False
URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]
ASK = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def run(report):
    mine = {"api_base": f"{URL}/v1", "api_key": KEY, "num_retries": 0}
    report("chat", litellm.completion("openai/model", ASK, **mine).choices[0].message.content)
    stream = litellm.completion("openai/model", ASK, stream=True, stream_options={"include_usage": True}, **mine)
    chunks = list(stream)
    report("stream", "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).strip())
    called = litellm.completion("openai/model", ASK, tools=[TOOL], **mine).choices[0].message.tool_calls[0]
    report("tools", [called.function.name, called.function.arguments])
    report(
        "anthropic",
        litellm.completion("anthropic/model", ASK, api_base=URL, api_key=KEY, max_tokens=50).choices[0].message.content,
    )
    report("responses", litellm.responses(input="hello", model="openai/model", **mine).output[0].content[0].text)
    report(
        "embedding",
        len(litellm.embedding("openai/embedder", input=["x"], api_base=f"{URL}/v1", api_key=KEY).data[0]["embedding"]),
    )
    report(
        "text", litellm.text_completion(model="text-completion-openai/model", prompt="hello", **mine).choices[0].text
    )
    report(
        "rerank",
        [
            r["index"]
            for r in litellm.rerank(
                "cohere/ranker", query="q", documents=["a", "b"], api_base=f"{URL}/v1/rerank", api_key=KEY
            ).results
        ],
    )
