"""Checks on answers: each returns a `Verdict` in [0, 1] or abstains with its reason. Usable without the rest of the project."""

from verifiers.agreement import Agreement, group_equivalent
from verifiers.choice import ChoiceVerifier, find_choice, offered_choices
from verifiers.code import UnitTestVerifier, find_program
from verifiers.compose import all_of, any_of, weighted
from verifiers.ensemble import Ensemble, Evidence
from verifiers.equivalence import Answer, canonical_answer, equivalent, final_answer_text
from verifiers.form import LengthVerifier, RegexVerifier
from verifiers.grounding import GroundingVerifier, Source
from verifiers.numeric import NumericVerifier, find_number, numbers_equal, parse_number
from verifiers.personal import PersonalDataVerifier
from verifiers.schema import JsonSchemaVerifier, find_json
from verifiers.sql import SqlVerifier
from verifiers.verdict import Verdict, Verifier, price_of

__all__ = [
    "Agreement",
    "Answer",
    "ChoiceVerifier",
    "Ensemble",
    "Evidence",
    "GroundingVerifier",
    "JsonSchemaVerifier",
    "LengthVerifier",
    "NumericVerifier",
    "PersonalDataVerifier",
    "RegexVerifier",
    "Source",
    "SqlVerifier",
    "UnitTestVerifier",
    "Verdict",
    "Verifier",
    "all_of",
    "any_of",
    "canonical_answer",
    "equivalent",
    "final_answer_text",
    "find_choice",
    "find_json",
    "find_number",
    "find_program",
    "group_equivalent",
    "numbers_equal",
    "offered_choices",
    "parse_number",
    "price_of",
    "weighted",
]
