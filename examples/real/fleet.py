"""fleet.py with real models: each question goes to the cheapest that will do, and the events tell what happens.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. At most two cents a question are spent.
"""

import asyncio

from orchestrator import Event, Orchestrator

QUESTIONS = (
    "A crate holds 12 lamps. How many lamps do 3 crates hold?",
    "A train leaves at 9:40 and needs 135 minutes. When does it arrive?",
)


def show(event: Event) -> None:
    """One line of progress."""
    print(f"  {event.at_s:5.2f} s  {event.kind:9} {event.detail.get('model', '')}")


async def main() -> None:
    """Asks both questions and says why each answer is believed."""
    async with Orchestrator(
        "openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "openai/gpt-5", budget={"usd": 0.02, "seconds": 60}
    ) as fleet:
        for question in QUESTIONS:
            print(question)
            answer = await fleet.answer(question, quality=0.95, on_event=show)
            print(answer.explain())


asyncio.run(main())
