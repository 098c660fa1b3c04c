"""Students: what they answer, what that saves, how they agree with their teachers, and how they came about."""

from __future__ import annotations

from orchestrator.dashboard import charts
from orchestrator.dashboard.page import Page, PageRequest
from orchestrator.distill.status import students_status
from orchestrator.jsontypes import JsonObject


async def distillation(page: PageRequest) -> Page:
    """Every student that is known."""
    engine = page.host.engine
    kept = None if engine is None else engine.student_log
    students = [] if kept is None else await page.read(lambda: students_status(kept))
    drawn: JsonObject = {}
    for student in students:
        days = student["days"][-60:]
        if days:
            series = [
                ("answered", [day["given"] for day in days]),
                ("left to teachers", [day["own"] - day["given"] for day in days]),
            ]
            drawn[student["name"]] = charts.stacked_bars(
                f"Queries of {student['name']} each day", [day["day"][5:] for day in days], series
            )
    return Page("distillation.html", "Distillation", {"students": students}, {"charts": drawn})
