"""Checks of an answer's form: schema, length, pattern, language, personal data, safety."""
