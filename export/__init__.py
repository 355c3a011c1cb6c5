"""Export: a larq Keras model as a bit-packed LCE flatbuffer and a bit-packed TensorFlow Serving directory.

Importing this package imports neither TensorFlow nor LCE.
"""

from bopkit.export.exporter import export_model
from bopkit.export.options import ExportOptions
from bopkit.export.report import Agreement, ArtifactReport, Disagreement, ExportReport, LayerReport

__all__ = [
    "Agreement",
    "ArtifactReport",
    "Disagreement",
    "ExportOptions",
    "ExportReport",
    "LayerReport",
    "export_model",
]
