"""Fuzzes the library: `python run.py --seconds N`.

With clang and libFuzzer it is guided by coverage; with g++ cases are changed at random. Both begin with the corpus,
under AddressSanitizer and UndefinedBehaviorSanitizer. What is found lies in build/native/findings, and
`python run.py --replay FILE...` shows it again. `--keep FILE` writes what libFuzzer found worth keeping as a corpus.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import native

CORPUS = Path(__file__).parent / "corpus.zip"
_MOST_BYTES = 1 << 16
_MOST_KEPT_BYTES = 2048


def unpack(folder: Path) -> list[Path]:
    """The corpus as files."""
    with zipfile.ZipFile(CORPUS) as archive:
        archive.extractall(folder)
        return [folder / name for name in archive.namelist()]


def pack(files: list[Path], archive_path: Path) -> None:
    """Files as a corpus: the same bytes for the same files."""
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(files, key=lambda file: file.name):
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED)


def fuzz(seconds: int) -> int:
    """Fuzz so long; the exit status."""
    findings, corpus = native.BUILD / "findings", native.BUILD / "corpus"
    findings.mkdir(parents=True, exist_ok=True)
    files = unpack(corpus)
    environment = {**os.environ, **native.ENVIRONMENT}
    if native.compiler_for("fuzzer") is None:
        command = [native.build("driver"), "--seconds", seconds, *files]
    else:
        limits = [f"-max_len={_MOST_BYTES}", "-timeout=25", "-rss_limit_mb=2500", "-malloc_limit_mb=4000"]
        command = [native.build("fuzzer"), corpus, *limits, f"-max_total_time={seconds}", "-print_final_stats=1"]
    return subprocess.run([str(each) for each in command], cwd=findings, env=environment, check=False).returncode


def keep(path: Path) -> None:
    """Of what libFuzzer's corpus has become, the small files that together reach more code than the corpus."""
    kept, small = native.BUILD / "kept", native.BUILD / "small"
    for folder in (kept, small):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    unpack(kept)
    for file in (native.BUILD / "corpus").iterdir():
        if file.stat().st_size <= _MOST_KEPT_BYTES:
            shutil.copy(file, small)
    command = [native.build("fuzzer"), "-set_cover_merge=1", f"-max_len={_MOST_BYTES}", kept, small]
    environment = {**os.environ, **native.ENVIRONMENT}
    subprocess.run([str(each) for each in command], env=environment, check=True)
    driver = native.build("driver")
    pack([file for file in kept.iterdir() if native.run([driver, file]).returncode == 0], path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--replay", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    if arguments.keep:
        keep(arguments.keep)
    elif arguments.replay:
        done = native.run([native.build("driver"), *arguments.replay])
        print(done.stdout + done.stderr)
        sys.exit(done.returncode)
    else:
        sys.exit(fuzz(arguments.seconds))
