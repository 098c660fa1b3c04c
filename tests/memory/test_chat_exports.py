"""Exports of other programs: the branch that was shown, cut files, and what is no conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.memory import InvalidRecord, Memory
from orchestrator.memory.ingest.chats import read_chats, unheard

CHATGPT = [
    {
        "title": "Trip",
        "create_time": 1_700_000_000.5,
        "current_node": "d",
        "mapping": {
            "root": {"id": "root", "message": None, "parent": None, "children": ["a"]},
            "a": {
                "message": {"author": {"role": "system"}, "content": {"content_type": "text", "parts": [""]}},
                "parent": "root",
            },
            "b": {
                "message": {
                    "author": {"role": "user"},
                    "create_time": 1_700_000_001,
                    "content": {
                        "content_type": "multimodal_text",
                        "parts": [{"asset_pointer": "file"}, "Where to in May?"],
                    },
                },
                "parent": "a",
                "children": ["c", "d"],
            },
            "c": {
                "message": {"author": {"role": "assistant"}, "content": {"parts": ["A branch that was left"]}},
                "parent": "b",
            },
            "d": {"message": {"author": {"role": "assistant"}, "content": {"parts": ["To Lisbon."]}}, "parent": "b"},
        },
    }
]
CLAUDE = [
    {
        "uuid": "u",
        "name": "",
        "created_at": "2025-01-02T03:04:05Z",
        "chat_messages": [
            {
                "sender": "human",
                "text": "",
                "content": [{"type": "text", "text": "Salut"}],
                "created_at": "2025-01-02T03:04:06.7Z",
            },
            {"sender": "assistant", "text": "Bonjour", "content": [], "created_at": "2025-01-02T03:04:07Z"},
            {"sender": "assistant", "text": "   "},
        ],
    }
]


def write(folder: Path, content: Any) -> Path:
    path = folder / "conversations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_chatgpts_export_gives_the_branch_that_was_shown(tmp_path: Path) -> None:
    found = read_chats(write(tmp_path, CHATGPT))
    assert [(r.text, r.speaker, r.session) for r in found] == [
        ("Where to in May?", "user", "Trip"),
        ("To Lisbon.", "assistant", "Trip"),
    ]
    assert found[0].time is not None
    assert found[0].time.year == 2023


def test_claudes_export(tmp_path: Path) -> None:
    found = read_chats(write(tmp_path, CLAUDE))
    assert [(r.text, r.speaker, r.session) for r in found] == [("Salut", "user", "u"), ("Bonjour", "assistant", "u")]


@pytest.mark.parametrize(
    "content",
    [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}],
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"results": [{"id": "1", "memory": "Likes tea", "created_at": "2025-01-01T00:00:00"}]},
        {"conversations": CHATGPT},
    ],
)
def test_other_forms(tmp_path: Path, content: Any) -> None:
    assert read_chats(write(tmp_path, content))


def test_a_loop_in_the_tree_ends(tmp_path: Path) -> None:
    looped = json.loads(json.dumps(CHATGPT))
    looped[0]["mapping"]["a"]["parent"] = "d"
    assert len(read_chats(write(tmp_path, looped))) == 2


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_in_the_middle_is_told(tmp_path: Path, cut: float) -> None:
    whole = json.dumps(CHATGPT)
    with pytest.raises(InvalidRecord, match="the file ends in the middle"):
        read_chats(write(tmp_path, whole[: int(len(whole) * cut)]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "no conversation is found"),
        ('{"a": 1}', "no conversation is found"),
        ('"text"', "no conversation is found"),
        ("[" * 100_000, "nested too deeply|not JSON|ends in the middle"),
        ("not json", "not JSON"),
        (json.dumps([{"mapping": {"a": 5}, "current_node": "a"}]), "no conversation is found"),
    ],
)
def test_what_is_no_export_is_told(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(InvalidRecord, match=told):
        read_chats(write(tmp_path, content))


def test_what_was_imported_before_is_not_imported_again(tmp_path: Path) -> None:
    times = [1_700_000_000.25 + 60 * number for number in range(6)]
    said = [
        "Yes.",
        "And now?",
        "Yes.",
        "The harbour office opens at nine.",
        "Yes.",
        "The harbour office opens at nine.",
    ]
    mapping: dict[str, Any] = {}
    for number, (text, at) in enumerate(zip(said, times, strict=True)):
        author = {"role": ("user", "assistant")[number % 2]}
        message = {"author": author, "create_time": at, "content": {"content_type": "text", "parts": [text]}}
        children = [str(number + 1)] if number < 5 else []
        mapping[str(number)] = {"message": message, "parent": str(number - 1) if number else None, "children": children}
    path = write(tmp_path, [{"title": "t", "id": "t", "current_node": "5", "mapping": mapping}])
    with Memory(tmp_path / "memory.db") as memory:
        records = read_chats(path)
        assert len(unheard(memory, "ann", records)) == 6
        memory.remember_many(records, "ann")
        assert unheard(memory, "ann", records) == []
        assert len(unheard(memory, "bob", records)) == 6
