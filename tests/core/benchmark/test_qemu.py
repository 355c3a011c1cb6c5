import shutil
import struct

import pytest

from bopkit.benchmark.devices.qemu import (
    BOARDS,
    board_named,
    build,
    find_compilers,
    measure_network,
    numbers,
    run_program,
)
from bopkit.errors import BopkitError, UsageError

COMPILERS = {compiler.name: compiler for compiler in find_compilers()}
FIRST = next(iter(COMPILERS.values()), None)
TOOLS = {"gcc": "arm-none-eabi-gcc", "clang": "ziglang"}

# A picture of two 16-bit numbers: the output is their sum, after as many turns of a loop as the first one says.
HEADER = """
#include <stdint.h>
#define TOY_ARENA_BYTES 400
void toy_run(const uint16_t *input, uint32_t *output);
void toy_run_in(void *arena, const uint16_t *input, uint32_t *output);
"""
SOURCE = """
#include "toy.h"
#include <math.h>
#include <string.h>

static const uint8_t weights[4000] = {1, 2, 3};
static volatile uint8_t state[2000];
uint32_t first_value[50] = {7};

void toy_run_in(void *arena, const uint16_t *input, uint32_t *output) {
  memset(arena, input[0], TOY_ARENA_BYTES);
  state[input[1] % 2000] = weights[input[1] % 4000];
  first_value[input[1] % 50] += 1;
  uint32_t turns = input[0];
  __asm__ volatile("1: subs %0, %0, #1\\n  bne 1b" : "+r"(turns) : : "cc");
  const float root = sqrtf((float)input[0] * (float)input[0]);
  output[0] = (uint32_t)root + input[1];
}

void toy_run(const uint16_t *input, uint32_t *output) {
  volatile uint8_t scratch[1000];
  for (int index = 0; index < 1000; index++) scratch[index] = (uint8_t)index;
  toy_run_in((void *)scratch, input, output);
}
"""
MAIN = """
#include "measure.h"
#include "semihosting.h"

static void turn(void *turns, void *second, void *third) {
  uint32_t left = (uint32_t)turns;
  __asm__ volatile("1: subs %0, %0, #1\\n  bne 1b" : "+r"(left) : : "cc");
}
static uint32_t deep(volatile uint32_t *above) {
  volatile uint32_t here[1000];
  here[0] = above[0] + 1;
  return deep(here) + here[0];
}

int main(void) {
  volatile uint32_t zero = 0;
  (void)deep, (void)turn, (void)zero;
  BODY
  return 0;
}
"""
INPUTS = struct.pack("<6H", 10, 5, 1010, 6, 10, 7)


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.h").write_text(HEADER)
    (tmp_path / "toy.c").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def need_tools():
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed")
    if FIRST is None:
        pytest.skip("neither arm-none-eabi-gcc nor ziglang is installed")


def run_body(folder, body, board="cortex-m4", timeout_s=60.0):
    source = folder / "program.c"
    source.write_text(MAIN.replace("BODY", body))
    program = build(BOARDS[board], [source], [], {}, folder / "program.elf", compiler=FIRST)
    return run_program(BOARDS[board], program.elf, folder, timeout_s)


@pytest.mark.integration
@pytest.mark.parametrize("compiler", TOOLS)
@pytest.mark.parametrize("board", BOARDS)
def test_network(board, compiler, toy, need_tools):
    if compiler not in COMPILERS:
        pytest.skip(f"{TOOLS[compiler]} is not installed")
    found = measure_network(
        BOARDS[board], [toy / "toy.c"], toy / "toy.h", "toy_run", INPUTS, 4, 4, compiler=COMPILERS[compiler]
    )
    assert struct.unpack("<3I", found.outputs) == (15, 1016, 17)
    assert found.instructions == found.instructions_min
    if board != "cortex-m3":  # without FPU a root takes as long as its number asks for
        assert found.instructions_max - found.instructions_min == 2 * 1000
    assert 1000 <= found.stack_bytes < 1100
    assert 4000 + 200 <= found.constant_bytes < 4000 + 200 + 64
    assert 2000 + 200 <= found.ram_bytes < 2000 + 200 + 64
    assert 0 < found.code_bytes < found.flash_bytes - found.constant_bytes


