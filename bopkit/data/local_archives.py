"""Archives that the user already has, in place of what a builder of TFDS would download: found, checked, handed over.

TFDS takes a file from its `manual_dir` where that has the name that the builder registered. Here the folder is one of
links to the user's files, which are read and never written; each has the size and the SHA-256 that the builder
registered, or is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bopkit.data.gzip_header import GZIP_TIMES_S, restore_header
from bopkit.errors import BopkitError, UsageError
from bopkit.files import sha256
from bopkit.progress import Progress
from bopkit.text import count_text

_LOOKED_THROUGH = 10_000
"""Entries of a folder in whose sub-folders missing archives are looked for."""


class Archive(NamedTuple):
    """A file that a builder would download.

    Attributes:
        url: Where from.
        name: The name that it then has.
        size_bytes: Its size.
        sha256: Of its bytes, in hexadecimal.
    """

    url: str
    name: str
    size_bytes: int
    sha256: str


def registered_archives(builder: Any) -> list[Archive]:
    """All files whose name and checksum a builder registered, whatever configuration or version needs them."""
    infos = builder.url_infos or {}
    return [_archive(url, info) for url, info in infos.items() if info.filename]


def archives_text(archives: Iterable[Archive]) -> str:
    """Names for a sentence: all of a few, else the first ones and how many more."""
    names = list(dict.fromkeys(each.name for each in archives))
    if len(names) <= _NAMED_AT_MOST:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED_AT_MOST - 1])} and {len(names) - _NAMED_AT_MOST + 1} more"


_NAMED_AT_MOST = 8


def folder_for_tfds(builder: Any, source: Path, scratch: Path, progress: Progress) -> Path:
    """The folder that TFDS can take as its `manual_dir`, all its files checked.

    Args:
        builder: A `tfds.core.DatasetBuilder` that is not prepared.
        source: The user's folder.
        scratch: An empty folder, on the file system of the prepared dataset.
        progress: Called with one line before something slow.

    Returns:
        A folder of links in `scratch`; `source` itself for a builder whose files a user must fetch by hand.

    Raises:
        UsageError: `source` is no folder, or TFDS knows no names of files for the dataset.
        BopkitError: Files are missing, or are not those that the builder registered.
    """
    if not source.is_dir():
        state = "is no folder" if source.exists() else "does not exist"
        raise UsageError(f"{source} {state}.", f"Give --from the folder with the archives of {builder.name}.")
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        _check_manual(builder, source)
        return source
    wanted = _wanted_archives(builder)
    _check_present(builder, wanted, source)
    progress(f"checking {count_text(len(wanted), 'archive')} in {source}")
    links = scratch / "archives"
    links.mkdir()
    wrong = [each for each in (_link(archive, source, links) for archive in wanted) if each]
    if wrong:
        raise BopkitError(
            f"{source} has other files than those that {builder.name} is made of: {'; '.join(wrong)}.",
            f"Look whether this is the right folder, or copy {_it(wrong)} again.",
        )
    return links


def _wanted_archives(builder: Any) -> list[Archive]:
    """What this configuration of a builder downloads, as far as it says so before it has read any of it.

    Raises:
        UsageError: It downloads nothing, or files without registered names and checksums.
    """
    asked = _asked_urls(builder)
    infos = builder.url_infos or {}
    unknown = [url for url in asked if url not in infos or not infos[url].filename]
    if unknown:
        raise UsageError(
            f"Dataset {builder.name} registers no name and checksum for {unknown[0]}, so that a file of yours cannot "
            "be checked.",
            f"Run `bopkit data prepare {builder.name}` with a network, or copy a prepared dataset.",
        )
    archives = [_archive(url, infos[url]) for url in asked] if asked else registered_archives(builder)
    if not archives:
        raise UsageError(f"Dataset {builder.name} downloads no archives that TFDS knows by name.", "Leave out --from.")
    by_name = {each.name: each for each in archives}
    clash = next((each for each in archives if by_name[each.name].sha256 != each.sha256), None)
    if clash is not None:
        raise UsageError(
            f"Dataset {builder.name} downloads several files named {clash.name}, which one folder cannot hold.",
            "Leave out --from, or copy a prepared dataset.",
        )
    return list(by_name.values())


def _archive(url: str, info: Any) -> Archive:
    return Archive(url, info.filename or url.rpartition("/")[2], int(info.size), info.checksum)


def _asked_urls(builder: Any) -> list[str]:
    """The addresses that the code of a builder asks a download manager for, up to where it reads a file."""
    recorder = _Recorder()
    with contextlib.suppress(Exception):  # nothing is downloaded: it fails where it opens a file, in any way
        builder._split_generators(recorder)
    return list(dict.fromkeys(recorder.urls))


class _Recorder:
    """Stands in for `tfds.download.DownloadManager` in a builder's `_split_generators`: notes what it is asked for."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def download(self, urls: Any) -> Any:
        """Note one address, or a structure of them; return paths without files in the same structure."""
        import tree  # type: ignore[import-untyped]  # a dependency of TFDS, whose structures these are

        return tree.map_structure(self._note, urls)

    download_and_extract = download

    def extract(self, paths: Any) -> Any:
        """Return the paths as they are."""
        return paths

    def _note(self, resource: Any) -> Path:
        url = getattr(resource, "url", resource)
        self.urls.append(url)
        return Path(os.devnull, "not downloaded")


