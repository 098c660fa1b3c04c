"""Looking at a pipeline without running it: JSON Schema, forecast, diagram."""
