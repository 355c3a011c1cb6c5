"""How figures and settings are written for a person."""

import pytest

from bopkit.text import value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "1e-3"), (0.01, "1e-2"), (2.5e-7, "2.5e-7"), (0.1, "0.1"), (0.0, "0"), (3.0, "3"), (100, "100")],
)
def test_settings_are_as_short_as_they_can_be_typed(value, text):
    assert value_text(value) == text
    for exact in (1 / 3, 1 / 30, 123456789.125):
        assert float(value_text(exact)) == exact
