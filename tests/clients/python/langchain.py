"""langchain-openai and langchain-anthropic: chat, streams, tools, forms, responses that go on by id."""

import os

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]


class City(BaseModel):
    """A city."""

    city: str
    people: int


@tool
def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


def run(report):
    models = {
        "openai": ChatOpenAI(model="model", base_url=f"{URL}/v1", api_key=KEY, max_retries=0),
        "responses": ChatOpenAI(
            model="model",
            base_url=f"{URL}/v1",
            api_key=KEY,
            max_retries=0,
            use_responses_api=True,
            use_previous_response_id=True,
        ),
        "anthropic": ChatAnthropic(model="model", base_url=URL, api_key=KEY, max_retries=0, max_tokens=100),
    }
    for name, model in models.items():
        report(f"{name}: chat", model.invoke("hello").text)
        report(f"{name}: stream", "".join(piece.text for piece in model.stream("hello")).strip())
        bound, turns = model.bind_tools([weather]), [HumanMessage("weather?")]
        turns.append(bound.invoke(turns))
        call = turns[-1].tool_calls[0]
        turns.append(ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]))
        report(f"{name}: tools", bound.invoke(turns).text)
        report(f"{name}: form", model.with_structured_output(City).invoke("hello").model_dump())
    report(
        "embeddings",
        len(
            OpenAIEmbeddings(
                model="embedder", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False
            ).embed_query("x")
        ),
    )
    report("completion", OpenAI(model="model", base_url=f"{URL}/v1", api_key=KEY).invoke("hello"))
