/* Convolutions of numbers of 8 bits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_kernels.h"
#include "bopkit_memory.h"
#include "bopkit_rescale.h"

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define WIDENS_PATCHES
#endif

/* Filters whose sums are computed before anything is done with them. */
#define BLOCK 32u

/* Numbers of a patch. */
static uint32_t patch_size(const bopkit_conv *layer) {
    const uint32_t channels = layer->channels / layer->groups;
    return (uint32_t)layer->window.kernel_height * layer->window.kernel_width * channels;
}

/* `flip` turns uint8 into int8. */
static BOPKIT_INLINE uint8_t *copy_flipped(uint8_t *to, const uint8_t *from, uint32_t bytes, uint32_t flip) {
    for (; bytes >= 4; bytes -= 4, to += 4, from += 4) {
        uint32_t four;
        memcpy(&four, from, 4);
        four ^= flip;
        memcpy(to, &four, 4);
    }
    for (; bytes > 0; bytes--) {
        *to++ = (uint8_t)(*from++ ^ flip);
    }
    return to;
}

/* Copies what the window of an output pixel sees of a group; outside of the map are zero points. */
static void gather(const bopkit_conv *layer, const uint8_t *input, int32_t top, int32_t left, uint8_t *to) {
    const bopkit_window *window = &layer->window;
    const uint32_t channels = layer->channels / layer->groups, flip = layer->is_unsigned ? 0x80808080u : 0;
    const int32_t right = left + (window->kernel_width - 1) * window->dilation_width;
    const int is_whole_row =
        left >= 0 && right < window->input_width && window->dilation_width == 1 && layer->groups == 1;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        const int is_inside = row >= 0 && row < window->input_height;
        const uint8_t *const line = input + (is_inside ? (uint32_t)row * window->input_width * layer->channels : 0);
        if (is_inside && is_whole_row) {
            to = copy_flipped(to, line + (uint32_t)left * layer->channels, window->kernel_width * channels, flip);
            continue;
        }
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            if (is_inside && column >= 0 && column < window->input_width) {
                to = copy_flipped(to, line + (uint32_t)column * layer->channels, channels, flip);
            } else {
                memset(to, layer->padding, channels);
                to += channels;
            }
        }
    }
}

#if defined(WIDENS_PATCHES)
/* A patch in numbers of 16 bits. Four numbers a, b, c, d become a, c, b, d: in that order the instruction widens four
 * weights. */
static void widen(const uint8_t *stored, uint32_t size, uint32_t *patch) {
    for (uint32_t i = 0; i < size; i += 4, stored += 4, patch += 2) {
        uint32_t four;
        memcpy(&four, stored, 4);
        patch[0] = (uint32_t)__sxtb16((int8x4_t)four);
        patch[1] = (uint32_t)__sxtb16((int8x4_t)(four >> 8));
    }
}

static BOPKIT_INLINE int32_t add_products(int32_t sum, uint32_t weights, const uint32_t *patch) {
    sum = __smlad(__sxtb16((int8x4_t)weights), (int16x2_t)patch[0], sum);
    return __smlad(__sxtb16((int8x4_t)(weights >> 8)), (int16x2_t)patch[1], sum);
}
#endif

#if defined(__ARM_FEATURE_MVE)
/* The same where a patch fits into two vectors, which then stay in registers. */
static void multiply_small(const int8_t *weights, uint32_t size, uint32_t filters, const int8_t *first,
                           const int8_t *second, int32_t *sums, int32_t *second_sums) {
    const mve_pred16_t lanes = vctp8q(size), last_lanes = size > 16 ? vctp8q(size - 16) : 0;
    const int8x16_t a = vldrbq_z_s8(first, lanes), b = vldrbq_z_s8(second, lanes);
    const int8x16_t last_a = vldrbq_z_s8(first + 16, last_lanes), last_b = vldrbq_z_s8(second + 16, last_lanes);
    for (uint32_t f = 0; f < filters; f++, weights += size) {
        const int8x16_t numbers = vldrbq_z_s8(weights, lanes), last = vldrbq_z_s8(weights + 16, last_lanes);
        sums[f] = vmladavaq_s8(vmladavq_s8(numbers, a), last, last_a);
        second_sums[f] = vmladavaq_s8(vmladavq_s8(numbers, b), last, last_b);
    }
}
#endif

/* Sums of products of `filters` filters with two patches. */
static void multiply(const int8_t *weights, uint32_t size, uint32_t filters, const void *first, const void *second,
                     int32_t *sums, int32_t *second_sums) {
#if defined(__ARM_FEATURE_MVE)
    if (size <= 32) {
        multiply_small(weights, size, filters, first, second, sums, second_sums);
        return;
    }
#endif
    for (uint32_t f = 0; f < filters; f++, weights += size) {
        int32_t sum = 0, second_sum = 0;
#if defined(__ARM_FEATURE_MVE)
        const int8_t *a = first, *b = second;
        for (uint32_t i = 0; i < size; i += 16) {
            const mve_pred16_t lanes = vctp8q(size - i);
            const int8x16_t numbers = vldrbq_z_s8(weights + i, lanes); /* 0 beyond the last */
            sum = vmladavaq_s8(sum, numbers, vldrbq_z_s8(a + i, lanes));
            second_sum = vmladavaq_s8(second_sum, numbers, vldrbq_z_s8(b + i, lanes));
        }
#elif defined(WIDENS_PATCHES)
        const uint32_t *a = first, *b = second;
        for (uint32_t i = 0; i < size; i += 4, a += 2, b += 2) {
            uint32_t four;
            memcpy(&four, weights + i, 4);
            sum = add_products(sum, four, a);
            second_sum = add_products(second_sum, four, b);
        }
#else
        const int8_t *a = first, *b = second;
        for (uint32_t i = 0; i < size; i++) {
            sum += weights[i] * a[i];
            second_sum += weights[i] * b[i];
        }
#endif
        sums[f] = sum;
        second_sums[f] = second_sum;
    }
}

