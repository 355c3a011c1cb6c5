"""The text of the C files that hold a network: constants, calls, header."""

from __future__ import annotations

import dataclasses
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bopkit.export.c.memory import Arena
from bopkit.export.c.steps import C_TYPES, FLOAT, Array, Program, Step, Struct

_WIDTH = 100
_LEAST_INT32 = -(2**31)


@dataclasses.dataclass(frozen=True)
class About:
    """What the files say of the network besides its numbers.

    Attributes:
        name: A C identifier: files, functions and macros begin with it.
        title: What the network is, for a person.
        input_note: How the numbers that it takes are made of a picture.
        output_note: What the numbers that it answers mean.
        labels: Names of the classes; empty where they are not known.
        version: Of bopkit.
    """

    name: str
    title: str
    input_note: str
    output_note: str
    labels: tuple[str, ...]
    version: str


def header(program: Program, arena: Arena, about: About) -> str:
    """NAME.h."""
    name, macro = about.name, about.name.upper()
    given, wanted = program.values[program.input], program.values[program.output]
    lines = [
        f"/* {about.title}.",
        " *",
        *_comment_lines(f"Input: {about.input_note}"),
        *_comment_lines(f"Output: {about.output_note}"),
        " *",
        f" * Made by bopkit {about.version}.",
        " */",
        f"#ifndef {macro}_H",
        f"#define {macro}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"typedef {C_TYPES[given.kind]} {name}_input_t;",
        f"typedef {C_TYPES[wanted.kind]} {name}_output_t;",
        "",
        *_shape_macros(f"{macro}_INPUT", given.shape),
        *_quantization_macros(f"{macro}_INPUT", given.kind, program.input_scale, program.input_zero_point),
        "",
        f"#define {macro}_OUTPUT_ELEMENTS {int(np.prod(wanted.shape))}",
        *_quantization_macros(f"{macro}_OUTPUT", wanted.kind, program.output_scale, program.output_zero_point),
        "",
        "/* Bytes of memory that a run needs, besides input, output and stack. */",
        f"#define {macro}_ARENA_BYTES {max(arena.size_bytes, 4)}",
        "",
        "/* Computes the output of one input, in an arena of its own: not from two threads at once. */",
        f"void {name}_run(const {name}_input_t *input, {name}_output_t *output);",
        "",
        f"/* The same in an arena of {macro}_ARENA_BYTES bytes that begins at a multiple of 4. */",
        f"void {name}_run_in(void *arena, const {name}_input_t *input, {name}_output_t *output);",
        "",
    ]
    if about.labels:
        lines += ["/* Names of the classes, in the order of the output. */"]
        lines += [f"extern const char *const {name}_labels[{macro}_OUTPUT_ELEMENTS];", ""]
    lines += [
        f"/* CRC-32 of all constants, for {name}_test.c. */",
        f"uint32_t {name}_checksum(void);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def source(program: Program, arena: Arena, about: About) -> str:
    """NAME.c."""
    name, macro = about.name, about.name.upper()
    lines = [f"/* {about.title}. Made by bopkit {about.version}. */", f'#include "{name}.h"', ""]
    lines += ["#include <stddef.h>", "", '#include "bopkit_kernels.h"', ""]
    for step in program.steps:
        if step.arrays or step.structs:
            lines += [f"/* {step.name}: {step.description} */"]
            lines += [line for array in step.arrays for line in _array_lines(step, array)]
            lines += [line for struct in step.structs for line in _struct_lines(step, struct)]
            lines += [""]
    lines += [f"void {name}_run_in(void *arena, const {name}_input_t *input, {name}_output_t *output) {{"]
    lines += ["    uint8_t *const memory = (uint8_t *)arena;", "    (void)memory;"]
    for number, step in enumerate(program.steps):
        lines += ["", f"    /* {step.name}: {step.description} */", *_call_lines(program, arena, step, number)]
    lines += ["}", "", f"static uint32_t {name}_arena[({macro}_ARENA_BYTES + 3) / 4];", ""]
    lines += [f"void {name}_run(const {name}_input_t *input, {name}_output_t *output) {{"]
    lines += [f"    {name}_run_in({name}_arena, input, output);", "}", ""]
    if about.labels:
        lines += [f"const char *const {name}_labels[{macro}_OUTPUT_ELEMENTS] = {{"]
        lines += [f'    "{_escaped(label)}",' for label in about.labels]
        lines += ["};", ""]
    lines += _checksum_lines(program, name)
    return "\n".join(lines)


def test_source(program: Program, about: About, inputs: np.ndarray, outputs: np.ndarray) -> str:
    """NAME_test.c: runs the network on pictures whose outputs are known.

    Args:
        program: The network.
        about: Its name.
        inputs: [n, ...] as the network takes them.
        outputs: [n, ...] as the flatbuffer's runtime answers.
    """
    name, macro = about.name, about.name.upper()
    lines = [
        f"/* Self-test of {name}: its constants are whole, and it answers what the flatbuffer answers.",
        " *",
        f" * {name}_test() returns 0 where all is well, on any processor. With a C library main() prints it.",
        " */",
        f'#include "{name}.h"',
        "",
        f"#define PICTURES {len(inputs)}",
        "",
    ]
    given, wanted = program.values[program.input].kind, program.values[program.output].kind
    lines += _plain_array(f"static const {name}_input_t inputs[]", C_TYPES[given], inputs)
    lines += _plain_array(f"static const {name}_output_t outputs[]", C_TYPES[wanted], outputs)
    is_wrong = "answer[i] != expected[i]"
    if wanted == FLOAT:
        is_wrong = "!(answer[i] - expected[i] <= 1e-5f && expected[i] - answer[i] <= 1e-5f)"
    lines += [
        "",
        f"int {name}_test(void);",
        "",
        "/* 0, or 1 where the constants are damaged, or 2 and more: 2 plus the number of the first wrong picture. */",
        f"int {name}_test(void) {{",
        f"    static {name}_output_t answer[{macro}_OUTPUT_ELEMENTS];",
        f"    if ({name}_checksum() != 0x{checksum(program):08x}u) {{",
        "        return 1;",
        "    }",
        "    for (int picture = 0; picture < PICTURES; picture++) {",
        f"        const {name}_output_t *expected = outputs + picture * {macro}_OUTPUT_ELEMENTS;",
        f"        {name}_run(inputs + picture * {macro}_INPUT_ELEMENTS, answer);",
        f"        for (int i = 0; i < {macro}_OUTPUT_ELEMENTS; i++) {{",
        f"            if ({is_wrong}) {{",
        "                return 2 + picture;",
        "            }",
        "        }",
        "    }",
        "    return 0;",
        "}",
        "",
        "#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ && !defined(ARDUINO) && !defined(BOPKIT_NO_MAIN)",
        "#include <stdio.h>",
        "",
        "int main(void) {",
        f"    const int result = {name}_test();",
        "    if (result == 0) {",
        f'        printf("{name}: %d pictures are right\\n", PICTURES);',
        "    } else if (result == 1) {",
        f'        printf("{name}: its constants are damaged\\n");',
        "    } else {",
        f'        printf("{name}: picture %d is wrong\\n", result - 2);',
        "    }",
        "    return result != 0;",
        "}",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def checksum(program: Program) -> int:
    """CRC-32 of all constant arrays, in the order and layout in which the program has them."""
    result = 0
    for _, array in _arrays(program):
        result = zlib.crc32(_bytes_of(array), result)
    return result


def _arrays(program: Program) -> Iterator[tuple[Step, Array]]:
    return ((step, array) for step in program.steps for array in step.arrays)


def _bytes_of(array: Array) -> bytes:
    types = {"float": "<f4", "int8_t": "i1", "uint8_t": "u1", "int16_t": "<i2", "int32_t": "<i4", "uint32_t": "<u4"}
    return array.values.astype(types[array.type]).tobytes()


def _checksum_lines(program: Program, name: str) -> list[str]:
    if not any(_arrays(program)):
        return [f"uint32_t {name}_checksum(void) {{", "    return 0;", "}", ""]
    lines = [
        "static uint32_t checksum_of(uint32_t crc, const void *data, uint32_t bytes) {",
        "    const uint8_t *byte = (const uint8_t *)data;",
        "    for (crc = ~crc; bytes > 0; bytes--) {",
        "        crc ^= *byte++;",
        "        for (int bit = 0; bit < 8; bit++) {",
        "            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);",
        "        }",
        "    }",
        "    return ~crc;",
        "}",
        "",
        f"uint32_t {name}_checksum(void) {{",
        "    uint32_t crc = 0;",
    ]
    for step, array in _arrays(program):
        full = f"{step.identifier}_{array.name}"
        lines += [f"    crc = checksum_of(crc, {full}, sizeof {full});"]
    return [*lines, "    return crc;", "}", ""]


def _comment_lines(text: str) -> list[str]:
    return [f" * {line}" for line in textwrap.wrap(text, _WIDTH - 3)]


def _shape_macros(prefix: str, shape: tuple[int, ...]) -> list[str]:
    lines = []
    if len(shape) == 4:
        names = ("HEIGHT", "WIDTH", "CHANNELS")
        lines = [f"#define {prefix}_{name} {size}" for name, size in zip(names, shape[1:], strict=True)]
    return [*lines, f"#define {prefix}_ELEMENTS {int(np.prod(shape))}"]


def _quantization_macros(prefix: str, kind: str, scale: float, zero_point: int) -> list[str]:
    if kind == FLOAT or not scale:
        return []
    return [
        f"/* A number q stands for (q - {prefix}_ZERO_POINT) * {prefix}_SCALE. */",
        f"#define {prefix}_SCALE {_float_text(scale)}",
        f"#define {prefix}_ZERO_POINT ({zero_point})",
    ]


def _array_lines(step: Step, array: Array) -> list[str]:
    return _plain_array(f"static const {array.type} {step.identifier}_{array.name}[]", array.type, array.values)


def _plain_array(declaration: str, c_type: str, values: np.ndarray) -> list[str]:
    text = ", ".join(_number_texts(c_type, np.asarray(values).ravel()))
    lines = textwrap.wrap(text, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    size = np.asarray(values).size
    return [f"{declaration.replace('[]', f'[{size}]')} = {{", *(f"    {line}" for line in lines), "};"]


def _number_texts(c_type: str, values: Sequence[Any] | np.ndarray) -> list[str]:
    if c_type == "float":
        return [_float_text(float(each)) for each in values]
    if c_type == "uint32_t":
        return [f"0x{int(each):08x}u" for each in values]
    return [_integer_text(int(each)) for each in values]


def _integer_text(value: int) -> str:
    return "(-2147483647 - 1)" if value == _LEAST_INT32 else str(value)


def _float_text(value: float) -> str:
    """A float32 in the decimal digits that make the same bits again."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _struct_lines(step: Step, struct: Struct) -> list[str]:
    name = f"{step.identifier}_{struct.name}" if struct.name else step.identifier
    return [f"static const {struct.type} {name} = {{", *_field_lines(struct.fields, step.identifier, 4), "};"]


def _field_lines(fields: dict[str, Any], identifier: str, indent: int) -> list[str]:
    lines = []
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = ", ".join(f".{key} = {each}" for key, each in value.items())
            wrapped = textwrap.wrap(inner, _WIDTH - indent - 4)
            lines += [f"{' ' * indent}.{name} = {{", *(f"{' ' * (indent + 4)}{line}" for line in wrapped)]
            lines += [f"{' ' * indent}}},"]
        else:
            text = value.replace("{name}", identifier) if isinstance(value, str) else _integer_text(int(value))
            lines += [f"{' ' * indent}.{name} = {text},"]
    return lines


def _call_lines(program: Program, arena: Arena, step: Step, number: int) -> list[str]:
    places = [_place(program, arena, value) for value in step.inputs]
    output = _place(program, arena, step.output)
    scratch = ""
    if number in arena.scratch_offsets:
        scratch = f"memory + {arena.scratch_offsets[number]}"
    arguments = [_filled(each, places, output, scratch) for each in step.arguments]
    text = f"{step.kernel}({', '.join(arguments)});"
    wrapped = textwrap.wrap(text, _WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    return [f"    {wrapped[0]}", *(f"        {line}" for line in wrapped[1:])]


def _filled(argument: str, places: list[str], output: str, scratch: str) -> str:
    for number, place in enumerate(places):
        argument = argument.replace(f"{{{number}}}", place)
    return argument.replace("{output}", output).replace("{scratch}", scratch)


def _place(program: Program, arena: Arena, value: int) -> str:
    if value == program.input:
        return "input"
    if value == program.output:
        return "output"
    place = f"memory + {arena.offsets[value]}"
    kind = program.values[value].kind
    if kind == "int8":
        return f"(int8_t *)({place})"
    return f"(float *)(void *)({place})" if kind == FLOAT else place


def _escaped(text: str) -> str:
    """The text in a C string: bytes beyond ASCII in octal, so that no compiler needs to know their encoding."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
