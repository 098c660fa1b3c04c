"""A student as one file: arrays and JSON in an uncompressed zip archive (NumPy's npz), never pickled code.

A file may come from anywhere, so nothing in it is run, and whatever does not fit together is refused.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonObject
from orchestrator.students.acceptor import SIGNALS, Acceptor, NoveltyGate, References
from orchestrator.students.agreement import AgreementCertificate, AgreementPromise, NoAgreement
from orchestrator.students.extraction import WINDOW, ExtractionStudent, TagModel, tags_of
from orchestrator.students.linear_model import LinearModel, LinearWeights
from orchestrator.students.piece_table import PieceTable
from orchestrator.students.spans import FieldType
from orchestrator.students.student import Student, StudentCard
from orchestrator.students.task import StudentTask, TaskError
from orchestrator.students.vocabulary import Vocabulary

FORMAT = 1
MAX_BYTES = 1_000_000_000
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    AttributeError,
    MemoryError,
    RecursionError,
    zipfile.BadZipFile,
)
Arrays = dict[str, NDArray[np.generic]]


class StudentFileError(ValueError):
    """A file that holds no student that can be used, with what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def save_student(student: Student | ExtractionStudent, path: str | Path) -> Path:
    """Writes a student to one file; the file that was there stays whole until the new one is.

    Raises:
        StudentFileError: The file cannot be written.
    """
    arrays, meta = _classifier_arrays(student) if isinstance(student, Student) else _extractor_arrays(student)
    meta = {**meta, "format": FORMAT, "task": asdict(student.task), "card": asdict(student.card)}
    meta["certificate"] = asdict(student.certificate)
    arrays["meta"] = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), dtype=np.uint8)
    target = Path(path)
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StudentFileError(f"{target} cannot be written: {error}", "Name another place, or make room") from None
    return target


def load_student(path: str | Path) -> Student | ExtractionStudent:
    """Reads a student from its file.

    Raises:
        StudentFileError: There is none, it is damaged, or a newer version of this package wrote it.
    """
    arrays, meta = _read(Path(path))
    made_by = meta.get("format")
    if not isinstance(made_by, int) or made_by > FORMAT:
        raise StudentFileError(
            f"{path} has the format {made_by!r}, this version reads up to {FORMAT}", "Upgrade compound-orchestrator"
        )
    try:
        task, card = StudentTask(**meta["task"]), StudentCard(**meta["card"])
        certificate = _certificate(meta["certificate"])
        _check_facts(task, card, certificate)
        if task.kind == "extraction":
            return _extractor(arrays, meta, task, card, certificate)
        return _classifier(arrays, meta, task, card, certificate)
    except (KeyError, TypeError, ValueError, IndexError, TaskError, AttributeError, MemoryError) as error:
        raise StudentFileError(
            f"{path} does not hold a whole student ({type(error).__name__}: {error})", "Train it again"
        ) from error


def _read(path: Path) -> tuple[Arrays, JsonObject]:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [(member.file_size, member.compress_type) for member in archive.infolist()]
        if sum(size for size, _ in sizes) > MAX_BYTES or any(kind != zipfile.ZIP_STORED for _, kind in sizes):
            raise StudentFileError(f"{path} is no file that distill wrote", "Train the student again")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = json.loads(arrays.pop("meta").tobytes())
    except FileNotFoundError:
        raise StudentFileError(f"there is no student at {path}", "orchestrator distill JOB.yaml makes one") from None
    except _DAMAGED as error:
        if isinstance(error, StudentFileError):
            raise
        raise StudentFileError(
            f"{path} is no student, or it is damaged ({type(error).__name__}: {error})",
            "Copy it again, or train it again",
        ) from None
    if not isinstance(meta, dict):
        raise StudentFileError(f"{path} is no student", "Name the file that distill wrote")
    return cast("Arrays", arrays), meta


def _check_facts(task: StudentTask, card: StudentCard, certificate: AgreementCertificate | NoAgreement) -> None:
    """Raises `ValueError` on what has another type than it must have."""
    texts = [task.prompt, task.answer, card.name, card.data_hash, *([] if task.system is None else [task.system])]
    if not all(isinstance(text, str) for text in texts) or not isinstance(card.version, int):
        raise ValueError("a text or a number is none")
    if not all(isinstance(each, dict) for each in (card.measured, card.notes, card.chosen, card.teachers)):
        raise ValueError("the card is none")
    if isinstance(certificate, AgreementCertificate) and not 0.0 <= float(certificate.threshold) <= 1.0:
        raise ValueError("the threshold lies outside [0, 1]")


def _certificate(stored: Mapping[str, object]) -> AgreementCertificate | NoAgreement:
    fields = dict(stored)
    if "promise" not in fields:
        return NoAgreement(**fields)  # type: ignore[arg-type]
    promise = AgreementPromise(**cast("JsonObject", fields.pop("promise")))
    return AgreementCertificate(**fields, promise=promise)  # type: ignore[arg-type]


