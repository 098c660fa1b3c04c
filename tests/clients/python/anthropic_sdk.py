"""anthropic: streams, tools by its runner, pictures, documents, counted tokens, forms."""

import os

import anthropic
from anthropic import beta_tool
from pydantic import BaseModel

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ASK = [{"role": "user", "content": "hello"}]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


class City(BaseModel):
    city: str
    people: int


@beta_tool
def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


def run(report):
    client = anthropic.Anthropic(base_url=os.environ["GATEWAY"], api_key=os.environ["KEY"], max_retries=0)
    report("message", client.messages.create(model="model", max_tokens=50, messages=ASK).content[0].text)
    with client.messages.stream(model="model", max_tokens=50, messages=ASK) as stream:
        texts = "".join(stream.text_stream)
        final = stream.get_final_message()
    report("stream", [texts.strip(), final.content[0].text.strip(), final.stop_reason, final.usage.output_tokens])
    runner = client.beta.messages.tool_runner(model="model", max_tokens=50, tools=[weather], messages=ASK)
    report("tool_runner", [message.content[0].type for message in runner])
    streaming = client.beta.messages.tool_runner(
        model="model", max_tokens=50, tools=[weather], messages=ASK, stream=True
    )
    report("tool_runner, streamed", [stream.get_final_message().stop_reason for stream in streaming])
    content = [PICTURE, {"type": "text", "text": "what?"}]
    report(
        "picture",
        client.messages.create(model="model", max_tokens=50, messages=[{"role": "user", "content": content}])
        .content[0]
        .text,
    )
    report(
        "parse",
        client.messages.parse(
            model="model", max_tokens=50, messages=ASK, output_format=City
        ).parsed_output.model_dump(),
    )
    plain = client.messages.count_tokens(model="model", messages=ASK).input_tokens
    shown = client.messages.count_tokens(
        model="model", messages=[{"role": "user", "content": [PICTURE, *content]}]
    ).input_tokens
    report("count_tokens", [0 < plain < 20, shown > plain + 50])
    report("models", "model" in [model.id for model in client.models.list()])
    poor = anthropic.Anthropic(base_url=os.environ["GATEWAY"], api_key=os.environ["POOR"], max_retries=2)
    try:
        poor.messages.create(model="model", max_tokens=50, messages=ASK)
    except anthropic.APIStatusError as error:
        report(
            "spent",
            [error.status_code, error.body["error"]["type"], error.response.request.headers["x-stainless-retry-count"]],
        )
