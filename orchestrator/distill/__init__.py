"""Distillation: the strong models teach, students answer, and the promise holds.

A job collects texts, lets the fleet answer them, keeps what verification believes, exports it, and trains a student
that answers what it has mastered (docs/distill.md).

Example:
    >>> from orchestrator.distill.job import JobRun  # doctest: +SKIP
"""
