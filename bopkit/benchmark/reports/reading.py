"""Result files: what `bopkit benchmark --json` printed, or what `bopkit report --json` made of several.

A file may come from anywhere. It is checked against the types of the dataclasses before anything reads it, so that the
writers of pages and tables need no checks of their own.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from bopkit.benchmark.results import SCHEMA_VERSION, BenchmarkReport
from bopkit.errors import BopkitError, first_line

MERGED_REPORTS = "reports"
"""Key of the results in a file of `bopkit report --json`."""

LARGEST_NUMBER = 10.0**18
"""Beyond any size in bytes and any time: what is larger is damage, and overflows on the way to a chart."""

_HINT = "Give files that `bopkit benchmark --json`, `bopkit compare --json` or `bopkit report --json` wrote."


def read_reports(path: str | Path) -> tuple[BenchmarkReport, ...]:
    """Read a result file, and check it.

    Args:
        path: A file of one result, or of several that were merged.

    Raises:
        BopkitError: It is no result, is cut off or damaged, or a newer bopkit wrote it.
    """
    path = Path(path)
    values = _read_json(path)
    if not isinstance(values, dict) or "schema_version" not in values:
        raise BopkitError(f"{path} is not the result of a benchmark.", _HINT)
    if type(values["schema_version"]) is not int or not 1 <= values["schema_version"] <= SCHEMA_VERSION:
        raise BopkitError(
            f"{path} has the schema {values['schema_version']!r}, and this bopkit reads {SCHEMA_VERSION}.",
            "Read it with the version of bopkit that wrote it, or upgrade this one.",
        )
    results = values.get(MERGED_REPORTS, [values])
    if not isinstance(results, list) or not results:
        raise BopkitError(f"{path} holds no results.", _HINT)
    return tuple(_checked(each, path) for each in results)


def _read_json(path: Path) -> Any:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors of Windows begin a file with a mark
        return json.loads(text, parse_constant=_refused, parse_float=_number(float), parse_int=_number(int))
    except UnicodeDecodeError as error:
        raise BopkitError(f"{path} is not the result of a benchmark: it is not UTF-8 text.", _HINT) from error
    except json.JSONDecodeError as error:
        if error.doc.strip() and error.doc.lstrip()[0] in "{[" and error.pos >= len(error.doc.rstrip()) - 1:
            raise BopkitError(f"{path} is cut off.", "Copy it again, or measure again.") from error
        place = f"line {error.lineno}, column {error.colno}"
        raise BopkitError(f"{path} is not the result of a benchmark: it is not JSON ({place}).", _HINT) from error
    except RecursionError as error:
        raise BopkitError(f"{path} is not the result of a benchmark: it is nested too deeply.", _HINT) from error
    except ValueError as error:
        raise BopkitError(f"{path} is not the result of a benchmark: {first_line(error)}.", _HINT) from error


def _refused(text: str) -> None:
    raise ValueError(f"it contains {text}, which JSON does not allow")


def _number(kind: type[int] | type[float]) -> Any:
    def read(text: str) -> int | float:
        if not abs(float(text)) <= LARGEST_NUMBER:  # first: Python refuses to read an int of thousands of digits
            raise ValueError(f"it contains {text[:20]}, which is too large for any figure")
        return kind(text)

    return read


def _checked(values: Any, path: Path) -> BenchmarkReport:
    import pydantic

    try:
        # As JSON, not as values: only there are lists what tuples are written as.
        report = pydantic.TypeAdapter(BenchmarkReport).validate_json(json.dumps(values), strict=True)
        datetime.datetime.fromisoformat(report.protocol.date)
    except pydantic.ValidationError as error:
        (first, *_) = error.errors()
        place = ".".join(map(str, first["loc"])) or "it"
        raise BopkitError(f"{path} is not the result of a benchmark: {place}: {first['msg']}.", _HINT) from error
    except ValueError as error:
        raise BopkitError(f"{path} has no date: {first_line(error)}.", _HINT) from error
    return report
