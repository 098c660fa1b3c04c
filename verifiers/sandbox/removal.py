"""Removes what a program left in its folder, however deep, and whatever may be read of it.

Standard library only: the worker runs this, too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable


def remove_tree(folder: str) -> None:
    """Removes a folder and all below it.

    Never raises, and never goes deeper than two levels: folders are first moved to the top.
    """
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
    number = 0
    while found := _entries(folder):
        is_stuck = True
        for name in found:
            path = os.path.join(folder, name)
            if not _is_folder(path):
                is_stuck &= not _tried(os.unlink, path)
                continue
            with contextlib.suppress(OSError):
                os.chmod(path, 0o700)
            for below in _entries(path):
                inner = os.path.join(path, below)
                if _is_folder(inner):
                    number += 1
                    with contextlib.suppress(OSError):
                        os.chmod(inner, 0o700)  # a folder that may not be written cannot be moved
                    is_stuck &= not _tried(os.rename, inner, os.path.join(folder, f".removed-{number}"))
                else:
                    is_stuck &= not _tried(os.unlink, inner)
            is_stuck &= not _tried(os.rmdir, path)
        if is_stuck:
            return
    _tried(os.rmdir, folder)


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _tried(job: Callable[..., object], *paths: str) -> bool:
    try:
        job(*paths)
    except OSError:
        return False
    return True
