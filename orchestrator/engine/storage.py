"""What an engine keeps beside its memory, in one database: runs that use tools, and conversations."""

from __future__ import annotations

from pathlib import Path

from orchestrator.agent.journal import RunStore
from orchestrator.conversation.store import ConversationStore
from orchestrator.storage.database import Database, open_database


class EngineStorage:
    """Runs and conversations of one database. Raises `StorageError` where it cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = RunStore(database)
        self.conversations = ConversationStore(database)

    @classmethod
    def open(cls, stated: EngineStorage | str | Path | None) -> EngineStorage | None:
        """The storage at a path or a postgresql:// address; `None` for none."""
        return cls(open_database(stated)) if isinstance(stated, str | Path) else stated

    def close(self) -> None:
        """Writes what is left, and closes the database."""
        self.runs.close()
