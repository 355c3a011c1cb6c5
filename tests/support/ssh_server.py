"""A device over ssh: Debian's OpenSSH server on a free port of the loopback, with keys, a home and programs of its own.

The user's side is the real `ssh`, with a config of its own: a shim in `PATH` adds `-F`, since ssh takes the home from
the password database and not from HOME.
"""

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

SSHD = "/usr/sbin/sshd"
MISSING = None if Path(SSHD).exists() and shutil.which("ssh") else "needs openssh-server and openssh-client (apt)"


class SshServer:
    """A running server; `stop` it.

    Args:
        folder: An empty folder for all of it.
        python: What `python3` is on the device, as lines of a shell script; None for none.

    Attributes:
        name: The device's, for `--device`.
        home: Its home.
    """

    def __init__(self, folder, python=f'exec {sys._base_executable} "$@"'):
        self.folder = folder
        self.home, self.programs, self.client = folder / "home", folder / "programs", folder / "client"
        for each in (self.home, self.programs, self.client):
            each.mkdir(parents=True)
        self.port = free_port()
        self.name = f"ssh://127.0.0.1:{self.port}"
        for key in ("host_key", "user_key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", folder / key])
        self.add_program("session", self._session())
        self.set_python(python)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        (folder / "config").write_text(self._server_config())
        self.trust_host()
        self._write_client()
        self._log = open(folder / "log", "wb")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where the server separates its privileges
        self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=self._log)
        self._wait()

    def set_python(self, lines):
        """Put a `python3` onto the device, or none."""
        (self.programs / "python3").unlink(missing_ok=True)
        if lines is not None:
            self.add_program("python3", lines)

    def add_program(self, name, lines):
        """Put a shell script onto the device."""
        write_script(self.programs / name, lines)

    def trust_host(self, key=None):
        """Let the user know this host key, or another one; the empty string for none."""
        known = (self.folder / "host_key.pub").read_text() if key is None else key
        (self.client / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {known}" if known else "")

    def files(self):
        """What is on the device, without its folders."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if not path.is_dir())

    def processes(self):
        """Command lines of the device's processes: they have its home as theirs."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes().split(b"\0")
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"HOME={self.home}".encode() in environment and command:
                found.append(command)
        return found

    def cut_connections(self):
        """Kill the server's side of all connections, as a device that loses its power."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                status = (path / "status").read_text()
                command = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if f"PPid:\t{self._process.pid}\n" in status and command.startswith(b"sshd:"):
                os.kill(int(path.name), 9)

    def stop(self):
        """End the server and its connections."""
        self.cut_connections()
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def _session(self):
        return "\n".join(
            [
                f"export HOME={self.home} PATH={self.programs}:/usr/bin:/bin",
                "unset SSH_CONNECTION SSH_CLIENT XDG_CACHE_HOME PYTHONPATH",
                'cd "$HOME"',
                'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"',
            ]
        )

    def _server_config(self):
        return f"""
Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.folder}/host_key
AuthorizedKeysFile {self.folder}/authorized_keys
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
ForceCommand {self.programs}/session
"""

    def _write_client(self):
        (self.client / "config").write_text(f"""
Host board
    HostName 127.0.0.1
    Port {self.port}
Host *
    IdentityFile {self.folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {self.client}/known_hosts
    GlobalKnownHostsFile none
""")
        ssh = shutil.which("ssh")
        (self.client / "bin").mkdir()
        write_script(self.client / "bin" / "ssh", f'exec {ssh} -F {self.client}/config "$@"')

    def _wait(self):
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError((self.folder / "log").read_text())


def write_script(path, lines):
    """An executable shell script; one that is just being run may be replaced."""
    scratch = path.with_suffix(".new")
    scratch.write_text(f"#!/bin/sh\n{lines}\n")
    scratch.chmod(scratch.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    scratch.replace(path)


def free_port():
    """A port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(command):
    """Run a command that must succeed."""
    subprocess.run([str(each) for each in command], check=True, capture_output=True)


def wheels_of_this_environment(folder):
    """Wheels of bopkit-runtime, LiteRT and numpy as they are installed here: tests need no network."""
    import ai_edge_litert
    import bopkit_runtime
    import numpy

    tag = f"manylinux_2_17_{os.uname().machine}"
    cpython = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    runtime = Path(bopkit_runtime.__file__).parent
    _zip(folder / f"bopkit_runtime-{bopkit_runtime.version}-py3-none-{tag}.whl", runtime.parent, [runtime])
    for module in (ai_edge_litert, numpy):
        package = Path(module.__file__).parent
        beside = [path for path in package.parent.glob(f"{package.name}*") if path != package and path.is_dir()]
        (information,) = (path for path in beside if path.name.endswith(".dist-info"))
        version = information.name.removesuffix(".dist-info").split("-")[1]
        wheel = folder / f"{package.name}-{version}-{cpython}-{cpython}-{tag}.whl"
        _zip(wheel, package.parent, [package, *beside])
    return folder


def small_wheels(folder, code=""):
    """Wheels that install as the real ones do and compute nothing; `code` is run when the runtime is imported."""
    tag = f"manylinux_2_17_{os.uname().machine}"
    cpython = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    runtime = {
        "bopkit_runtime/__init__.py": f"{code}\ndef isas():\n    return ['portable']",
        "bopkit_runtime/litert.py": "def import_litert():\n    import numpy, ai_edge_litert",
        "bopkit_runtime/machine.py": "def cpu_name():\n    return 'Small'",
    }
    for name, version, tags, modules in (
        ("bopkit_runtime", "0.1.0", f"py3-none-{tag}", runtime),
        ("ai_edge_litert", "2.0.0", f"{cpython}-{cpython}-{tag}", {"ai_edge_litert/__init__.py": ""}),
        # As wheels may: with files that are not at the root.
        ("numpy", "1.26.0", f"{cpython}-{cpython}-{tag}", {"numpy-1.26.0.data/platlib/numpy/__init__.py": ""}),
    ):
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"
        with zipfile.ZipFile(folder / f"{name}-{version}-{tags}.whl", "w") as archive:
            for path, text in {**modules, "METADATA": metadata, "WHEEL": wheel, "RECORD": ""}.items():
                archive.writestr(path if "/" in path else f"{name}-{version}.dist-info/{path}", text)
    return folder


# WebGPU is not used, and takes a third of LiteRT.
_NOT_NEEDED = ("tests", "__pycache__", "include", "f2py", "libLiteRtWebGpuAccelerator.so")


def _zip(wheel, root, folders):
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
            if path.is_file() and not set(path.parts) & set(_NOT_NEEDED):
                archive.write(path, path.relative_to(root))
