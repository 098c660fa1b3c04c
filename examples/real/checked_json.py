"""checked_json.py with a real model: the answer is a value of a type, checked, and revised where it does not fit.

Needs OPENAI_API_KEY.
"""

from pydantic import BaseModel, Field

from orchestrator import InvalidAnswer, Orchestrator


class Lamp(BaseModel):
    """What is sold."""

    name: str
    euros: float = Field(gt=0)


with Orchestrator("openai/gpt-5-mini", budget=0.02) as fleet:
    answer = fleet.answer_sync("The Gale lantern costs 79 euros. Which lamp is that, and for how much?", output=Lamp)
    try:
        lamp = answer.value_as(Lamp)
    except InvalidAnswer as error:  # money or time ran out before an answer fitted
        print("no lamp:", error.text)
    else:
        print(f"{lamp.name}: {lamp.euros:.2f} euros, P(correct) {answer.confidence:.2f}")
