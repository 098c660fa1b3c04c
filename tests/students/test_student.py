"""What a student says, to whom it keeps silent, and that its file says the same."""

from __future__ import annotations

import errno
import json
import os
import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from orchestrator.students import (
    AgreementCertificate,
    AgreementPromise,
    Student,
    StudentFileError,
    StudentTask,
    load_student,
    save_student,
)
from orchestrator.students.artifact import FORMAT
from orchestrator.students.labels import is_same_record, read_label, read_record
from orchestrator.students.linear_model import LinearModel
from orchestrator.students.task import TaskError
from orchestrator.students.tokens import tokens_of
from orchestrator.students.training import LabelledText, TrainingError, train_student
from orchestrator.students.training.design import Design
from orchestrator.students.training.fitting import FitSettings, fit_models
from orchestrator.students.training.rows import assign_folds
from tests.support.tickets import LABELS, PROMPT, tickets


def test_it_answers_what_it_has_mastered_and_keeps_its_promise(student: Student) -> None:
    assert isinstance(student.certificate, AgreementCertificate)
    unseen = tickets(600, seed=7)
    said = [(student.predict(row.text), row) for row in unseen]
    given = [(prediction.label == row.label) for prediction, row in said if prediction.is_accepted]
    assert len(given) > 0.6 * len(unseen)
    assert sum(given) / len(given) >= 0.9
    assert all(prediction.why_not for prediction, _ in said if not prediction.is_accepted)


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Write a poem about the sea in autumn, with four stanzas",
        "def f(x): return x + 1",
        "ภาษาไทยไม่มีการเว้นวรรค",
        "今天天气怎么样",
        "🙂🙂🙂",
        "",
        "\ud800 broken",
        "a" * 50_000,
    ],
)
def test_what_is_foreign_is_not_answered(student: Student, text: str) -> None:
    assert not student.predict(text).is_accepted


def test_answers_are_the_same_from_training_and_from_the_student() -> None:
    rows = tickets(120)
    design = Design.of([row.text for row in rows])
    y = np.array([LABELS.index(row.label) for row in rows])
    learned = np.flatnonzero(np.arange(120) % 3 > 0)  # the others' words are unknown to it
    fitted = fit_models(design, learned, y[learned], 3, FitSettings())
    model = fitted.as_model()
    for row, expected in zip(rows, fitted.readings(np.arange(120)), strict=True):
        found = model.read(row.text)
        np.testing.assert_allclose(found.p, expected.p, atol=2e-5)
        np.testing.assert_allclose(found.vector, expected.vector, atol=1e-5)
        assert found.known == pytest.approx(expected.known)


def test_the_cache_of_words_changes_nothing_and_stays_bounded(student: Student) -> None:
    model = student.model
    fresh = LinearModel(model.words, model.grams, model.pieces, model.weights)
    fresh._most_rows = 40
    for row in tickets(60, seed=3):
        np.testing.assert_allclose(fresh.read(row.text).p, model.read(row.text).p, atol=1e-6)
        assert len(fresh._rows.index) < 40 + 60


def test_threads_may_share_it(student: Student) -> None:
    rows = tickets(80, seed=9)
    expected = [student.predict(row.text) for row in rows]
    fresh = LinearModel(student.model.words, student.model.grams, student.model.pieces, student.model.weights)
    found: list[bool] = []

    def ask() -> None:
        found.extend(fresh.read(row.text).p.argmax() == student.model.read(row.text).p.argmax() for row in rows)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 320
    assert all(found)
    assert [student.predict(row.text) for row in rows] == expected


def test_the_same_rows_and_seed_make_the_same_file(tmp_path: Path) -> None:
    rows = tickets(150)
    made = [
        save_student(train_student(rows, StudentTask(PROMPT), AgreementPromise(), seed=3), tmp_path / f"{n}.student")
        for n in (1, 2)
    ]
    one, other = (np.load(path, allow_pickle=False) for path in made)
    assert one.files == other.files
    for name in one.files:
        if name != "meta":  # holds the moment
            np.testing.assert_array_equal(one[name], other[name])


def test_a_file_says_what_the_student_said(student: Student, tmp_path: Path) -> None:
    read = load_student(save_student(student, tmp_path / "tickets.student"))
    assert read.card == student.card
    assert read.certificate == student.certificate
    for row in tickets(200, seed=5):
        assert read.predict(row.text) == student.predict(row.text)


def test_labels_in_any_language(tmp_path: Path) -> None:
    names = {"billing": "請求書", "shipping": "доставка\n2", "account": "🔑"}
    rows = [LabelledText(row.text, names[row.label]) for row in tickets(200)]
    made = train_student(rows, StudentTask(), AgreementPromise(0.8))
    read = load_student(save_student(made, tmp_path / "s"))
    assert isinstance(read, Student)
    assert sorted(read.labels) == sorted(names.values())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(student: Student, tmp_path: Path, share: float) -> None:
    path = save_student(student, tmp_path / "s")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(StudentFileError, match="damaged"):
        load_student(path)


def test_a_changed_byte_is_noticed(student: Student, tmp_path: Path) -> None:
    path = save_student(student, tmp_path / "s")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StudentFileError, match="damaged"):
        load_student(path)


