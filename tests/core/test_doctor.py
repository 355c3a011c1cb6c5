"""What `bopkit doctor` says of what is installed."""

from __future__ import annotations

import pytest

from bopkit import doctor


@pytest.mark.parametrize(
    ("versions", "value", "hint"),
    [
        ({"bopkit-runtime": "0.1.0"}, "0.1.0", ""),
        ({}, "none: flatbuffers run in LCE's interpreter", "faster: pip install ./runtime in bopkit's folder"),
    ],
)
def test_a_native_runtime_that_is_missing_is_said_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], value: str, hint: str
) -> None:
    monkeypatch.setattr(doctor, "package_versions", lambda _: versions)
    check = doctor._native_runtime()
    assert (check.name, check.value, check.hint, check.ok) == ("bopkit-runtime", value, hint, True)
