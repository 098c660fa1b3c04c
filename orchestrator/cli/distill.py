"""`orchestrator distill`: strong models teach a student, which then answers what it has mastered."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import (
    DefaultGroup,
    as_json,
    config_option,
    hint,
    quiet_option,
    reports_errors,
    run_with,
    stated_config,
)
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.config.distill_job import DistillJob
    from orchestrator.distill.collect import Places
    from orchestrator.distill.result import JobResult
    from orchestrator.distill.teach import TeachingForecast
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.storage.student_log import StudentLog


@click.group("distill", cls=DefaultGroup)
def command() -> None:
    """Let strong models teach a small one: `orchestrator distill JOB.yaml`.

    The job's file says which task, where texts come from, who teaches, and what is promised (docs/distill.md). The
    student is one file; name it as a model, `provider: student`, and it answers what it has mastered.
    """


@command.command("run")
@click.argument("job", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--forecast", "only_forecast", is_flag=True, help="Say what it will take, and ask nobody.")
@click.option("--from-traffic", is_flag=True, help="Learn from what the fleet answered, too.")
@click.option("--new-teachers", is_flag=True, help="Go on although the teachers have changed.")
@config_option
@quiet_option
@as_json
@reports_errors
def run(
    job: Path, only_forecast: bool, from_traffic: bool, new_teachers: bool, config: Path | None, as_json: bool
) -> None:
    """Collect, teach, filter, export, train and certify; what was done by an earlier run is not done again."""

    async def work(fleet: Orchestrator) -> None:
        from orchestrator.distill.job import JobRun

        stated = load(job)
        places = places_of(config)
        under_way = JobRun(
            stated,
            fleet,
            places,
            on_progress=_no_progress if as_json else _progress,
            with_traffic=from_traffic,
            may_change_teachers=new_teachers,
        )
        try:
            expected = await under_way.prepare()
            if only_forecast:
                click.echo(json.dumps(_forecast_json(expected), indent=2) if as_json else forecast_text(expected))
                return
            if not as_json:
                hint(forecast_text(expected))
            done = await under_way.run()
        finally:
            under_way.close()
        quality = fleet.quality
        click.echo(json.dumps(done.as_dict(), indent=2) if as_json else result_text(stated, done, quality))

    run_with(config, None, work, memory=None)


@command.command("report")
@click.argument("job", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@as_json
@reports_errors
def report(job: Path, config: Path | None, as_json: bool) -> None:
    """Compare student, teacher and both together on held-out texts; write report.html beside the student."""
    from orchestrator.distill.job import report_of

    stated = load(job)
    done, page = report_of(stated, places_of(config))
    if as_json:
        click.echo(json.dumps({**done.as_dict(), "page": str(page)}, indent=2))
        return
    click.echo(result_text(stated, done))


@command.command("status")
@click.argument("name", required=False)
@config_option
@as_json
@reports_errors
def status(name: str | None, config: Path | None, as_json: bool) -> None:
    """Show what students in use do: share of traffic, saving, agreement, history."""
    from orchestrator.distill.status import student_status, students_status
    from orchestrator.errors import ConfigError

    kept = students_of(config)
    known = kept.students()
    found = students_status(kept) if name is None else [student_status(kept, name)] if name in known else []
    kept.close()
    if name is not None and not found:
        raise ConfigError(f"no student {name!r} is known", remedy=f"Known are: {', '.join(known) or 'none'}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no student is known here. Make one: orchestrator distill JOB.yaml")
    for each in found:
        click.echo(status_text(each))


@command.command("fine-tune")
@click.argument("job", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="A model of the fleet, whose provider tunes it.")
@click.option("--epochs", type=click.IntRange(1, 50), help="Default: the provider's choice.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is done.")
@click.option("--yes", is_flag=True, help="Do not ask whether the provider may bill the training.")
@config_option
@as_json
@reports_errors
def fine_tune(
    job: Path, model: str, epochs: int | None, wait: bool, yes: bool, config: Path | None, as_json: bool
) -> None:
    """Upload what was exported and begin fine-tuning at the provider of a model (OpenAI's API)."""
    stated = load(job)

    async def work(fleet: Orchestrator) -> None:
        from orchestrator.distill.tuning import begin_tuning, check_tunable, exported, wait_for_tuning

        train, test, tokens = exported(stated)
        check_tunable(fleet, model)
        if not yes and not as_json:
            click.confirm(
                f"{model}'s provider will bill the training of about {tokens:,} tokens an epoch, at its own prices. "
                "Go on?",
                abort=True,
            )
        tuning, number = await begin_tuning(fleet, model, train, test, seed=stated.seed, epochs=epochs)
        if not as_json:
            hint(f"job {number} has begun")
        found = await wait_for_tuning(tuning, number, wait=wait)
        click.echo(json.dumps(found, indent=2) if as_json else _tuning_text(stated, found))

    run_with(config, None, work, memory=None)


def load(path: Path) -> DistillJob:
    """The job in a file."""
    from orchestrator.config.distill_job import load_job

    return load_job(path)


def students_of(config: Path | None) -> StudentLog:
    """What is kept of students."""
    from orchestrator.config.models import DistillConfig
    from orchestrator.storage.student_log import StudentLog

    stated = stated_config(config)
    settings = DistillConfig() if stated is None or stated.distill is None else stated.distill
    return StudentLog(settings.path)


def places_of(config: Path | None) -> Places:
    """Where the fleet keeps what a job may learn from."""
    from functools import lru_cache

    from orchestrator.config.models import OnlineConfig
    from orchestrator.distill.collect import Places
    from orchestrator.storage import DecisionLog

    stated = stated_config(config)
    online = OnlineConfig() if stated is None or stated.online is None else stated.online
    return Places(lru_cache(1)(lambda: students_of(config)), lru_cache(1)(lambda: DecisionLog(online.path)))


def forecast_text(expected: TeachingForecast) -> str:
    """What a job will take, in a line."""
    if not expected.texts:
        return "every text is answered already: nobody has to be asked"
    cost = "at a cost that nobody knows (a price is missing)"
    short = ""
    if expected.usd is not None:
        cost = f"for about {expected.usd:.4f} USD"
        if expected.usd > expected.left_usd:
            short = "; the budget will end before that, and what is answered by then counts"
    each = "" if expected.calls == expected.texts else f" in {expected.calls} calls"
    return f"{expected.texts} texts are to be answered{each} {cost}, at most {expected.left_usd:.4f} USD{short}"


def result_text(job: DistillJob, done: JobResult, quality: float | None = None) -> str:
    """What came of a job, in lines of the terminal's width."""
    from orchestrator.distill.report import promise_line, quality_note, summary
    from orchestrator.distill.result import student_file

    rejected = ", ".join(f"{reason} ({count})" for reason, count in done.rejected.items()) or "none"
    lines = [
        ("texts", f"{done.collected} collected, {done.kept} kept; rejected: {rejected}"),
        ("spent", f"{done.spent_usd:.4f} USD in all"),
    ]
    if done.ended_early:
        lines.append(("early", done.ended_early))
    lines.append(("files", str(done.folder)))
    if done.student is None:
        lines.append(("next", "fine-tune a model: see recipes/README.md there"))
        return _hanging(lines)
    lines += [("student", summary(job, done)), ("promise", promise_line(done))]
    if done.state == "serving":
        file = done.folder / student_file(job.name)
        lines.append(("use it", f"models: {{{job.name}: {{provider: student, file: {file}}}}}"))
        note = "" if quality is None else quality_note(done, quality)
        if note:
            lines.append(("note", note))
    lines.append(("report", str(done.folder / "report.html")))
    return _hanging(lines)


def _hanging(lines: list[tuple[str, str]]) -> str:
    """Names, and what belongs to them in lines of the terminal's width; paths stay whole."""
    width = max(shutil.get_terminal_size().columns, 40)
    found = []
    for name, told in lines:
        own = textwrap.wrap(told, width - 9, break_long_words=False, break_on_hyphens=False) or [""]
        found += [f"{name:<9}{own[0]}", *(f"{'':9}{line}" for line in own[1:])]
    return "\n".join(found)


def status_text(found: JsonObject) -> str:
    """One student in use, in a few lines."""
    share = "" if found["share"] is None else f" ({found['share']:.1%})"
    lines = [
        f"{found['name']}: version {found['version']}, {found['state']}",
        f"  answered   {found['given']} of {found['own']} queries of its task{share}",
    ]
    if found["audits"]:
        lines.append(f"  audits     {found['audits']}, agreement {found['audited_agreement']:.1%}")
    if found["feedback"]:
        lines.append(f"  feedback   {found['feedback']}, of which {found['complaints']} say that it was wrong")
    if found["saved_usd"] is not None:
        interval = ""
        if found["saved_usd_low"] is not None:
            interval = f" (95 % interval {found['saved_usd_low']:z.4f} to {found['saved_usd_high']:z.4f})"
        lines.append(f"  saved      {found['saved_usd']:z.4f} USD{interval}, audits cost {found['audits_usd']:.4f}")
    history = [
        f"  version {each['version']:<3} {each['state']:<9} {each['at'][:16]}  {each['reason']}"
        for each in found["history"]
    ]
    return "\n".join([*lines, *history])


def _forecast_json(expected: TeachingForecast) -> JsonObject:
    return {"texts": expected.texts, "calls": expected.calls, "usd": expected.usd, "left_usd": expected.left_usd}


def _tuning_text(job: DistillJob, found: JsonObject) -> str:
    if found["state"] == "done":
        return f"tuned: {found['model']}\nmodels: {{{job.name}-tuned: {{provider: openai, model: {found['model']!r}}}}}"
    if found["state"] == "running":
        return f"job {found['id']} is running; ask again with the provider's own tools"
    return f"job {found['id']} {found['state']}: {found['reason']}"


def _progress(what: str, done: int, of: int, usd: float) -> None:
    step = max(of // 20, 1)
    if done % step and done != of:
        return
    width = shutil.get_terminal_size().columns
    hint(f"{what}: {done} of {of}, {usd:.4f} USD"[:width])


def _no_progress(what: str, done: int, of: int, usd: float) -> None:
    return
