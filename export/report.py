"""What an export did, as plain values: `to_dict` is ready for JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.tabular import Column, Tabular, record
from bopkit.text import percent_text, size_text


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """One layer with weights, as it lies in one artifact.

    Attributes:
        name: Its name; the names of the networks that nest it come first, separated by `/`.
        type: Its Keras class.
        kernel_shape: Shape of its kernel in Keras; empty for a layer without one.
        input_bits: Bits of a value that meets the kernel: 1 where a sign is taken, 32 for floats.
        kernel_bits: Bits of a kernel value: 1 for +-scale, 32 for floats.
        size_bytes: Size of its weights in the artifact, before the file format's own overhead.
        packed: Whether the kernel takes one bit a weight.
        reason: Why it is not packed; empty if it is.
    """

    name: str
    type: str
    kernel_shape: tuple[int, ...]
    input_bits: int
    kernel_bits: int
    size_bytes: int
    packed: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """One picture for which the artifact answers otherwise than Keras: another class, or values that are further off.

    Attributes:
        picture: Its index among the pictures.
        keras_class: Class that Keras names; None for an output that names none.
        artifact_class: Class that the artifact names; None for an output that names none.
        score_margin: The larger of two leads: of Keras' class over the artifact's in Keras' scores, and of the
            artifact's class over Keras' in the artifact's scores. For an output that names no class, the largest
            difference of a value.
        traced: Whether the signs on the way into the binary layers were compared. Those of a SavedModel are not:
            it computes with float kernels and keeps no packed input that could be read.
        first_layer: First layer whose binarized input differs; empty where none does or none was traced.
        signs_changed: Number of values whose sign differs on the way into that layer.
        signs: Number of values on the way into that layer.
        largest_relative_magnitude: Largest magnitude in Keras of a value whose sign differs, relative to the
            root mean square of that layer's input; None where no difference was traced.
        near_tie: Where a sign differs, whether every one that differs in `first_layer` belongs to a value within
            `spec.NEAR_TIE` of zero. Else whether both scores are as near to each other as the tolerance lets two
            scores move; None where they are not and the signs were not traced.
    """

    picture: int
    keras_class: int | None
    artifact_class: int | None
    score_margin: float
    traced: bool = False
    first_layer: str = ""
    signs_changed: int = 0
    signs: int = 0
    largest_relative_magnitude: float | None = None
    near_tie: bool | None = None


@dataclasses.dataclass(frozen=True)
class Agreement:
    """An output of an artifact against that of Keras on the same pictures.

    Attributes:
        source: What the pictures are, e.g. `digits test split`.
        real: False for random input, unless the network takes nothing else.
        pictures: Number of pictures.
        top1: Share of pictures for which both name the same class, 0 to 1; None for an output that names none.
        same_side: Share of pictures for which a single probability is on the same side of one half in both, 0 to 1;
            None for any other output.
        within_tolerance: Share of pictures all of whose scores differ by at most `tolerance`, 0 to 1.
        tolerance: Absolute.
        largest_difference: Largest absolute difference of two scores.
        mean_difference: Mean absolute difference of two scores.
        mean_magnitude: Mean absolute value of Keras'.
        worst_value_difference: Mean difference of that value of the output which is furthest off, relative to its
            standard deviation in Keras, beyond rounding; infinite where a value that never changes is another one.
        is_constant: Whether Keras answers all pictures alike, so that agreement proves nothing.
        disagreements: The pictures for which they name different classes; for an output that names none, those
            whose values differ most, if any differs by more than rounding and signs explain: at most
            `spec.TRACED_PICTURES`.
        output: Name of the output; empty where there is one alone.
    """

    source: str
    real: bool
    pictures: int
    top1: float | None
    same_side: float | None
    within_tolerance: float
    tolerance: float
    largest_difference: float
    mean_difference: float
    mean_magnitude: float
    worst_value_difference: float
    is_constant: bool = False
    disagreements: tuple[Disagreement, ...] = ()
    output: str = ""


@dataclasses.dataclass(frozen=True)
class CStep:
    """One call of a kernel in exported C sources.

    Attributes:
        name: Its layer in Keras.
        description: What it computes.
        constant_bytes: Of its weights, thresholds and tables.
        output_bytes: Of what it computes.
    """

    name: str
    description: str
    constant_bytes: int
    output_bytes: int


@dataclasses.dataclass(frozen=True)
class CReport:
    """C sources for microcontrollers.

    Attributes:
        path: Their folder.
        name: Prefix of files, functions and macros.
        weight_bytes: Flash of the weights.
        constant_bytes: Flash of thresholds and tables.
        code_bytes: Flash of the machine code on `board`; None where no compiler for it is installed.
        stack_bytes: Stack of a run on `board`; None where it could not be emulated.
        instructions: Of a run on `board`; None where it could not be emulated.
        board: The core that these were counted on.
        arena_bytes: RAM of a run, besides input, output and stack.
        arena_lower_bound_bytes: The least that any arrangement of the same values needs.
        input_bytes: Of one input.
        output_bytes: Of one output.
        binary_macs: Multiply-accumulates of signs, of one picture.
        int8_macs: Of numbers of 8 bits.
        float_macs: Of float32.
        pictures: Number of pictures on which they were compared with the flatbuffer, where that was possible.
        is_integer: Whether nothing is computed in float32.
        steps: The calls in their order.
        is_compared: Whether their answers were compared with the flatbuffer's in LiteRT's reference kernels.
        accuracy: Top-1 before and after, of the flatbuffer, whose answers are theirs; None without labels.
        notes: What the reader should know, one sentence each.
    """

    path: str
    name: str
    weight_bytes: int
    constant_bytes: int
    code_bytes: int | None
    stack_bytes: int | None
    instructions: int | None
    board: str
    arena_bytes: int
    arena_lower_bound_bytes: int
    input_bytes: int
    output_bytes: int
    binary_macs: int
    int8_macs: int
    float_macs: int
    pictures: int
    is_integer: bool
    steps: tuple[CStep, ...]
    is_compared: bool = False
    accuracy: Accuracy | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PassReport:
    """One rewrite on the way to a flatbuffer, and what the file is spared by it.

    Attributes:
        name: What it does.
        layers: Names of the layers that it changed, or shapes of kernels; empty where it found none.
        saved_bytes: Bytes of the file; of its constants alone where they are derived. Negative for more.
        saved_operators: Operators; None where that is not known.
        saved_value_bytes: Bytes of the values that operators hand on for one example, e.g. as floats instead of bits;
            None where that is not known.
        measured: Whether the network was converted without the rewrite too, and the files compared; else the numbers
            are derived from the layers.
    """

    name: str
    layers: tuple[str, ...]
    saved_bytes: int = 0
    saved_operators: int | None = None
    saved_value_bytes: int | None = None
    measured: bool = False


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy of the Keras network and of an artifact on the same pictures.

    Attributes:
        source: What the pictures are.
        pictures: Number of pictures.
        before: Share of pictures whose class Keras names, 0 to 1.
        after: Share of pictures whose class the artifact names, 0 to 1.
    """

    source: str
    pictures: int
    before: float
    after: float

    @property
    def drop_points(self) -> float:
        """Loss in points of a percent; negative for a gain."""
        return 100 * (self.before - self.after)


