"""An emulated microcontroller as a device: it runs C sources, and counts instructions, flash, RAM and stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.artifacts.c_sources import CNetwork, CSources, read_c_sources
from bopkit.benchmark.devices.device import Device
from bopkit.benchmark.devices.qemu.boards import Board
from bopkit.benchmark.devices.qemu.network import measure_network
from bopkit.benchmark.devices.qemu.run import qemu_command, qemu_version
from bopkit.benchmark.devices.qemu.toolchain import find_compiler
from bopkit.benchmark.job import Job
from bopkit.benchmark.results import BenchmarkRow, Environment
from bopkit.benchmark.row_details import describe_c_sources
from bopkit.benchmark.runtimes.c import OPTIONS as HOST_OPTIONS
from bopkit.data import get_preprocessing
from bopkit.host_compiler import host_compiler
from bopkit.isolation import Child
from bopkit.progress import Progress

PICTURES = 4
"""Random pictures that the board and this host both compute, besides a few of the dataset."""

_OPTIMIZE = "-O3"
_HOST_ANSWERS = "bopkit.benchmark.devices.qemu.device:write_host_answers"
_INPUTS, _ANSWERS = "inputs.bin", "answers.bin"


class QemuDevice(Device):
    """A board that QEMU emulates.

    Args:
        name: As the user typed it.
        board: The board.

    Raises:
        BopkitError: QEMU or a compiler is not installed.
    """

    has_one_core = True

    def __init__(self, name: str, board: Board):
        self.name = name
        self._board = board
        qemu_command()
        self._compiler = find_compiler()
        self.environment = environment_of(board)

    def measure(self, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
        """Build C sources for the board, run them there and on this host, and compare the answers bit for bit."""
        row = BenchmarkRow(artifact=job.artifact, kind=artifact.kind(job.artifact))
        card, path = artifact.read_card(job.artifact), artifact.resolve(job.artifact)
        if card is not None:
            row.architecture, row.input_shape = card.architecture, card.input_shape
            row.classes = len(card.class_names) or None
        if row.kind != "c":
            row.size_bytes = files.size_bytes(path)
            row.model_sha256 = files.sha256(path) if path.is_file() else None
            model = job.artifact if row.kind == "keras" else "MODEL.h5"  # nothing else is a source of C
            row.notes.append(f"Emulated boards run folders of C sources alone: `bopkit export {model} --c` writes one.")
            return row
        sources = read_c_sources(path)
        describe_c_sources(row, sources)
        row.runtime = "C"
        row.classes = sources.output.elements
        inputs = _inputs(sources, path, job.pictures)
        (folder / _INPUTS).write_bytes(inputs.tobytes())
        measured = measure_network(
            self._board,
            sources.paths,
            sources.header,
            f"{sources.name}_run",
            inputs=inputs.tobytes(),
            input_bytes=sources.input.size_bytes,
            output_bytes=sources.output.size_bytes,
            optimize=_OPTIMIZE,
            compiler=self._compiler,
        )
        row.settings = {
            "compiler": measured.compiler,
            "options": " ".join(self._compiler.options(self._board, _OPTIMIZE)),
        }
        row.instructions, row.stack_bytes = measured.instructions, measured.stack_bytes
        row.flash_bytes = measured.code_bytes + measured.constant_bytes
        row.code_bytes, row.ram_bytes = measured.code_bytes, measured.ram_bytes
        self._compare(row, measured.outputs, len(inputs), folder, path, progress)
        return row

    def _compare(
        self, row: BenchmarkRow, outputs: bytes, pictures: int, folder: Path, path: Path, progress: Progress
    ) -> None:
        """Note that this host was not asked, or make another answer of it the row's error."""
        if not host_compiler():
            row.notes.append(f"Its answers on {self.name} were not compared: this host has no C compiler.")
            return
        with Child(name="The process that ran {subject}", hint="Export the network again.") as process:
            process.call(_HOST_ANSWERS, str(path), str(folder), subject=row.artifact, progress=progress)
        size = len(outputs) // pictures
        expected = (folder / _ANSWERS).read_bytes()
        different = sum(expected[at : at + size] != outputs[at : at + size] for at in range(0, len(outputs), size))
        if different:
            row.error = f"On {self.name} it answers otherwise than on this host ({different} of {pictures} pictures)."
            row.hint = "Please report this with the folder of C sources."


def environment_of(board: Board) -> Environment:
    """What a board is.

    Raises:
        BopkitError: QEMU or a compiler is not installed.
    """
    compiler = find_compiler()
    return Environment(
        cpu=f"{board.core}, emulated by QEMU as {board.machine}",
        logical_cores=1,
        memory_bytes=board.ram_bytes,
        os="none",
        machine="thumb",
        versions={"qemu": qemu_version(), compiler.name: compiler.version},
    )


def _inputs(sources: CSources, path: Path, shown: str | None) -> np.ndarray:
    """Stored inputs of random pictures, always the same, and of those in a file."""
    low, high = sources.card.value_range if sources.card is not None else (-1.0, 1.0)
    shape = (PICTURES, *sources.input.shape)
    pictures = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    if shown is not None:
        pictures = np.concatenate([pictures, np.load(shown)])
    if sources.input.kind == "uint8":
        preprocessing = artifact.pixel_preprocessing(path)
        if preprocessing is None:
            return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        pictures = get_preprocessing(preprocessing, sources.input.shape).to_pixels(pictures)  # type: ignore[arg-type]
    return sources.input.stored(pictures)


def write_host_answers(path: str, folder: str, progress: Progress) -> None:
    """In a process of its own, as it runs code of the artifact: the answers of this host to the inputs in `folder`."""
    sources = read_c_sources(Path(path))
    numbers = np.frombuffer((Path(folder) / _INPUTS).read_bytes(), sources.input.dtype)
    network = CNetwork(sources, Path(folder), HOST_OPTIONS)
    answers = network.answers(numbers.reshape(-1, *sources.input.shape))
    (Path(folder) / _ANSWERS).write_bytes(answers.tobytes())
