"""Run mypy over the packages as they install, and make sure that it looked at every file.

On the mapped folders (cli/, export/, models/) mypy sees two files and calls that success: `make check` therefore
installs into .typecheck first and runs this.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / ".typecheck" / "bopkit"


def main():
    expected = sum(1 for folder in ("bopkit", "cli", "export", "models") for _ in (ROOT / folder).rglob("*.py"))
    files = sorted(str(path) for path in INSTALLED.rglob("*.py"))
    if len(files) != expected:
        sys.exit(f"{expected} source files, but {len(files)} are installed: mend `packages` in pyproject.toml")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *files]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    print(result.stdout + result.stderr, end="")
    if result.returncode == 0 and f"{expected} source files" not in result.stdout:
        sys.exit(f"mypy did not look at all {expected} files")
    sys.exit(result.returncode)


if __name__ == "__main__":
    main()