@dataclasses.dataclass(frozen=True, repr=False)
class ArtifactReport(Tabular):
    """One exported artifact.

    Attributes:
        format: `tflite` or `savedmodel`.
        path: Where it lies.
        size_bytes: Size of all its files.
        floor_bytes: One bit a binary weight and 32 bits any other.
        layers: Every layer with weights, in the order of the network.
        agreements: Of every output on real pictures, then of every one on random input; of a flatbuffer in LCE.
        native_agreements: The same in LiteRT with bopkit-runtime, if that is installed; empty for other formats.
        conversion_s: Seconds it took to write, without the checks.
        load_s: Seconds in which a new process loads a SavedModel, without importing TensorFlow; None for other formats.
        first_request_s: Seconds of that process' first picture; None for other formats.
        passes: The rewrites that ran; empty for a SavedModel.
        accuracy: Of the network and the artifact on labelled pictures; None where there were none.
        takes_one_picture: Whether a flatbuffer answers for one picture at a time only, as the converter fixed that.
        needs_indirect_bgemm: Whether LCE's default kernels do not run a flatbuffer: they take no groups.
        is_rounded: Whether full-precision kernels of a flatbuffer were stored in fewer bits, so that they changed.
    """

    format: str
    path: str
    size_bytes: int
    floor_bytes: int
    layers: tuple[LayerReport, ...]
    agreements: tuple[Agreement, ...]
    conversion_s: float
    load_s: float | None = None
    first_request_s: float | None = None
    native_agreements: tuple[Agreement, ...] = ()
    passes: tuple[PassReport, ...] = ()
    accuracy: Accuracy | None = None
    takes_one_picture: bool = False
    needs_indirect_bgemm: bool = False
    is_rounded: bool = False

    _columns = (
        Column("layer", "name"),
        Column("kernel", "kernel_shape"),
        Column("bits", "kernel_bits"),
        Column("size", "size_bytes", size_text),
        Column("type", "type"),
        Column("why not packed", "reason"),
    )

    @property
    def top1_agreement(self) -> float | None:
        """Smallest share of real pictures for which an output names the same class as Keras, 0 to 1; None without."""
        return min((each.top1 for each in self.agreements if each.real and each.top1 is not None), default=None)

    def _title(self) -> str:
        agrees = "" if self.top1_agreement is None else f", top-1 agrees on {percent_text(self.top1_agreement)}"
        return f"{self.path}, {size_text(self.size_bytes)}{agrees}"

    def _records(self) -> list[dict[str, Any]]:
        return [record(layer) for layer in self.layers]


