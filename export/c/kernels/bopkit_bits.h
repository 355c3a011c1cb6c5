/* Counting of bits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BOPKIT_BITS_H
#define BOPKIT_BITS_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

/* For code of which each caller needs a copy of its own, as an argument is a constant there. */
#if defined(__GNUC__)
#define BOPKIT_INLINE __inline__ __attribute__((always_inline))
#else
#define BOPKIT_INLINE inline
#endif

/* Counting is written once for words and for vectors of words, for which compilers know the same operators. */
#define BOPKIT_COUNTING(word, name)                                                                                \
    /* Three bits of each place become their sum: one, and a two. */                                               \
    static BOPKIT_INLINE void name##_full_add(word *one, word *two, word a, word b, word c) {                      \
        const word differ = a ^ b;                                                                                 \
        *two = (a & b) | (differ & c);                                                                             \
        *one = differ ^ c;                                                                                         \
    }                                                                                                              \
                                                                                                                   \
    /* The number of bits that are set in every four places: fields of 4 bits hold 0 to 4. */                      \
    static BOPKIT_INLINE word name##_count_fours(word x) {                                                         \
        x -= (x >> 1) & 0x55555555u;                                                                               \
        return (x & 0x33333333u) + ((x >> 2) & 0x33333333u);                                                       \
    }                                                                                                              \
                                                                                                                   \
    /* Fields of 4 bits, two and two added up in bytes. */                                                         \
    static BOPKIT_INLINE word name##_add_nibbles(word x) {                                                         \
        return (x & 0x0f0f0f0fu) + ((x >> 4) & 0x0f0f0f0fu);                                                       \
    }                                                                                                              \
                                                                                                                   \
    /* Bits that are set in one, three, five and nine words: bytes that add up to it. */                           \
    static BOPKIT_INLINE word name##_count_one(word a) {                                                           \
        return name##_add_nibbles(name##_count_fours(a));                                                          \
    }                                                                                                              \
                                                                                                                   \
    static BOPKIT_INLINE word name##_count_three(word a, word b, word c) {                                         \
        word one, two;                                                                                             \
        name##_full_add(&one, &two, a, b, c);                                                                      \
        return name##_add_nibbles(name##_count_fours(one) + 2 * name##_count_fours(two));                          \
    }                                                                                                              \
                                                                                                                   \
    static BOPKIT_INLINE word name##_count_five(word a, word b, word c, word d, word e) {                          \
        word one, two0, two1;                                                                                      \
        name##_full_add(&one, &two0, a, b, c);                                                                     \
        name##_full_add(&one, &two1, one, d, e);                                                                   \
        const word two = two0 ^ two1, four = two0 & two1;                                                          \
        return name##_add_nibbles(name##_count_fours(one) + 2 * name##_count_fours(two)) +                         \
               4 * name##_add_nibbles(name##_count_fours(four));                                                   \
    }                                                                                                              \
                                                                                                                   \
/* The same of three times three words that were added. */                                                     \
    static BOPKIT_INLINE word name##_count_thirds(word one0, word one1, word one2, word two0, word two1, word two2) {\
        word two3, four0;                                                                                          \
        name##_full_add(&one0, &two3, one0, one1, one2);                                                           \
        name##_full_add(&two0, &four0, two0, two1, two2);                                                          \
        const word four1 = two0 & two3, two = two0 ^ two3;                                                         \
        const word four = four0 ^ four1, eight = four0 & four1;                                                    \
        return name##_add_nibbles(name##_count_fours(one0) + 2 * name##_count_fours(two)) +                        \
               4 * name##_add_nibbles(name##_count_fours(four) + 2 * name##_count_fours(eight));                   \
    }                                                                                                              \
                                                                                                                   \
    static BOPKIT_INLINE word name##_count_nine(word a, word b, word c, word d, word e, word f, word g, word h,    \
                                                word i) {                                                          \
        word one0, one1, one2, two0, two1, two2;                                                                   \
        name##_full_add(&one0, &two0, a, b, c);                                                                    \
        name##_full_add(&one1, &two1, d, e, f);                                                                    \
        name##_full_add(&one2, &two2, g, h, i);                                                                    \
        return name##_count_thirds(one0, one1, one2, two0, two1, two2);                                            \
    }

BOPKIT_COUNTING(uint32_t, bopkit)
#if defined(__ARM_FEATURE_MVE)
BOPKIT_COUNTING(uint32x4_t, bopkit_vector)
#endif

