"""Checks on answers: each returns a `Verdict` in [0, 1] or abstains with its reason. Usable without the rest of the project."""

from verifiers.answers.agreement import Agreement, Groups, group_answers, group_equivalent
from verifiers.answers.choice import ChoiceVerifier, find_choice, offered_choices
from verifiers.answers.code_blocks import find_program
from verifiers.answers.equivalence import Answer, canonical_answer, equivalent
from verifiers.answers.final_answer import final_answer_text
from verifiers.answers.non_answers import NonAnswer, invites_abstention, why_no_answer
from verifiers.answers.number import NumericVerifier, find_number, numbers_equal, parse_number
from verifiers.answers.reading import Reading, read_answer
from verifiers.answers.sameness import Equivalence
from verifiers.answers.tool_calls import equivalent_calls
from verifiers.code import UnitTestVerifier
from verifiers.compose import all_of, any_of, weighted
from verifiers.ensemble import Ensemble, Evidence
from verifiers.form import LengthVerifier, RegexVerifier
from verifiers.grounding import Claim, GroundingVerifier, Source, claims_of
from verifiers.judge import BetterThanVerifier, Bias, Criterion, JudgeVerifier, PairwiseJudge, Said
from verifiers.language import LanguageVerifier
from verifiers.mathematics import MathematicsVerifier
from verifiers.personal import PersonalDataVerifier
from verifiers.programs import BehaviourVerifier, GeneratedTestsVerifier, SameProgramVerifier
from verifiers.quantity import QuantityVerifier
from verifiers.reward import GradedAnswer, RewardModel, RewardVerifier, train_reward
from verifiers.safety import SafetyVerifier
from verifiers.schema import JsonSchemaVerifier, find_json
from verifiers.sql import SqlVerifier
from verifiers.verdict import Verdict, Verifier, price_of

__all__ = [
    "Agreement",
    "Answer",
    "BehaviourVerifier",
    "BetterThanVerifier",
    "Bias",
    "ChoiceVerifier",
    "Claim",
    "Criterion",
    "Ensemble",
    "Equivalence",
    "Evidence",
    "GeneratedTestsVerifier",
    "GradedAnswer",
    "GroundingVerifier",
    "Groups",
    "JsonSchemaVerifier",
    "JudgeVerifier",
    "LanguageVerifier",
    "LengthVerifier",
    "MathematicsVerifier",
    "NonAnswer",
    "NumericVerifier",
    "PairwiseJudge",
    "PersonalDataVerifier",
    "QuantityVerifier",
    "Reading",
    "RegexVerifier",
    "RewardModel",
    "RewardVerifier",
    "SafetyVerifier",
    "Said",
    "SameProgramVerifier",
    "Source",
    "SqlVerifier",
    "UnitTestVerifier",
    "Verdict",
    "Verifier",
    "all_of",
    "any_of",
    "canonical_answer",
    "claims_of",
    "equivalent",
    "equivalent_calls",
    "final_answer_text",
    "find_choice",
    "find_json",
    "find_number",
    "find_program",
    "group_answers",
    "group_equivalent",
    "invites_abstention",
    "numbers_equal",
    "offered_choices",
    "parse_number",
    "price_of",
    "read_answer",
    "train_reward",
    "weighted",
    "why_no_answer",
]
