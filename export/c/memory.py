"""Where values lie in the arena: values that are alive at the same time share no byte."""

from __future__ import annotations

import dataclasses
import random

from bopkit.export.c.steps import Program

ALIGNMENT = 4
"""Bytes: kernels read whole words."""

_ORDERS_TRIED = 300


@dataclasses.dataclass(frozen=True)
class Arena:
    """The memory of a program.

    Attributes:
        size_bytes: Of the arena.
        lower_bound_bytes: The largest sum of what is alive at one step: no arrangement is smaller.
        offsets: Of each value that lies in it, in bytes.
        scratch_offsets: Of each step that needs scratch, by its number.
    """

    size_bytes: int
    lower_bound_bytes: int
    offsets: dict[int, int]
    scratch_offsets: dict[int, int]


@dataclasses.dataclass(frozen=True)
class _Block:
    """Memory that is needed from one step to another, both included."""

    key: tuple[str, int]
    size: int
    first: int
    last: int


def plan(program: Program) -> Arena:
    """Arrange all values that are neither given nor asked for by the caller, and the scratch of all steps.

    Blocks are placed one after the other, each where it fits lowest; among several orders the best one is kept.
    """
    shared = _shared_places(program)
    blocks = _blocks(program, shared)
    bound = max((sum(_aligned(b.size) for b in blocks if b.first <= at <= b.last) for at in range(len(program.steps))), default=0)
    best, size = _place(sorted(blocks, key=lambda block: (-block.size, block.first)))
    chance = random.Random(0)
    for _ in range(_ORDERS_TRIED):
        if size == bound:
            break
        weights = {block.key: block.size * chance.uniform(0.5, 1.5) for block in blocks}
        tried, tried_size = _place(sorted(blocks, key=lambda block: -weights[block.key]))
        if tried_size < size:
            best, size = tried, tried_size
    offsets = {value: best[("value", place)] for value, place in shared.items() if ("value", place) in best}
    scratch = {number: offset for (kind, number), offset in best.items() if kind == "scratch"}
    return Arena(size, bound, offsets, scratch)


def _shared_places(program: Program) -> dict[int, int]:
    """The value whose memory each value has: its own, or that of the input that its step may overwrite."""
    last = _last_reads(program)
    places = {program.input: program.input}
    for number, step in enumerate(program.steps):
        places[step.output] = step.output
        if not step.in_place or step.output == program.output:
            continue
        for source in step.inputs:
            fits = program.values[source].size_bytes == program.values[step.output].size_bytes
            if source != program.input and fits and last[source] == number:
                places[step.output] = places[source]
                break
    return places


def _last_reads(program: Program) -> dict[int, int]:
    return {source: number for number, step in enumerate(program.steps) for source in step.inputs}


def _blocks(program: Program, shared: dict[int, int]) -> list[_Block]:
    last = _last_reads(program)
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        if step.output == program.output:
            continue
        place = shared[step.output]
        begins.setdefault(place, number)
        ends[place] = max(ends.get(place, number), last.get(step.output, number))
    blocks = [_Block(("value", place), program.values[place].size_bytes, begins[place], ends[place]) for place in begins]
    blocks += [
        _Block(("scratch", number), step.scratch_bytes, number, number)
        for number, step in enumerate(program.steps)
        if step.scratch_bytes
    ]
    return blocks


def _place(order: list[_Block]) -> tuple[dict[tuple[str, int], int], int]:
    placed: list[tuple[_Block, int]] = []
    for block in order:
        others = sorted(
            (offset, offset + _aligned(other.size))
            for other, offset in placed
            if other.first <= block.last and block.first <= other.last
        )
        at = 0
        for begin, end in others:
            if at + _aligned(block.size) <= begin:
                break
            at = max(at, end)
        placed.append((block, at))
    size = max((offset + _aligned(block.size) for block, offset in placed), default=0)
    return {block.key: offset for block, offset in placed}, size


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
