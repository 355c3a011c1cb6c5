"""An inspection as one page without scripts or links, with a bar for the bytes of each layer."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from bopkit import files
from bopkit.export.inspection.report import Inspection

TEMPLATE = "page.html.jinja"


def write_page(inspection: Inspection, path: str | Path) -> None:
    """Write the page to `path`, whole or not at all."""
    files.write_bytes(Path(path), render(inspection).encode())


def render(inspection: Inspection) -> str:
    """The page as HTML; names in the file are a stranger's text, so all are escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = (importlib.resources.files("bopkit.export.inspection") / TEMPLATE).read_text()
    largest = max((layer.size_bytes for layer in inspection.layers), default=1) or 1
    return environment.from_string(source).render(it=inspection, largest=largest)
