"""A bot for a chat service like Slack: signed events in, answers out, each thread a conversation that is remembered.

`uvicorn slack_bot:app` with SLACK_SIGNING_SECRET, SLACK_BOT_TOKEN and OPENAI_API_KEY serves a real workspace (events
`app_mention`, address /events). Run as a program it plays a workspace on this machine, without a key: it calculates.
"""

import asyncio
import hashlib
import hmac
import json
import os
import time

import httpx
import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request

from orchestrator import Orchestrator, OrchestratorError

SECRET = os.environ.get("SLACK_SIGNING_SECRET", "a secret of this machine").encode()
TOKEN = os.environ.get("SLACK_BOT_TOKEN", "none")
service = {"api": "https://slack.com/api"}
TOLERATED_S = 300  # older events may be replayed by somebody else
fleet = Orchestrator(
    "openai/gpt-5-mini" if os.environ.get("OPENAI_API_KEY") else "calculator",
    memory="bot.db",
    storage="talks.db",
    budget=0.02,
)
app = FastAPI()
seen: set[str] = set()
answered = asyncio.Event()


def is_signed(body: bytes, at: str, signature: str) -> bool:
    """Whether the service has signed this body just now (Slack's scheme v0: an HMAC of time and body)."""
    if not at.isdigit() or abs(time.time() - int(at)) > TOLERATED_S:
        return False
    expected = "v0=" + hmac.new(SECRET, b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


@app.post("/events")
async def events(request: Request, later: BackgroundTasks) -> dict[str, str]:
    body = await request.body()
    headers = request.headers
    if not is_signed(body, headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")):
        raise HTTPException(401, "not signed by the service")
    told = json.loads(body)
    if told["type"] == "url_verification":
        return {"challenge": told["challenge"]}
    event = told["event"]
    if event["type"] == "app_mention" and told["event_id"] not in seen:  # the service sends again what was slow
        seen.add(told["event_id"])
        later.add_task(reply, told["team_id"], event)
    return {"ok": "heard"}


async def reply(team: str, event: dict[str, str]) -> None:
    """Answers in the thread; a team and a user are a scope, a thread is a session."""
    thread = event.get("thread_ts", event["ts"])
    question = event["text"].split(">", 1)[-1].strip()  # what follows the bot's name
    try:
        async with fleet.conversation(f"{team}/{event['user']}", session=thread) as talk:
            text = str(await talk.send(question))
    except OrchestratorError as error:
        text = f"{error.message}. {error.remedy}"
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as web:
        await web.post(
            f"{service['api']}/chat.postMessage", json={"channel": event["channel"], "thread_ts": thread, "text": text}
        )


@app.post("/played/chat.postMessage")
async def played(request: Request) -> dict[str, bool]:
    """What the service itself would do: here it prints the message."""
    told = await request.json()
    print(f"in {told['channel']}, thread {told['thread_ts']}: {told['text']}")
    answered.set()
    return {"ok": True}


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    service["api"] = f"http://127.0.0.1:{port}/played"
    mention = {
        "type": "app_mention",
        "user": "U1",
        "channel": "C1",
        "ts": "1.0",
        "text": "<@BOT> What is 15% of 4,740?",
    }
    body = json.dumps({"type": "event_callback", "team_id": "T1", "event_id": "E1", "event": mention}).encode()
    at = str(int(time.time()))
    signature = "v0=" + hmac.new(SECRET, b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for claimed in (signature, "v0=forged"):
            headers = {"x-slack-request-timestamp": at, "x-slack-signature": claimed}
            print((await client.post("/events", content=body, headers=headers)).status_code)
    await asyncio.wait_for(answered.wait(), 10)
    server.should_exit = True
    await serving
    await fleet.aclose()


if __name__ == "__main__":
    asyncio.run(main())
