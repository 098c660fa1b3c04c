"""A scope is a wall.

Whatever is done in whatever order, nobody sees a record of a scope that he has not named, nor one that was forgotten.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from orchestrator.memory import HashingEncoder, Memory, NewRecord, Thresholds
from orchestrator.memory.text.support import cited_in

ENCODERS = (HashingEncoder(16), HashingEncoder(24))
SCOPES = st.sampled_from(["a", "a/b", "a/b/c", "b", "ab"])
CONTENTS = st.sampled_from(
    ["lives in Porto.", "lives in Lisbon.", "likes ripe red plums.", "opens at nine.", "opens at ten.", "ok"]
)


class Scopes(RuleBasedStateMachine):
    """Every text begins with a name that tells its scope. Two memories have the file open, as two processes would."""

    stored = Bundle("stored")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.encoder = 0
        self.memories = [self._opened(), self._opened()]
        self.held: dict[str, dict[int, str]] = defaultdict(dict)

    def _opened(self) -> Memory:
        return Memory(
            Path(self.folder) / "m.db", encoder=ENCODERS[self.encoder], thresholds=Thresholds(snapshot_from=1)
        )

    def teardown(self) -> None:
        for memory in getattr(self, "memories", []):
            memory.close()
        shutil.rmtree(self.folder)

    def _name(self, scope: str) -> str:
        return "Of" + scope.title().replace("/", "x")

    @rule(
        target=stored,
        scope=SCOPES,
        contents=st.lists(CONTENTS, min_size=1, max_size=4),
        which=st.integers(0, 1),
        session=st.sampled_from("s "),
    )
    def remember(self, scope: str, contents: list[str], which: int, session: str):  # type: ignore[no-untyped-def]
        texts = [f"{self._name(scope)} {content}" for content in contents]
        found = self.memories[which].remember_many([NewRecord(text, session=session.strip()) for text in texts], scope)
        for record in found:
            self.held[scope].setdefault(record.id, record.text)
        return multiple(*((scope, record.id) for record in found))

    @rule(known=stored, scope=SCOPES, which=st.integers(0, 1))
    def forget_one(self, known: tuple[str, int], scope: str, which: int) -> None:
        """Also under a scope to which the record does not belong: then nothing happens."""
        receipt = self.memories[which].forget(scope, [known[1]])
        assert set(receipt.ids) == {known[1]} & set(self.held[scope])
        self.held[scope].pop(known[1], None)

    @rule(scope=SCOPES, which=st.integers(0, 1))
    def forget_scope(self, scope: str, which: int) -> None:
        self.memories[which].forget(scope)
        self.held.pop(scope, None)

    @rule(known=stored, scope=SCOPES, which=st.integers(0, 1))
    def supersede(self, known: tuple[str, int], scope: str, which: int) -> None:
        if known[1] in self.held[scope]:
            self.memories[which].supersede(scope, known[1])
        else:
            with pytest.raises(KeyError):
                self.memories[which].supersede(scope, known[1])

    @rule(scope=SCOPES, which=st.integers(0, 1))
    def summarize(self, scope: str, which: int) -> None:
        summary = self.memories[which].summarize(scope)
        assert set(cited_in(summary.text)) <= set(self.held[scope])

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.memories[which].close()
        self.memories[which] = self._opened()

    @rule()
    def reencode(self) -> None:
        self.encoder = 1 - self.encoder
        self.memories[0].reencode(ENCODERS[self.encoder])
        self.reopen(1)

    @invariant()
    def everybody_sees_his_own(self) -> None:
        for memory in getattr(self, "memories", []):
            assert set(memory.scopes()) >= {scope for scope, held in self.held.items() if held}
            for scope in ("a", "a/b", "a/b/c", "b", "ab"):
                held = self.held.get(scope, {})
                assert {record.id: record.text for record in memory.export(scope)} == held
                found = memory.recall(
                    "Where does Of live, and when does it open?", scope, token_budget=10**6, limit=100, history=True
                )
                assert {item.record.id: item.record.text for item in found.items}.items() <= held.items()
                assert found.searched == len(held) == memory.count(scope)
                assert all(text.startswith(self._name(scope) + " ") for text in held.values())
                assert all(source in held for summary in memory.summaries(scope) for source in summary.sources)


class TestScopes(Scopes.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
