"""Scratch folders, and what becomes of those whose process was killed: the next process of bopkit removes them.

The owner of a folder holds a lock on a file in it for as long as it lives, however it ends. A process number would not
do: another process gets it later, and it says nothing to a second host on the same network folder. Locks may not reach
from host to host, so the file also says on which one it was taken. What another host left is that host's to remove.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing is removed that is not one's own
    fcntl = None  # type: ignore[assignment]

HIDDEN_PREFIX, TEMPORARY_PREFIX = ".bopkit-", "bopkit-"
"""How names of scratch folders begin, beside a user's files and in the temporary folder."""

LOCK_FILE = ".bopkit-lock"

_LOCAL_FILE_SYSTEMS = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""Of which no other host writes the files, unless this one serves them."""

_looked_into: set[str] = set()


@contextlib.contextmanager
def scratch_folder(parent: Path | str | None = None, prefix: str = TEMPORARY_PREFIX) -> Iterator[Path]:
    """Yield a new folder, which is removed at the end, and first remove those there that killed processes left.

    Args:
        parent: Where it is made; None for the temporary folder.
        prefix: Begins its name; it begins with one of the prefixes above.

    Raises:
        OSError: Nothing can be written there.
    """
    assert prefix.startswith((HIDDEN_PREFIX, TEMPORARY_PREFIX))
    parent = os.path.abspath(tempfile.gettempdir() if parent is None else parent)
    if parent not in _looked_into:  # once a process: some write a file an epoch
        _looked_into.add(parent)
        remove_left_over(parent)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    locks = _lock(folder)
    try:
        yield folder
    finally:
        for lock in locks:  # first: network folders keep files that are open
            os.close(lock)
        _remove(folder)


def remove_left_over(parent: Path | str) -> None:
    """Remove the scratch folders in a folder whose processes are dead.

    Those that another host may use, and those without a lock, stay.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        ours = (each for each in entries if each.name.startswith((HIDDEN_PREFIX, TEMPORARY_PREFIX)))
        for folder in [Path(parent, each.name) for each in ours if each.is_dir(follow_symlinks=False)]:
            if _is_left_over(folder):
                _remove(folder)


def use_own_temporary_folder() -> None:
    """Let all that this process makes in the temporary folder be made in a scratch folder there, to its end.

    Libraries leave files there when they are killed: TensorFlow its `__autograph_generated_file*.py`.
    """
    owner, stack = os.getpid(), contextlib.ExitStack()
    try:
        tempfile.tempdir = str(stack.enter_context(scratch_folder()))
    except OSError:  # a command that needs one says so
        return

    def end() -> None:
        if os.getpid() == owner:  # and no fork of it
            stack.close()

    atexit.register(end)


def _lock(folder: Path) -> list[int]:
    """Lock a new folder until the descriptors that are returned are closed; none where there are no locks."""
    if fcntl is None:
        return []
    scratch = folder / f"{LOCK_FILE}-new"
    lock = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, "\n".join(_this_host()).encode())
        os.rename(scratch, folder / LOCK_FILE)  # it never appears without being locked
    except OSError:
        os.close(lock)
        scratch.unlink(missing_ok=True)
        return []
    locks = [lock]
    with contextlib.suppress(OSError):  # systemd-tmpfiles removes what is old, but for folders that are locked
        locks.append(os.open(folder, os.O_RDONLY | os.O_CLOEXEC))
        fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    return locks


def _is_left_over(folder: Path) -> bool:
    """Whether the process that made a folder is dead, as far as this host can tell."""
    try:
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # no folder of ours, just being made or removed, or another user's
        return False
    try:
        if not _can_tell(os.read(lock, 1000).decode(errors="replace"), folder):
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:  # its process lives
        return False
    finally:
        os.close(lock)


def _can_tell(written: str, folder: Path) -> bool:
    """Whether a lock that was taken as `_this_host` said then is seen here."""
    kernel, _, machine = written.partition("\n")
    this_kernel, this_machine = _this_host()
    if kernel == this_kernel:
        return True
    # From before a restart; but clones of a machine may have its names, and share a network folder with it.
    return bool(machine) and machine == this_machine and _file_system(folder) in _LOCAL_FILE_SYSTEMS


def _this_host() -> tuple[str, str]:
    """What no other running system has, and the machine's name before and after a restart; empty if unknown."""
    machine, kernel = _text("/etc/machine-id"), _text("/proc/sys/kernel/random/boot_id")
    if not kernel:  # not Linux
        import uuid

        kernel = f"{platform.node()} {uuid.getnode():x}"
    return kernel, f"{machine} {platform.node()}" if machine else ""


def _file_system(folder: Path) -> str:
    """Kind of the file system of a folder, as Linux calls it; empty if unknown."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _text("/proc/self/mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return kind.split()[0]
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: what is left half removed can still be told for what it is."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for each in list(entries):
            if each.is_dir(follow_symlinks=False):
                shutil.rmtree(each.path, ignore_errors=True)
            elif each.name != LOCK_FILE:
                with contextlib.suppress(OSError):
                    os.unlink(each.path)
    shutil.rmtree(folder, ignore_errors=True)
