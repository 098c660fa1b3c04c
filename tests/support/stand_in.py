"""Lets snippets that name real models run as they stand: their providers' addresses lead to a server on this machine.

`python -c "import tests.support.stand_in" ...` is enough. The server answers every question with the same sentence;
where STAND_IN_URL says where such a server is, none is started.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack

from tests.support.played_providers import lead_providers_to, played_providers

_stack = ExitStack()
atexit.register(_stack.close)
lead_providers_to(os.environ.get("STAND_IN_URL") or _stack.enter_context(played_providers({})))
