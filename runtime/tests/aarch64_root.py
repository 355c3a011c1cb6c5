"""Tests the whole wheel in an arm64 Debian root under qemu-user: Python, LiteRT and the library, all of aarch64.

`python aarch64_root.py [MODEL.tflite...]` makes the root in build/aarch64-root from Debian's packages and PyPI's wheels
(nothing is installed on this machine), builds the wheel for aarch64 and runs the chains of the sweep, and models, on
emulated processors. The chains must give the oracle's bits; a model what this machine gives, to 1e-5.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
BUILD = Path(os.environ.get("BOPKIT_RUNTIME_BUILD") or HERE.parent / "build") / "aarch64"
ROOT = BUILD / "root"
CPUS = {"cortex-a72": "neon", "neoverse-n1": "neon_dot"}
TOLERANCE = 1e-5

# What LiteRT's CPU detection reads and aborts without: four cores of a Raspberry Pi 4.
_CORE = """processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""

_GUEST = """
import sys
import numpy as np
import bopkit_runtime
from ai_edge_litert.interpreter import Interpreter

folder, wanted = sys.argv[1:3]
assert bopkit_runtime.isas()[0] == wanted, bopkit_runtime.isas()
for name in open(folder + "/names").read().split():
    feeds = np.load(f"{folder}/{name}.feeds.npz")
    for threads in (1, 2):
        delegates = [bopkit_runtime.load_delegate(num_threads=threads)]
        interpreter = Interpreter(model_path=f"{folder}/{name}.tflite", experimental_delegates=delegates)
        interpreter.allocate_tensors()
        for number, each in enumerate(interpreter.get_input_details()):
            interpreter.set_tensor(each["index"], feeds[str(number)])
        interpreter.invoke()
        outputs = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
    np.savez(f"{folder}/{name}.{wanted}.npz", **{str(number): each for number, each in enumerate(outputs)})
    print(name, flush=True)
"""


def run(command: list, **options) -> None:
    """Run a command, or say why not and stop."""
    print("+", *map(str, command), flush=True)
    if subprocess.run([str(each) for each in command], check=False, **options).returncode != 0:
        sys.exit(f"Error: {command[0]} failed.")


def make_root() -> None:
    """Unpack Debian's arm64 Python, and LiteRT's wheel; needs apt, dpkg and the network."""
    if (ROOT / ".made").exists():
        return
    shutil.rmtree(BUILD, ignore_errors=True)
    apt = BUILD / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State::Lists": apt / "lists",
        "Dir::State::Status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "1",
    }
    command = ["apt-get", "-qq", "-y", *(f"-o{name}={value}" for name, value in options.items())]
    run([*command, "update"])
    run([*command, "--no-install-recommends", "--download-only", "install", "python3", "libstdc++6"])
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        run(["dpkg-deb", "-x", package, ROOT])
    (ROOT / "proc").mkdir(exist_ok=True)
    (ROOT / "proc" / "cpuinfo").write_text("".join(_CORE.format(core) for core in range(4)) + "Hardware\t: BCM2711\n")
    cpus = ROOT / "sys" / "devices" / "system" / "cpu"
    cpus.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present", "online"):
        (cpus / name).write_text("0-3\n")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 34, 35)]
    platforms.append("--platform=manylinux2014_aarch64")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", *platforms]
    pip += ["--implementation=cp", f"--python-version={guest().name.removeprefix('python')}"]
    run([*pip, "--target", ROOT / "site", "ai-edge-litert", "numpy<2"])
    (ROOT / ".made").touch()


def guest() -> Path:
    """The root's Python."""
    return max((ROOT / "usr" / "bin").glob("python3.[0-9]*[0-9]"))


def install_wheel() -> None:
    """Build the wheel for aarch64 and unpack it over the last one."""
    wheels = BUILD / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    environment = {**os.environ, "BOPKIT_RUNTIME_PLATFORM": "linux-aarch64"}
    command = [
        sys.executable,
        "setup.py",
        "--quiet",
        "bdist_wheel",
        "--dist-dir",
        wheels,
        "--bdist-dir",
        BUILD / "bdist",
    ]
    run(command, cwd=HERE.parent, env=environment)
    (wheel,) = wheels.glob("*.whl")
    shutil.rmtree(ROOT / "site" / "bopkit_runtime", ignore_errors=True)
    shutil.unpack_archive(wheel, ROOT / "site", "zip")


def write_models(folder: Path, models: list[Path]) -> dict[str, list[np.ndarray]]:
    """Models and their inputs; what they should give."""
    import oracle
    from ai_edge_litert.interpreter import Interpreter
    from sweep import CASES

    from bopkit_runtime import load_delegate

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    wanted = {}
    for case in CASES:
        if not case.name.startswith("chain-") or case.tolerance:
            continue
        (folder / f"{case.name}.tflite").write_bytes(case.graph.flatbuffer())
        np.savez(folder / f"{case.name}.feeds.npz", **{str(i): feed for i, feed in enumerate(case.feeds)})
        wanted[case.name] = oracle.evaluate(case.graph, case.feeds)
    for model in models:
        shutil.copy(model, folder / f"{model.stem}.tflite")
        interpreter = Interpreter(str(model), experimental_delegates=[load_delegate(num_threads=1)])
        interpreter.allocate_tensors()
        (details,) = interpreter.get_input_details()
        feed = np.random.default_rng(0).uniform(-1, 1, details["shape"]).astype(np.float32)
        interpreter.set_tensor(details["index"], feed)
        interpreter.invoke()
        np.savez(folder / f"{model.stem}.feeds.npz", **{"0": feed})
        wanted[model.stem] = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
    (folder / "names").write_text("\n".join(wanted))
    (folder / "guest.py").write_text(_GUEST)
    return wanted


def main(models: list[Path]) -> None:
    """Make all and compare."""
    if shutil.which("qemu-aarch64") is None:
        sys.exit("Error: needs qemu-aarch64: apt-get install qemu-user.")
    make_root()
    install_wheel()
    folder = BUILD / "models"
    wanted = write_models(folder, models)
    wrong = 0
    for cpu, isa in CPUS.items():
        command = ["qemu-aarch64", "-L", ROOT, "-cpu", cpu, guest(), folder / "guest.py", folder, isa]
        environment = {"PYTHONPATH": str(ROOT / "site"), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        run(command, env=environment, stdout=subprocess.DEVNULL)
        for name, outputs in wanted.items():
            got = np.load(folder / f"{name}.{isa}.npz")
            for number, output in enumerate(outputs):
                mine = got[str(number)]
                limit = 0 if name.startswith("chain-") else TOLERANCE * np.abs(output).max()
                far = np.abs(mine.astype(np.float64) - output.astype(np.float64)).max()
                if mine.shape != output.shape or not far <= limit:
                    wrong += 1
                    print(f"{name}, output {number}: off by {far} on {cpu}")
        print(f"{len(wanted)} models on an emulated {cpu}, isa {isa}: {wrong} wrong so far")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
