"""Models by name: `openai/gpt-5-mini` is all that a program needs to say.

Prices, windows and capabilities come from the price list where it is installed (extra `prices`), else from our table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.backends.base import Backend
from orchestrator.config.fields import PROVIDERS as PROVIDER_NAMES
from orchestrator.config.model_entry import ModelConfig
from orchestrator.errors import ConfigError, InvalidArgument, UnknownModel, closest, did_you_mean
from orchestrator.fleet.build import WHAT_TO_ADD, build_backend
from orchestrator.plugins.entry_points import BACKENDS, plugin_names
from orchestrator.providers.models import known_of, listed_models
from orchestrator.providers.prices import list_prices
from orchestrator.providers.table import PROVIDERS
from orchestrator.types.keywords import tells_keywords

if TYPE_CHECKING:
    from orchestrator.types.query import Reasoning

CAPABILITIES = ("tools", "vision", "audio", "json", "n", "logprobs")
ALONE = ("calculator", "extractive")  # providers that are models themselves
_TYPO = 0.85  # a name this similar to a known one, with the same digits, is taken for a slip


@tells_keywords
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Model:
    """A model of a fleet by its name, with settings that hold for every call of it.

    Args:
        name: `provider/model`, for example `openai/gpt-5-mini` or `ollama/llama3.2`.
        alias: What the fleet calls it; its name by default.
        base_url: The address of its server, ending in `/v1`; the provider's own by default.
        api_key: The key itself. By default it is read from the provider's environment variable.
        temperature: In [0, 2]; like the next three it holds for queries that state none of their own.
        top_p: In (0, 1].
        top_k: At least 1.
        reasoning: How much the model may reason before it answers.
        timeout: The longest that one try of a call may take, in seconds.
        retries: How often a call that failed without an answer is made again.
        rpm: At most so many calls a minute are sent.
        headers: Sent with every call.
        extra_body: Laid over the body of every call, in the words of the provider.
        input_usd_per_mtok: Its price for reading, in USD per million tokens, where no list has it.
        output_usd_per_mtok: Its price for writing, in USD per million tokens.
        cached_usd_per_mtok: Its price for what it reads from its cache, in USD per million tokens.
        context_tokens: Its window, in tokens: what it reads and writes together.
        max_output_tokens: Its longest answer, in tokens.
        capabilities: Such as `tools`, `vision`, `json`.
        skill: Expected share of right answers, in (0, 1).
        hedge: Whether a slow call is made a second time.

    Example:
        >>> Model("openai/gpt-5-mini", temperature=0.2, timeout=30)
        Model('openai/gpt-5-mini', temperature=0.2, timeout=30)
    """

    name: str = field(kw_only=False)
    alias: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reasoning: Reasoning | None = None
    timeout: float | None = None
    retries: int | None = None
    rpm: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cached_usd_per_mtok: float | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: Sequence[Literal["tools", "vision", "audio", "json", "n", "logprobs"]] = ()
    skill: float | None = None
    hedge: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be, where it is given. Raises `InvalidArgument`."""
        if not isinstance(self.name, str):
            raise InvalidArgument(
                f"the name of a model must be text, not {type(self.name).__name__}",
                remedy='Write "provider/model", for example "openai/gpt-5-mini"',
            )
        self._check_kinds()
        self._config("compatible", "any", frozenset())

    def _check_kinds(self) -> None:
        for name in ("alias", "api_key", "base_url"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise InvalidArgument(
                    f"Model({self.name!r}): {name} must be text", remedy="Leave it out, or pass a str"
                )
        for name in ("headers", "extra_body"):
            if not isinstance(getattr(self, name), Mapping):
                raise InvalidArgument(
                    f"Model({self.name!r}): {name} must be a dict", remedy=f'{name}={{"name": "..."}}'
                )
        if isinstance(self.capabilities, str) or not set(self.capabilities) <= set(CAPABILITIES):
            raise InvalidArgument(
                f"Model({self.name!r}): capabilities is a list of known names, not {self.capabilities!r:.60}",
                remedy=f"They are: {', '.join(CAPABILITIES)}",
            )

    def __repr__(self) -> str:
        said = [
            f"{each.name}={value!r}"
            for each in fields(self)
            if each.repr and each.name != "name" and (value := getattr(self, each.name)) not in (None, (), {}, False)
        ]
        return f"Model({', '.join([repr(self.name), *said])})"

    def connect(self, alias: str | None = None) -> Backend:
        """The backend of this model, under `alias` or its own name.

        Nothing is contacted. Raises `UnknownModel` with what was probably meant, and `ConfigError` where a key is
        missing or a setting cannot be used.
        """
        provider, model = split_name(self.name)
        fleet_name = alias or self.alias or self.name
        if provider in ALONE:
            return build_backend(fleet_name, ModelConfig(provider=provider))
        row = PROVIDERS.get(provider)
        is_hosted = row is not None and not row.is_local and self.base_url is None
        if is_hosted and row is not None and self.input_usd_per_mtok is None:
            _check_listed(provider, row.prices or row.name, model)
        known = known_of(row, model, base_url=self.base_url)
        config = self._config(provider, model, known)
        try:
            return build_backend(fleet_name, config, api_key=self.api_key)
        except ConfigError as error:  # told in the words of Python
            remedy = error.remedy.replace("write key: env:NAME", f"pass Model({self.name!r}, api_key=...)")
            message = error.message.removeprefix(f"models.{fleet_name}: ")
            raise ConfigError(f"{self.name}: {message}", remedy=remedy) from None

    def _config(self, provider: str, model: str, known: frozenset[str]) -> ModelConfig:
        from pydantic import ValidationError  # only for what it may raise

        stated = {
            "provider": provider,
            "model": model,
            "reasoning_effort": self.reasoning,
            "timeout_s": self.timeout,
            "headers": dict(self.headers),
            "extra_body": dict(self.extra_body),
            "capabilities": sorted(known | set(self.capabilities)),
            **{name: getattr(self, name) for name in _SAME},
        }
        try:
            return ModelConfig(**{name: value for name, value in stated.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            setting = {"timeout_s": "timeout", "reasoning_effort": "reasoning"}.get(
                str(first["loc"][0]), first["loc"][0]
            )
            told = str(first["msg"]).removeprefix("Value error, ")
            is_secret = setting in ("headers", "extra_body")  # they carry keys
            given = "" if is_secret else f" be {str(first['input'])[:60]!r}"
            raise InvalidArgument(
                f"Model({self.name!r}): {setting} cannot{given or ' be used'}: {told}",
                remedy="help(orchestrator.Model) lists what each setting takes",
            ) from None


_SAME = (
    "base_url", "temperature", "top_p", "top_k", "retries", "rpm", "input_usd_per_mtok", "output_usd_per_mtok",
    "cached_usd_per_mtok", "context_tokens", "max_output_tokens", "skill", "hedge",
)  # fmt: skip
ModelLike = str | Model | Backend
"""What stands for a model of a fleet: its name, a `Model` with settings, or a backend."""


def connect_fleet(stated: Sequence[ModelLike | Mapping[str, ModelLike]]) -> dict[str, Backend]:
    """The backends of models by name, of `Model`s, backends, and mappings from names to these.

    Raises `InvalidArgument` on what is no model, `UnknownModel`, `ConfigError`.
    """
    found: dict[str, Backend] = {}
    for one in stated:
        pairs = one.items() if isinstance(one, Mapping) else [(None, one)]
        for name, model in pairs:
            backend = _connected(name, model)
            key = backend.profile.name if name is None else name
            if key in found:
                raise InvalidArgument(
                    f"two models of the fleet are called {key!r}", remedy="Name one: Model(..., alias=NAME)"
                )
            found[key] = backend
    return found


def _connected(name: str | None, model: object) -> Backend:
    if isinstance(model, str):
        return Model(model).connect(name)
    if isinstance(model, Model):
        return model.connect(name)
    if isinstance(model, type):
        raise InvalidArgument(
            f"a model of the fleet is the class {model.__name__}, not a backend",
            remedy=f"Make one: {model.__name__}()",
        )
    if callable(getattr(model, "complete", None)) and hasattr(model, "profile"):
        return model  # type: ignore[return-value]
    what = "nothing (None)" if model is None else f"{type(model).__name__}"
    listed = "Write Orchestrator(*models): each model is an argument of its own"
    raise InvalidArgument(
        f"a model of the fleet must be a name, a Model or a backend, not {what}",
        remedy=listed
        if isinstance(model, list | tuple | set)
        else 'Write Orchestrator("openai/gpt-5-mini"), or Orchestrator({"fast": "openai/gpt-5-mini"})',
    )


def split_name(name: str) -> tuple[str, str]:
    """Provider and model of a name. Raises `UnknownModel` with what was probably meant."""
    if name in ALONE:
        return name, name
    if "://" in name:
        stated = f"{{provider: compatible, model: NAME, base_url: {name}}}"
        remedy = f"In a configuration: {stated}; in Python: Model('compatible/NAME', base_url={name!r})"
        raise UnknownModel(f"{name!r} is an address", remedy=remedy)
    provider, slash, model = name.strip().partition("/")
    providers = (*PROVIDER_NAMES, *plugin_names(BACKENDS))
    if not name.strip():
        raise ConfigError("the name of a model is empty", remedy=WHAT_TO_ADD)
    if not slash:
        if provider in providers:
            raise UnknownModel(f"{name!r} names no model", remedy=f'Write "{provider}/MODEL"')
        if provider.partition(":")[0] in providers:
            raise UnknownModel(f"{name!r} names no provider", remedy=f"Did you mean {provider.replace(':', '/', 1)!r}?")
        offering = _providers_of(provider) or closest(provider, ALONE)
        guess = f"Did you mean {offering!r}?" if offering else 'Write "provider/model", for example "openai/gpt-5-mini"'
        raise UnknownModel(f"{name!r} names no provider", remedy=guess)
    if provider not in providers:
        raise UnknownModel(f"unknown provider {provider!r} in {name!r}", remedy=_guess(provider, providers))
    if not model:
        raise UnknownModel(f"{name!r} names no model", remedy=f'Write "{provider}/MODEL"')
    return provider, model


def _guess(provider: str, providers: Sequence[str]) -> str:
    close = closest(provider, providers)
    return f"Did you mean {close!r}?" if close else "orchestrator doctor --providers lists them"


def _providers_of(model: str) -> str | None:
    """The whole name of a model that was named without its provider, or nearly so."""
    for row in PROVIDERS.values():
        if row.is_local or row.dialect == "responses":
            continue
        listed = listed_models(row.prices or row.name)
        if model in listed:
            return f"{row.name}/{model}"
    return None


def _check_listed(provider: str, prices: str, model: str) -> None:
    """Raises `UnknownModel` on what looks like a slip of the pen; a model that is too new for the list passes."""
    if list_prices(prices, model) is not None:
        return
    close = closest(model, listed_models(prices), cutoff=_TYPO)
    if close is not None and re.findall(r"\d", close) == re.findall(r"\d", model):
        raise UnknownModel(
            f"{provider} lists no model {model!r}",
            remedy=f"Did you mean {f'{provider}/{close}'!r}? If it is new, state its prices: "
            f"Model({f'{provider}/{model}'!r}, input_usd_per_mtok=..., output_usd_per_mtok=...)",
        )


def known_names(backends: Mapping[str, Backend], name: object) -> str:
    """The remedy for a name that is not in a fleet."""
    tails = {each.rpartition("/")[2]: each for each in backends}
    return f"Did you mean {tails[name]!r}?" if name in tails else did_you_mean(str(name), backends)