/* total plus the four bytes of x */
static BOPKIT_INLINE uint32_t bopkit_add_bytes(uint32_t total, uint32_t x) {
#if defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_FEATURE_MVE)
    return __usada8(x, 0, total);
#else
    x = (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
    return total + ((x + (x >> 16)) & 0xffffu);
#endif
}

#if defined(__ARM_FEATURE_SIMD32) && defined(__thumb2__) && defined(__GNUC__) && !defined(__ARM_FEATURE_MVE)
/* The same of nine weights and nine words of a patch, written out: compilers load them one by one, and find no registers
 * for the masks, without which a shift is an instruction of its own. Registers are few enough that the loops around it
 * keep theirs; r7 may be the frame pointer. Steps are those of bopkit_count_nine. */
#define BOPKIT_HAS_NINE_IN_ASSEMBLY
static BOPKIT_INLINE uint32_t bopkit_add_nine(uint32_t total, const uint32_t **weights, const uint32_t **patch) {
    __asm__(
        "ldmia %[weights]!, {r3, r4, r5}\n\t"
        "ldmia %[patch]!, {r6, r8, r9}\n\t"
        "eor r3, r3, r6\n\t"
        "eor r4, r4, r8\n\t"
        "eor r5, r5, r9\n\t"
        "and r6, r3, r4\n\t"
        "eor r3, r3, r4\n\t"
        "and r4, r3, r5\n\t"
        "eor r3, r3, r5\n\t"
        "orr r4, r4, r6\n\t"
        "ldmia %[weights]!, {r5, r6, r8}\n\t"
        "ldmia %[patch]!, {r9, r10, r11}\n\t"
        "eor r5, r5, r9\n\t"
        "eor r6, r6, r10\n\t"
        "eor r8, r8, r11\n\t"
        "and r9, r5, r6\n\t"
        "eor r5, r5, r6\n\t"
        "and r6, r5, r8\n\t"
        "eor r5, r5, r8\n\t"
        "orr r6, r6, r9\n\t"
        "ldmia %[weights]!, {r8, r9, r10}\n\t"
        "ldr r11, [%[patch]], #4\n\t"
        "eor r8, r8, r11\n\t"
        "ldr r11, [%[patch]], #4\n\t"
        "eor r9, r9, r11\n\t"
        "ldr r11, [%[patch]], #4\n\t"
        "eor r10, r10, r11\n\t"
        "and r11, r8, r9\n\t"
        "eor r8, r8, r9\n\t"
        "and r9, r8, r10\n\t"
        "eor r8, r8, r10\n\t"
        "orr r9, r9, r11\n\t"
        "and r10, r3, r5\n\t"
        "eor r3, r3, r5\n\t"
        "and r5, r3, r8\n\t"
        "eor r3, r3, r8\n\t"
        "orr r5, r5, r10\n\t"
        "and r10, r4, r6\n\t"
        "eor r4, r4, r6\n\t"
        "and r6, r4, r9\n\t"
        "eor r4, r4, r9\n\t"
        "orr r6, r6, r10\n\t"
        "and r8, r4, r5\n\t"
        "eor r4, r4, r5\n\t"
        "and r5, r6, r8\n\t"
        "eor r6, r6, r8\n\t"
        "mov r8, #0x55555555\n\t"
        "and r9, r8, r3, lsr #1\n\t"
        "sub r3, r3, r9\n\t"
        "and r9, r8, r4, lsr #1\n\t"
        "sub r4, r4, r9\n\t"
        "and r9, r8, r6, lsr #1\n\t"
        "sub r6, r6, r9\n\t"
        "and r9, r8, r5, lsr #1\n\t"
        "sub r5, r5, r9\n\t"
        "mov r8, #0x33333333\n\t"
        "and r9, r8, r3, lsr #2\n\t"
        "and r3, r3, r8\n\t"
        "add r3, r3, r9\n\t"
        "and r9, r8, r4, lsr #2\n\t"
        "and r4, r4, r8\n\t"
        "add r4, r4, r9\n\t"
        "and r9, r8, r6, lsr #2\n\t"
        "and r6, r6, r8\n\t"
        "add r6, r6, r9\n\t"
        "and r9, r8, r5, lsr #2\n\t"
        "and r5, r5, r8\n\t"
        "add r5, r5, r9\n\t"
        "add r3, r3, r4, lsl #1\n\t"
        "add r6, r6, r5, lsl #1\n\t"
        "mov r8, #0x0f0f0f0f\n\t"
        "and r9, r8, r3, lsr #4\n\t"
        "and r3, r3, r8\n\t"
        "add r3, r3, r9\n\t"
        "and r9, r8, r6, lsr #4\n\t"
        "and r6, r6, r8\n\t"
        "add r6, r6, r9\n\t"
        "add r3, r3, r6, lsl #2\n\t"
        "mov r8, #0\n\t"
        "usada8 %[total], r3, r8, %[total]"
        : [total] "+r"(total), [weights] "+r"(*weights), [patch] "+r"(*patch)
        :
        : "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
    return total;
}
#endif

#endif
