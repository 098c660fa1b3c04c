"""A student learns from what a strong model answered, takes over what it has mastered, and the rest stays as it was.

Runs offline: the texts are invented, the strong model is scripted and gives its recorded answers; the student is real.
"""

import asyncio
import json
from pathlib import Path

from orchestrator import Orchestrator, StudentBackend
from orchestrator.backends.base import Request
from orchestrator.distill import DistillJob, load_job, run_job
from orchestrator.testing import ScriptedBackend

FOLDER = Path(__file__).parent / "tickets"
PRICE = 10.0  # USD per million tokens
NEW = 200  # messages that come after the student was made

ROWS = [json.loads(line) for line in (FOLDER / "recorded.jsonl").read_text(encoding="utf-8").splitlines()]
RECORDED: dict[str, str] = {row["text"]: row["strong"] for row in ROWS}


def say_what_is_recorded(request: Request) -> str:
    return RECORDED[request.question.split("\n")[1]]


def write_job(here: Path) -> DistillJob:
    """The first messages, which the strong model has answered already, and the job that learns from them."""
    here.mkdir(exist_ok=True)
    (here / "recorded.jsonl").write_text("\n".join(map(json.dumps, ROWS[:-NEW])), encoding="utf-8")
    (here / "job.yaml").write_text((FOLDER / "job.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return load_job(here / "job.yaml")


async def main(job: DistillJob) -> None:
    strong = ScriptedBackend("strong", say_what_is_recorded, price=PRICE, skill=0.95)

    # 1. What the strong model said teaches a student. Nobody is asked: all of it is on record.
    async with Orchestrator(strong) as teachers:
        made = await run_job(job, teachers)
    held_out = made.evaluation
    assert held_out is not None
    print(f"This student is in use: {made.state == 'serving'}; see {made.folder / 'report.html'}")
    print(f"held out: it answers {held_out.coverage:.0%}, and agrees on {held_out.agreement or 0:.1%} of that")

    # 2. In the fleet it answers what it has mastered; everything else goes to the strong model.
    student = StudentBackend("tickets", made.folder / "tickets.student")
    queries = [job.task.as_task().query_of(row["text"]) for row in ROWS[-NEW:]]
    async with Orchestrator(student, strong, quality=0.85, distill="students.db") as fleet:
        results = await fleet.answer_many(queries)
    given = [result.answer for result in results if result.answer is not None]
    cost, alone = sum(answer.cost_usd or 0.0 for answer in given), NEW * 20 * PRICE / 1e6  # it uses 20 tokens a call
    taken = sum(answer.model == "tickets" for answer in given)
    agree = sum(answer.text == row["strong"] for answer, row in zip(given, ROWS[-NEW:], strict=True))
    right = sum(answer.text == row["desk"] for answer, row in zip(given, ROWS[-NEW:], strict=True))
    print(f"{taken} of {NEW} new messages were answered by the student")
    print(f"together they say what the strong model says to {agree / NEW:.1%}, and are right on {right / NEW:.1%}")
    print(f"they cost {cost:.4f} USD instead of {alone:.4f}: {1 - cost / alone:.0%} saved")


if __name__ == "__main__":
    asyncio.run(main(write_job(Path("tickets"))))
