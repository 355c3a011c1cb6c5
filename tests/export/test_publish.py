"""Where artifacts may be put."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bopkit.errors import UsageError
from bopkit.export.publish import require_folder


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_file_on_the_way_is_refused(below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("afile").touch()
    for start in (Path(), tmp_path):
        with pytest.raises(
            UsageError, match=re.escape(f"{start / 'afile'} is a file where a folder must be. Name ano")
        ):
            require_folder(start / "afile" / below)
        require_folder(start / "new" / below)
        require_folder(start)
    Path("broken").symlink_to("nowhere")
    with pytest.raises(UsageError, match="broken is a file"):
        require_folder(Path("broken/x"))
