"""Offline.

Learn the weights of relevance and distil the static encoder (`python -m orchestrator.memory.training.tune`).
"""
