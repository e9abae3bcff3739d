"""What a node is told: `node.toml` and the environment (`IMI_FEDERATION__PORT=8443`).

Each setting has a working default, a unit and a sentence; `config/node.example.toml` shows all of them, and a test
compares. Unknown keys stop the start and are named.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from node.errors import SetupError
from node.ids import NodeId, parse_node

Port = Annotated[int, Field(ge=0, le=65535)]
Code = Annotated[NodeId, AfterValidator(parse_node)]
Address = Annotated[str, StringConstraints(pattern=r"^https://[^/\s?#]{1,300}(/[^\s?#]{0,299}[^/\s?#])?$")]

_HERE = Path(__file__).resolve().parent


class BadSettings(SetupError):
    """The node's settings cannot be used; the message names file, key and reason."""

    code = "setup.settings"


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Group):
    """Where one of the node's doors listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=0, description="TCP port; 0 takes a free one.")


class Federation(Listener):
    """The door for other nodes (mutual TLS 1.3)."""

    port: Port = Field(default=8443, description="TCP port; 0 takes a free one.")


class Officials(Listener):
    """Pages and REST for officials; plain HTTP, for a reverse proxy of yours or for this machine alone."""

    port: Port = Field(default=8080, description="TCP port; 0 takes a free one.")
    https: bool = Field(default=False, description="Whether users reach it by https: cookies are then marked Secure.")


class Management(Listener):
    """Health and metrics; keep it on the loopback address."""

    port: Port = Field(default=8090, description="TCP port; 0 takes a free one.")


class Pace(_Group):
    """How often recurring work runs."""

    trust_seconds: float = Field(default=60.0, gt=0, description="Seconds between readings of the trust list.")
    gossip_seconds: float = Field(
        default=60.0, gt=0, description="Seconds between greetings of peers (directory heads)."
    )
    sweep_seconds: float = Field(default=60.0, gt=0, description="Seconds between looks at deadlines and retention.")


class Settings(BaseSettings):
    """All settings of one node."""

    model_config = SettingsConfigDict(env_prefix="IMI_", env_nested_delimiter="__", extra="forbid", frozen=True)

    node: Code = Field(description="This node's code in the trust list: EE, DE-BY.")
    data: Path = Field(description="Folder of keys, databases and files; relative to the settings file.")
    publisher: Code = Field(default=NodeId("EU"), description="The node that publishes the trust list.")
    publish_from: Path | None = Field(default=None, description="The publisher's repository folder; only on that node.")
    catalogue: Path | None = Field(default=None, description="Folder of the active edition; none: the shipped edition.")
    passphrase_file: Path | None = Field(default=None, description="File with the passphrase of the private keys.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    federation: Federation = Federation()
    officials: Officials = Officials()
    management: Management = Management()
    pace: Pace = Pace()
    relay: dict[Code, Address] = Field(
        default={},
        description=(
            "Node = base address, where that is not the trust list's: on a relay the nodes behind it, behind a relay "
            "the relay's inner address."
        ),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return (env_settings, init_settings)

    @property
    def passphrase(self) -> bytes | None:
        """The passphrase of the private keys, if one is configured."""
        return self.passphrase_file.read_bytes().strip() if self.passphrase_file else None


def load(path: Path) -> Settings:
    """Settings from a TOML file; the environment overrides single keys.

    Raises:
        BadSettings: no such file, not TOML, an unknown key or a value out of range.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSettings(f"there is no settings file {path}; `imi-node init` writes one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path} cannot be read: {error}") from error
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadSettings(f"{path}: {faults}") from error
    return settings.model_copy(update=_absolute(settings, path.resolve().parent))


def _absolute(settings: Settings, base: Path) -> dict[str, Path]:
    fields = ("data", "publish_from", "catalogue", "passphrase_file")
    return {name: base / value for name in fields if (value := getattr(settings, name)) is not None}


def shipped(*parts: str) -> Path:
    """A file or folder of `config/`: beside the package in a checkout, inside it in an installed wheel."""
    checkout = _HERE.parent / "config"
    root = checkout if (checkout / "node.example.toml").is_file() else _HERE / "shipped"
    return root.joinpath(*parts)
