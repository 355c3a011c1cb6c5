"""`bopkit doctor`."""

from __future__ import annotations

import dataclasses

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.output import print_json, print_table


def doctor(json: Json = False) -> None:
    """Say which versions and devices there are, what is missing and how to get it."""
    from bopkit.doctor import diagnose

    findings = diagnose()
    if json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        print_table(
            ["", "", "", ""],
            [[" " if each.ok else "!", each.name, each.value, each.hint] for each in findings],
        )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
