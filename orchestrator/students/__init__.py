"""Students: small models that learned from stronger ones, answer in this process, and say when they cannot.

A student is one file. It answers in about a tenth of a millisecond, costs nothing a call, and abstains to its teachers
where agreement with them was not proven. `orchestrator.students.training` makes them (extra `train`); answering needs
numpy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.students.task import StudentTask as StudentTask

if TYPE_CHECKING:
    from orchestrator.students.agreement import AgreementCertificate as AgreementCertificate
    from orchestrator.students.agreement import AgreementPromise as AgreementPromise
    from orchestrator.students.agreement import NoAgreement as NoAgreement
    from orchestrator.students.artifact import StudentFileError as StudentFileError
    from orchestrator.students.artifact import load_student as load_student
    from orchestrator.students.artifact import save_student as save_student
    from orchestrator.students.student import Prediction as Prediction
    from orchestrator.students.student import Student as Student

_LATER = {
    "AgreementCertificate": "agreement",
    "AgreementPromise": "agreement",
    "NoAgreement": "agreement",
    "Prediction": "student",
    "Student": "student",
    "StudentFileError": "artifact",
    "load_student": "artifact",
    "save_student": "artifact",
}
"""Names whose modules need numpy: a configuration that only states a task must not wait for it."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