def _classifier_arrays(student: Student) -> tuple[Arrays, JsonObject]:
    model, pieces = student.model, student.model.pieces
    arrays: Arrays = {
        **{f"weights.{name}": value for name, value in _fields(model.weights).items()},
        **{f"references.{name}": value for name, value in _fields(student.references).items()},
        "words": _pack(list(model.words.columns)),
        "words.idf": model.words.idf,
        "grams": _pack(list(model.grams.columns)),
        "grams.idf": model.grams.idf,
        "seen": _pack(model.seen),
        "pieces": np.frombuffer(pieces.vocabulary, dtype=np.uint8),
        "pieces.rows": pieces.rows,
        "pieces.scales": pieces.scales,
        "gate.likeness": student.gate.likeness,
        "acceptor": np.stack([student.acceptor.means, student.acceptor.scales, student.acceptor.weights]),
    }
    meta: JsonObject = {
        "labels": list(student.labels),
        "counts_share": model.weights.counts_share,
        "known": student.gate.known,
        "longest": student.gate.longest,
        "acceptor_bias": student.acceptor.bias,
        "never": sorted(student.never),
    }
    return arrays, meta


def _fields(value: LinearWeights | References) -> Arrays:
    names = type(value).__dataclass_fields__
    return {name: found for name in names if isinstance(found := getattr(value, name), np.ndarray)}


def _classifier(
    arrays: Arrays,
    meta: JsonObject,
    task: StudentTask,
    card: StudentCard,
    certificate: AgreementCertificate | NoAgreement,
) -> Student:
    floats = {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items() if value.dtype.kind == "f"}
    weights = LinearWeights(
        floats["weights.words"],
        floats["weights.grams"],
        floats["weights.vectors"],
        floats["weights.bias"],
        floats["weights.counts"],
        _number(meta["counts_share"]),
    )
    pieces = PieceTable(
        arrays["pieces"].tobytes(),
        arrays["pieces.rows"].astype(np.int8, copy=False),
        arrays["pieces.scales"].astype(np.float16, copy=False),
    )
    words, grams = (_vocabulary(arrays[name], floats[f"{name}.idf"]) for name in ("words", "grams"))
    labels = tuple(map(str, meta["labels"]))
    references = References(
        floats["references.vectors"], arrays["references.bounds"].astype(np.int64), floats["references.confidence"]
    )
    means, scales, acceptor = floats["acceptor"]
    k, dimensions = len(labels), pieces.dimensions
    fits = (
        weights.words.shape == weights.counts.shape == (len(words.columns), k)
        and weights.grams.shape == (len(grams.columns), k)
        and weights.vectors.shape == (dimensions, k)
        and weights.bias.shape == floats["gate.likeness"].shape == (k,)
        and references.vectors.shape == (len(references.confidence), dimensions)
        and references.bounds.shape == (k + 1,)
        and means.shape == scales.shape == acceptor.shape == (len(SIGNALS),)
        and (scales > 0).all()
        and pieces.rows.shape[:1] == pieces.scales.shape == (pieces.vocabulary.count(b"\n") + 1,)
        and len(references.confidence) > 0
        and (np.diff(references.bounds) >= 0).all()
        and (references.bounds[0], references.bounds[-1]) == (0, len(references.confidence))
        and len(set(labels)) == k > 1
    )
    if not fits or not all(np.isfinite(value).all() for value in floats.values()):
        raise ValueError("its parts do not fit together")
    return Student(
        task,
        labels,
        LinearModel(words, grams, pieces, weights, tuple(_unpack(arrays["seen"]))),
        references,
        NoveltyGate(floats["gate.likeness"], _number(meta["known"]), int(meta["longest"])),
        Acceptor(means, scales, acceptor, _number(meta["acceptor_bias"])),
        certificate,
        card,
        frozenset(map(str, meta["never"])),
    )


def _extractor_arrays(student: ExtractionStudent) -> tuple[Arrays, JsonObject]:
    model = student.model
    arrays: Arrays = {"columns": _pack(list(model.columns)), "weights": model.weights, "bias": model.bias}
    return arrays, {"fields": dict(student.fields), "known": student.known, "longest": student.longest}


def _extractor(
    arrays: Arrays,
    meta: JsonObject,
    task: StudentTask,
    card: StudentCard,
    certificate: AgreementCertificate | NoAgreement,
) -> ExtractionStudent:
    columns = {name: at for at, name in enumerate(_unpack(arrays["columns"]))}
    weights, bias = (np.asarray(arrays[name], dtype=np.float32) for name in ("weights", "bias"))
    fields = {str(name): cast("FieldType", kind) for name, kind in meta["fields"].items()}
    tags = len(tags_of(list(fields)))
    fits = weights.shape == (len(columns), len(WINDOW), tags) and bias.shape == (tags,)
    if not fits or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ValueError("its parts do not fit together")
    known, longest = _number(meta["known"]), int(meta["longest"])
    return ExtractionStudent(task, fields, TagModel(columns, weights, bias), known, longest, certificate, card)


def _number(stated: object) -> float:
    number = float(stated)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"{stated!r} is no number")
    return number


def _vocabulary(names: NDArray[np.generic], idf: NDArray[np.float32]) -> Vocabulary:
    columns = {name: column for column, name in enumerate(_unpack(names))}
    if len(columns) != len(idf):
        raise ValueError("names and weights of features differ in number")
    return Vocabulary(columns, idf)


def _pack(names: list[str] | tuple[str, ...]) -> NDArray[np.uint8]:
    """Names without line breaks, as bytes."""
    return np.frombuffer("\n".join(names).encode("utf-8", "surrogatepass"), dtype=np.uint8)


def _unpack(packed: NDArray[np.generic]) -> list[str]:
    """The names that were packed."""
    text = packed.tobytes().decode("utf-8", "surrogatepass")
    return text.split("\n") if text else []
