"""Models that do something beside chat, as the configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.backends.http.replicas import Replica
from orchestrator.backends.http.upstream import Upstream
from orchestrator.backends.relay import Relay
from orchestrator.config.models import AuxiliaryConfig
from orchestrator.config.secrets import secret
from orchestrator.errors import ConfigError
from orchestrator.gateway.errors import GatewayError
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile

if TYPE_CHECKING:
    from orchestrator.backends.relay import Relay


class AuxiliaryModels:
    """Those of one section of the configuration.

    Raises `ConfigError` on one that cannot be reached by what its entry says.
    """

    def __init__(self, section: str, models: Mapping[str, AuxiliaryConfig]) -> None:
        self.section = section
        self._models = {name: _made(f"{section}.{name}", name, config) for name, config in models.items()}

    @property
    def names(self) -> list[str]:
        """As callers know them."""
        return list(self._models)

    def find(self, name: str) -> tuple[Relay, ModelProfile]:
        """Raises `GatewayError` on one that is not there."""
        found = self._models.get(name)
        if found is None:
            told = f"there is no model {name!r} for {self.section}. There are: {', '.join(self._models)}"
            if not self._models:
                told = (
                    f"this gateway has no model for {self.section}: its configuration names none under "
                    f"`{self.section}:`"
                )
            raise GatewayError(404, told, code="model_not_found", param="model")
        return found


def _made(where: str, name: str, config: AuxiliaryConfig) -> tuple[Relay, ModelProfile]:
    row = PROVIDERS.get(config.provider)
    base_url = config.base_url or (row.base_url if row else None)
    if row is None or not base_url:
        raise ConfigError(
            f"{where}: provider {config.provider!r} needs `base_url`", remedy="For example http://127.0.0.1:11434/v1"
        )
    price = config.input_usd_per_mtok
    if price is None and row.is_local:
        price = 0.0
    key = secret(config.key, row.key_variable)
    profile = ModelProfile(name, price, None if price is None else 0.0)
    return Relay(Upstream(name, row, config.model, [Replica(base_url.rstrip("/"))], key=key)), profile
