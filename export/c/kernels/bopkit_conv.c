/* Convolutions of numbers of 8 bits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_kernels.h"
#include "bopkit_memory.h"
#include "bopkit_rescale.h"

#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

/* Filters whose sums are computed before anything is done with them. */
#define BLOCK 32u

/* Numbers of a patch, and those that fill up its last four. */
static uint32_t patch_size(const bopkit_conv *layer) {
    const uint32_t channels = layer->channels / layer->groups;
    return (uint32_t)layer->window.kernel_height * layer->window.kernel_width * channels;
}

/* Copies what the window of an output pixel sees of a group, in numbers of 16 bits; outside of the map are zero points.
 * They are first copied as they are to the upper half of the patch. With SIMD instructions four numbers a, b, c, d then
 * become a, c, b, d: in that order the instruction widens four weights. */
static void gather(const bopkit_conv *layer, const uint8_t *input, int32_t top, int32_t left, uint32_t size,
                   int16_t *patch) {
    const bopkit_window *window = &layer->window;
    const uint32_t channels = layer->channels / layer->groups;
    uint8_t *const stored = (uint8_t *)patch + size; /* the upper half */
    uint8_t *to = stored;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        const int is_row_inside = row >= 0 && row < window->input_height;
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            if (is_row_inside && column >= 0 && column < window->input_width) {
                const uint32_t pixel = (uint32_t)row * window->input_width + (uint32_t)column;
                const uint8_t *from = input + pixel * layer->channels;
                for (uint32_t c = 0; c < channels; c++) {
                    *to++ = from[c];
                }
            } else {
                for (uint32_t c = 0; c < channels; c++) {
                    *to++ = (uint8_t)layer->padding;
                }
            }
        }
    }
    /* Four at a time: what is written lies at or below what is read. */
    for (uint32_t i = 0; i < size; i += 4) {
#if defined(__ARM_FEATURE_SIMD32)
        uint32_t four;
        memcpy(&four, stored + i, 4);
        const uint8x4_t even = (uint8x4_t)four, odd = (uint8x4_t)(four >> 8);
        const uint32_t first = layer->is_unsigned ? (uint32_t)__uxtb16(even) : (uint32_t)__sxtb16((int8x4_t)even);
        const uint32_t second = layer->is_unsigned ? (uint32_t)__uxtb16(odd) : (uint32_t)__sxtb16((int8x4_t)odd);
        memcpy(patch + i, &first, 4);
        memcpy(patch + i + 2, &second, 4);
#else
        const uint8_t four[4] = {stored[i], stored[i + 1], stored[i + 2], stored[i + 3]};
        for (uint32_t j = 0; j < 4; j++) {
            patch[i + j] = layer->is_unsigned ? (int16_t)four[j] : (int16_t)(int8_t)four[j];
        }
#endif
    }
}

/* Sums of products of `filters` filters with one patch, or with two where `second` is not null. */
static void multiply(const int8_t *weights, uint32_t size, uint32_t filters, const int16_t *first,
                     const int16_t *second, int32_t *sums, int32_t *second_sums) {
    for (uint32_t f = 0; f < filters; f++, weights += size) {
        int32_t sum = 0, second_sum = 0;
        for (uint32_t i = 0; i < size; i += 4) {
#if defined(__ARM_FEATURE_SIMD32)
            uint32_t four;
            int16x2_t a, b, c, d;
            memcpy(&four, weights + i, 4);
            const int16x2_t even = __sxtb16((int8x4_t)four), odd = __sxtb16((int8x4_t)(four >> 8));
            memcpy(&a, first + i, 4);
            memcpy(&b, first + i + 2, 4);
            sum = __smlad(odd, b, __smlad(even, a, sum));
            memcpy(&c, second + i, 4);
            memcpy(&d, second + i + 2, 4);
            second_sum = __smlad(odd, d, __smlad(even, c, second_sum));
#else
            for (uint32_t j = i; j < i + 4; j++) {
                sum += weights[j] * first[j];
                second_sum += weights[j] * second[j];
            }
#endif
        }
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
    int16_t *const first = (int16_t *)scratch, *const second = first + size;
    int32_t sums[BLOCK], second_sums[BLOCK];
    memset(scratch, 0, 4 * size);
    for (uint32_t pixel = 0; pixel < pixels; pixel += 2) {
        const uint32_t next = pixel + 1 < pixels ? pixel + 1 : pixel;
        for (uint32_t group = 0; group < layer->groups; group++) {
            gather(layer, input + group * channels, top_of(window, pixel), left_of(window, pixel), size, first);
            gather(layer, input + group * channels, top_of(window, next), left_of(window, next), size, second);
            for (uint32_t begin = 0; begin < group_filters; begin += BLOCK) {
                const uint32_t left = group_filters - begin, filters = left < BLOCK ? left : BLOCK;
                const uint32_t filter = group * group_filters + begin;
                multiply(layer->weights + filter * size, size, filters, first, second, sums, second_sums);
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
        for (uint32_t i = f; i < f + left; i++) {
            bits = bits >> 1 | (sums[i] < to->thresholds[begin + i] ? 0x80000000u : 0u);
        }
        const uint32_t inverted = to->inverted != NULL ? to->inverted[(begin + f) / 8] : 0u;
        output[f / 8] = (uint8_t)(bits >> (32 - left) ^ inverted);
    }
}

void bopkit_conv_to_bits(const bopkit_conv *layer, const int32_t *thresholds, const uint8_t *inverted,
                         const void *input, uint8_t *output, void *scratch) {
    const to_bits to = {thresholds, inverted, output, (layer->filters + 7u) / 8u};
    convolve(layer, input, scratch, finish_bits, &to);
}