@dataclasses.dataclass(frozen=True, repr=False)
class ExportReport(Tabular):
    """What `export_model` did.

    Attributes:
        model_path: The Keras model that was exported.
        artifacts: One entry a format, the flatbuffer first.
        notes: What the reader should know, one sentence each.
        duration_s: Seconds that all of it took.
        peak_memory_bytes: Most memory that the process has held so far.
        dataset: Name of the dataset whose labelled test pictures it was checked on; None where it was none.
        is_classifier: Whether it maps one picture to one row of scores.
        refused: Why there is no flatbuffer, though one was asked for; empty where nothing is missing.
        c: The C sources; None where none were asked for.
    """

    model_path: str
    artifacts: tuple[ArtifactReport, ...]
    notes: tuple[str, ...]
    duration_s: float
    peak_memory_bytes: int
    dataset: str | None = None
    is_classifier: bool = True
    refused: str = ""
    c: CReport | None = None

    _columns = (
        Column("path", "path"),
        Column("format", "format"),
        Column("size", "size_bytes", size_text),
        Column("1-bit floor", "floor_bytes", size_text),
        Column("top-1 agrees", "top1_agreement", percent_text),
        Column("top-1", "top1_after", percent_text),
    )

    def _title(self) -> str:
        return self.model_path

    def _records(self) -> list[dict[str, Any]]:
        return [
            {
                **record(each),
                "top1_agreement": each.top1_agreement,
                "packed_layers": sum(layer.packed for layer in each.layers),
                "layers": len(each.layers),
                "top1_before": each.accuracy.before if each.accuracy else None,
                "top1_after": each.accuracy.after if each.accuracy else None,
            }
            for each in self.artifacts
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and numbers."""
        return dataclasses.asdict(self)
