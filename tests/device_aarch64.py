"""`bopkit device setup` and `benchmark` on an arm64 Debian under qemu-user, behind a real OpenSSH server.

`make test-device-aarch64` runs it. The root is that of `runtime/tests/aarch64_root.py`: Debian's Python for arm64.
LiteRT and numpy come from PyPI, and the runtime is compiled: it needs the network, qemu-user, apt and some minutes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import aarch64_root
import ssh_server
from sweep import CASES

# The agent starts its Python by the path of the script that stands for it: the kernel cannot run an arm64 program.
_PYTHON = 'exec qemu-aarch64 -0 "$0" -cpu cortex-a72 -L {root} {python} "$@"'


def bopkit(*arguments, folder):
    """What `bopkit ARGUMENTS... --json` printed."""
    command = [sys.executable, "-c", "from bopkit.cli import main; main()", *map(str, arguments), "--json"]
    print("+ bopkit", *arguments, flush=True)
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"Error: exit code {result.returncode}: {result.stdout}")
    return json.loads(result.stdout)


def check(server, folder):
    """Set the device up, measure on it, and remove what was put there."""
    case = next(case for case in CASES if case.name == "chain-residual")
    (folder / "model.tflite").write_bytes(case.graph.flatbuffer())
    info = bopkit("device", "setup", server.name, folder=folder)
    assert info["is_ready"] and info["environment"]["machine"] == "aarch64", info
    assert info["isas"][0] == "neon", info  # a Cortex-A72 has no dot product
    few = ["--runs", 5, "--min-seconds", 0, "--warmup-runs", 1, "--threads", "1,2"]
    report = bopkit("benchmark", "model.tflite", "--device", server.name, *few, folder=folder)
    for row, threads in zip(report["rows"], (1, 2), strict=True):
        assert row["error"] is None and row["threads"] == threads and len(row["samples_ms"]) >= 5, row
        assert row["settings"]["isa"] == "neon" and row["settings"]["claimed_operators"], row
        print(f"{threads} thread(s): {row['runs']} runs, p50 {row['latency_ms_p50']:.3f} ms (emulated)")
    assert bopkit("device", "remove", server.name, folder=folder)["removed"]
    assert not server.files() and not server.processes(), (server.files(), server.processes())


def main():
    """Make the device and use it."""
    if shutil.which("qemu-aarch64") is None or ssh_server.MISSING:
        sys.exit("Error: needs qemu-user, openssh-server and openssh-client (apt).")
    aarch64_root.make_root()
    with tempfile.TemporaryDirectory(prefix="bopkit-aarch64-") as scratch:
        folder = Path(scratch)
        python = _PYTHON.format(root=aarch64_root.ROOT, python=aarch64_root.guest())
        server = ssh_server.SshServer(folder / "board", python)
        os.environ["PATH"] = f"{server.client / 'bin'}:{os.environ['PATH']}"
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        os.environ["XDG_CACHE_HOME"] = str(aarch64_root.BUILD / "cache")
        try:
            check(server, folder)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
