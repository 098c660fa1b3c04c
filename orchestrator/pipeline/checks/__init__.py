"""Checks that a step can ask for."""
