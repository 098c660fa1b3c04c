"""Servers, models and recordings that tests share."""
