"""Tests that stand in a pipeline's file, with models and tools played."""
