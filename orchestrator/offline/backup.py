"""A backup of everything that a configuration keeps, taken while it is in use, and brought back.

A backup is a folder: a copy of each database and file, and a manifest with their hashes. It appears under its name when
it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from orchestrator.config.models import Config, parse_config
from orchestrator.config.names import DEFAULT_NAME
from orchestrator.errors import InvalidArgument, StorageError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.backup import (
    check_sqlite,
    check_unused,
    copy_postgres,
    copy_sqlite,
    load_sqlite,
    move_aside,
    restore_postgres,
)

MANIFEST, FORMAT = "manifest.json", 1
RUNS = ".orchestrator/runs.db"
PROGRAM = "command:"
MEMORY = "memory"
POSTGRES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Place:
    """Something that a configuration keeps: `kind` is `sqlite`, `postgres`, `file` or `folder`, `at` where it is."""

    name: str
    kind: str
    at: str


def places_of(config: Config) -> list[Place]:
    """What a configuration keeps, whether it is there or not."""
    files = {
        "configuration": None if config.file is None else str(config.file),
        "profiles": config.profiles,
        "calibration": config.calibration,
        "search": config.search,
        "router": config.router,
        **{f"student-{name}": model.file for name, model in config.models.items() if model.file},
        **{f"pipeline-{name}": path for name, path in config.pipelines.items()},
    }
    found: list[Place] = []
    for place in _databases(config).values():
        if all(each.at != place.at for each in found):
            found.append(place)
    found += [Place(name, "folder" if Path(at).is_dir() else "file", at) for name, at in files.items() if at]
    return found


def _databases(config: Config) -> dict[str, Place]:
    """By what is kept there; several may be one database."""
    addresses = {
        "gateway": config.gateway.database,
        MEMORY: None if config.memory is None else config.memory.path,
        "decisions": None if config.online is None else config.online.path,
        "students": None if config.distill is None else config.distill.path,
        "storage": config.storage,
        "runs": RUNS,
    }
    return {
        name: Place(name, "postgres" if at.startswith(POSTGRES) else "sqlite", at)
        for name, at in addresses.items()
        if at
    }


def back_up(config: Config, folder: Path, *, clock: Callable[[], float] = time.time) -> JsonObject:
    """Writes a backup into a folder that is not there; its manifest.

    Raises `InvalidArgument` where the folder is there, `StorageError` where something cannot be copied: then there is
    no folder.
    """
    if folder.exists():
        raise InvalidArgument(f"{folder} is there already", remedy="Give a folder that is not there yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        parts = [_copied(place, partial) for place in places_of(config)]
        if not any(parts):
            raise InvalidArgument(
                "there is nothing to back up here: no configuration, no database",
                remedy="Go to the folder of the gateway, or say --config",
            )
        manifest: JsonObject = {"format": FORMAT, "at": clock(), "parts": [part for part in parts if part is not None]}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        (partial / MANIFEST).chmod(0o600)
        os.replace(partial, folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            told = error.strerror or str(error)
            raise StorageError(f"{folder} cannot be written: {told}", remedy="Check the disk and its rights") from error
        raise
    return manifest


def _copied(place: Place, folder: Path) -> JsonObject | None:
    """What stands in the manifest; `None` for what is not there."""
    target = folder / place.name
    if place.kind == "postgres":
        tables = copy_postgres(place.at, target)
        return _told(place, "", {table["file"]: _hash(target / table["file"]) for table in tables})
    source = Path(place.at)
    if not source.exists():
        return None
    if place.kind == "sqlite":
        copy_sqlite(source, target)
    elif place.kind == "folder":
        shutil.copytree(source, target, symlinks=True)
        hashes = {str(path.relative_to(target)): _hash(path) for path in _files_in(target)}
        return _told(place, place.at, hashes)
    else:
        shutil.copy2(source, target)
    return _told(place, place.at, {"": _hash(target)})


def _told(place: Place, at: str, hashes: JsonObject) -> JsonObject:
    """The address of a database is not written down: it may hold a password."""
    return {"name": place.name, "kind": place.kind, "at": at, "sha256": hashes}


def restore(config: Config, folder: Path, *, replaces: bool = False) -> list[str]:
    """Brings back what a backup holds, to where the configuration keeps it; what was done, in words.

    What was backed up from SQLite goes into an empty database on PostgreSQL where the configuration now names one.

    Nothing is changed before the whole backup is read and found whole. With `replaces` files that are there are moved
    aside; without, they are an error.

    Raises `InvalidArgument` on a folder that is no backup or damaged, or where something would be replaced;
    `StorageError` where a database cannot be written.
    """
    parts = {part["name"]: part for part in _checked(folder)}
    is_of_backup = config.file is not None and folder.resolve() in config.file.parents
    if is_of_backup and config.file is not None:  # paths as they are stated: what lies beside it is the backup's own
        config = parse_config(config.file.read_text(encoding="utf-8"), str(config.file))
    places = {place.name: place for place in places_of(config)}
    shared = {name: place for name, place in _databases(config).items() if name not in places}
    places |= {name: place for name, place in shared.items() if name in parts and _is_move(parts[name], place)}
    if is_of_backup:
        _check_within_here([place for name, place in places.items() if name in parts])
        places["configuration"] = Place("configuration", "file", DEFAULT_NAME)
    for name, part in parts.items():
        if name in places:
            _check_kind(places[name], part, folder)
    if any(_is_move(part, places[name]) for name, part in parts.items() if name in places):
        parts.pop("configuration", None)  # the present one says where things move, so it stays
    unplaced = [name for name in parts if name not in places]
    if unplaced:
        raise InvalidArgument(
            f"the configuration does not say where {unplaced[0]} of the backup belongs",
            remedy="Restore with the configuration of the backup: it lies in the folder",
        )
    if not replaces:
        there = [places[name].at for name, part in parts.items() if _is_taken(places[name], part, folder)]
        if there:
            raise InvalidArgument(f"{there[0]} is there already", remedy="Add --replace: it is then moved aside")
    moves = [name for name, part in parts.items() if _is_move(part, places[name])]
    stays = {name: part for name, part in parts.items() if name not in moves}
    told = [line for name, part in stays.items() for line in _brought_back(places[name], part, folder, config)]
    return told + _moved_to_postgres([places[name] for name in moves], folder, config)


def _check_within_here(places: Iterable[Place]) -> None:
    """Raises `InvalidArgument` where a configuration that came with a backup would have something written elsewhere."""
    for place in places:
        if place.kind != "postgres" and place.name != "configuration" and not _is_here(place.at):
            raise InvalidArgument(
                f"the configuration in the backup keeps {place.name} in {place.at}, which is not in this folder",
                remedy="Copy it here as orchestrator.yaml, look at it (a rehearsal wants other paths), restore again",
            )


def _is_here(path: str) -> bool:
    return Path(path).resolve().is_relative_to(Path.cwd().resolve())


def _checked(folder: Path) -> list[JsonObject]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        parts: list[JsonObject] = [_part(stated) for stated in manifest["parts"]]
        is_known = manifest["format"] <= FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidArgument(
            f"{folder} is no backup", remedy="Give a folder that `orchestrator backup` wrote"
        ) from None
    if not is_known:
        raise InvalidArgument(f"{folder} was written by a later version", remedy="Upgrade, then restore")
    for part in parts:
        for file, expected in part["sha256"].items():
            path = folder / part["name"] / file if file else folder / part["name"]
            if not _is_plain_file(path, folder) or _hash(path) != expected:
                raise InvalidArgument(f"{path} is damaged or missing", remedy="Restore an earlier backup")
    return parts


def _part(stated: JsonObject) -> JsonObject:
    """A part of a manifest as it is written. Raises `ValueError` and its kin on another."""
    name, kind, hashes = stated["name"], stated["kind"], stated["sha256"]
    is_one = kind in ("sqlite", "file") and set(hashes) == {""}
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,120}", name) or not (is_one or kind in ("folder", "postgres")):
        raise ValueError(name)
    if any(not isinstance(file, str) or not isinstance(digest, str) for file, digest in hashes.items()):
        raise ValueError(name)
    return {"name": name, "kind": kind, "at": str(stated.get("at", "")), "sha256": dict(hashes)}


def _is_plain_file(path: Path, folder: Path) -> bool:
    """Whether it is a file within the backup, and no link to one elsewhere."""
    within = path.resolve().is_relative_to(folder.resolve())
    return within and path.is_file() and not any(each.is_symlink() for each in (path, *path.parents) if each != folder)


def _check_kind(place: Place, part: JsonObject, folder: Path) -> None:
    """Raises `InvalidArgument` or `StorageError` on what cannot go where it belongs."""
    is_file = {"file", "folder"}
    same = part["kind"] == place.kind or (part["kind"] in is_file and place.kind in is_file)
    if not same and not _is_move(part, place):
        raise InvalidArgument(
            f"{place.name} was backed up from {part['kind']}, and the configuration keeps it in {place.kind}",
            remedy="Restore to the same kind of database; only from SQLite to PostgreSQL can it move",
        )
    if place.kind == "sqlite":
        check_sqlite(folder / place.name)
        check_unused(Path(place.at))
    elif part["kind"] == "folder":
        there = {str(path.relative_to(folder / place.name)) for path in _files_in(folder / place.name)}
        if there != set(part["sha256"]):
            raise InvalidArgument(f"{folder / place.name} holds other files than were backed up", remedy="Take another")


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _is_taken(place: Place, part: JsonObject, folder: Path) -> bool:
    if place.kind == "postgres" or not Path(place.at).exists():
        return False
    return not (part["kind"] == "file" and Path(place.at).is_file() and _hash(Path(place.at)) == part["sha256"][""])


def _brought_back(place: Place, part: JsonObject, folder: Path, config: Config) -> list[str]:
    source = folder / place.name
    if place.kind == "postgres":
        rows = restore_postgres(place.at, source, lambda: _make_tables(config))
        return [f"{place.name}: {rows:,} rows"]
    target = Path(place.at)
    if not _is_taken(place, part, folder) and target.exists():
        return [f"{place.name}: {target} is the same"]
    aside = move_aside(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if part["kind"] == "folder":
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)
    told = "" if aside is None else f" (what was there: {aside})"
    if place.name == "configuration" and PROGRAM in target.read_text(encoding="utf-8", errors="replace"):
        told += " (it runs programs, `command:`: look at it before anything else)"
    return [f"{place.name}: {target}{told}"]


def _is_move(part: JsonObject, place: Place) -> bool:
    return part["kind"] == "sqlite" and place.kind == "postgres"


def _moved_to_postgres(places: Sequence[Place], folder: Path, config: Config) -> list[str]:
    """Brings what was backed up from SQLite into databases on PostgreSQL: tables as they are, memories one by one."""
    told = []
    for url in dict.fromkeys(place.at for place in places if place.name != MEMORY):
        names = [place.name for place in places if place.at == url and place.name != MEMORY]
        rows = load_sqlite(url, [folder / name for name in names], lambda: _make_tables(config))
        told.append(f"{', '.join(names)}: {rows:,} rows, now on PostgreSQL")
    if any(place.name == MEMORY for place in places):
        told.append(_moved_memory(folder / MEMORY, config))
    return told


def _moved_memory(source: Path, config: Config) -> str:
    from orchestrator.fleet.memory import open_memory

    assert config.memory is not None
    with tempfile.TemporaryDirectory() as aside:  # opening a memory may change its file, and a backup stays as it is
        copy = shutil.copy2(source, aside)
        old, new = open_memory(config.memory.model_copy(update={"path": str(copy)})), open_memory(config.memory)
        with closing(old), closing(new):
            if new.scopes():
                raise StorageError("the memory has records already", remedy="Restore into an empty database")
            count = 0
            for scope in old.scopes():
                count += len(new.restore(list(old.exported(scope)), scope))
                limits = old.limits(scope)
                ttl = None if limits.ttl_s is None else timedelta(seconds=limits.ttl_s)
                new.limit(scope, max_records=limits.max_records, ttl=ttl)
    return f"{MEMORY}: {count:,} record{'s' * (count != 1)}, now on PostgreSQL"


def _make_tables(config: Config) -> None:
    """Makes the tables of this version in every database on PostgreSQL."""
    from orchestrator.conversation.store import ConversationStore
    from orchestrator.fleet.memory import open_memory
    from orchestrator.storage.accounts import Accounts
    from orchestrator.storage.audit_log import AuditLog
    from orchestrator.storage.comparisons import Comparisons
    from orchestrator.storage.database import open_database
    from orchestrator.storage.decision_log import DecisionLog
    from orchestrator.storage.files import Documents
    from orchestrator.storage.item_lists import ItemLists
    from orchestrator.storage.page_sessions import PageSessions
    from orchestrator.storage.quotas import Quotas
    from orchestrator.storage.requests import Requests
    from orchestrator.storage.runs import Runs
    from orchestrator.storage.student_log import StudentLog

    parts = (Accounts, AuditLog, Comparisons, Documents, ItemLists, PageSessions, Requests, Runs, ConversationStore)
    shared = {name: place.at for name, place in _databases(config).items() if place.kind == "postgres"}
    if config.memory is not None and MEMORY in shared:
        del shared[MEMORY]
        open_memory(config.memory).close()
    for name, log in (("decisions", DecisionLog), ("students", StudentLog)):
        if name in shared:
            log(shared.pop(name)).close()
    for url in set(shared.values()):
        with closing(open_database(url)) as database:
            Quotas(database, "restore")
            for made in parts:
                made(database)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1_000_000):
            digest.update(part)
    return digest.hexdigest()
