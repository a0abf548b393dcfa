"""Section `serve` of params.yaml, read alone: the service's image holds no code of the other sections."""

import difflib
import ipaddress
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.old_names import RENAMED, warn
from pipeline.schema import Section, describe, load_yaml, parse, read_yaml

log = logging.getLogger("bentoml.pneumonia")

PREFIX = "SERVE_"
NO_SETTINGS = ("SERVE_TOKEN", "SERVE_METRICS_FOLDER")  # the bearer token; the folder of the workers' counters


def _host(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.:-]*[a-z0-9])?|::\d*", name) or (":" in name and name.count(":") < 2):
        raise ValueError("must be a host's name or address in small letters, without a port")
    return name


def _origin(address: str) -> str:
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", address):
        raise ValueError("must be scheme, host and perhaps port, as in https://pacs.example, in small letters")
    return address


def _network(address: str) -> str:
    try:
        ipaddress.ip_network(address)
    except ValueError:
        raise ValueError("must be an address or a network, as in 10.0.0.1 or 10.0.0.0/24") from None
    return address


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Megabytes = Annotated[float, Field(ge=0.001, le=1_000_000)]


class Serve(Section):
    """The service: how it computes, what it accepts, what it keeps. `SERVE_<KEY>` in the environment overrides a key."""

    workers: int = Field(ge=1, le=1024)
    threads: int = Field(ge=1, le=1024)
    max_megabytes: Megabytes
    max_pixels: int = Field(ge=1, le=1_000_000_000)
    max_frames: Count
    max_metadata_megabytes: Megabytes
    max_per_client: Count
    max_waiting: Count
    max_held_megabytes: Megabytes
    max_decode_seconds: int = Field(ge=1, le=3600)
    max_decode_megabytes: int = Field(ge=64, le=1_000_000)
    patience_seconds: float = Field(gt=0, le=3600)
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)] | None
    out_of_distribution: Literal["refuse", "warn"]
    hosts: Annotated[list[Annotated[str, AfterValidator(_host)]], Field(min_length=1)] | None
    origins: list[Annotated[str, AfterValidator(_origin)]]
    proxies: list[Annotated[str, AfterValidator(_network)]]
    log: Annotated[str, Field(min_length=1)] | None
    drift_window: int = Field(ge=10, le=1_000_000)  # `drift` compares tenths
    drift_limit: float = Field(gt=0, le=1000)

    @model_validator(mode="after")
    def _expect_room_for_one_body(self) -> Self:
        if self.max_held_megabytes < self.max_megabytes:
            raise ValueError(
                f"max_held_megabytes: {self.max_held_megabytes} must be at least max_megabytes, {self.max_megabytes}: "
                "no body of that size could be read"
            )
        return self

    @model_validator(mode="after")
    def _expect_room_for_one_image(self) -> Self:
        needed = 2 * self.max_pixels / 2**20 + self.max_metadata_megabytes
        if self.max_megabytes < needed:
            raise ValueError(
                f"max_megabytes: {self.max_megabytes:g} must be at least {needed:.1f}, which max_pixels at 16 bits and "
                "max_metadata_megabytes need; raise it, or lower those"
            )
        return self


def load_serve(environ: Mapping[str, str] = os.environ, path: Path = paths.PARAMS) -> Serve:
    """The section `serve`, each key overridden by `SERVE_<KEY>` where the environment has it.

    Raises:
        ProjectError: the file or a variable says what the service cannot work with; one line that names it.
    """
    written = parse(Serve, read_yaml(path).get("serve"), "serve", path.name).model_dump()
    variables = _variables(environ)
    values = {key: load_yaml(environ[variable], variable) for key, variable in variables.items()}
    try:
        return Serve.model_validate(written | values)
    except ValidationError as error:
        key = next(iter(error.errors()[0]["loc"]), "")
        source = variables.get(str(key)) or ", ".join(variables.values())
        raise ProjectError(f"{source}: {describe(error)}") from None


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variable of each key that the environment has. A name that means nothing is told, and is no error."""
    known = {_variable(key): key for key in Serve.model_fields}
    old = {_variable(key): _variable(new) for key, new in RENAMED.items() if key.startswith("serve.")}
    variables: dict[str, str] = {}
    for variable in (name for name in environ if name.startswith(PREFIX) and name not in NO_SETTINGS):
        name = old.get(variable, variable)
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            log.warning("%s is no setting of the service and is not read; the nearest is %s", variable, nearest)
            continue
        if name != variable:
            if name in environ:
                raise ProjectError(f"{variable} is now {name}, and both are set: keep the new one")
            warn("environment", variable, name)
        variables[known[name]] = variable
    return variables


def _variable(key: str) -> str:
    return PREFIX + key.removeprefix("serve.").upper()
