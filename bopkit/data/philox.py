"""The random numbers of many pictures at once: the same bits as `tf.random` draws picture by picture.

TensorFlow draws for one seed an operation, which takes longer than augmenting a small picture. Its numbers are those
of Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), a function of a key and a
counter, which TensorFlow in turn makes of the seed by Philox. They are promised to stay the same in each version of
TensorFlow; a test compares.

Words are uint64 tensors that hold 32 bits. A block is four of them, as a pair: words 0 and 2, then words 1 and 3, each
[2, n].
"""

from __future__ import annotations

from typing import Any

from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_SEED_KEY = (0x3EC8F720, 0x02461E29)
"""With which TensorFlow mixes the bits of a seed."""

_HALF = 1 << 22
"""Of a word's low 23 bits, which TensorFlow makes a number from 0 to 1."""

_BLOCKS_A_STREAM = 64
"""Of four numbers each; `split_seeds` has those before."""

_FRACTION_BITS = 24
"""Of a number from 0 to 1: all of them fit into float32, so that none is rounded to 1."""


def split_seeds(seeds: Tensor) -> tuple[Tensor, Tensor]:
    """What `tf.random.split(seed, 2)` makes of each seed: int64 [n, 2] to two of int64 [n, 2]."""
    return _seeds(_draw(seeds, 0)), _seeds(_draw(seeds, 1))


def _seeds(block: tuple[Tensor, Tensor]) -> Tensor:
    """The two words of 64 bits that a block is: int64 [n, 2]."""
    tf = import_tensorflow()
    even, odd = block
    words = tf.bitwise.bitwise_or(even, tf.bitwise.left_shift(odd, _word(32)))
    return tf.bitcast(tf.transpose(words), tf.int64)


def integers(seeds: Tensor, count: int) -> list[Tensor]:
    """What `tf.random.stateless_uniform([count], seed, 0, tf.int32.max, tf.int32)` draws with each seed.

    Args:
        seeds: int64 [n, 2].
        count: 1 to 4.

    Returns:
        int32 [n], so many.
    """
    tf = import_tensorflow()
    even, odd = _draw(seeds)
    words = [even[0], odd[0], even[1], odd[1]][:count]
    return [tf.cast(word % _word(tf.int32.max), tf.int32) for word in words]


def are_below_half(seeds: Tensor) -> Tensor:
    """Whether `tf.random.stateless_uniform([], seed)` draws less than 0.5: int64 [n, 2] to bool [n]."""
    tf = import_tensorflow()
    even, _ = _draw(seeds)
    return tf.equal(tf.bitwise.bitwise_and(even[0], _word(_HALF)), _word(0))


def uniform(seeds: Tensor, stream: int, count: int) -> Tensor:
    """Numbers from 0 to below 1, evenly distributed: the words that TensorFlow draws with each seed, from a place on.

    Args:
        seeds: int64 [n, 2].
        stream: 1 or more; tells what they are for, as another one gives other numbers of the same seed.
        count: Numbers a seed, at most 256.

    Returns:
        float32 [n, count].
    """
    tf = import_tensorflow()
    first = stream * _BLOCKS_A_STREAM
    blocks = [_draw(seeds, number) for number in range(first, first - (-count // 4))]
    words = tf.stack([word for even, odd in blocks for word in (even[0], odd[0], even[1], odd[1])][:count], axis=1)
    return tf.cast(tf.bitwise.right_shift(words, _word(32 - _FRACTION_BITS)), tf.float32) * 2.0**-_FRACTION_BITS


def _draw(seeds: Tensor, number: int = 0) -> tuple[Tensor, Tensor]:
    """Block `number` of those that TensorFlow draws with each seed."""
    tf = import_tensorflow()
    bits = tf.bitcast(tf.transpose(seeds), tf.uint64)
    mixed_even, mixed_odd = _philox(_low(bits), _high(bits), _column(_SEED_KEY))
    key = tf.stack([mixed_even[0], mixed_odd[0]])
    # Two words of the counter are the seed's; the others count blocks.
    ones = tf.ones_like(mixed_even[1])
    return _philox(tf.stack([ones * _word(number), mixed_even[1]]), tf.stack([ones * _word(0), mixed_odd[1]]), key)


def _philox(even: Tensor, odd: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """The block that belongs to a block and a key, uint64 [2, n] or [2, 1]."""
    tf = import_tensorflow()
    multipliers, steps = _column(_MULTIPLIERS), _column(_KEY_STEPS)
    for _ in range(_ROUNDS):
        product = tf.reverse(even * multipliers, [0])
        even, odd = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(_high(product), odd), key), _low(product)
        key = _low(key + steps)
    return even, odd


def _low(bits: Tensor) -> Tensor:
    return import_tensorflow().bitwise.bitwise_and(bits, _word(0xFFFFFFFF))


def _high(bits: Tensor) -> Tensor:
    return import_tensorflow().bitwise.right_shift(bits, _word(32))


def _word(value: int) -> Tensor:
    tf = import_tensorflow()
    return tf.constant(value, tf.uint64)


def _column(values: tuple[int, int]) -> Tensor:
    tf = import_tensorflow()
    return tf.constant([[value] for value in values], tf.uint64)
