"""Mistakes that newcomers make in Python, each with the error that it should end in and words that must stand in it.

Taken from questions and reports about the clients of this field (a missing await, a blocking call inside a loop, a
string where an object is wanted, a misspelt keyword or model), and from our own list of small wrongs.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import warnings
from collections.abc import Callable, Coroutine, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import (
    BackendUnavailable,
    BlockingCall,
    Budget,
    BudgetExceeded,
    CalculatorBackend,
    ConfigError,
    ExtractiveBackend,
    InvalidAnswer,
    InvalidArgument,
    InvalidBudget,
    InvalidQuery,
    Memory,
    Message,
    Model,
    ModelProfile,
    NoAdequateModel,
    NotAwaited,
    Orchestrator,
    OrchestratorError,
    Query,
    RemoteBackend,
    StorageError,
    UnknownModel,
)
from orchestrator.memory import InvalidRecord, ScopeError, StoreError
from orchestrator.testing import ScriptedBackend
from orchestrator.verifiers import JsonSchemaVerifier


@dataclass(frozen=True)
class Mistake:
    """`make` is what somebody writes; it must raise `error` with each of `words` in its text."""

    name: str
    make: Callable[[], object]
    error: type[Exception]
    words: tuple[str, ...]


def caught(mistake: Mistake) -> str:
    """ "" if the mistake ends as it should, else what is wrong with how it ends."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mistake.make()
    except OrchestratorError as error:
        if not isinstance(error, mistake.error):
            return f"{type(error).__name__} instead of {mistake.error.__name__}: {error}"
        missing = [word for word in mistake.words if word not in str(error)]
        if missing:
            return f"it does not say {missing}: {error}"
        return "" if error.remedy or mistake.error in (InvalidRecord, ScopeError, StoreError) else f"no remedy: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def fleet(**settings: Any) -> Orchestrator:
    """A fleet of one model that answers the same to everything."""
    return Orchestrator(ScriptedBackend("small", "The answer is 42"), **settings)


def ask(query: Any = "What is the answer?", **settings: Any) -> object:
    """One question to that fleet."""
    with fleet() as orchestrator:
        return orchestrator.answer_sync(query, **settings)


def awaited(job: Callable[[], Coroutine[None, None, object]]) -> object:
    """What a coroutine gives."""
    return asyncio.run(job())


async def _sync_inside_async() -> None:
    fleet().answer_sync("Is it blocked?")


async def _sync_stream_inside_async() -> None:
    list(fleet().stream_text_sync("Is it blocked?"))


async def _awaits_a_stream() -> None:
    await fleet().stream("What is awaited?")


def _uses_a_closed_memory() -> None:
    memory = Memory(":memory:")
    memory.close()
    memory.recall("anything", "default")


def _asks_in_another_scope() -> object:
    memory = Memory(":memory:")
    memory.remember("The Gale lantern costs 79 euros.", "shop/ann")
    with Orchestrator(ExtractiveBackend(), memory=memory) as orchestrator:
        return orchestrator.answer_sync("What does the Gale lantern cost?")


def _asks_a_dead_server() -> object:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    profile = ModelProfile("far", 1.0, 1.0, skill=0.9)
    backend = RemoteBackend(profile, base_url=f"http://127.0.0.1:{port}/v1", attempts=1)
    with Orchestrator(backend) as orchestrator:
        return orchestrator.answer_sync("Is anybody there?")


class _Broken(ScriptedBackend):
    async def complete(self, request: Any) -> Any:
        raise KeyError("a bug")


def _has_a_bug() -> object:
    import logging

    logging.getLogger("orchestrator.search.controller").addHandler(logging.NullHandler())
    with Orchestrator(_Broken("mine")) as orchestrator:
        return orchestrator.answer_sync("What happens?")


def _reads_a_value_that_is_none() -> object:
    with Orchestrator(ScriptedBackend("small", "I would rather not say.")) as orchestrator:
        return orchestrator.answer_sync("How old?", schema={"type": "object"}, budget={"calls": 1}).value


