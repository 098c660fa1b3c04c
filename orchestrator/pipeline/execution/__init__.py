"""Runs of a pipeline: scheduling, durable journal, results."""
