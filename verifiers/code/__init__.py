"""Checks of programs: unit tests, and what programs do on the same inputs."""