def _check_manual(builder: Any, source: Path) -> None:
    """Check what TFDS does not check itself: files that a user fetches by hand, as far as they are there.

    Raises:
        BopkitError: The folder is empty, or a file is not the one that the builder registered.
    """
    if not any(source.iterdir()):
        raise BopkitError(
            f"{source} is empty. {' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}",
            "Put the files there, and run the same command again.",
        )
    infos = builder.url_infos or {}
    archives = [_archive(url, info) for url, info in infos.items()]
    present = [each for each in archives if (source / each.name).is_file()]
    wrong = [problem for each in present if (problem := _difference(source / each.name, each))]
    if wrong:
        raise BopkitError(
            f"{source} has other files than those that {builder.name} is made of: {'; '.join(wrong)}.",
            f"Copy {_it(wrong)} again.",
        )


def _check_present(builder: Any, wanted: list[Archive], source: Path) -> None:
    """Raise a BopkitError that names all archives that are not in the folder."""
    missing = [each for each in wanted if not (source / each.name).is_file()]
    if not missing:
        return
    message = f"{source} lacks {archives_text(missing)}, which {builder.name} is made of."
    below = _folder_below(wanted, source)
    if below is not None:
        raise BopkitError(message, f"{below} has {_it(wanted)}: give --from that folder.")
    places = list(dict.fromkeys(f"{each.url.rpartition('/')[0]}/" for each in missing))
    raise BopkitError(
        message, f"Copy {_it(missing)} there: TFDS would fetch {_it(missing)} from {' and '.join(places[:3])}."
    )


def _it(things: Sequence[object]) -> str:
    return "it" if len(things) == 1 else "them"


def _folder_below(wanted: list[Archive], source: Path) -> Path | None:
    """A folder below `source` that has all archives, if one is found soon."""
    seen = 0
    for folder, folders, files in os.walk(source):
        folders.sort()
        if all(Path(folder, each.name).is_file() for each in wanted):  # not a link that leads nowhere
            return Path(folder)
        seen += len(files) + len(folders)
        if seen > _LOOKED_THROUGH:
            return None
    return None


def _link(archive: Archive, source: Path, links: Path) -> str:
    """Put a link to the user's file, or a copy with its header restored, into `links`; what is wrong with it, or ''."""
    path, place = source / archive.name, links / archive.name
    problem = _difference(path, archive)
    if not problem:
        place.symlink_to(path.resolve())
    elif archive.sha256 in GZIP_TIMES_S and restore_header(
        path, place, archive.name, GZIP_TIMES_S[archive.sha256], archive.size_bytes
    ):
        restored = _difference(place, archive)
        return f"{restored} after name and time were put back into its header" if restored else ""
    return problem


def _difference(path: Path, archive: Archive) -> str:
    """How a file differs from the registered one, in a clause; empty where it does not."""
    size_bytes = path.stat().st_size
    if size_bytes != archive.size_bytes:
        return f"{path.name} has {size_bytes:,} bytes, not {archive.size_bytes:,}"
    found = sha256(path)
    if found != archive.sha256:
        return f"{path.name} has the SHA-256 {found[:12]}..., not {archive.sha256[:12]}..."
    return ""
