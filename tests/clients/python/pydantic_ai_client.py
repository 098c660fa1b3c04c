"""pydantic-ai: agents with tools and typed outputs over three of its model classes."""

import os

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]


class City(BaseModel):
    city: str
    people: int


def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


def run(report):
    provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
    goes_on = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    for name, model, settings in (
        ("chat", OpenAIChatModel("model", provider=provider), None),
        ("responses", OpenAIResponsesModel("model", provider=provider), goes_on),
        ("anthropic", AnthropicModel("model", provider=AnthropicProvider(base_url=URL, api_key=KEY)), None),
    ):
        agent = Agent(model, tools=[weather], model_settings=settings)
        result = agent.run_sync("weather?")
        report(f"{name}: agent", [result.output, result.usage.requests])
        report(f"{name}: typed", Agent(model, output_type=City).run_sync("hello").output.model_dump())
        streamed = agent.run_stream_sync("weather?")
        report(f"{name}: stream", list(streamed.stream_text())[-1].strip())
