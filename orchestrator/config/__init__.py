"""orchestrator.yaml: its models, and mistakes with their place."""
