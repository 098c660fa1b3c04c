"""openai-agents: a run with a tool, over chat completions and over responses, streamed and on by the response's id."""

import asyncio
import os

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)


@function_tool
def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


async def runs(report):
    client = AsyncOpenAI(base_url=f"{os.environ['GATEWAY']}/v1", api_key=os.environ["KEY"], max_retries=0)
    for name, model in (
        ("chat", OpenAIChatCompletionsModel("model", client)),
        ("responses", OpenAIResponsesModel("model", client)),
    ):
        agent = Agent(name="a", instructions="Be short.", tools=[weather], model=model)
        report(f"{name}: run", (await Runner.run(agent, "weather?")).final_output)
        streamed = Runner.run_streamed(agent, "weather?")
        kinds = {event.type async for event in streamed.stream_events()}
        report(f"{name}: streamed", [streamed.final_output.strip(), "raw_response_event" in kinds])
        if name == "responses":
            report(
                "responses: on by id",
                (await Runner.run(agent, "weather?", auto_previous_response_id=True)).final_output,
            )


def run(report):
    asyncio.run(runs(report))
