"""Where the results of a batch go: shards of JSON lines or Parquet, the rows that failed, and a manifest.

A result is in the file of its shard before it counts: a line is written whole, or is cut off by whoever goes on. So
that a killed batch goes on from what is there, and asks nothing twice but what was under way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from orchestrator.batch.parquet import as_parquet, check_pyarrow, parquet_rows
from orchestrator.errors import InvalidArgument, StorageError
from orchestrator.jsontypes import JsonObject

ShardFormat = Literal["jsonl", "parquet"]
SHARD_ROWS = 10_000
MANIFEST, ERRORS, STATE, LOCK = "manifest.json", "errors.jsonl", "state.json", ".lock"


@dataclass(slots=True)
class _Shard:
    """A shard that is being written."""

    path: Path
    rows: int = 0
    file: int = -1
    content: Any = field(default_factory=hashlib.sha256)
    ids: Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True, slots=True)
class DoneRow:
    """A row that is done; `content` is the hash of what it held."""

    id: str
    content: str = ""


class BatchOutput:
    """A folder of results. One process writes it at a time.

    Raises `InvalidArgument` on a folder that holds results of another batch and where Parquet cannot be written,
    `StorageError` where nothing can be.
    """

    def __init__(
        self, folder: Path, job: JsonObject, *, form: ShardFormat = "jsonl", shard_rows: int = SHARD_ROWS
    ) -> None:
        if form == "parquet":
            check_pyarrow()
        self.folder = folder
        self._form = form
        self._shard_rows = shard_rows
        self._shard: _Shard | None = None
        self._job = job
        self.rows = self.errors = 0
        self._state: JsonObject = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / LOCK)
            try:
                self._state = _json_of(folder / STATE) or {}
                self._check(job)
            except BaseException:
                os.close(self._lock)
                raise
            self._shards: list[JsonObject] = list(self._state.get("shards", ()))
            self._paid_usd = sum(_paid_usd(path) for path in sorted(folder.glob("part-*")))
            self._keep({})
            self._error_file = os.open(folder / ERRORS, os.O_RDWR | os.O_CREAT, 0o600)
            _cut_off(self._error_file)
        except OSError as error:
            raise _unwritable(folder, error) from error

    @property
    def spent_usd(self) -> float:
        """What the batch has cost before this run, with the worst that was under way when it was killed."""
        kept = float(self._state.get("spent_usd", 0.0)) + float(self._state.get("held_usd", 0.0))
        return max(kept, self._paid_usd)

    @property
    def pending(self) -> JsonObject | None:
        """What was handed in at a provider and is waited for; `None` for nothing."""
        found: JsonObject | None = self._state.get("pending")
        return found

    def keep_pending(self, pending: JsonObject | None) -> None:
        """Writes down what is waited for, before it is."""
        self._keep({"pending": pending})

    def done_rows(self, *, with_errors: bool) -> Iterator[DoneRow]:
        """The rows that are done, which counts them; failed ones too, unless they are tried again.

        Shards that are not whole are mended or gone on with. Call it once, before anything is written.
        """
        whole = {shard["file"] for shard in self._shards}
        for shard in self._shards:
            if not (self.folder / shard["file"]).exists():
                raise InvalidArgument(
                    f"{self.folder} has lost {shard['file']}, which holds {shard['rows']:,} rows",
                    remedy="Bring the file back, or give another folder with --out",
                )
            yield from self._counted(_rows_of(self.folder / shard["file"]))
        for path in sorted(self.folder.glob("part-*.jsonl")):
            if path.name in whole:
                continue
            if path.with_suffix(".parquet").name in whole:  # killed after the Parquet was whole
                path.unlink()
                continue
            yield from self._counted(self._reopened(path))
        if with_errors:
            yield from self._kept_errors()
        else:
            os.ftruncate(self._error_file, 0)
            os.lseek(self._error_file, 0, os.SEEK_SET)

    def _kept_errors(self) -> Iterator[DoneRow]:
        """Rows that failed after they were asked; what was wrong before is looked at anew, and costs nothing."""
        lines = [line for line in _lines(self.folder / ERRORS) if line.get("was_asked")]
        partial = self.folder / f"{ERRORS}.partial"
        partial.write_bytes(b"".join(map(_encoded, lines)))
        os.replace(partial, self.folder / ERRORS)
        os.close(self._error_file)
        self._error_file = os.open(self.folder / ERRORS, os.O_RDWR | os.O_APPEND)
        for line in lines:
            self.errors += 1
            yield DoneRow(str(line["id"]))

    def write(self, line: JsonObject) -> None:
        """Stores one result. Raises `StorageError` on a disk that is full."""
        encoded = _encoded(line)
        try:
            shard = self._open_shard()
            _write_all(shard.file, encoded)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._count_line(shard, encoded, str(line["id"]))
        self.rows += 1
        if shard.rows >= self._shard_rows:
            self._close_shard()

    def write_error(self, line: JsonObject) -> None:
        """Stores a row that failed, with its reason."""
        try:
            _write_all(self._error_file, _encoded(line))
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self.errors += 1

    def keep(self, *, spent_usd: float, held_usd: float) -> None:
        """Writes down how far the batch is: what it has cost, and what may be owed if it dies now."""
        self._keep({"spent_usd": spent_usd, "held_usd": held_usd}, waits=False)

    def _keep(self, changes: JsonObject, *, waits: bool = True) -> None:
        """`waits` until it is on the disk; else it survives the death of the process, not that of the machine."""
        self._state = {**self._state, "job": self._job, "shards": self._shards, **changes}
        try:
            _replace(self.folder / STATE, self._state, waits=waits)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def finish(self, told: JsonObject) -> Path:
        """Closes the last shard and writes the manifest."""
        self._close_shard()
        manifest = {
            **told,
            "job": self._job,
            "rows": self.rows,
            "errors": self.errors,
            "format": self._form,
            "shards": self._shards,
        }
        _replace(self.folder / MANIFEST, manifest, indent=True)
        return self.folder / MANIFEST

    def close(self) -> None:
        """Closes files; the folder may be written by another process."""
        if self._shard is not None:
            os.close(self._shard.file)
        os.close(self._error_file)
        os.close(self._lock)

    def _check(self, job: JsonObject) -> None:
        before = self._state.get("job")
        if before is None and any(self.folder.glob("part-*")) and not (self.folder / STATE).exists():
            raise InvalidArgument(
                f"{self.folder} holds shards of something else", remedy="Give another folder with --out"
            )
        if before is not None and not self._has_results():
            before = None  # nothing came of it: the folder is free
        differing = [name for name in job if before is not None and before.get(name) != job[name]]
        if differing:
            names = ", ".join(differing)
            raise InvalidArgument(
                f"{self.folder} holds results of another batch: it differs in {names}",
                remedy="Go on with the same input and question, or give another folder with --out",
            )

    def _has_results(self) -> bool:
        return bool(self._state.get("pending")) or any(self.folder.glob("part-*"))

    def _counted(self, rows: Iterator[DoneRow]) -> Iterator[DoneRow]:
        for row in rows:
            self.rows += 1
            yield row

    def _reopened(self, path: Path) -> Iterator[DoneRow]:
        """Goes on with a shard that its writer left; a line that is not whole is cut off."""
        self._close_shard()
        shard = self._shard = _Shard(path, file=os.open(path, os.O_RDWR))
        _cut_off(shard.file)
        for line in _lines(path):
            self._count_line(shard, _encoded(line), str(line["id"]))
            yield _done(line)
        if shard.rows >= self._shard_rows:
            self._close_shard()

    def _open_shard(self) -> _Shard:
        if self._shard is None:
            path = self.folder / f"part-{len(self._shards):05d}.jsonl"
            self._shard = _Shard(path, file=os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return self._shard

    def _count_line(self, shard: _Shard, encoded: bytes, id_: str) -> None:
        shard.rows += 1
        shard.content.update(encoded)
        shard.ids.update(id_.encode("utf-8", "surrogatepass") + b"\n")

    def _close_shard(self) -> None:
        shard, self._shard = self._shard, None
        if shard is None:
            return
        os.fsync(shard.file)
        os.close(shard.file)
        path, content = shard.path, shard.content.hexdigest()
        if self._form == "parquet":
            path = as_parquet(shard.path, _lines(shard.path))
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        self._shards.append(
            {"file": path.name, "rows": shard.rows, "sha256": content, "ids_sha256": shard.ids.hexdigest()}
        )
        self._keep({})
        if path != shard.path:
            shard.path.unlink()


def _encoded(line: JsonObject) -> bytes:
    """A line, whatever is in it: what JSON does not know is told as text, what cannot be told is left out."""
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, ValueError):  # half a surrogate pair, bytes, decimals, a number of 70 bits, too deep
        pass
    try:
        return json.dumps(line, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    except (TypeError, ValueError, RecursionError):
        plain = {name: value for name, value in line.items() if isinstance(value, str | int | float | None)}
        return json.dumps({**plain, "input": None}, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _write_all(file: int, encoded: bytes) -> None:
    written = os.write(file, encoded)
    while written < len(encoded):  # a signal, or a disk that is nearly full
        written += os.write(file, encoded[written:])


def _cut_off(file: int) -> None:
    """Drops a last line that is not whole, and goes on behind it."""
    end = os.lseek(file, 0, os.SEEK_END)
    at = end
    while at > 0:
        begin = max(at - 65_536, 0)
        found = os.pread(file, at - begin, begin).rfind(b"\n")
        if found >= 0:
            at = begin + found + 1
            break
        at = begin
    if at < end:
        os.ftruncate(file, at)
    os.lseek(file, at, os.SEEK_SET)


def _lines(path: Path) -> Iterator[JsonObject]:
    with path.open("rb") as file:
        for line in file:
            yield _loaded(line)


def _done(line: JsonObject) -> DoneRow:
    return DoneRow(str(line["id"]), str(line.get("content", "")))


def _rows_of(path: Path) -> Iterator[DoneRow]:
    lines = _lines(path) if path.suffix != ".parquet" else parquet_rows(path)
    yield from map(_done, lines)


def _paid_usd(path: Path) -> float:
    """What the rows of a shard have cost; a last line that is not whole does not count."""
    if path.suffix == ".parquet":
        return sum(float(row.get("cost_usd") or 0.0) for row in parquet_rows(path))
    if path.suffix != ".jsonl":
        return 0.0
    total = 0.0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                total += float(_loaded(line).get("cost_usd") or 0.0)
    return total


def _loaded(line: bytes) -> JsonObject:
    try:
        found: JsonObject = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = json.loads(line)
    return found


def _json_of(path: Path) -> JsonObject | None:
    with contextlib.suppress(FileNotFoundError, orjson.JSONDecodeError):
        found: JsonObject = orjson.loads(path.read_bytes())
        return found
    return None


def _replace(path: Path, value: JsonObject, *, indent: bool = False, waits: bool = True) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0))
        file.flush()
        if waits:
            os.fsync(file.fileno())
    os.replace(partial, path)


def _locked(path: Path) -> int:
    """Raises `InvalidArgument` where another process has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl
    except ImportError:  # Windows: two processes on one folder are not noticed there
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise InvalidArgument(
            f"another process is writing {path.parent}", remedy="Wait for it, or give another folder with --out"
        ) from None
    return file


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{folder} cannot be written: {error.strerror or error}", remedy="Check the disk and its rights"
    )
