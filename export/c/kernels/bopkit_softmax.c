/* Softmax in integers, in the arithmetic of TensorFlow Lite's reference kernel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_kernels.h"

/* Sums of powers have so many integer bits; each power has none. */
#define SUM_INTEGER_BITS 12

/* a * b / 2^31 to the nearest, halves away from zero but for -1/2. */
static int32_t multiply_high(int32_t a, int32_t b) {
    const int64_t product = (int64_t)a * b;
    return (int32_t)((product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / (INT64_C(1) << 31));
}

/* x / 2^bits to the nearest, halves away from zero. */
static int32_t divide_by_power_of_two(int32_t x, int32_t bits) {
    const int32_t mask = (int32_t)((UINT32_C(1) << bits) - 1);
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0));
}

static int32_t shift_left_saturating(int32_t x, int32_t bits) {
    const int32_t limit = INT32_MAX >> bits;
    return x > limit ? INT32_MAX : x < -limit - 1 ? INT32_MIN : x * (1 << bits);
}

/* 1 / (1 + x) for x from 0 to 1, both with 31 fractional bits: three steps of Newton's method for 1 / d, where d is
 * (1 + x) / 2, from the line 48/17 - 32/17 d, which is the best on 1/2 to 1. */
static int32_t reciprocal_of_one_plus(int32_t x) {
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = 1515870810 + multiply_high(half, -1010580540); /* 48/17 and -32/17 with 29 fractional bits */
    for (int32_t step = 0; step < 3; step++) {
        const int32_t error = (1 << 29) - multiply_high(half, y);
        y += shift_left_saturating(multiply_high(y, error), 2);
    }
    return shift_left_saturating(y, 1);
}

void bopkit_softmax_int8(uint32_t rows, uint16_t classes, const int32_t *powers, uint16_t entries, const int8_t *input,
                         int8_t *output) {
    for (uint32_t row = 0; row < rows; row++, input += classes, output += classes) {
        int32_t greatest = INT8_MIN, sum = 0, headroom = 0;
        for (uint32_t c = 0; c < classes; c++) {
            greatest = input[c] > greatest ? input[c] : greatest;
        }
        for (uint32_t c = 0; c < classes; c++) {
            const int32_t below = greatest - input[c];
            sum += below < entries ? divide_by_power_of_two(powers[below], SUM_INTEGER_BITS) : 0;
        }
        while (((uint32_t)sum << headroom & 0x80000000u) == 0) {
            headroom++;
        }
        const int32_t fraction = (int32_t)(((uint32_t)sum << headroom) - 0x80000000u);
        const int32_t reciprocal = reciprocal_of_one_plus(fraction);
        const int32_t shift = SUM_INTEGER_BITS - headroom + 31 - 8;
        for (uint32_t c = 0; c < classes; c++) {
            const int32_t below = greatest - input[c];
            int32_t value = INT8_MIN;
            if (below < entries) {
                value += shift > 31 ? 0 : divide_by_power_of_two(multiply_high(reciprocal, powers[below]), shift);
            }
            output[c] = (int8_t)(value > INT8_MAX ? INT8_MAX : value);
        }
    }
}
