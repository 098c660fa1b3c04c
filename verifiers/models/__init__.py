"""Checks that ask or train a model: judges and reward models."""
