"""dspy: a signature, a chain of thought, a tool-using program."""

import os

import dspy


def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


def run(report):
    lm = dspy.LM(
        "openai/model", api_base=f"{os.environ['GATEWAY']}/v1", api_key=os.environ["KEY"], cache=False, num_retries=0
    )
    report("lm", lm("hello")[0])
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        report("predict", dspy.Predict("question -> city: str, people: int")(question="hello").toDict())
    text = dspy.LM(
        "openai/model",
        model_type="responses",
        api_base=f"{os.environ['GATEWAY']}/v1",
        api_key=os.environ["KEY"],
        cache=False,
    )
    answer = text("hello")[0]
    report("responses", answer["text"] if isinstance(answer, dict) else answer)
