"""OpenTelemetry spans in the GenAI conventions: one bridge for the SDK, pipelines and the gateway. No content."""

from orchestrator.telemetry.spans import Conventions, Telemetry, response_attributes

__all__ = ["Conventions", "Telemetry", "response_attributes"]
