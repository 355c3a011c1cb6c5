"""A file from a server: whole and with the right checksum, or not at all.

What has arrived lies in `FILE.part` until then, and a later call asks the server for the rest. It is Python's urllib
that downloads, with the proxies of its environment variables.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.failures import is_full_disk
from bopkit.progress import Progress
from bopkit.text import duration_text, one_line, size_text

MAX_BYTES = 2_000_000_000
"""More is no file of weights that bopkit knows."""

TRIES = 5
PAUSE_S = 1.0
"""Before the second try; twice as long before each further one."""
TIMEOUT_S = 30.0
"""Without a single byte."""
PROGRESS_EVERY_S = 5.0
_CHUNK_BYTES = 1 << 18

_SCHEMES = ("https", "http", "file")


class _BrokenError(Exception):
    """A connection that broke, or a server that is busy: the next try may do better."""


def check_mirror(mirror: str) -> None:
    """Refuse what is no address.

    Raises:
        UsageError: It is none.
    """
    if not _is_address(mirror):
        raise UsageError(
            f"{mirror!r} is no address of a mirror.", "Write for instance https://files.example.com/larq-zoo."
        )


def _is_address(mirror: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(mirror)
        _ = parts.port  # a ValueError where it is no number
    except ValueError:
        return False
    if parts.scheme == "file":
        return True
    is_ascii = all("!" <= each <= "~" for each in mirror)  # no spaces either: http.client sends neither
    return parts.scheme in _SCHEMES and bool(parts.hostname) and is_ascii


def download(address: str, target: Path, sha256: str, hint: str, progress: Progress) -> None:
    """Download a file.

    Args:
        address: `https:`, `http:` or `file:`. No redirection leads from `https:` to anything else.
        target: Where it is to lie.
        sha256: SHA-256 of its content, 64 hexadecimal digits.
        hint: What to do where it cannot be had.
        progress: Called with one line now and then.

    Raises:
        BopkitError: It cannot be had, is too large or another file, or the disk has no room.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        is_resumed = part.exists() and part.stat().st_size > 0
        _download(address, part, hint, progress)
        found = files.sha256(part)
        if found != sha256 and is_resumed:  # its beginning may be of another time
            progress("What was left of an earlier download is not of this file: starting over")
            part.unlink()
            _download(address, part, hint, progress)
            found = files.sha256(part)
        if found != sha256:
            part.unlink()
            raise BopkitError(
                f"{address} is not the file that was released, and was removed: its SHA-256 is {found}, not {sha256}.",
                hint,
            )
        files.sync(part)
        os.replace(part, target)
    except OSError as error:
        if is_full_disk(error):
            with contextlib.suppress(OSError):
                part.unlink()
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _download(address: str, part: Path, hint: str, progress: Progress) -> None:
    """All of it into `part`, in several tries."""
    pause_s = PAUSE_S
    for attempt in range(1, TRIES + 1):
        try:
            _try(address, part, hint, progress)
            return
        except _BrokenError as broken:
            if attempt == TRIES:
                kept = f" {size_text(part.stat().st_size)} are kept for the next time." if part.exists() else ""
                raise BopkitError(
                    f"{address} cannot be downloaded: {broken}, {TRIES} times.{kept}", hint
                ) from broken.__cause__
            progress(f"{str(broken).capitalize()}: try {attempt + 1} of {TRIES} in {duration_text(pause_s)}")
            time.sleep(pause_s)
            pause_s *= 2


