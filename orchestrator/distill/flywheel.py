"""New students from traffic, as often as the configuration says: traffic, verified rows, student, and again.

Training takes a processor for seconds to minutes, so it runs in a process of its own; of several gateways that share a
database one does it. A fleet in use takes up the new file by itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from orchestrator.config.distill_job import load_job
from orchestrator.config.models import DistillConfig
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.student_log import StudentLog

log = logging.getLogger(__name__)


async def refresh_students(settings: DistillConfig, kept: StudentLog, config: Path | None) -> list[JsonObject]:
    """Makes the students whose time has come; what came of each, as `orchestrator distill --json` tells it.

    A job that fails is logged, and tried again when its time comes again.
    """
    if settings.every is None:
        return []
    found = []
    for path in settings.jobs:
        try:
            name = load_job(path).name
        except ConfigError as error:
            log.error("a job of distillation cannot be read", extra={"job": path, "reason": error.message})
            continue
        if await asyncio.to_thread(kept.claim, name, settings.every):
            found.append(await _run(path, config))
    return found


async def _run(path: str, config: Path | None) -> JsonObject:
    command = [sys.executable, "-m", "orchestrator", "distill", "run", path, "--from-traffic", "--json"]
    if config is not None:
        command += ["--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()  # what it paid for is kept; the next run goes on with it
        await process.wait()
        raise
    try:
        result: JsonObject = json.loads(output)
    except ValueError:
        result = {"error": {"message": f"the process ended with {process.returncode}"}}
    if "error" in result:
        log.warning("no student was made", extra={"job": path, "reason": result["error"].get("message", "")})
    else:
        log.info("a student was made", extra={"job": path, "state": result["state"], "version": result["version"]})
    return {"job": path, **result}
