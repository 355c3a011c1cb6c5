"""The parts that the reports of both formats share: layers and totals."""

from __future__ import annotations

from pathlib import Path

from bopkit.export.network.layers import LayerFacts
from bopkit.export.reference import Reference
from bopkit.export.report import Agreement, ArtifactReport, LayerReport
from bopkit.export.spec import ExportFormat
from bopkit.files import size_bytes


def report_artifact(
    export_format: ExportFormat,
    path: Path,
    reference: Reference,
    layers: list[LayerReport],
    agreements: list[Agreement],
    conversion_s: float,
) -> ArtifactReport:
    """The report of an artifact that lies at `path`; what one format alone has is left out."""
    return ArtifactReport(
        format=export_format.name,
        path=str(path),
        size_bytes=size_bytes(path),
        floor_bytes=reference.floor_bytes,
        layers=tuple(layers),
        agreements=tuple(agreements),
        conversion_s=conversion_s,
    )


def report_layer(facts: LayerFacts, packed_bytes: int | None, float_reason: str) -> LayerReport:
    """The report of one layer.

    Args:
        facts: The layer.
        packed_bytes: Size of its weights where it is packed; None where it is not.
        float_reason: Why it is not packed.
    """
    packed = packed_bytes is not None
    return LayerReport(
        name=facts.name,
        type=facts.type,
        kernel_shape=facts.kernel_shape,
        input_bits=facts.input_bits,
        kernel_bits=facts.kernel_bits,
        size_bytes=4 * facts.weights if packed_bytes is None else packed_bytes,
        packed=packed,
        reason="" if packed else float_reason,
    )
