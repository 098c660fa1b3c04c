"""openai: its helpers for streams, tools, forms, responses, beside plain calls."""

import os

import openai
from pydantic import BaseModel

URL, KEY = os.environ["GATEWAY"], os.environ["KEY"]
ASK = [{"role": "user", "content": "hello"}]


class City(BaseModel):
    city: str
    people: int


class Weather(BaseModel):
    """The weather of a city."""

    city: str


def run(report):
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    report("chat", client.chat.completions.create(model="model", messages=ASK).choices[0].message.content)
    parsed = client.chat.completions.parse(model="model", messages=ASK, response_format=City)
    report("parsed", parsed.choices[0].message.parsed.model_dump())
    with client.chat.completions.stream(model="model", messages=ASK, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    report("stream", [final.choices[0].message.content.strip(), final.usage.total_tokens, "content.done" in kinds])
    tools = [openai.pydantic_function_tool(Weather)]
    with client.chat.completions.stream(
        model="model", messages=[{"role": "user", "content": "twice"}], tools=tools
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    report("stream of calls", [[event.index, event.parsed_arguments.city] for event in done])

    with client.responses.stream(model="model", input="hello") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        response = stream.get_final_response()
    report("responses.stream", [deltas.strip(), response.output_text.strip(), response.status])
    report(
        "responses.parse",
        client.responses.parse(model="model", input="hello", text_format=City).output_parsed.model_dump(),
    )
    tool = {"type": "function", "name": "weather", "parameters": Weather.model_json_schema(), "strict": False}
    first = client.responses.create(model="model", input="weather?", tools=[tool])
    call = next(item for item in first.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    report(
        "previous_response_id",
        client.responses.create(model="model", previous_response_id=first.id, input=[result]).output_text,
    )
    report("history", client.responses.create(model="model", input=[ASK[0], *first.output, result]).output_text)

    report("embedding", len(client.embeddings.create(model="embedder", input="x").data[0].embedding))
    report("completion", client.completions.create(model="model", prompt="hello").choices[0].text)
    report("models", "model" in [model.id for model in client.models.list()])
    azure = openai.AzureOpenAI(azure_endpoint=URL, api_key=KEY, api_version="2024-10-21", max_retries=0)
    report("azure", azure.chat.completions.create(model="model", messages=ASK).choices[0].message.content)
    poor = openai.OpenAI(base_url=f"{URL}/v1", api_key=os.environ["POOR"], max_retries=2)
    try:
        poor.chat.completions.create(model="model", messages=ASK)
    except openai.APIStatusError as error:
        report("spent", [error.status_code, error.code, error.response.request.headers["x-stainless-retry-count"]])
