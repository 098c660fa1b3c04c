"""The whole idea in a hundred lines: a prior from the router, drafts as evidence, a budget that holds.

Rebuilt from the package's leaves, with the plainest belief that works; the engine's own knows that models err together,
that answers can be guessed, and looks more than one draft ahead. The three models are SIMULATED: stated skills, no
network.
"""

import random
from dataclasses import dataclass, replace

from orchestrator import BudgetExceeded
from orchestrator.budget import Budget, Ledger
from orchestrator.router import ModelProfile, Router
from orchestrator.testing import SimulatedModel, SimulatedProblem
from orchestrator.verifiers import group_answers, read_answer

FLEET = [
    ModelProfile("small", input_usd_per_mtok=0.1, output_usd_per_mtok=0.4, skill=0.6),
    ModelProfile("middle", input_usd_per_mtok=0.5, output_usd_per_mtok=2.0, skill=0.8),
    ModelProfile("large", input_usd_per_mtok=3.0, output_usd_per_mtok=15.0, skill=0.97),
]
VALUE_USD = 0.02  # what a right answer is worth
WRONG_ANSWERS = 10  # how many different ones there are to a question


@dataclass(frozen=True)
class Draft:
    """What a model said, and how likely it was to be right before it said anything."""

    model: str
    text: str
    prior: float


def believe(drafts: list[Draft], question: str) -> dict[str, float]:
    """P(correct) of every different answer, by Bayes: models err independently, each wrong answer as likely as another.

    What is missing to 1 is the chance that none of them is right.
    """
    keys = group_answers([read_answer(draft.text, question) for draft in drafts], question).keys
    weights = dict.fromkeys(map(str, keys), 1.0)
    weights["none of them"] = WRONG_ANSWERS + 1.0 - len(weights)  # the other answers that there might be
    for key, draft in zip(keys, drafts, strict=True):
        for answer in weights:
            weights[answer] *= draft.prior if answer == str(key) else (1 - draft.prior) / WRONG_ANSWERS
    return {answer: weight / sum(weights.values()) for answer, weight in weights.items() if answer != "none of them"}


def gain(belief: dict[str, float], prior: float) -> float:
    """How much P(correct) of the best answer is expected to rise by one more draft (value of information)."""
    best = max(belief.values(), default=0.0)
    expected, said_before = 0.0, 0.0
    for p in belief.values():
        says_it = p * prior + (1 - p) * (1 - prior) / WRONG_ANSWERS
        said_before += says_it
        expected += says_it * max(p * prior / says_it, best * (1 - prior) / WRONG_ANSWERS / says_it)
    says_new = 1.0 - said_before
    none = 1.0 - sum(belief.values())
    return expected + max(none * prior, best * (1 - prior) * says_new) - best


def answer(question: str, models: dict[str, SimulatedModel], budget: Budget) -> str:
    """Asks whoever raises P(correct) most for each cent, until nobody is worth it or the money is short."""
    route = Router().route(question, FLEET, quality=0.9)
    options = {option.model: option for option in route.options}
    ledger, drafts, belief = Ledger(budget), list[Draft](), dict[str, float]()
    while left := [name for name in models if name not in {draft.model for draft in drafts}]:
        worth = {n: VALUE_USD * gain(belief, options[n].p_success) - (options[n].cost_usd or 0.0) for n in left}
        name = max(worth, key=lambda n: worth[n] / (options[n].cost_usd or 1e-9))
        if worth[name] <= 0:
            break
        profile = models[name].profile
        try:  # the worst case is held before the call ...
            held = ledger.reserve(usd=profile.cost_usd(200, 400), tokens=600)
        except BudgetExceeded:
            break
        reply = models[name].reply(question, prefill_tokens=40)
        spent = profile.cost_usd(reply.prefill_tokens, reply.output_tokens) or 0.0
        ledger.settle(held, usd=spent, tokens=reply.prefill_tokens + reply.output_tokens)  # ... and settled after it
        drafts.append(Draft(name, reply.text, options[name].p_success))
        belief = believe(drafts, question)
    best = max(belief, key=lambda key: belief[key])
    asked = ", ".join(draft.model for draft in drafts)
    said = best.removeprefix("number:")
    return f"{said:>5}  P(correct) {belief[best]:.2f}  {ledger.spent_usd:.6f} USD  asked {asked}"


if __name__ == "__main__":
    rng = random.Random(4)
    problems = {
        f"What is {a} * {b}?": str(a * b) for a, b in ((rng.randint(12, 99), rng.randint(12, 99)) for _ in range(6))
    }
    known = {q: SimulatedProblem(q, right, difficulty=rng.uniform(-1, 2)) for q, right in problems.items()}
    models = {p.name: SimulatedModel(replace(p, output_tokens=60), known, seed=n) for n, p in enumerate(FLEET)}
    print("SIMULATED models; at most a cent a question")
    for question, right in problems.items():
        print(f"{question:18} right: {right:>5}  said: {answer(question, models, Budget(usd=0.01))}")