@contextmanager
def environment(**variables: str | None) -> Any:
    """These variables, for as long as the block lasts; `None` unsets one."""
    before = {name: os.environ.get(name) for name in variables}

    def state(values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    state(variables)
    try:
        yield
    finally:
        state(before)


def _names(*models: Any, **settings: Any) -> object:
    with environment(OPENAI_API_KEY="sk-none"):
        return Orchestrator(*models, **settings)


def _without_key() -> object:
    with environment(ANTHROPIC_API_KEY=None):
        return Orchestrator("anthropic/claude-haiku-4-5")


A_SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
MISTAKES: tuple[Mistake, ...] = (
    # Setting up
    Mistake("no model at all", Orchestrator, ConfigError, ("empty", "at_hand")),
    Mistake("a misspelt provider", lambda: _names("opnai/gpt-5-mini"), UnknownModel, ("Did you mean 'openai'",)),
    Mistake("a misspelt model", lambda: _names("openai/gpt-5-mimi"), UnknownModel, ("'openai/gpt-5-mini'",)),
    Mistake("a model without provider", lambda: _names("gpt-5-mini"), UnknownModel, ("'openai/gpt-5-mini'",)),
    Mistake("a provider without model", lambda: _names("openai/"), UnknownModel, ("openai/MODEL",)),
    Mistake("no key", _without_key, ConfigError, ("ANTHROPIC_API_KEY", "api_key=")),
    Mistake(
        "an unknown price under a budget", lambda: _names("openai/zeta", budget=1), ConfigError, ("price", "Model(")
    ),
    Mistake("a list of models", lambda: _names(["openai/gpt-5-mini"]), InvalidArgument, ("list",)),
    Mistake("None for a model", lambda: _names(None), InvalidArgument, ("None",)),
    Mistake(
        "a class for a model",
        lambda: Orchestrator(CalculatorBackend),
        InvalidArgument,
        ("class", "CalculatorBackend()"),
    ),
    Mistake("one model twice", lambda: _names("openai/gpt-5-mini", "openai/gpt-5-mini"), InvalidArgument, ("alias",)),
    Mistake("a misspelt keyword", lambda: fleet(budgt=1), InvalidArgument, ("Did you mean 'budget'",)),
    Mistake(
        "a model's setting for the fleet",
        lambda: fleet(base_url="http://127.0.0.1:8000/v1"),
        InvalidArgument,
        ("Model('provider/model', base_url=...)",),
    ),
    Mistake("a budget that no float holds", lambda: fleet(budget=10**400), InvalidBudget, ("finite",)),
    Mistake("memory=True", lambda: fleet(memory=True), InvalidArgument, ("memory.db",)),
    Mistake("a class for a memory", lambda: fleet(memory=Memory), InvalidArgument, ("the class Memory",)),
    Mistake("a folder for a memory", lambda: fleet(memory="/"), StoreError, ("/",)),
    Mistake("budget in words", lambda: fleet(budget="two cents"), InvalidBudget, ('"$0.02"',)),
    Mistake("budget=True", lambda: fleet(budget=True), InvalidBudget, ("True",)),
    Mistake("a negative budget", lambda: fleet(budget=-1), InvalidBudget, ("usd", "at least 0")),
    Mistake("an unknown limit", lambda: fleet(budget={"usdd": 1}), InvalidBudget, ("Did you mean 'usd'",)),
    Mistake("half a call", lambda: Budget(calls=1.5), InvalidBudget, ("whole number",)),
    Mistake("quality in percent", lambda: fleet(quality=90), InvalidArgument, ("[0, 1]",)),
    Mistake("a misspelt strategy", lambda: fleet(strategy="adaptve"), ConfigError, ("adaptive",)),
    Mistake("a number for a strategy", lambda: fleet(strategy=3), InvalidArgument, ("strategy",)),
    Mistake(
        "a class for a verifier",
        lambda: fleet(verifiers=[JsonSchemaVerifier]),
        InvalidArgument,
        ("JsonSchemaVerifier(",),
    ),
    Mistake("a function for a verifier", lambda: fleet(verifiers=[print]), InvalidArgument, ("verify",)),
    Mistake("an unknown fallback", lambda: fleet(fallbacks=["smal"]), UnknownModel, ("Did you mean 'small'",)),
    Mistake("only fallbacks", lambda: fleet(fallbacks=["small"]), InvalidArgument, ("at least one",)),
    Mistake("fallbacks as text", lambda: fleet(fallbacks="small"), InvalidArgument, ("list",)),
    Mistake(
        "a temperature too high",
        lambda: Model("openai/gpt-5-mini", temperature=9).connect(),
        InvalidArgument,
        ("temperature",),
    ),
    Mistake("max_tokens in extra_body", lambda: ask(extra_body={"max_tokens": 9}), InvalidArgument, ("max_tokens",)),
    Mistake("no configuration", lambda: Orchestrator.from_config("nowhere.yaml"), ConfigError, ("no such file",)),
    Mistake(
        "a misspelt field", lambda: Orchestrator.from_config({"modles": {}}), ConfigError, ("Did you mean 'models'",)
    ),
    Mistake("a number as configuration", lambda: Orchestrator.from_config(3), ConfigError, ("int",)),
    # Asking
    Mistake("nothing asked", lambda: ask(None), InvalidQuery, ("nothing is asked",)),
    Mistake("an empty question", lambda: ask("  "), InvalidQuery, ("empty",)),
    Mistake("a number for a question", lambda: ask(42), InvalidQuery, ("int",)),
    Mistake("a blank Query", lambda: ask(Query(" ")), InvalidQuery, ("empty",)),
    Mistake(
        "an unknown model in a Query", lambda: ask(Query("Hi", models=frozenset(["smal"]))), UnknownModel, ("'small'",)
    ),
    Mistake("quality as text", lambda: ask(quality="high"), InvalidQuery, ("quality", "0.9")),
    Mistake("a misspelt setting", lambda: ask(scop="ann"), InvalidArgument, ("Did you mean 'scope'",)),
    Mistake("an unknown model", lambda: ask(models=["smal"]), UnknownModel, ("Did you mean 'small'",)),
    Mistake("no model allowed", lambda: ask(models=[]), InvalidQuery, ("at least one",)),
    Mistake("an empty scope", lambda: ask(scope=""), InvalidQuery, ("scope",)),
    Mistake("max_tokens=0", lambda: ask(max_tokens=0), InvalidQuery, ("max_tokens",)),
    Mistake("temperature as text", lambda: ask(temperature="hot"), InvalidQuery, ("temperature",)),
    Mistake("an empty stop", lambda: ask(stop=""), InvalidQuery, ("stop",)),
    Mistake("reasoning misspelt", lambda: ask(reasoning="hard"), InvalidQuery, ("high",)),
    Mistake("metadata of objects", lambda: ask(metadata={"a": object()}), InvalidQuery, ("metadata",)),
    Mistake("a negative timeout", lambda: ask(timeout=-1), InvalidQuery, ("timeout",)),
    Mistake("a schema as text", lambda: ask(schema="person"), InvalidQuery, ("dict",)),
    Mistake("a broken schema", lambda: ask(schema={"type": "person"}), InvalidQuery, ("schema",)),
    Mistake("an output that is no type", lambda: ask(output="person"), InvalidArgument, ("output",)),
    Mistake("schema and output", lambda: ask(schema=A_SCHEMA, output=int), InvalidArgument, ("schema",)),
    Mistake("messages and a query", lambda: ask("Hi", messages=[]), InvalidArgument, ("messages",)),
    Mistake("messages without a question", lambda: ask(None, messages=[]), InvalidQuery, ("empty",)),
    Mistake(
        "the assistant speaks last", lambda: ask([{"role": "assistant", "content": "Hi"}]), InvalidQuery, ("assistant",)
    ),
    Mistake("a misspelt role", lambda: ask([{"role": "usr", "content": "Hi"}]), InvalidQuery, ("Roles are",)),
    Mistake("a message without content", lambda: ask([{"role": "user"}]), InvalidQuery, ("content",)),
    Mistake("a text for messages", lambda: ask(None, messages="Hi"), InvalidQuery, ("list of messages",)),
    Mistake("history of texts", lambda: ask("Hi", history=["before"]), InvalidQuery, ("Message", "role")),
    Mistake(
        "Anthropic's picture",
        lambda: ask([{"role": "user", "content": [{"type": "image", "source": {}}]}]),
        InvalidQuery,
        ("image_url",),
    ),
    Mistake("a Message of no role", lambda: ask("Hi", history=[Message("bot", "x")]), InvalidQuery, ("bot",)),
    Mistake("a missing attachment", lambda: ask(attachments=["nowhere.png"]), InvalidArgument, ("nowhere.png",)),
    Mistake("on_event that is no function", lambda: ask(on_event="print"), InvalidArgument, ("function",)),
    Mistake("one text for many", lambda: fleet().answer_many("Hi"), InvalidArgument, ("answer(",)),
    Mistake("no concurrency", lambda: fleet().answer_many(["Hi"], concurrency=0), InvalidArgument, ("at least 1",)),
    # await and its absence
    Mistake("await forgotten", lambda: fleet().answer("Hi").text, NotAwaited, ("await", "answer_sync")),
    Mistake("recall not awaited", lambda: list(fleet(memory=":memory:").recall("x")), NotAwaited, ("await",)),
    Mistake(
        "for instead of async for",
        lambda: list(fleet().stream_text("Hi")),
        NotAwaited,
        ("async for", "stream_text_sync"),
    ),
    Mistake("await instead of async for", lambda: awaited(_awaits_a_stream), NotAwaited, ("async for",)),
    Mistake("blocking inside a loop", lambda: awaited(_sync_inside_async), BlockingCall, ("answer_sync", "await")),
    Mistake(
        "a blocking stream inside a loop", lambda: awaited(_sync_stream_inside_async), BlockingCall, ("stream_text",)
    ),
    # What goes wrong later
    Mistake("no memory to remember in", lambda: fleet().remember_sync("x"), ConfigError, ('memory="memory.db"',)),
    Mistake("feedback without a log", lambda: fleet().feedback_sync("id", 1.0), ConfigError, ("online",)),
    Mistake("a closed memory", _uses_a_closed_memory, StoreError, ("closed",)),
    Mistake("an empty text to remember", lambda: Memory(":memory:").remember(""), InvalidRecord, ("empty",)),
    Mistake("a scope that leads away", lambda: Memory(":memory:").remember("x", "../etc"), ScopeError, ("scope",)),
    Mistake("the wrong scope", _asks_in_another_scope, NoAdequateModel, ("shop/ann", "scope")),
    Mistake("a dead server", _asks_a_dead_server, BackendUnavailable, ("cannot connect", "doctor")),
    Mistake("a bug in a backend", _has_a_bug, NoAdequateModel, ("KeyError", "Mend the backend")),
    Mistake("too small a budget", lambda: ask(budget=1e-9), BudgetExceeded, ("budget.usd", "max_tokens")),
    Mistake("no time at all", lambda: ask(budget={"seconds": 0}), BudgetExceeded, ("seconds",)),
    Mistake("the value of no JSON", _reads_a_value_that_is_none, InvalidAnswer, ("JSON",)),
    Mistake("a directory for a log", lambda: fleet(online=str(Path("/"))), StorageError, ("/",)),
)


def main() -> int:
    """Prints what is wrong with how mistakes end; the number of those that are not caught."""
    wrong = {mistake.name: told for mistake in MISTAKES if (told := caught(mistake))}
    for name, told in wrong.items():
        print(f"{name}: {told}")
    print(f"{len(MISTAKES) - len(wrong)} of {len(MISTAKES)} mistakes are caught")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
