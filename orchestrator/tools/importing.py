"""Finds the Python function that a file names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path


def imported(stated: str, folder: Path) -> Callable[..., object]:
    """What `package.module:function` names; its module is looked for beside the file that names it, too.

    `folder` is where that file is. Raises whatever an import raises.
    """
    module, _, attribute = stated.partition(":")
    beside = str(folder.resolve())
    if beside not in sys.path:
        sys.path.append(beside)  # last: nothing that is installed is replaced
    found: object = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{stated} is no function")
    function: Callable[..., object] = found
    return function
