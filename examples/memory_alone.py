"""The memory package by itself: durable, scoped, and packed into a token budget. No model call anywhere."""

from datetime import datetime

from orchestrator.memory import Memory, NewRecord

with Memory("notes.db") as memory:
    memory.remember_many(
        [
            NewRecord("The late ferry to Skerry Bay leaves at 20:10.", "Silas", datetime(2024, 3, 1), "ferry"),
            NewRecord(
                "The late ferry to Skerry Bay now leaves at 19:40. I learned this on the pier, in the rain.",
                "Silas",
                datetime(2025, 6, 20),
                "ferry",
            ),
            NewRecord("Bring a lamp and a story to the summer party.", "Petra", datetime(2025, 7, 8), "summer"),
        ],
        "shop/silas",
    )
    memory.remember("The safe opens with 4711.", "shop/petra")

    found = memory.recall("When does the ferry leave?", "shop/silas", token_budget=60)
    print(found.text)
    print(
        f"{len(found.items)} of {found.searched} records in {found.tokens} tokens; best because of: "
        f"{found.items[0].reason}"
    )
    print(
        "what Silas's scope knows of the safe:",
        [item.record.text for item in memory.recall("safe", "shop/silas").items if "safe" in item.record.text],
    )
    print("forgotten:", len(memory.forget("shop/petra")), "record")