def _try(address: str, part: Path, hint: str, progress: Progress) -> None:
    """What is missing in `part`, in one try.

    Raises:
        _BrokenError: Another try may help.
        BopkitError: None will.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "bopkit", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with _opener().open(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_S) as response:
            start, size = _extent(response, have)
            _check_size(address, size, start, part, hint)
            _copy(response, part, start, size, address, hint, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if _is_whole(error.headers.get("Content-Range"), have):
                return
            part.unlink()
            raise _BrokenError("the server has another file than before") from error
        what = f"HTTP {error.code} {one_line(str(error.reason))}"
        if error.code >= 500 or error.code in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS):
            raise _BrokenError(f"the server answers {what}") from error
        raise BopkitError(f"{address} cannot be downloaded: {what}.", hint) from error
    except urllib.error.URLError as error:  # before anything came
        if isinstance(error.reason, ConnectionResetError):
            raise _BrokenError("the connection broke") from error
        raise BopkitError(f"{address} cannot be reached: {_words(error.reason)}.", hint) from error
    except TimeoutError as error:
        raise _BrokenError(f"nothing came for {duration_text(TIMEOUT_S)}") from error
    except (ConnectionError, http.client.HTTPException) as error:
        raise _BrokenError(f"the connection broke ({_words(error)})") from error


def _words(reason: object) -> str:
    """Why it failed, in one line."""
    said = getattr(reason, "strerror", None) or (first_line(reason) if isinstance(reason, Exception) else str(reason))
    return one_line(str(said))


class _HttpsStays(urllib.request.HTTPRedirectHandler):
    """Follows no redirection away from `https:`."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """As urllib's, after a look at the address."""
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"it leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_HttpsStays)


def _extent(response: Any, have: int) -> tuple[int, int | None]:
    """Where what comes begins in the file, and the size of the whole, None where the server does not say."""
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() else None
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if said is None or int(said[1]) != have:
            raise _BrokenError("the server sends another part than the missing one")
        return have, int(said[2]) if said[2] != "*" else None if size is None else have + size
    return 0, size


def _is_whole(content_range: str | None, have: int) -> bool:
    """Whether a server that has nothing to add says that nothing is missing."""
    said = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return said is not None and int(said[1]) == have


def _check_size(address: str, size: int | None, start: int, part: Path, hint: str) -> None:
    """Refuse what is absurd, and what the disk has no room for, before anything is written."""
    if size is None:
        return
    if size > MAX_BYTES:
        raise _too_large(address, size_text(size), hint)
    free = shutil.disk_usage(part.parent).free
    if start == 0 and part.exists():  # it is about to be overwritten
        free += part.stat().st_size
    if size - start > free:
        raise BopkitError(
            f"{address} takes {size_text(size - start)}, and {part.parent} has {size_text(free)} free.",
            "Free some space and run the command again, or set XDG_CACHE_HOME to a folder on another disk.",
        )


def _too_large(address: str, size: str, hint: str) -> BopkitError:
    return BopkitError(f"{address} is refused: it has {size}, and no such file has that much.", hint)


def _copy(response: Any, part: Path, start: int, size: int | None, address: str, hint: str, progress: Progress) -> None:
    if start:
        progress(f"Resuming at {size_text(start)}" + (f" of {size_text(size)}" if size else ""))
    began_s = next_line_s = time.monotonic()
    next_line_s += PROGRESS_EVERY_S
    done = start
    with open(part, "r+b" if start else "wb") as file:
        file.seek(start)
        while chunk := _read(response):
            done += len(chunk)
            if done > (MAX_BYTES if size is None else size):
                file.close()
                part.unlink()
                if size is None:
                    raise _too_large(address, f"more than {size_text(MAX_BYTES)}", hint)
                raise BopkitError(f"{address} is refused: it has more than the {size_text(size)} that it said.", hint)
            file.write(chunk)
            now_s = time.monotonic()
            if now_s > next_line_s:
                next_line_s = now_s + PROGRESS_EVERY_S
                progress(_line(done, size, (done - start) / (now_s - began_s)))
    if size is not None and done < size:
        raise _BrokenError(f"the connection broke after {size_text(done)} of {size_text(size)}")


def _read(response: Any) -> bytes:
    """What has come, empty at the end.

    Raises:
        _BrokenError: The connection broke, in whichever way.
    """
    try:
        chunk: bytes = (response.read1 if hasattr(response, "read1") else response.read)(_CHUNK_BYTES)
    except TimeoutError:
        raise  # that has words of its own
    except OSError as error:
        raise _BrokenError(f"the connection broke ({_words(error)})") from error
    return chunk


def _line(done: int, size: int | None, bytes_per_second: float) -> str:
    """How far a download is, how fast, and how long the rest takes."""
    of = f" of {size_text(size)}" if size else ""
    left = f", {duration_text((size - done) / bytes_per_second)} left" if size and bytes_per_second else ""
    return f"{size_text(done)}{of}, {size_text(bytes_per_second)}/s{left}"
