"""The gateway as it would be without the dashboard's storage: a row for each request, no spans, no sums, no rounds.

What `benchmarks.dashboard` compares with; used by nothing else.
"""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.cli import main
from orchestrator.gateway.chat.provenance import Provenance
from orchestrator.storage.requests import COLUMNS, Requests, ServedRequest
from orchestrator.storage.served_request import values_of


def _add_rows_only(self: Requests, served: list[ServedRequest], policy: Any = None) -> None:
    rows = [[*values_of(one), orjson.dumps(one.trace or {}).decode()] for one in served]
    self.database.insert_many("requests", (*COLUMNS, "trace"), rows)


if __name__ == "__main__":
    Requests.add = _add_rows_only  # type: ignore[method-assign,assignment]
    Provenance.describe = lambda self, served: None  # type: ignore[method-assign]
    main()
