"""prometheus-client's own parser over /metrics."""

import os
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families


def run(report):
    request = urllib.request.Request(
        f"{os.environ['GATEWAY']}/metrics", headers={"authorization": f"Bearer {os.environ['ADMIN']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        kind, text = answer.headers["content-type"], answer.read().decode()
    families = list((openmetrics if "openmetrics" in kind else text_string_to_metric_families)(text))
    report("families", len(families) > 5 and all(family.documentation for family in families))
    report("prefix", {family.name.split("_")[0] for family in families} == {"orchestrator"})
