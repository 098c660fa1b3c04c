"""mini-swe-agent's model class: a turn that calls its bash tool."""

import os

os.environ.setdefault("MSWEA_SILENT_STARTUP", "1")
os.environ.setdefault("MSWEA_COST_TRACKING", "ignore_errors")


def run(report):
    from minisweagent.models.litellm_model import LitellmModel

    model = LitellmModel(
        model_name="openai/model",
        model_kwargs={"api_base": f"{os.environ['GATEWAY']}/v1", "api_key": os.environ["KEY"]},
        cost_tracking="ignore_errors",
    )
    message = model.query([{"role": "user", "content": "list files"}])
    actions = message.get("extra", {}).get("actions") or message.get("tool_calls")
    report("action", bool(actions))
