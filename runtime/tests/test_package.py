"""The wheels: tags, contents, and what the native library asks of a machine."""

import re
import struct
import sys
import zipfile

import pytest
from built import PACKAGE, ROOT, build_wheel, copy_sources, package_environment, run
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

import bopkit_runtime
from bopkit_runtime.library import _library

FUNCTIONS = set(re.findall(r"^BOPKIT_EXPORT [^(;]*?(\w+)\(", (ROOT / "include" / "bopkit_runtime.h").read_text(), re.M))
MODULES = {path.name for path in PACKAGE.glob("*.py")} | {"py.typed"}
GLIBC_FLOOR = (2, 17)
LIBRARIES_OF_GLIBC = re.compile(r"(libc|libpthread|libdl|libm|librt)\.so\.\d+|ld-linux-[\w-]+\.so\.\d+")

LINUX = {
    "linux-x86_64": ("EM_X86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "linux-aarch64": ("EM_AARCH64", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    "linux-armv7l": ("EM_ARM", "manylinux_2_17_armv7l.manylinux2014_armv7l"),
}


def test_the_header_declares_five_functions():
    assert len(FUNCTIONS) == 5


def test_versions_agree():
    assert _library().bopkit_runtime_version().decode() == bopkit_runtime.version


def wheel_contents(wheel, tag, library):
    """The library's bytes, after a look at all else."""
    assert wheel.name == f"bopkit_runtime-{bopkit_runtime.version}-py3-none-{tag}.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"bopkit_runtime-{bopkit_runtime.version}.dist-info"
        assert {name for name in names if name.startswith("bopkit_runtime/")} == {
            f"bopkit_runtime/{name}" for name in MODULES | {library}
        }
        assert names - {f"bopkit_runtime/{name}" for name in MODULES | {library}} == {
            f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "top_level.txt", "licenses/LICENSE")
        }
        described = archive.read(f"{info}/WHEEL").decode()
        assert "Root-Is-Purelib: false" in described
        assert set(re.findall(r"Tag: (.*)", described)) == {f"py3-none-{each}" for each in tag.split(".")}
        requirements = re.findall(r"Requires-Dist: ([\w-]+)[^;\n]*(.*)", archive.read(f"{info}/METADATA").decode())
        needed = {name for name, marker in requirements if "extra ==" not in marker}
        assert needed == {"ai-edge-litert", "tflite-runtime", "numpy"}
        return archive.read(f"bopkit_runtime/{library}")


@pytest.mark.integration
@pytest.mark.parametrize("name", LINUX)
def test_linux_wheel(name, tmp_path):
    machine, tag = LINUX[name]
    library = tmp_path / "library.so"
    library.write_bytes(wheel_contents(build_wheel(name, tmp_path), tag, "libbopkit_runtime.so"))
    with open(library, "rb") as file:
        elf = ELFFile(file)
        assert elf["e_machine"] == machine
        symbols = list(elf.get_section_by_name(".dynsym").iter_symbols())
        defined = {each.name for each in symbols if each["st_shndx"] != "SHN_UNDEF" and each.name}
        assert defined == FUNCTIONS
        assert not [each.name for each in symbols if each.name.startswith(("Py", "_Py"))]
        tags = [each for part in elf.iter_sections() if isinstance(part, DynamicSection) for each in part.iter_tags()]
        needed = {each.needed for each in tags if each.entry.d_tag == "DT_NEEDED"}
        assert all(LIBRARIES_OF_GLIBC.fullmatch(each) for each in needed), needed
        assert [each.soname for each in tags if each.entry.d_tag == "DT_SONAME"] == ["libbopkit_runtime.so"]
        versions = {
            version for part in elf.iter_sections() if isinstance(part, GNUVerNeedSection) for version in names(part)
        }
    assert versions
    numbers = {tuple(int(each) for each in version.split("_")[1].split(".")) for version in versions}
    assert max(numbers) <= GLIBC_FLOOR, versions


def names(part):
    """Versions of glibc's symbols that a library needs, e.g. GLIBC_2.17."""
    return [auxiliary.name for _, auxiliaries in part.iter_versions() for auxiliary in auxiliaries]


@pytest.mark.integration
def test_macos_wheel(tmp_path):
    wheel = build_wheel("macosx-arm64", tmp_path)
    library = wheel_contents(wheel, "macosx_11_0_arm64", "libbopkit_runtime.dylib")
    magic, cpu, _, kind = struct.unpack("<IIII", library[:16])
    assert (magic, cpu, kind) == (0xFEEDFACF, 0x0100000C, 6)  # 64 bits, arm64, a dynamic library
    assert struct.pack(">II", 0xFADE0CC0, 0)[:4] in library  # a signature, without which macOS loads nothing
    assert all(f"_{name}".encode() in library for name in FUNCTIONS)


@pytest.mark.integration
def test_windows_wheel(tmp_path):
    library = wheel_contents(build_wheel("win-amd64", tmp_path), "win_amd64", "bopkit_runtime.dll")
    assert library[:2] == b"MZ"
    header = struct.unpack("<I", library[0x3C:0x40])[0]
    assert library[header : header + 6] == b"PE\0\0" + struct.pack("<H", 0x8664)
    assert all(name.encode() in library for name in FUNCTIONS)


def test_unknown_platform_is_one_line(tmp_path):
    sources = copy_sources(tmp_path / "sources")
    result = run(
        [sys.executable, "setup.py", "--quiet", "bdist_wheel"], cwd=sources, env={"BOPKIT_RUNTIME_PLATFORM": "beos-x86"}
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("Error: bopkit-runtime is not built for beos-x86. Set ")
    assert "Traceback" not in result.stderr


def test_source_distribution_is_complete(tmp_path):
    sources = copy_sources(tmp_path / "sources")
    result = run([sys.executable, "setup.py", "--quiet", "sdist", "--format=zip", "--dist-dir", tmp_path], cwd=sources)
    assert result.returncode == 0, result.stderr
    (archive,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        held = {name.partition("/")[2] for name in opened.namelist()}
    for folder in ("src", "include"):
        assert {str(path.relative_to(ROOT)) for path in (ROOT / folder).iterdir()} <= held
    assert {"exports.map", "setup.py", "pyproject.toml", "LICENSE", "README.md"} <= held


def test_package_without_its_library_says_what_to_type(tmp_path):
    for path in PACKAGE.glob("*.py"):
        (tmp_path / "bopkit_runtime").mkdir(exist_ok=True)
        (tmp_path / "bopkit_runtime" / path.name).write_bytes(path.read_bytes())
    program = "import bopkit_runtime; bopkit_runtime.isas()"
    result = run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert result.stderr.strip().splitlines()[-1].endswith("or in a checkout `make -C runtime build`.")


def test_import_brings_no_litert():
    program = "import sys, bopkit_runtime; print({'ai_edge_litert', 'tflite_runtime', 'tensorflow'} & set(sys.modules))"
    result = run([sys.executable, "-c", program], env=package_environment())
    assert result.stdout.strip() == "set()", result.stdout + result.stderr


def test_c_example_compiles_and_names_a_missing_library(tmp_path):
    program = tmp_path / "run_model"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", ROOT / "include"]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, ROOT / "examples" / "run_model.c", "-ldl", "-o", program]
    result = run(command)
    assert result.returncode == 0, result.stderr
    result = run([program, "no-such.so", bopkit_runtime.library_path(), "model.tflite", "image.bin", "1"])
    assert result.returncode == 1 and result.stderr.startswith("Error: no library: no-such.so")
