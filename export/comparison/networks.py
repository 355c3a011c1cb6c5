"""Which networks are compared: architectures by name, and files or run directories, each once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit.artifacts import artifact
from bopkit.errors import BopkitError, UsageError
from bopkit.registry import FILE_ENDINGS, MODELS


@dataclasses.dataclass(frozen=True)
class Network:
    """One of the networks that are compared.

    Attributes:
        name: What it is called in the report.
        source: File or version directory; None for an architecture.
        model: As the user named it.
        trained: Whether its card says so.
        error: Why it cannot be compared, where its card shows that.
    """

    name: str
    source: Path | None
    model: str
    trained: bool = False
    error: BopkitError | None = None


def find_networks(models: Sequence[str | Path]) -> list[Network]:
    """The models, each once, whatever it is called.

    Raises:
        UsageError: There is none, a name is unknown, or two have the same name.
    """
    if not models:
        raise UsageError("No network was named.", "Give names of `bopkit models`, files or run directories.")
    networks: list[Network] = []
    known: list[Any] = []
    for model in map(str, models):
        path = Path(model)
        is_file = path.suffix in FILE_ENDINGS or path.exists()
        network = _network_of(path) if is_file else Network(path.name, None, model)
        identity = (network.source or path).resolve() if is_file else MODELS.load(model)
        if identity in known:
            continue
        if any(file_stems(network.name) & file_stems(other.name) for other in networks):
            raise UsageError(
                f"Files of {network.name} and of another network have the same name.", "Rename one of them."
            )
        known.append(identity)
        networks.append(network)
    return networks


def _network_of(path: Path) -> Network:
    """The network of a file or folder, by its card; the rest of it is not read yet."""
    name = path.stem if path.suffix in FILE_ENDINGS else path.resolve().name
    try:
        source = artifact.resolve(path)
        card = artifact.read_card(source)
    except BopkitError as error:
        return Network(name, None, str(path), error=error)
    return Network(name, source, str(path), trained=card is not None and card.trained)


def file_stems(name: str) -> set[str]:
    """Stems of the files of a network: of the packed flatbuffer and of its twins."""
    return {name, f"{name}.float32", f"{name}.int8"}
