"""Write the C sources of a checked flatbuffer to a scratch path, and check them on this host and an emulated board."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bopkit.artifacts.c_sources import CNetwork, CSources
from bopkit.benchmark.devices.qemu import BOARDS, measure_network
from bopkit.errors import BopkitError, UsageError
from bopkit.export.c import memory, project, writing
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import read_graph
from bopkit.export.c.lowering import lower
from bopkit.export.c.names import layer_names
from bopkit.export.c.program_builder import C_WORDS
from bopkit.export.c.steps import FLOAT, Program
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.report import CReport, CStep
from bopkit.export.tflite.build import inputs_for
from bopkit.export.tflite.run import has_native_runtime, predict_by_reference_kernels
from bopkit.files import temporary_directory
from bopkit.host_compiler import host_compiler
from bopkit.progress import Progress
from bopkit.text import size_text
from bopkit.versions import package_versions

BOARD = "cortex-m4"
"""The board that the README's figures are of."""

_TOLERANCE = 1e-5
_EMULATION_LIMIT_S = 120.0


def check_c_name(name: str) -> str:
    """The name of a file as a C identifier, unchanged.

    Raises:
        UsageError: It is none.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in C_WORDS:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
        plain = plain if re.match(r"[a-z]", plain) and plain not in C_WORDS else f"net_{plain}".rstrip("_")
        raise UsageError(
            f"{name!r} cannot be the name of a C function, as the export would call it.", f"Add --c-name {plain}."
        )
    return name


def make_c(
    reference: Reference, flatbuffer: Path, folder: Path, options: ExportOptions, progress: Progress
) -> tuple[CReport, list[str]]:
    """Write the C sources of a flatbuffer into a new folder, and check them.

    Args:
        reference: The network, and the pictures that it is checked with.
        flatbuffer: The checked file.
        folder: What is written; its parent exists.
        options: Of the export.
        progress: Called with one line before each slow step.

    Returns:
        The report, and one sentence for each check that failed.

    Raises:
        NotCoveredError: There is no C for a part of the network.
        BopkitError: It is larger than the flash or RAM that the options allow.
    """
    progress("Writing the C sources")
    name = check_c_name(options.c_name or flatbuffer.stem)
    content = flatbuffer.read_bytes()
    try:
        graph = read_graph(content, flatbuffer)
        program = lower(graph, layer_names(graph, content, reference))
    except NotCoveredError as error:
        raise BopkitError(
            f"The network has a part that --c cannot take: {error.message}.", "Export it with --tflite."
        ) from error
    arena = memory.plan(program)
    sources = project.describe(folder, program, arena, name, reference.floor_bytes, reference.card)
    about = _about(reference, sources, options)
    project.write_sources(sources, program, arena, about)
    progress("Checking the C sources")
    pictures = inputs_for(reference, reference.comparisons[0][0].inputs)[0]
    stored = sources.input.stored(pictures)
    answers, notes, failures = _checked_answers(sources, content, pictures, stored)
    measured = _measure(sources, stored[:1])
    count = project.golden_count(sources.input)
    project.write_surroundings(sources, program, about, stored[:count], answers[:count], measured)
    report = _report(sources, program, len(stored), measured, notes)
    _require_room(report, options)
    return report, failures


def _about(reference: Reference, sources: CSources, options: ExportOptions) -> writing.About:
    card = reference.card
    trained = f", trained on {card.dataset}" if card is not None and card.trained and card.dataset else ""
    title = f"{card.architecture if card is not None else reference.model.name}{trained}"
    return writing.About(
        name=sources.name,
        title=f"{sources.name}: {title}",
        input_note=_input_note(reference, sources),
        output_note=_output_note(reference, sources, options),
        labels=card.class_names if card is not None and reference.signature.answers_scores else (),
        version=package_versions()["bopkit"],
    )


def _input_note(reference: Reference, sources: CSources) -> str:
    shape = " x ".join(map(str, sources.input.shape))
    card = reference.card
    by = f" by the preprocessing {card.preprocessing}" if card is not None and card.preprocessing else ""
    if sources.input.kind == "uint8":
        return f"{shape} pixels, 0 to 255, [height][width][channel], of the network's size."
    low, high = card.value_range if card is not None else (-1.0, 1.0)
    values = f"{shape} numbers, [height][width][channel]: values{by}, usually {low:g} to {high:g}"
    if sources.input.kind == "float":
        return f"{values}."
    macro = sources.name.upper()
    return (
        f"{values}, each as round(value / {macro}_INPUT_SCALE) + {macro}_INPUT_ZERO_POINT, halves away from zero, "
        "within -128 to 127."
    )


def _output_note(reference: Reference, sources: CSources, options: ExportOptions) -> str:
    what = "logits" if options.output == "logits" else reference.signature.outputs[0].name
    count = sources.output.elements
    if sources.output.kind == "float":
        return f"{count} {what}."
    macro = sources.name.upper()
    return f"{count} {what}, each as (number - {macro}_OUTPUT_ZERO_POINT) * {macro}_OUTPUT_SCALE."


def _checked_answers(
    sources: CSources, flatbuffer: bytes, pictures: np.ndarray, stored: np.ndarray
) -> tuple[np.ndarray, list[str], list[str]]:
    """Stored answers for the self-test, notes, and one sentence for each difference from the flatbuffer.

    Raises:
        BopkitError: Neither the C sources nor the flatbuffer can be run here.
    """
    expected = predict_by_reference_kernels(flatbuffer, pictures)[0] if has_native_runtime() else None
    if not host_compiler():
        if expected is None:
            raise BopkitError(
                "The C sources can neither be compiled nor compared here: no C compiler and no bopkit-runtime.",
                "Install gcc or clang, or `pip install ziglang`.",
            )
        note = "The C sources were not compiled: there is no C compiler here. Run their self-test before you use them."
        return sources.output.stored(expected), [note], []
    with temporary_directory("c") as folder:
        answers = CNetwork(sources, Path(folder), warn=True).answers(stored)
    if expected is None:
        note = "The C sources were compiled and run, but not compared bit for bit: bopkit-runtime is not installed."
        return answers, [note], []
    found = sources.output.real(answers).reshape(expected.shape)
    differences = np.abs(found - expected).reshape(len(found), -1).max(axis=1)
    differ = differences > (_TOLERANCE if sources.output.kind == FLOAT else 0)
    if not differ.any():
        return answers, [], []
    return answers, [], [f"the C code differs from the flatbuffer on {differ.sum()} of {len(differ)} pictures"]


def _measure(sources: CSources, stored: np.ndarray) -> project.Measured | str:
    """What the emulated board needs, or why that is not known."""
    board = BOARDS[BOARD]
    try:
        found = measure_network(
            board,
            sources.paths,
            sources.header,
            f"{sources.name}_run",
            stored.tobytes(),
            sources.input.size_bytes,
            sources.output.size_bytes,
            timeout_s=_EMULATION_LIMIT_S,
        )
    except BopkitError as error:
        return str(error)
    return project.Measured(board.core, found.compiler, found.code_bytes, found.stack_bytes, found.instructions)


def _report(
    sources: CSources, program: Program, pictures: int, measured: project.Measured | str, notes: list[str]
) -> CReport:
    known = measured if isinstance(measured, project.Measured) else None
    if known is None:
        notes = [*notes, f"Code and stack were not counted: {measured}"]
    return CReport(
        path=str(sources.folder),
        name=sources.name,
        weight_bytes=sources.weight_bytes,
        constant_bytes=sources.constant_bytes,
        code_bytes=known.code_bytes if known else None,
        stack_bytes=known.stack_bytes if known else None,
        instructions=known.instructions if known else None,
        board=known.core if known else "",
        arena_bytes=sources.arena_bytes,
        arena_lower_bound_bytes=sources.arena_lower_bound_bytes,
        input_bytes=sources.input.size_bytes,
        output_bytes=sources.output.size_bytes,
        binary_macs=sources.binary_macs,
        int8_macs=sources.int8_macs,
        float_macs=sources.float_macs,
        pictures=pictures,
        is_compared=has_native_runtime() and bool(host_compiler()),
        is_integer=not any(each.kind == FLOAT for each in program.values),
        steps=tuple(
            CStep(
                step.name,
                step.description,
                sum(array.size_bytes for array in step.arrays),
                program.values[step.output].size_bytes,
            )
            for step in program.steps
        ),
        notes=tuple(notes),
    )


def _require_room(report: CReport, options: ExportOptions) -> None:
    """Raise where the network needs more flash or RAM than there is."""
    flash_bytes = report.weight_bytes + report.constant_bytes + (report.code_bytes or 0)
    ram_bytes = report.arena_bytes + report.input_bytes + report.output_bytes + (report.stack_bytes or 0)
    for kind, needed, limit, size_of in (
        ("flash", flash_bytes, options.flash_bytes, lambda step: step.constant_bytes),
        ("RAM", ram_bytes, options.ram_bytes, lambda step: step.output_bytes),
    ):
        if limit is not None and needed > limit:
            largest = sorted(report.steps, key=size_of, reverse=True)[:3]
            named = ", ".join(f"{step.name} {size_text(size_of(step))}" for step in largest)
            raise BopkitError(
                f"The network needs {size_text(needed)} of {kind}, {size_text(needed - limit)} more than the "
                f"{size_text(limit)} of --{kind.lower()}. The layers that take most: {named}.",
                "Export a smaller network: fewer filters, or smaller pictures.",
            )
