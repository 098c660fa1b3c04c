"""instructor: typed answers by tools, by JSON and by schema, whole and partial."""

import os

import instructor
import openai
from pydantic import BaseModel

MODES = ("TOOLS", "JSON", "JSON_SCHEMA", "PARALLEL_TOOLS", "RESPONSES_TOOLS")


class City(BaseModel):
    """A city."""

    city: str
    people: int


def run(report):
    for name in ("TOOLS", "JSON", "JSON_SCHEMA", "MD_JSON"):
        mode = getattr(instructor.Mode, name)
        client = instructor.from_openai(
            openai.OpenAI(base_url=f"{os.environ['GATEWAY']}/v1", api_key=os.environ["KEY"], max_retries=0), mode=mode
        )
        if name != "MD_JSON":  # there the model would have to write a block of JSON by itself
            found = client.chat.completions.create(
                model="model", response_model=City, messages=[{"role": "user", "content": "hello"}], max_retries=1
            )
            report(name, found.model_dump())
        if name == "TOOLS":
            partial = client.chat.completions.create_partial(
                model="model", response_model=City, messages=[{"role": "user", "content": "hello"}], max_retries=1
            )
            report("partial", list(partial)[-1].model_dump())
