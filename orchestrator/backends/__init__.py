"""Backends: the objects that can ask a model.

Every one follows `Backend`; a caller never needs to know whose model answered.
"""
