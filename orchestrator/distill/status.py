"""What students do in use: their share of the traffic, what that saves, how they agree, and their history."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime

from orchestrator.jsontypes import JsonObject
from orchestrator.storage.student_log import StudentLog

Z = 1.96
FEWEST_COSTS = 5
RECENT = 2_000


def students_status(kept: StudentLog) -> list[JsonObject]:
    """Of every student that is known, by name; blocks."""
    return [student_status(kept, name) for name in kept.students()]


def student_status(kept: StudentLog, name: str) -> JsonObject:
    """Of one student; blocks.

    `saved_usd` is reckoned from what its teachers cost for texts of its task, less what audits cost; the interval holds
    the mean cost with 95 % confidence, and is `None` while fewer than five costs are known.
    """
    versions = kept.versions(name)
    serving = next((each for each in reversed(versions) if each.state in ("serving", "withdrawn")), None)
    counts = kept.counts(name)
    version = kept.latest_version(name) if serving is None else serving.version
    audits = [] if version is None else kept.audits(name, version)
    complaints = [] if version is None else kept.audits(name, version, "feedback")
    agree = sum(not audit.disagrees for audit in audits)
    return {
        "object": "student",
        "name": name,
        "version": version,
        "state": "none" if serving is None else serving.state,
        "own": counts.own,
        "given": counts.given,
        "novel": counts.novel,
        "share": round(counts.given / counts.own, 4) if counts.own else None,
        "audits": len(audits),
        "audited_agreement": round(agree / len(audits), 4) if audits else None,
        "feedback": len(complaints),
        "complaints": sum(each.disagrees for each in complaints),
        **_saving(kept, name, counts.given),
        "certificate": None if serving is None else serving.facts.get("certificate"),
        "days": [
            {"day": day, "own": each.own, "given": each.given, "novel": each.novel} for day, each in kept.days(name)
        ],
        "history": [
            {
                "version": each.version,
                "state": each.state,
                "at": datetime.fromtimestamp(each.at, UTC).isoformat(timespec="seconds"),
                "coverage": each.facts.get("coverage"),
                "agreement": each.facts.get("agreement"),
                "rows": each.facts.get("rows"),
                "reason": each.facts.get("reason", ""),
            }
            for each in versions
        ],
    }


def _saving(kept: StudentLog, name: str, given: int) -> JsonObject:
    audits = kept.audit_costs(name)
    costs = [row.cost_usd for row in kept.taught(name, limit=RECENT)] + [usd for usd in audits if usd > 0]
    spent = sum(audits)
    if not costs:
        return {"saved_usd": None, "saved_usd_low": None, "saved_usd_high": None, "audits_usd": round(spent, 6)}
    mean = statistics.fmean(costs)
    saved = given * mean - spent
    found: JsonObject = {"saved_usd": round(saved, 6), "saved_usd_low": None, "saved_usd_high": None}
    if len(costs) >= FEWEST_COSTS:
        half = given * Z * statistics.stdev(costs) / math.sqrt(len(costs))
        found |= {"saved_usd_low": round(saved - half, 6), "saved_usd_high": round(saved + half, 6)}
    return found | {"audits_usd": round(spent, 6)}