static int32_t top_of(const bopkit_window *window, uint32_t pixel) {
    return (int32_t)(pixel / window->output_width * window->stride_height) - window->pad_top;
}

static int32_t left_of(const bopkit_window *window, uint32_t pixel) {
    return (int32_t)(pixel % window->output_width * window->stride_width) - window->pad_left;
}

/* What becomes of the sums of up to BLOCK filters: those from `begin` on, of the output's pixel `pixel`. */
typedef void epilogue(const void *scale, const int32_t *sums, uint32_t pixel, uint32_t begin, uint32_t filters);

static void convolve(const bopkit_conv *layer, const uint8_t *input, void *scratch, epilogue *finish,
                     const void *scale) {
    const uint32_t size = (patch_size(layer) + 3) / 4 * 4, channels = layer->channels / layer->groups;
    const bopkit_window *const window = &layer->window;
    const uint32_t group_filters = layer->filters / layer->groups;
    const uint32_t pixels = (uint32_t)window->output_height * window->output_width;
    uint8_t *const first = (uint8_t *)scratch, *const second = first + size;
    const void *first_patch = first, *second_patch = second;
#if defined(WIDENS_PATCHES)
    uint32_t *const wide = (uint32_t *)scratch + size / 2, *const second_wide = wide + size / 2;
    first_patch = wide;
    second_patch = second_wide;
#endif
    int32_t sums[BLOCK], second_sums[BLOCK];
    memset(scratch, 0, 2 * size); /* behind a patch zeros fill up its last four */
    for (uint32_t pixel = 0; pixel < pixels; pixel += 2) {
        const uint32_t next = pixel + 1 < pixels ? pixel + 1 : pixel;
        for (uint32_t group = 0; group < layer->groups; group++) {
            gather(layer, input + group * channels, top_of(window, pixel), left_of(window, pixel), first);
            gather(layer, input + group * channels, top_of(window, next), left_of(window, next), second);
#if defined(WIDENS_PATCHES)
            widen(first, size, wide);
            widen(second, size, second_wide);
#endif
            for (uint32_t begin = 0; begin < group_filters; begin += BLOCK) {
                const uint32_t left = group_filters - begin, filters = left < BLOCK ? left : BLOCK;
                const uint32_t filter = group * group_filters + begin;
                multiply(layer->weights + filter * size, size, filters, first_patch, second_patch, sums, second_sums);
                finish(scale, sums, pixel, filter, filters);
                if (next != pixel) {
                    finish(scale, second_sums, next, filter, filters);
                }
            }
        }
    }
}

typedef struct {
    const bopkit_conv *layer;
    const bopkit_sum_to_int8 *scale;
    int8_t *output;
} to_int8;

static void finish_int8(const void *scale, const int32_t *sums, uint32_t pixel, uint32_t begin, uint32_t filters) {
    const to_int8 *to = scale;
    int8_t *output = to->output + pixel * to->layer->filters + begin;
    for (uint32_t f = 0; f < filters; f++) {
        output[f] = bopkit_int8_of_sum(to->scale, begin + f, sums[f] + to->layer->bias[begin + f]);
    }
}

void bopkit_conv_to_int8(const bopkit_conv *layer, const bopkit_sum_to_int8 *scale, const void *input, int8_t *output,
                         void *scratch) {
    const to_int8 to = {layer, scale, output};
    convolve(layer, input, scratch, finish_int8, &to);
}

typedef struct {
    const int32_t *thresholds;
    const uint8_t *inverted;
    uint8_t *output;
    uint32_t pixel_bytes;
} to_bits;

static void finish_bits(const void *scale, const int32_t *sums, uint32_t pixel, uint32_t begin, uint32_t filters) {
    const to_bits *to = scale;
    uint8_t *output = to->output + pixel * to->pixel_bytes + begin / 8;
    for (uint32_t f = 0; f < filters; f += 8) {
        const uint32_t left = filters - f < 8 ? filters - f : 8;
        uint32_t bits = 0;
#if defined(__ARM_FEATURE_MVE)
        for (uint32_t i = 0; i < left; i += 4) {
            const mve_pred16_t lanes = vctp32q(left - i);
            const int32x4_t limits = vldrwq_z_s32(to->thresholds + begin + f + i, lanes);
            const uint32_t below = vcmpltq_s32(vldrwq_z_s32(sums + f + i, lanes), limits) & 0x1111u;
            bits |= (below * 0x1248u >> 12 & 0xfu) << i; /* a bit in each four, brought together */
        }
#else
        for (uint32_t i = f; i < f + left; i++) {
            bits = bits >> 1 | (sums[i] < to->thresholds[begin + i] ? 0x80000000u : 0u);
        }
        bits >>= 32 - left;
#endif
        const uint32_t inverted = to->inverted != NULL ? to->inverted[(begin + f) / 8] : 0u;
        output[f / 8] = (uint8_t)(bits ^ inverted);
    }
}

void bopkit_conv_to_bits(const bopkit_conv *layer, const int32_t *thresholds, const uint8_t *inverted,
                         const void *input, uint8_t *output, void *scratch) {
    const to_bits to = {thresholds, inverted, output, (layer->filters + 7u) / 8u};
    convolve(layer, input, scratch, finish_bits, &to);
}
