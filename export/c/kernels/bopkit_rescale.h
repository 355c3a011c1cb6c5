/* Rescaling of integers in the arithmetic of TensorFlow Lite.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BOPKIT_RESCALE_H
#define BOPKIT_RESCALE_H

#include "bopkit_bits.h"
#include "bopkit_kernels.h"

static BOPKIT_INLINE int32_t bopkit_between(int32_t x, int32_t least, int32_t most) {
    return x < least ? least : x > most ? most : x;
}

/* x * multiplier * 2^(-31 - shift). The product is rounded to the nearest integer, halves up, and what the shift takes
 * off to the nearest, halves away from zero: both at once, by one addition before both shifts, and for negative numbers
 * one less. */
static BOPKIT_INLINE int32_t bopkit_rescale(int32_t x, int32_t multiplier, int32_t shift) {
    if (shift < 0) {
        x = (int32_t)((uint32_t)x << -shift);
        shift = 0;
    }
    int64_t product = (int64_t)x * multiplier + (INT64_C(1) << 30);
    if (shift > 0) {
        product += INT64_C(1) << (30 + shift);
        product -= product < INT64_C(1) << (30 + shift) ? INT64_C(1) << 31 : 0;
    }
    return (int32_t)(product >> 31) >> shift;
}

/* x * multiplier * 2^(-31 - shift), rounded to the nearest integer. */
static BOPKIT_INLINE int32_t bopkit_rescale_once(int32_t x, int32_t multiplier, int32_t shift) {
    return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << (30 + shift))) >> (31 + shift));
}

static BOPKIT_INLINE int8_t bopkit_int8_of_sum(const bopkit_sum_to_int8 *scale, uint32_t filter, int32_t sum) {
    const int32_t multiplier = scale->multipliers[filter], shift = scale->shifts[filter];
    const int32_t value = scale->rounds_once ? bopkit_rescale_once(sum, multiplier, shift)
                                             : bopkit_rescale(sum, multiplier, shift);
    return (int8_t)bopkit_between(value + scale->zero_point, scale->least, scale->most);
}

#endif
