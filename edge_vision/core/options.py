"""The root of all options: frozen, closed to unknown keys, every field described."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from edge_vision.core.errors import ConfigError


def beside_its_file(path: Path, info: ValidationInfo) -> Path:
    """A path as written in a file, taken from the folder of that file. Raises ValueError for one that cannot be."""
    if "\0" in str(path):
        msg = "a path cannot contain the character 0"
        raise ValueError(msg)
    if str(path).startswith("~"):  # nobody expands it here, and the service has another home than who writes this
        msg = "write the home folder out: ~ stands for nothing here"
        raise ValueError(msg)
    folder: Path | None = (info.context or {}).get("folder")
    return path if folder is None or str(path) == "-" else folder / path


RelativePath = Annotated[Path, AfterValidator(beside_its_file)]
"""A path relative to the folder of the file that names it (the validation context's `folder`); "-" stays as it is."""


class Options(BaseModel):
    """Settings of one thing, as written in YAML; unknown keys are errors and values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=4096, hide_input_in_errors=True
    )


class Secret(Options):
    """A reference to a secret: exactly one of `env`, `file` and `credential`; the secret itself is never in YAML."""

    env: str | None = Field(None, min_length=1, description="Name of the environment variable that holds it.")
    file: RelativePath | None = Field(None, description="File whose contents, without the final newline, are it.")
    credential: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$", description="Name of a systemd credential (LoadCredential=)."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "Secret":
        if sum(value is not None for value in (self.env, self.file, self.credential)) != 1:
            msg = "a secret is exactly one of {env: NAME}, {file: PATH}, {credential: NAME}"
            raise ValueError(msg)
        return self

    def reveal(self) -> str:
        """The secret. Raises ConfigError that names the reference, never the value."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                msg = f"the environment variable {self.env} is not set"
                raise ConfigError(msg)
            return value
        path = self.file
        if self.credential is not None:
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if folder is None:
                msg = f"credential {self.credential}: not started by systemd (CREDENTIALS_DIRECTORY is not set)"
                raise ConfigError(msg)
            path = Path(folder) / self.credential
        assert path is not None
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            msg = f"the secret's file {path} cannot be read: {reason}"
            raise ConfigError(msg) from None


class Login(Options):
    """A user name, and where the password is."""

    username: str | None = Field(None, min_length=1, description="User name that is asked for.")
    password: Secret | None = Field(None, description="Where the password is: {env|file|credential: NAME}.")

    @model_validator(mode="after")
    def _password_needs_username(self) -> "Login":
        if self.password is not None and self.username is None:
            msg = "a password needs a username beside it"
            raise ValueError(msg)
        return self


_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://(?P<host>\[[0-9a-f:.]+\]|[^\s/?#:@\[\]]+)(:(?P<port>\d{1,5}))?([/?#]\S*)?", re.IGNORECASE
)
"""SCHEME://HOST[:PORT] and a path; an @ behind the host is not a credential."""


def _without_credentials(url: str) -> str:
    found = _ADDRESS.fullmatch(url)
    if found and int(found["port"] or 1) not in range(1, 65_536):
        msg = f"there is no port {found['port']}: 1 to 65535"
        raise ValueError(msg)
    if found:
        return url
    if "@" in url:
        msg = "credentials inside a URL end up in logs: write username: NAME and password: {env: VARIABLE} beside url"
        raise ValueError(msg)
    msg = "must start with a scheme and a host, such as rtsp://10.0.0.20/stream, and have no spaces in it"
    raise ValueError(msg)


Url = Annotated[str, AfterValidator(_without_credentials), Field(min_length=1, max_length=2048)]
"""An address without credentials in it."""

IDENTIFIER = r"^[a-z0-9][a-z0-9_-]{0,31}$"
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
"""A name that is safe in topics, file names and logs: [a-z0-9][a-z0-9_-]{0,31}."""


def _true_is_no_number(value: Any) -> Any:
    """Python takes True for 1; whoever writes `confidence: true` does not."""
    if isinstance(value, bool):
        msg = f"must be a number, not {str(value).lower()}"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns a ValueError into an error of the field
    return value


Integer = Annotated[int, BeforeValidator(_true_is_no_number)]
"""A whole number; true and false are none."""

Number = Annotated[float, BeforeValidator(_true_is_no_number)]
"""A number; true and false are none."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0), BeforeValidator(_true_is_no_number)]
"""A number from 0 to 1."""

Seconds = Annotated[float, Field(gt=0.0, le=3600.0), BeforeValidator(_true_is_no_number)]
"""A time-out or interval: more than 0, at most an hour."""
