"""A chat bot: it remembers, streams, routes between two models, and never spends more than two cents on an answer.

With OPENAI_API_KEY and ANTHROPIC_API_KEY set it talks to real models; without, it calculates and quotes what you told
it. Say `remember: ...` to have something kept, and end with Ctrl-D.
"""

import os
import sys

from orchestrator import Answer, Message, Orchestrator, OrchestratorError, TextDelta, TextRevised

MODELS = ("openai/gpt-5-mini", "anthropic/claude-haiku-4-5")
HAS_KEYS = bool(os.environ.get("OPENAI_API_KEY") and os.environ.get("ANTHROPIC_API_KEY"))
SCOPE = "chat/me"
RULES = "You are a friendly assistant. Answer in a few sentences."


def reply(bot: Orchestrator, line: str, history: list[Message]) -> Answer:
    """Prints the answer as it is written, and returns it."""
    answer: Answer | None = None
    for event in bot.stream_sync(line, history=history, system=RULES, scope=SCOPE):
        if isinstance(event, TextDelta):
            print(event.text, end="", flush=True)
        elif isinstance(event, TextRevised):
            print("\n(better:) ", end="")
        elif isinstance(event, Answer):
            answer = event
    assert answer is not None
    print(f"\n  [{answer.model}, P(correct) {answer.confidence:.2f}, {answer.cost_usd or 0:.6f} USD]")
    return answer


def main() -> None:
    """Reads lines until there are no more."""
    models = MODELS if HAS_KEYS else ("calculator", "extractive")
    history: list[Message] = []
    with Orchestrator(*models, memory="chat.db", budget="$0.02") as bot:
        print("> ", end="", flush=True)
        for line in map(str.strip, sys.stdin):
            if line.startswith("remember:"):
                print(f"  kept as {bot.remember_sync(line.removeprefix('remember:').strip(), SCOPE).citation}")
            elif line:
                try:
                    answer = reply(bot, line, history)
                    history += [Message("user", line), Message("assistant", answer.text)]
                except OrchestratorError as error:
                    print(f"  {error.message}. {error.remedy}")
            print("> ", end="", flush=True)
        print("bye")


if __name__ == "__main__":
    main()
