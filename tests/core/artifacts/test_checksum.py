"""Any change of a sealed artifact is seen, before a library parses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bopkit.artifacts import checksum
from bopkit.errors import BopkitError


def test_every_byte_of_a_sealed_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    intact = checksum.sealed(b"a card that mentions bopkit_sha256, and " + checksum.BLANK + b" behind")
    path.write_bytes(intact)
    assert checksum.check(path)
    assert checksum.sealed(intact) == intact
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(BopkitError, match="checksum is wrong"):
            checksum.check(path)


def test_a_file_without_a_checksum_is_unchecked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"something")
    assert not checksum.check(path)
    with pytest.raises(ValueError, match="no room"):
        checksum.sealed(b"something")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "1"
    for name in ("saved_model.pb", "variables/variables.index", "assets.extra/labels.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    checksum.write_manifest(folder)
    assert checksum.check(folder)
    return folder


def test_every_file_of_a_directory_counts(version: Path) -> None:
    for path in [path for path in version.rglob("*") if path.is_file()]:
        intact = path.read_bytes()
        for damaged in (intact[:-1] + bytes([intact[-1] ^ 64]), intact[: len(intact) // 2]):
            path.write_bytes(damaged)
            with pytest.raises(BopkitError, match="not what bopkit wrote"):
                checksum.check(version)
        path.write_bytes(intact)
        if path != version / checksum.MANIFEST:
            path.unlink()
            with pytest.raises(BopkitError, match=path.name):
                checksum.check(version)
            path.write_bytes(intact)
    assert checksum.check(version)


def test_files_that_are_served_must_be_listed_and_others_may_be_added(version: Path) -> None:
    (version / "assets.extra/warmup").write_text("added by its owner")
    assert checksum.check(version)
    (version / "variables/variables.data-00000-of-00001").write_text("added by a stranger")
    with pytest.raises(BopkitError, match="variables.data"):
        checksum.check(version)


def test_random_damage_of_a_manifest_is_an_error(version: Path) -> None:
    generator = np.random.default_rng(0)
    manifest = version / checksum.MANIFEST
    intact = np.frombuffer(manifest.read_bytes(), np.uint8)
    for _ in range(300):
        damaged = intact.copy()
        damaged[generator.integers(0, len(damaged), 2)] = generator.integers(0, 256, 2)
        manifest.write_bytes(damaged.tobytes())
        if not np.array_equal(damaged, intact):
            with pytest.raises(BopkitError):
                checksum.check(version)


@pytest.mark.parametrize("name", ["/dev/zero", "../outside", "endless"])
def test_a_manifest_leads_to_no_file_outside(version: Path, name: str) -> None:
    (version.parent / "outside").write_text("outside")
    (version / "endless").symlink_to("/dev/zero")
    manifest = version / checksum.MANIFEST
    manifest.write_text(f"{checksum.source_checksum(version.parent / 'outside')}  {name}\n" + manifest.read_text())
    with pytest.raises(BopkitError, match="not what bopkit wrote"):
        checksum.check(version)
