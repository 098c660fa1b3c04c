"""The process of `orchestrator.verifiers.form.bounded_schema`.

Reads a schema and a value, a line of JSON each time, and answers with what is wrong.
"""

from __future__ import annotations

import json
import sys

from orchestrator.verifiers.form.bounded_schema import BoundedSchema
from orchestrator.verifiers.process import bound_memory

MEMORY_BYTES = 2 * 2**30


def main() -> None:
    """Answers until its input ends."""
    bound_memory(MEMORY_BYTES)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"errors": BoundedSchema(asked["schema"]).find_errors(asked["value"])}), flush=True)
