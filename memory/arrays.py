"""Arrays that grow: appending costs no copy of what is there, on average."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Positions = NDArray[np.int64]
Vectors = NDArray[np.float32]


class GrowableArray:
    """A one-dimensional array with room to spare. `view` is valid until the next `extend`."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._room: NDArray[Any] = np.empty(64, dtype=dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def view(self) -> NDArray[Any]:
        """The values, as an array that shares their memory."""
        return self._room[: self._size]

    def extend(self, values: NDArray[Any]) -> None:
        """Appends values; the room doubles when it is full."""
        needed = self._size + len(values)
        if needed > len(self._room):
            room = np.empty(max(needed, 2 * len(self._room)), dtype=self._room.dtype)
            room[: self._size] = self.view
            self._room = room
        self._room[self._size : needed] = values
        self._size = needed
