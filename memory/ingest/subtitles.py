"""Subtitles (.srt, .vtt, .ass) as blocks; pysubs2 reads them (extra `documents`)."""

from __future__ import annotations

import re

from orchestrator.memory.errors import InvalidRecord
from orchestrator.memory.ingest.blocks import DocumentContent
from orchestrator.memory.ingest.encodings import decoded

_VOICE = re.compile(r"<v(?:\.[^\s>]+)*[ \t]+([^>\n]+)>")  # who speaks (WebVTT, section 3.5)


def read_subtitles(content: bytes, encoding: str | None = None) -> DocumentContent:
    """What is said in a film (.srt, .vtt, .ass), cues joined to sentences, under the minute in which they begin."""
    import pysubs2  # optional: extra `documents`
    from pysubs2.exceptions import Pysubs2Error

    try:
        cues = pysubs2.SSAFile.from_string(_VOICE.sub(r"\1: ", decoded(content, encoding)))
    except (Pysubs2Error, ValueError) as error:
        raise InvalidRecord(f"it cannot be read as subtitles: {error}") from None
    read, said, minute, last_line = DocumentContent(), "", -1, ""
    for cue in cues:
        lines = [line.strip() for line in cue.plaintext.splitlines() if line.strip() and not cue.is_comment]
        fresh = [line for line in lines if line != last_line]  # captions that roll repeat the line before
        if not fresh:
            continue
        text, last_line = " ".join(" ".join(fresh).split()), lines[-1]
        if minute >= 0 and (cue.start // 60_000 != minute or said.endswith((".", "!", "?", "。", "！", "？"))):
            read.add(said, (f"{minute // 60}:{minute % 60:02}",))
            said, minute = "", -1
        minute = cue.start // 60_000 if minute < 0 else minute
        said = f"{said} {text}".strip()
    read.add(said, (f"{max(minute, 0) // 60}:{max(minute, 0) % 60:02}",))
    return read
