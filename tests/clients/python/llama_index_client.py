"""LlamaIndex's openai-like model and embeddings: chat, streams, completions, a tool, a typed answer."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

URL, KEY = f"{os.environ['GATEWAY']}/v1", os.environ["KEY"]


class City(BaseModel):
    """A city."""

    city: str
    people: int


def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


def run(report):
    chat = OpenAILike(
        model="model", api_base=URL, api_key=KEY, is_chat_model=True, is_function_calling_model=True, max_retries=0
    )
    report("chat", chat.chat([ChatMessage("hello")]).message.content)
    report("stream", list(chat.stream_chat([ChatMessage("hello")]))[-1].message.content.strip())
    called = chat.predict_and_call([FunctionTool.from_defaults(weather)], user_msg="weather?")
    report("tools", str(called))
    report("form", chat.as_structured_llm(City).complete("hello").raw.model_dump())
    plain = OpenAILike(model="model", api_base=URL, api_key=KEY, is_chat_model=False, max_retries=0)
    report("complete", plain.complete("hello").text)
    report("stream_complete", list(plain.stream_complete("hello"))[-1].text.strip())
    embedder = OpenAILikeEmbedding(model_name="embedder", api_base=URL, api_key=KEY)
    report("embedding", len(embedder.get_text_embedding("x")))
