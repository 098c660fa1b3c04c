"""A memory over time.

Facts that end and stay as history, repeats with where they were said, a summary, a file that only its key opens.
"""

from __future__ import annotations

import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.memory import AesGcmCipher, Memory, NewRecord


def on(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


TURNS = [
    NewRecord("I live in Porto.", "Ann", on("2023-01-02"), "chat-1"),
    NewRecord("The Gale lantern costs 69 euros.", "Ann", on("2023-01-02"), "chat-1"),
    NewRecord("I moved to Lisbon in May!", "Ann", on("2024-06-08"), "chat-2"),
    NewRecord("The Gale lantern now costs 79 euros.", "Ann", on("2025-02-03"), "chat-3"),
    NewRecord("the Gale lantern now costs 79 euros!", "Ann", on("2025-03-04"), "chat-4"),
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            cipher = AesGcmCipher(secrets.token_bytes(32))
        except ImportError as error:  # the extra is not installed: the file stays readable
            print(error)
            cipher = None
        with Memory(Path(folder) / "memory.db", cipher=cipher) as memory:
            memory.remember_many(TURNS, "shop/ann")
            print("now:", memory.recall("Where does Ann live?", "shop/ann", limit=1).text)
            print("then:", memory.recall("Where does Ann live?", "shop/ann", limit=1, as_of=on("2023-06-01")).text)
            print("both:", memory.recall("Where did Ann live before?", "shop/ann", limit=3).text, sep="\n")
            print("price:", memory.recall("What does the Gale lantern cost?", "shop/ann", limit=1).text)
            print("summary:", memory.summarize("shop/ann", token_budget=60).text, sep="\n")
        stored = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
        print("readable in the file without the key:", b"Lisbon" in stored)


if __name__ == "__main__":
    main()
