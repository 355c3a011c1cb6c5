"""The checksum that every artifact of bopkit carries, which reveals damage to its weights.

A flipped bit of a weight leaves a file whole in every other respect. A `.h5` and a `.tflite` file carry the text
`bopkit_sha256=` and 64 hexadecimal digits: the SHA-256 of the whole file with those digits as zeros. It is found by
looking for the text, so that a damaged file is refused before any library parses it; `bopkit_sha256` elsewhere in the
file, e.g. in its card, shows that the text itself was damaged. A SavedModel carries a list of files that
`sha256sum -c` reads too. It tells damage, not malice: who alters a file on purpose can alter its checksum.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from bopkit.artifacts import checkpoint
from bopkit.errors import BopkitError

ENTRY = "bopkit_sha256"
"""Name of the HDF5 attribute and of the metadata entry of a flatbuffer that hold the text."""

BLANK = f"{ENTRY}={'0' * 64}".encode()
"""The text before `sealed` fills it in."""

MANIFEST = f"assets.extra/{ENTRY}.txt"
"""List of checksums in a SavedModel's version directory; TensorFlow Serving leaves it alone."""

_MARK = f"{ENTRY}=".encode()
_DIGITS = 64
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_SERVED = ("saved_model.pb", "fingerprint.pb", "variables/*", "assets/*")
"""What a SavedModel computes with: its manifest must name all of it."""

_HINT = "It was damaged or altered after it was written: copy it again, or export or save it again."


def content_checksum(data: bytes) -> str | None:
    """SHA-256, 64 hexadecimal digits, of a file that has room for its own; None where it has none."""
    start = data.find(_MARK) + len(_MARK)
    if start < len(_MARK):
        return None
    digest = hashlib.sha256(memoryview(data)[:start])
    digest.update(b"0" * _DIGITS)
    digest.update(memoryview(data)[start + _DIGITS :])
    return digest.hexdigest()


def sealed(data: bytes) -> bytes:
    """A file that holds `BLANK` or an older checksum, with the checksum of what it holds now."""
    checksum = content_checksum(data)
    if checksum is None:
        raise ValueError("there is no room for a checksum")
    start = data.find(_MARK) + len(_MARK)
    return data[:start] + checksum.encode() + data[start + _DIGITS :]


def check(path: Path, data: bytes | None = None) -> bool:
    """Whether a file, or a SavedModel's version directory, carries a checksum, which then is right.

    Args:
        path: Where it lies.
        data: The content of the file, if it has been read.

    Raises:
        BopkitError: The checksum is wrong.
    """
    if path.is_dir():
        return _check_directory(path)
    data = path.read_bytes() if data is None else data
    if ENTRY.encode() not in data:
        return False
    checksum = content_checksum(data) or ""
    start = data.find(_MARK) + len(_MARK)
    if data[start : start + _DIGITS] != checksum.encode():
        raise BopkitError(f"{path} is not what bopkit wrote: its checksum is wrong.", _HINT)
    return True


def write_manifest(version_directory: Path) -> None:
    """Seal a SavedModel: list the checksum of each of its files."""
    text = _manifest(version_directory)
    path = version_directory / MANIFEST
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def source_checksum(path: Path) -> str:
    """SHA-256, 64 hexadecimal digits, of a file, or of the manifest that a SavedModel or a checkpoint would have."""
    if checkpoint.is_prefix(path):
        text = _listed(checkpoint.files_of(path), path.parent)
    elif path.is_dir():
        text = _manifest(path)
    else:
        return _file_checksum(path)
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(version_directory: Path) -> str:
    manifest = version_directory / MANIFEST
    paths = sorted(path for path in version_directory.rglob("*") if path.is_file() and path != manifest)
    return _listed(paths, version_directory)


def _listed(paths: list[Path], folder: Path) -> str:
    return "".join(f"{_file_checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)


def _check_directory(version_directory: Path) -> bool:
    manifest = version_directory / MANIFEST
    if not manifest.is_file():
        return False
    try:
        lines = [_MANIFEST_LINE.fullmatch(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        lines = [None]
    listed = {line[2]: line[1] for line in lines if line is not None}
    wrong = [name for name, checksum in listed.items() if _checksum_inside(version_directory, name) != checksum]
    served = [
        path.relative_to(version_directory).as_posix() for each in _SERVED for path in version_directory.glob(each)
    ]
    wrong += [name for name in served if name not in listed]
    if None in lines:
        wrong.append(MANIFEST)
    if wrong:
        raise BopkitError(f"{version_directory} is not what bopkit wrote: {wrong[0]!r} has another checksum.", _HINT)
    return True


def _checksum_inside(folder: Path, name: str) -> str:
    """SHA-256 of a file in `folder`; empty for a name that leads elsewhere, or to what is no file."""
    path = Path(folder, name)
    try:
        leads_elsewhere = Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file()
    except ValueError:  # a damaged name with a null in it
        return ""
    return "" if leads_elsewhere else _file_checksum(path)


def _file_checksum(path: Path) -> str:
    """SHA-256 of a file; empty where there is none that can be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
