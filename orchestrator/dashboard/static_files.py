"""Scripts and styles of the pages, read once."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from orchestrator.dashboard.rendering import HERE

KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@lru_cache(maxsize=1)
def static_files() -> dict[str, tuple[str, bytes]]:
    """(media type, content) of scripts and styles by name."""
    return {
        path.name: (KINDS[path.suffix], path.read_bytes())
        for path in sorted((HERE / "static").iterdir())
        if path.suffix in KINDS
    }


@lru_cache(maxsize=1)
def static_version() -> str:
    """What addresses of static files end with, so that browsers keep them until they change."""
    whole = hashlib.sha256(b"".join(content for _, content in static_files().values()))
    return whole.hexdigest()[:12]
