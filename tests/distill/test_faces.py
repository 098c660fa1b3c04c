"""The command line, the gateway, fine-tuning jobs, batches and the flywheel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from orchestrator import Orchestrator
from orchestrator.backends.fine_tuning import FineTuning
from orchestrator.backends.remote import RemoteBackend
from orchestrator.cli import main
from orchestrator.config.distill_job import DistillJob
from orchestrator.config.models import DistillConfig
from orchestrator.distill.collect import Places
from orchestrator.distill.flywheel import refresh_students
from orchestrator.distill.job import JobRun
from orchestrator.errors import BackendError, ConfigError
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile
from orchestrator.storage.student_log import StudentLog
from tests.distill.conftest import ANSWERS
from tests.support.gateway import completion, reply, running_gateway, served
from tests.support.tickets import PROMPT, tickets

Make = Callable[..., DistillJob]


@pytest.fixture
def folder(make_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recorded answers, a job and a configuration."""
    lines = [json.dumps({"text": row.text, "label": row.label, "gold": row.label}) for row in tickets(250)]
    (tmp_path / "recorded.jsonl").write_text("\n".join(lines))
    make_job(1, collect=[{"file": "recorded.jsonl", "label": "label", "gold": "gold", "teacher": "recorded"}])
    (tmp_path / "orchestrator.yaml").write_text("models: {calculator: {provider: calculator}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["distill", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_line_from_job_to_status(folder: Path) -> None:
    assert "nobody has to be asked" in ran("job.yaml", "--forecast")
    assert json.loads(ran("run", "job.yaml", "--forecast", "--json"))["texts"] == 0
    told = ran("job.yaml")
    for part in (
        "collected",
        "This student is in use",
        "Promised: of what it answers",
        "provider: student",
        "report.html",
    ):
        assert part in told
    found = json.loads(ran("job.yaml", "--json"))
    assert found["state"] == "serving"
    assert found["evaluation"]["pair_accuracy"] > 0.8
    assert "report.html" in ran("report", "job.yaml")
    assert json.loads(ran("report", "job.yaml", "--json"))["version"] == 1
    assert "tickets: version 1, serving" in ran("status")
    assert json.loads(ran("status", "tickets", "--json"))[0]["history"][0]["state"] == "serving"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.yaml",), "cannot be read"),
        (("report", "job.yaml"), "has not run yet"),
        (("fine-tune", "job.yaml", "--model", "x", "--yes"), "Run the job first"),
        (("job.yaml", "--config", "nowhere.yaml"), "no such file"),
    ],
)
def test_mistakes_on_the_command_line(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    assert told in ran(*arguments, code=2)
    as_json = [*arguments, "--json"]
    assert told in json.dumps(json.loads(ran(*as_json, code=2))["error"])


def test_help_and_an_empty_status(folder: Path) -> None:
    assert "JOB.yaml" in ran("--help")
    assert "no student is known here" in ran("status")


def test_operators_see_students_in_the_gateway(tmp_path: Path, folder: Path) -> None:
    ran("job.yaml")

    async def play(body: dict[str, Any], send: Any) -> None:
        text = body["messages"][-1]["content"].rpartition("\n")[2]
        await reply(send, 200, completion(ANSWERS.get(text, "account")))

    (tmp_path / "gateway").mkdir()
    extra = {
        "tickets": {"provider": "student", "file": str(folder / "out" / "tickets.student"), "audits": {"share": 0}}
    }
    settings = {"path": str(folder / ".orchestrator" / "students.db")}
    with running_gateway(tmp_path / "gateway", play, models=extra, distill=settings) as gateway:
        for row in tickets(40, seed=7):
            assert gateway.chat(PROMPT.replace("{text}", row.text), model="auto").status_code == 200
        found = gateway.get("/v1/admin/students", key=gateway.admin).json()
        assert [each["name"] for each in found["data"]] == ["tickets"]
        one = gateway.get("/v1/admin/students/tickets", key=gateway.admin).json()
        assert one["state"] == "serving"
        assert gateway.get("/v1/admin/students/nobody", key=gateway.admin).status_code == 404
        assert gateway.get("/v1/admin/students").status_code == 403
    kept = StudentLog(settings["path"])
    assert kept.counts("tickets").own == 40
    assert kept.counts("tickets").given > 20


def remote(url: str) -> RemoteBackend:
    profile = ModelProfile("tuned", 1.0, 1.0)
    return RemoteBackend(profile, provider=PROVIDERS["openai"], base_url=url, model="gpt-small", key="sk-test")


def test_fine_tuning_speaks_openais_api() -> None:
    seen: list[tuple[str, str, Any]] = []
    states = iter(["validating_files", "running", "succeeded"])

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.content))
        if request.url.path.endswith("/files"):
            return httpx.Response(200, json={"id": f"file-{len(seen)}"})
        if request.method == "POST":
            return httpx.Response(200, json={"id": "ftjob-1", "status": "validating_files"})
        state = next(states)
        tuned = "ft:gpt-small:acme::1" if state == "succeeded" else None
        body = {"id": "ftjob-1", "status": state, "fine_tuned_model": tuned, "trained_tokens": 99, "error": None}
        return httpx.Response(200, json=body)

    async def work() -> None:
        tuning = FineTuning(remote("http://127.0.0.1:1/v1"), httpx.MockTransport(handle))
        job = await tuning.begin(b'{"messages": []}\n', b'{"messages": []}\n', seed=4, epochs=2)
        found = await tuning.wait(job, poll_s=0.001)
        await tuning.aclose()
        assert (found.state, found.model, found.trained_tokens) == ("done", "ft:gpt-small:acme::1", 99)

    asyncio.run(work())
    uploaded = [content for _, path, content in seen if path.endswith("/files")]
    assert len(uploaded) == 2
    assert all(b'name="purpose"' in content and b"fine-tune" in content for content in uploaded)
    made = json.loads(next(content for method, path, content in seen if path.endswith("/jobs")))
    assert made["model"] == "gpt-small"
    assert (made["training_file"], made["validation_file"], made["seed"]) == ("file-1", "file-2", 4)
    assert made["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2


def test_fine_tuning_that_fails_is_told() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": "model gpt-small cannot be fine-tuned", "type": "x"}})

    async def work() -> None:
        tuning = FineTuning(remote("http://127.0.0.1:1/v1"), httpx.MockTransport(refuse))
        with pytest.raises(BackendError, match="cannot be fine-tuned"):
            await tuning.begin(b"{}\n", b"")
        await tuning.aclose()

    asyncio.run(work())
    other = RemoteBackend(ModelProfile("m"), provider=PROVIDERS["ollama"], model="m")
    with pytest.raises(ConfigError, match="cannot be asked to fine-tune"):
        FineTuning(other)


class BatchServer:
    """Plays OpenAI's files and batches."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, str] = {}
        self.polls = 0
        self.ready_after = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from tests.support.gateway import read_body

        body, path = await read_body(receive), scope["path"]
        if scope["method"] == "POST" and path.endswith("/files"):
            name = f"file-{len(self.files)}"
            self.files[name] = body
            await reply(send, 200, {"id": name})
        elif path.endswith("/cancel"):
            await reply(send, 200, {})  # as if the process had been killed: nobody cancelled anything
        elif scope["method"] == "POST":
            name = f"batch-{len(self.batches)}"
            self.batches[name] = json.loads(body)["input_file_id"]
            await reply(send, 200, {"id": name, "status": "validating"})
        elif path.endswith("/content"):
            content = self.files[path.split("/")[-2].removeprefix("out-")]
            lines = [line for line in content.split(b"\n") if line.startswith(b'{"custom_id"')]
            await reply(send, 200, b"\n".join(json.dumps(self.result(json.loads(line))).encode() for line in lines))
        else:
            name = path.rpartition("/")[2]
            self.polls += 1
            state = "completed" if self.polls > self.ready_after else "in_progress"
            await reply(send, 200, {"id": name, "status": state, "output_file_id": f"out-{self.batches[name]}"})

    @staticmethod
    def result(line: dict[str, Any]) -> dict[str, Any]:
        text = line["body"]["messages"][-1]["content"].rpartition("\n")[2]
        return {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": completion(ANSWERS[text])}}


def test_a_batch_costs_half_and_is_handed_in_once(make_job: Make, places: Places) -> None:
    server = BatchServer()
    with served(server) as url:
        job = make_job(120, teach={"models": ["strong"], "batch": True, "max_tokens": 50})

        def fleet() -> Orchestrator:
            profile, provider = ModelProfile("strong", 1.0, 1.0, skill=0.9), PROVIDERS["openai"]
            backend = RemoteBackend(profile, provider=provider, base_url=f"{url}/v1", model="m", key="k")
            return Orchestrator({"strong": backend})

        async def interrupted() -> None:
            server.ready_after = 10**9
            run = JobRun(job, fleet(), places)
            await run.prepare()
            task = asyncio.ensure_future(run.run())
            while not server.polls:  # noqa: ASYNC110 - the server sets no event
                await asyncio.sleep(0.01)
            # What a kill leaves behind: the batch's id is noted, and nobody cancels the batch.
            assert run.store.fact("batch of strong")
            run.store.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await run.fleet.aclose()

        asyncio.run(interrupted())
        server.ready_after = 0
        job = make_job(130, teach={"models": ["strong"], "batch": True, "max_tokens": 50})

        async def resumed() -> Any:
            run = JobRun(job, fleet(), places)
            await run.prepare()
            try:
                return await run.run()
            finally:
                run.close()
                await run.fleet.aclose()

        result = asyncio.run(resumed())
    assert len(server.batches) == 2  # the one that was handed in before, and one of the ten texts that came since
    assert result.spent_usd == pytest.approx(130 * 30e-6 / 2)
    assert result.collected == 130
    assert "no answer" not in result.rejected


def test_the_flywheel_makes_students_when_their_time_has_come(folder: Path) -> None:
    kept = StudentLog(folder / ".orchestrator" / "students.db")
    settings = DistillConfig(path=str(folder / ".orchestrator" / "students.db"), jobs=["job.yaml"], every=3_600)

    async def turn() -> list[Any]:
        return await refresh_students(settings, kept, folder / "orchestrator.yaml")

    made = asyncio.run(turn())
    assert made[0]["state"] == "serving"
    assert (folder / "out" / "tickets.student").exists()
    assert asyncio.run(turn()) == []  # its time has not come again
    (folder / "job.yaml").write_text(yaml.safe_dump({"name": "tickets", "collect": [{"traffic": "1d"}]}))
    failing = DistillConfig(path=settings.path, jobs=["job.yaml"], every=0.000001)
    assert "error" in asyncio.run(refresh_students(failing, kept, None))[0]
    assert asyncio.run(refresh_students(DistillConfig(jobs=["job.yaml"]), kept, None)) == []
    kept.close()


def test_config_check_reads_the_jobs(folder: Path) -> None:
    (folder / "orchestrator.yaml").write_text("models: {c: {provider: calculator}}\ndistill: {jobs: [nowhere.yaml]}\n")
    result = CliRunner().invoke(main, ["config", "check"])
    assert result.exit_code == 2
    assert "nowhere.yaml: cannot be read" in result.output
    (folder / "orchestrator.yaml").write_text("models: {c: {provider: calculator}}\ndistill: {jobs: [job.yaml]}\n")
    assert CliRunner().invoke(main, ["config", "check"]).exit_code == 0