@pytest.mark.integration
def test_network_in_an_arena(toy, need_tools):
    found = [
        measure_network(
            BOARDS["cortex-m4"], [toy / "toy.c"], toy / "toy.h", "toy_run_in", INPUTS, 4, 4, arena_bytes, compiler=FIRST
        )
        for arena_bytes in (400, 1000)
    ]
    assert struct.unpack("<3I", found[0].outputs) == (15, 1016, 17)
    assert found[0].stack_bytes < 100
    assert found[1].ram_bytes - found[0].ram_bytes == 600
    assert found[1].instructions == found[0].instructions


@pytest.mark.integration
def test_more_instructions_than_the_counter_lasts(tmp_path, need_tools):
    body = "".join(
        f'semihosting_print_line("{name}", measure_instructions(turn, (void *){turns}, 0, 0));'
        for name, turns in (("few", 1000), ("many", 280_000_000))
    )
    found = numbers(run_body(tmp_path, body, "cortex-m55"))
    assert found["many"] - found["few"] == 2 * (280_000_000 - 1000)
    assert found["many"] > 525_000_000  # one round of the counter on this board


@pytest.mark.integration
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("*(volatile uint32_t *)0xF0000000 = 1;", "no memory at this address, at 0x.*address 0xf0000000"),
        ("return deep(&zero);", "the stack is full"),
        ('__asm__ volatile("udf #0");', "undefined instruction"),
    ],
)
def test_fault(board, body, reason, tmp_path, need_tools):
    with pytest.raises(BopkitError, match=f"program.elf failed on {BOARDS[board].core}: {reason}") as caught:
        run_body(tmp_path, body, board)
    assert "\n" not in caught.value.message


@pytest.mark.integration
def test_program_that_ends_badly(tmp_path, need_tools):
    with pytest.raises(BopkitError, match="did not end on Cortex-M4 within 0.5 s"):
        run_body(tmp_path, "for (;;) zero = zero + 1;", timeout_s=0.5)
    with pytest.raises(BopkitError, match="failed on Cortex-M4: qemu-system-arm ended with code 3"):
        run_body(tmp_path, "return 3;")
    with pytest.raises(BopkitError, match="failed on Cortex-M4: my own reason"):
        run_body(tmp_path, 'semihosting_fail("my own reason");')


@pytest.mark.integration
@pytest.mark.parametrize("inputs", [b"", INPUTS[:-1]])
def test_pictures_that_are_not_whole(inputs, toy, need_tools):
    with pytest.raises(BopkitError, match=r"toy.elf failed on Cortex-M4: inputs.bin (is empty|ends within a picture)"):
        measure_network(BOARDS["cortex-m4"], [toy / "toy.c"], toy / "toy.h", "toy_run", inputs, 4, 4, compiler=FIRST)


@pytest.mark.integration
@pytest.mark.parametrize("compiler", TOOLS)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("oops", "program.c was not built for Cortex-M3: .*program.c:.* error: .*oops"),
        ("extern int absent(void); return absent();", "program.elf was not built for Cortex-M3: .*absent"),
        (
            "static uint8_t large[5 << 20]; return ((volatile uint8_t *)large)[zero];",
            "program.elf was not built for Cortex-M3: .*variables do not fit",
        ),
    ],
)
def test_sources_that_do_not_build(body, reason, compiler, tmp_path):
    if compiler not in COMPILERS:
        pytest.skip(f"{TOOLS[compiler]} is not installed")
    (tmp_path / "program.c").write_text(MAIN.replace("BODY", body))
    with pytest.raises(BopkitError, match=reason) as caught:
        build(
            BOARDS["cortex-m3"],
            [tmp_path / "program.c"],
            [],
            {},
            tmp_path / "program.elf",
            compiler=COMPILERS[compiler],
        )
    assert "\n" not in caught.value.message


def test_tools_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BopkitError, match="qemu-system-arm is not installed. Install Debian's package qemu-system-arm"):
        run_program(BOARDS["cortex-m4"], tmp_path / "program.elf", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BopkitError, match="No compiler for Cortex-M is installed. Install Debian's gcc-arm-none-eabi"):
        build(BOARDS["cortex-m4"], [], [], {}, tmp_path / "program.elf")


def test_unknown_board():
    with pytest.raises(UsageError, match="Did you mean 'cortex-m4'"):
        board_named("cortex-m44")
    assert [board_named(name).name for name in BOARDS] == [
        "cortex-m3",
        "cortex-m4",
        "cortex-m7",
        "cortex-m33",
        "cortex-m55",
    ]
