"""simonw/llm as a command.

A model of its own configuration, chatting, streaming, with a schema, and completing a text.
"""

import os
import pathlib
import subprocess
import tempfile

MODELS = """
- {{model_id: gateway, model_name: model, api_base: "{url}/v1", api_key_name: gateway, supports_tools: true,
    supports_schema: true}}
- {{model_id: plain, model_name: model, api_base: "{url}/v1", api_key_name: gateway, completion: true}}
"""


def run(report):
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LLM_USER_PATH": folder}
        pathlib.Path(folder, "extra-openai-models.yaml").write_text(MODELS.format(url=os.environ["GATEWAY"]))

        def llm(*arguments):
            done = subprocess.run(
                ["llm", *arguments, "--key", os.environ["KEY"]],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            return done.stdout.strip() or done.stderr.strip()

        report("stream", llm("-m", "gateway", "hello"))
        report("whole", llm("-m", "gateway", "--no-stream", "hello"))
        report("schema", llm("-m", "gateway", "--schema", "city,people int", "hello"))
        report("tools", llm("-m", "gateway", "-T", "llm_version", "hello").startswith("The tool said: "))
        report("completion", llm("-m", "plain", "hello"))
