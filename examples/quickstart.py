"""Remember facts, ask questions, read how sure the answer is and where it comes from. No key and no network needed."""

from datetime import datetime

from orchestrator import CalculatorBackend, ExtractiveBackend, NoAdequateModel, Orchestrator
from orchestrator.memory import Memory

with Orchestrator(
    {"calculator": CalculatorBackend(), "extractive": ExtractiveBackend()}, memory=Memory("memory.db")
) as orchestrator:
    orchestrator.remember_sync("The workshop is at 3 Tar Lane.", "shop", time=datetime(2019, 4, 2))
    orchestrator.remember_sync("We moved the workshop to 14 Harbour Street.", "shop", time=datetime(2024, 5, 18))

    for question in ("Where is the workshop?", "What is 15% of 4,740?", "Who wrote Moby-Dick?"):
        try:
            answer = orchestrator.answer_sync(question, scope="shop")
        except NoAdequateModel as error:
            print(f"{question}\n  nobody here knows. {error.remedy}")
        else:
            print(
                f"{question}\n  {answer.text}\n  P(correct) {answer.confidence:.2f}, {answer.cost_usd} USD, by "
                f"{answer.model}"
            )
