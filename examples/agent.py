"""An agent: it looks an order up, asks somebody before it refunds, and goes on in another process where it stopped.

With OPENAI_API_KEY set a real model decides; without, a script stands for it.
"""

import os
import sqlite3

from orchestrator import Answer, Orchestrator, tool
from orchestrator.testing import ScriptedBackend
from orchestrator.types import Completion, ToolCall, Usage

TASK = "Order 7 came broken. Refund it."
MODELS = ("openai/gpt-5-mini",)


@tool(effects="none")
def find_order(number: int) -> dict[str, object]:
    """The state of an order, and what it cost in cents.

    Args:
        number: The number of the order.
    """
    with sqlite3.connect("shop.db") as shop:
        state, cents = shop.execute("SELECT state, cents FROM orders WHERE number = ?", (number,)).fetchone()
    return {"state": state, "cents": cents}


@tool(effects="once", needs="approval")
def refund(number: int, cents: int) -> str:
    """Pays an order back."""
    with sqlite3.connect("shop.db") as shop:
        shop.execute("UPDATE orders SET paid_back = paid_back + ? WHERE number = ?", (cents, number))
    return f"{cents} cents are on their way"


def answer(decided: dict[str, bool] | None = None) -> Answer:
    """What comes of the task: an answer, or a call that waits for somebody's approval."""
    models = [*MODELS] if os.environ.get("OPENAI_API_KEY") else [scripted_model()]
    with Orchestrator(*models, storage="runs.db", budget=0.05) as fleet:
        return fleet.answer_sync(TASK, tools=[find_order, refund], run="refund-7", decided=decided or {})


def scripted_model() -> ScriptedBackend:
    """What a model might say, in this order; what is on record is not asked for again."""
    looks = ToolCall("find_order", {"number": 7}, "call_1")
    refunds = ToolCall("refund", {"number": 7, "cents": 1250}, "call_2")
    asked = [Completion("script", "", Usage(60, 10), calls=(call,)) for call in (looks, refunds)]
    is_on_record = os.path.exists("runs.db")
    return ScriptedBackend("script", *([] if is_on_record else asked), "Your 12.50 euros are on their way.")


def main() -> None:
    """Runs the agent until it waits, approves, and runs it again, as another process could."""
    with sqlite3.connect("shop.db") as shop:
        shop.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER, state TEXT, cents INTEGER, paid_back INTEGER)")
        shop.execute("INSERT INTO orders VALUES (7, 'delivered', 1250, 0)")
    waiting = answer()
    for call in waiting.calls:
        print(f"waits for approval: {call.name}({call.arguments})")
    done = answer({call.id: True for call in waiting.calls})
    for step in done.steps:
        for called in step.called:
            print(f"called {called.call.name}: {called.result}")
    print(done.text)
    answer({call.id: True for call in waiting.calls})  # again: it is on record, and nothing is paid back twice
    print("paid back:", sqlite3.connect("shop.db").execute("SELECT paid_back FROM orders").fetchone()[0], "cents")


if __name__ == "__main__":
    main()
