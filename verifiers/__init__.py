"""Checks on answers: each returns a `Verdict` in [0, 1] or abstains with its reason.

Usable without the rest of the project.
"""

from typing import TYPE_CHECKING, Any

from orchestrator.verifiers.answers.agreement import Agreement, Groups, group_answers, group_equivalent
from orchestrator.verifiers.answers.choice import ChoiceVerifier, find_choice, offered_choices
from orchestrator.verifiers.answers.code_blocks import find_program
from orchestrator.verifiers.answers.equivalence import CanonicalAnswer, canonical_answer, equivalent
from orchestrator.verifiers.answers.final_answer import final_answer_text
from orchestrator.verifiers.answers.non_answers import NonAnswer, invites_abstention, why_no_answer
from orchestrator.verifiers.answers.number import NumericVerifier, find_number, numbers_equal, parse_number
from orchestrator.verifiers.answers.reading import Reading, read_answer
from orchestrator.verifiers.answers.sameness import Equivalence
from orchestrator.verifiers.answers.tool_calls import equivalent_calls
from orchestrator.verifiers.code.programs import BehaviourVerifier, GeneratedTestsVerifier, SameProgramVerifier
from orchestrator.verifiers.code.unit_tests import UnitTestVerifier
from orchestrator.verifiers.compose import all_of, any_of, weighted
from orchestrator.verifiers.ensemble import Ensemble, Evidence
from orchestrator.verifiers.form.language import LanguageVerifier
from orchestrator.verifiers.form.personal_data import PersonalDataVerifier
from orchestrator.verifiers.form.regex_length import LengthVerifier, RegexVerifier
from orchestrator.verifiers.form.safety import SafetyVerifier
from orchestrator.verifiers.form.schema import JsonSchemaVerifier, find_json
from orchestrator.verifiers.grounding import Claim, GroundingVerifier, Source, claims_of
from orchestrator.verifiers.mathematics import MathematicsVerifier
from orchestrator.verifiers.models.judge import (
    BetterThanVerifier,
    Bias,
    Criterion,
    JudgeVerifier,
    ModelReply,
    PairwiseJudge,
)
from orchestrator.verifiers.models.reward import GradedAnswer, RewardModel, RewardVerifier, train_reward
from orchestrator.verifiers.quantity import QuantityVerifier
from orchestrator.verifiers.sandbox import Sandbox, level_at_hand
from orchestrator.verifiers.sql import SqlVerifier
from orchestrator.verifiers.verdict import Verdict, Verifier, price_of

if TYPE_CHECKING:
    from orchestrator.verifiers.learning import agree_ensemble, fit_ensemble

__all__ = [
    "Agreement",
    "BehaviourVerifier",
    "BetterThanVerifier",
    "Bias",
    "CanonicalAnswer",
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
    "ModelReply",
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
    "SameProgramVerifier",
    "Sandbox",
    "Source",
    "SqlVerifier",
    "UnitTestVerifier",
    "Verdict",
    "Verifier",
    "agree_ensemble",
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
    "fit_ensemble",
    "group_answers",
    "group_equivalent",
    "invites_abstention",
    "level_at_hand",
    "numbers_equal",
    "offered_choices",
    "parse_number",
    "price_of",
    "read_answer",
    "train_reward",
    "weighted",
    "why_no_answer",
]


def __getattr__(name: str) -> Any:
    if name not in ("agree_ensemble", "fit_ensemble"):
        raise AttributeError(f"module 'orchestrator.verifiers' has no attribute {name!r}")
    from orchestrator.verifiers import learning  # numpy

    return getattr(learning, name)


if __name__ == "verifiers":  # the old name of this package, which a checkout on the path still offers
    from importlib import import_module

    import_module("orchestrator._deprecated").replace_package(__name__)
