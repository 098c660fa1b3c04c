"""quickstart.py with a real model: it remembers, answers with a citation, and never spends more than two cents.

Needs OPENAI_API_KEY; or name "ollama/llama3.2" instead, which needs Ollama on this machine and no key.
"""

from orchestrator import Orchestrator, OrchestratorError

with Orchestrator("openai/gpt-5-mini", memory="memory.db", budget=0.02) as fleet:
    fleet.remember_sync("We moved the workshop to 14 Harbour Street.", "shop")
    for question in ("Where is the workshop?", "Who wrote Moby-Dick?"):
        try:
            answer = fleet.answer_sync(question, scope="shop")
        except OrchestratorError as error:
            print(f"{question}\n  {error}")
        else:
            print(f"{question}\n  {answer}\n  cites {answer.citations or 'nothing'}")