def test_a_newer_or_foreign_file_is_refused(student: Student, tmp_path: Path) -> None:
    path = save_student(student, tmp_path / "s")
    newer = _with_meta(path, tmp_path / "newer", format=FORMAT + 1)
    with pytest.raises(StudentFileError, match="this version reads up to") as told:
        load_student(newer)
    assert "Upgrade" in told.value.remedy
    with pytest.raises(StudentFileError, match="there is no student"):
        load_student(tmp_path / "nowhere")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(StudentFileError, match="no student"):
        load_student(tmp_path / "text")
    with pytest.raises(StudentFileError):
        load_student(tmp_path)
    for broken in ({"labels": ["a"]}, {"task": {"prompt": "no mark"}}, {"certificate": {}}, {"card": {"x": 1}}):
        with pytest.raises(StudentFileError, match="whole student"):
            load_student(_with_meta(path, tmp_path / "broken", **broken))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "run"),)

    np.savez(tmp_path / "evil.npz", meta=np.array([Evil()], dtype=object))
    (tmp_path / "pickled").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.npz", "pickled"):
        with pytest.raises(StudentFileError):
            load_student(tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_numbers_that_are_none_are_refused(student: Student, tmp_path: Path) -> None:
    path = save_student(student, tmp_path / "s")
    stored = dict(np.load(path))
    stored["weights.bias"] = np.full_like(stored["weights.bias"], np.nan)
    np.savez(tmp_path / "nan.npz", **stored)
    with pytest.raises(StudentFileError, match="fit together"):
        load_student(tmp_path / "nan.npz")


def test_a_full_disk_leaves_the_old_file(student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_student(student, tmp_path / "s")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudentFileError, match="No space left"):
        save_student(student, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def _with_meta(path: Path, target: Path, **changes: object) -> Path:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    meta = json.loads(arrays["meta"].tobytes()) | changes
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    with target.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    assert zipfile.is_zipfile(target)
    return target


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "0 labelled texts"),
        (tickets(20), "at least 40"),
        ([LabelledText(f"text {n}", "same") for n in range(60)], "all 60 texts have the label 'same'"),
        ([*tickets(60), LabelledText("one of a kind", "rare")], "'rare'"),
    ],
)
def test_rows_that_teach_nothing_are_told(rows: list[LabelledText], told: str) -> None:
    with pytest.raises(TrainingError, match=told) as error:
        train_student(rows, StudentTask(), AgreementPromise())
    assert error.value.remedy


def test_synthetic_rows_and_unknown_gold_prove_nothing() -> None:
    rows = tickets(200)
    unproven = [LabelledText(row.text, row.label, is_synthetic=True) for row in rows]
    made = train_student(unproven, StudentTask(), AgreementPromise(0.8))
    assert "too few" in made.certificate.reason  # type: ignore[union-attr]
    against_gold = train_student(
        [LabelledText(row.text, row.label) for row in rows], StudentTask(), AgreementPromise(0.8, against="gold")
    )
    assert not against_gold.predict(rows[0].text).is_accepted


def test_groups_are_never_divided() -> None:
    rng = np.random.default_rng(0)
    labels = [str(n) for n in rng.integers(0, 4, 300)]
    groups = [f"g{n}" if n % 3 else "" for n in rng.integers(0, 60, 300)]
    folds = assign_folds(labels, groups, 5, 1)
    for group in set(groups) - {""}:
        assert len({folds[at] for at in range(300) if groups[at] == group}) == 1
    sizes = np.bincount(folds, minlength=5)
    assert sizes.max() - sizes.min() < 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café ＡＢＣ", ["café", "abc"]),
        ("Straße & STRASSE", ["strasse", "strasse"]),
        ("我喜歡 tea!", ["我", "喜", "歡", "tea", "!"]),
        ("100€ 🙂", ["100", "€", "🙂"]),
        ("don't", ["don", "t"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens_of(text) == expected


def test_a_task_knows_its_own_queries() -> None:
    task = StudentTask("Classify:\n{text}\nAnswer with one word.", answer="Label: {label}")
    assert task.text_of("Classify:\nhello {label}\nAnswer with one word.") == "hello {label}"
    assert task.text_of("  Classify:\nhello\nAnswer with one word. \n") == "hello"
    for foreign in (
        "hello",
        "Classify:\nhello",
        "Classify:\nAnswer with one word.",
        "classify:\nx\nAnswer with one word.",
    ):
        assert task.text_of(foreign) is None
    assert task.query_of("{text}") == "Classify:\n{text}\nAnswer with one word."
    assert task.label_of("Label: a b ") == "a b"
    assert task.label_of("a b") is None
    for wrong in ("no mark", "{text}{text}"):
        with pytest.raises(TaskError):
            StudentTask(wrong)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Sports", "Sports"),
        ("**sports**.", "Sports"),
        ("The category is Sci/Tech.", "Sci/Tech"),
        ("It is not Sports but World", None),
        ("World World", "World"),
        ("Worldwide", None),
        ("", None),
        ("I cannot tell", None),
        ('{"label": "World"}', "World"),
    ],
)
def test_labels_are_read_from_what_models_write(answer: str, label: str | None) -> None:
    assert read_label(answer, ["World", "Sports", "Sci/Tech"], StudentTask()) == label


def test_records_are_read_from_what_models_write() -> None:
    assert read_record('Here:\n```json\n{"a": 1}\n```') == {"a": 1}
    assert read_record("[1]") is None
    assert read_record("{broken") is None
    assert is_same_record({"a": " X "}, {"a": "x", "b": None}, ["a", "b"])
    assert not is_same_record({"a": "x"}, {"a": None}, ["a"])
