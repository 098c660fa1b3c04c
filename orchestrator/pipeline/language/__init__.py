"""A pipeline's YAML: sources, places, documents, fields, and mistakes with their codes."""
