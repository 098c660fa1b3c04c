"""Fallbacks of the configuration hold behind the gateway, too: for drafts that are passed on, and for searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Send, reply, running_gateway, usual


async def small_is_down(body: dict[str, Any], send: Send) -> None:
    if body["model"] == "small":
        await reply(send, 400, {"error": {"message": "no such model here"}})
    else:
        await usual(body, send)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [{}, {"orchestrator": {"strategy": "cascade"}}, {"stop": ["END"]}])
def test_a_fallback_answers_when_the_others_failed(tmp_path: Path, stream: bool, fields: dict[str, Any]) -> None:
    with running_gateway(tmp_path, small_is_down, fallbacks=["large"]) as gateway:
        answer = gateway.chat(model="auto", stream=stream, **fields)
        assert answer.status_code == 200, answer.text
        assert "Pa" in answer.text
        assert [body["model"] for body in gateway.provider.bodies][-1] == "large"


@pytest.mark.parametrize("fields", [{}, {"orchestrator": {"strategy": "cascade"}}])
def test_a_fallback_is_not_routed_to_while_the_others_work(tmp_path: Path, fields: dict[str, Any]) -> None:
    with running_gateway(tmp_path, fallbacks=["large"]) as gateway:
        assert gateway.chat(model="auto", **fields).status_code == 200
        assert {body["model"] for body in gateway.provider.bodies} == {"small"}
        assert gateway.chat(model="large").status_code == 200  # whoever names it is given it
        assert gateway.chat(model="auto", key=gateway.new_key(models=("large",))).status_code == 200
