"""google-genai: it speaks to Google's models directly, so what we send in its place must be what it would send.

Here it is told to speak to a server that notes its requests; the test compares them with ours.
"""

import json
import os

from google import genai
from google.genai import types

PIXEL = b"\x89PNG\r\n\x1a\n"


def run(report):
    client = genai.Client(
        api_key="k", http_options=types.HttpOptions(base_url=os.environ["UPSTREAM"], api_version="v1beta")
    )
    weather = types.FunctionDeclaration(
        name="weather",
        description="w",
        parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}},
    )
    config = types.GenerateContentConfig(
        system_instruction="Be short.",
        temperature=0.5,
        max_output_tokens=99,
        stop_sequences=["x"],
        tools=[types.Tool(function_declarations=[weather])],
    )
    picture = types.Part.from_bytes(data=PIXEL, mime_type="image/png")
    asked = types.Content(role="user", parts=[types.Part(text="weather?"), picture])
    answer = client.models.generate_content(model="gemini-2.5-flash", contents=[asked], config=config)
    call = answer.function_calls[0]
    report("call", [call.name, call.args, answer.usage_metadata.prompt_token_count])
    given = types.Content(
        role="user", parts=[types.Part.from_function_response(name="weather", response={"result": "sunny"})]
    )
    contents = [asked, answer.candidates[0].content, given]
    pieces = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents=contents, config=config))
    report("stream", ["".join(piece.text or "" for piece in pieces), pieces[-1].usage_metadata.candidates_token_count])
    form = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema={"type": "object", "properties": {"a": {"type": "string"}}},
    )
    report(
        "form", json.loads(client.models.generate_content(model="gemini-2.5-flash", contents="hello", config=form).text)
    )
