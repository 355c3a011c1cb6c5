"""Reports: results merged, compared with a baseline, checked by rules, and written as table, page, Markdown and CSV.

Importing this package imports no TensorFlow.
"""

from bopkit.benchmark.reports.baseline import compare_lines
from bopkit.benchmark.reports.build import Report, build_report
from bopkit.benchmark.reports.charts import scatter_file
from bopkit.benchmark.reports.csv_table import csv_table
from bopkit.benchmark.reports.gains import Gain, gain_text
from bopkit.benchmark.reports.lines import BaselineChange, Line, Measurement
from bopkit.benchmark.reports.markdown import markdown
from bopkit.benchmark.reports.merging import MergedReport, merge_reports
from bopkit.benchmark.reports.page import render_page
from bopkit.benchmark.reports.reading import read_reports
from bopkit.benchmark.reports.rules import Finding, check_rules, parse_rule

__all__ = [
    "BaselineChange",
    "Finding",
    "Gain",
    "Line",
    "Measurement",
    "MergedReport",
    "Report",
    "build_report",
    "check_rules",
    "compare_lines",
    "csv_table",
    "gain_text",
    "markdown",
    "merge_reports",
    "parse_rule",
    "read_reports",
    "render_page",
    "scatter_file",
]
