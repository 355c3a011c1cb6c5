"""The boards: one of QEMU's machines for each Cortex-M core, with where its memories lie.

The memories are larger than those of most microcontrollers, so that a network that fits nowhere is counted too; sizes
are in what `toolchain.build` returns.
"""

from __future__ import annotations

from dataclasses import dataclass

from bopkit.errors import UsageError, guess_text

_MIB = 1 << 20


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        name: Of its core, as users type it.
        core: As people write it.
        machine: As QEMU names it.
        vectors: Address of the 16 words that it starts from.
        code: Address of the memory of code and constants.
        code_bytes: Size of that memory.
        ram: Address of the RAM.
        ram_bytes: Size of the RAM.
        gcc: What tells GCC the core and its FPU.
        clang: What tells ziglang's clang.
    """

    name: str
    core: str
    machine: str
    vectors: int
    code: int
    code_bytes: int
    ram: int
    ram_bytes: int
    gcc: tuple[str, ...]
    clang: tuple[str, ...]


def _gcc(core: str, fpu: str = "") -> tuple[str, ...]:
    return f"-mcpu={core}", "-mthumb", *(("-mfloat-abi=hard", f"-mfpu={fpu}") if fpu else ("-mfloat-abi=soft",))


def _clang(core: str, features: str = "") -> tuple[str, ...]:
    # ziglang's cores come without what is optional in them: FPU, DSP instructions and Helium.
    return "-target", f"thumb-freestanding-eabi{'hf' if features else ''}", f"-mcpu={core}{features}"


_OLDER = (0, 0x100, 4 * _MIB - 0x100, 0x2000_0000, 4 * _MIB)  # Armv7-M
_NEWER = 0x1000_0000  # Armv8-M starts in its secure memory

BOARDS = {
    board.name: board
    for board in (
        Board("cortex-m3", "Cortex-M3", "mps2-an385", *_OLDER, _gcc("cortex-m3"), _clang("cortex_m3")),
        Board(
            "cortex-m4",
            "Cortex-M4",
            "mps2-an386",
            *_OLDER,
            _gcc("cortex-m4", "fpv4-sp-d16"),
            _clang("cortex_m4", "+vfp4d16sp"),
        ),
        Board(
            "cortex-m7",
            "Cortex-M7",
            "mps2-an500",
            *_OLDER,
            _gcc("cortex-m7", "fpv5-d16"),
            _clang("cortex_m7", "+fp_armv8d16"),
        ),
        Board(
            "cortex-m33",
            "Cortex-M33",
            "mps2-an505",
            _NEWER,
            _NEWER + 0x100,
            4 * _MIB - 0x100,
            0x3800_0000,
            4 * _MIB,
            _gcc("cortex-m33", "fpv5-sp-d16"),
            _clang("cortex_m33", "+dsp+fp_armv8d16sp"),
        ),
        Board(
            "cortex-m55",
            "Cortex-M55",
            "mps3-an547",
            _NEWER,
            0x7000_0000,  # the memory at its vectors is small
            16 * _MIB,
            0x3100_0000,
            4 * _MIB,
            _gcc("cortex-m55", "auto"),
            _clang("cortex_m55", "+mve_fp+fp_armv8d16+fullfp16"),
        ),
    )
}
"""By name; from the oldest core to the newest."""


def board_named(name: str) -> Board:
    """The board of a core.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return BOARDS[name]
    except KeyError:
        names = ", ".join(BOARDS)
        raise UsageError(
            f"Unknown microcontroller {name!r}.",
            f"{guess_text(name, BOARDS)}Known: {names}. Type for instance `--device qemu:cortex-m4`.",
        ) from None
