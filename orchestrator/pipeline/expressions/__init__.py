"""Expressions and templates of the pipeline language: grammar, types, evaluation."""
