from __future__ import annotations

import pytest

from orchestrator.students import AgreementPromise, Student, StudentTask
from orchestrator.students.training import train_student
from tests.support.tickets import PROMPT, tickets


@pytest.fixture(scope="package")
def student() -> Student:
    return train_student(tickets(500), StudentTask(PROMPT), AgreementPromise(0.9, 0.9), name="tickets")
