"""What `compare_models` found: rows, ratios, and the ways to write them."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit import files
from bopkit.benchmark import BenchmarkReport
from bopkit.benchmark.reports import Gain, MergedReport, merge_reports, render_page, scatter_file
from bopkit.benchmark.results import ROW_COLUMNS
from bopkit.errors import BopkitError
from bopkit.tabular import Tabular

TITLE = "What binarization buys"


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Networks and their twins.

    Attributes:
        report: A row a network, variant, device and number of threads; `artifact` is the network and the variant.
        gains: Of each packed network over each of its twins, where both were measured.
    """

    report: BenchmarkReport
    gains: tuple[Gain, ...]

    _columns = ROW_COLUMNS

    @property
    def merged(self) -> MergedReport:
        """The rows as the writers of reports take them."""
        return merge_reports([("", self.report)])

    def to_dict(self) -> dict[str, Any]:
        """The report as `BenchmarkReport.to_dict` writes it, and `gains`; `bopkit report` reads it."""
        return {**self.report.to_dict(), "gains": files.finite([dataclasses.asdict(gain) for gain in self.gains])}

    def _title(self) -> str:
        return TITLE

    def _records(self) -> list[dict[str, Any]]:
        return self.report._records()

    def _shown_records(self) -> list[dict[str, Any]]:
        return self.report._shown_records()

    def html(self) -> str:
        """The page."""
        return render_page(self.merged, gains=self.gains, title=TITLE)

    def svg(self) -> str:
        """The page's chart as a file of its own, with machine and date.

        Raises:
            BopkitError: Nothing was measured.
        """
        machines = [f"{each.cpu}, {each.logical_cores} cores" for each in self.report.environments.values()]
        title = f"{TITLE}: {'; '.join(machines)}, {self.report.protocol.date[:10]}"
        picture = scatter_file(self.merged, title)
        if picture is None:
            raise BopkitError("There is nothing to draw: no row was measured.", "The errors above say why.")
        return picture
