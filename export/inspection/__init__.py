"""What an artifact holds, without running it: layers, bits, bytes, the card; and what differs between two."""

from bopkit.export.inspection.contents import read_contents
from bopkit.export.inspection.diff import Difference, diff_artifacts
from bopkit.export.inspection.report import Inspection, inspect_artifact

__all__ = ["Difference", "Inspection", "diff_artifacts", "inspect_artifact", "read_contents"]
