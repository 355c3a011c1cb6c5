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

/* Widens `count` numbers of 8 bits. With SIMD instructions, four numbers a, b, c, d become a, c, b, d: it is in that
 * order that the instruction widens four weights. `position` is where in the patch they begin. */
static void widen(int16_t *patch, uint32_t position, const uint8_t *from, uint32_t count, int is_unsigned) {
    for (uint32_t i = 0; i < count; i++, position++) {
#if defined(__ARM_FEATURE_SIMD32)
        static const uint8_t places[4] = {0, 2, 1, 3};
        const uint32_t to = (position & ~3u) + places[position & 3];
#else
        const uint32_t to = position;
#endif
        patch[to] = is_unsigned ? (int16_t)from[i] : (int16_t)(int8_t)from[i];
    }
}

/* Copies what the window of an output pixel sees of a group; outside of the map are zero points. */
static void gather(const bopkit_conv *layer, const uint8_t *input, uint32_t y, uint32_t x, int16_t *patch) {
    const bopkit_window *window = &layer->window;
    const uint32_t channels = layer->channels / layer->groups;
    const int32_t top = (int32_t)(y * window->stride_height) - window->pad_top;
    const int32_t left = (int32_t)(x * window->stride_width) - window->pad_left;
    uint32_t position = 0;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            if (row >= 0 && row < window->input_height && column >= 0 && column < window->input_width) {
                const uint32_t pixel = (uint32_t)row * window->input_width + (uint32_t)column;
                widen(patch, position, input + pixel * layer->channels, channels, layer->is_unsigned);
            } else {
                const uint8_t padding = (uint8_t)layer->padding;
                for (uint32_t c = 0; c < channels; c++) {
                    widen(patch, position + c, &padding, 1, layer->is_unsigned);
                }
            }
            position += channels;
        }
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

/* What becomes of the sums of up to BLOCK filters: those from `begin` on, of the output's pixel `pixel`. */
typedef void epilogue(const void *scale, const int32_t *sums, uint32_t pixel, uint32_t begin, uint32_t filters);

static void convolve(const bopkit_conv *layer, const uint8_t *input, void *scratch, epilogue *finish,
                     const void *scale) {
    const uint32_t size = (patch_size(layer) + 3) / 4 * 4, channels = layer->channels / layer->groups;
    const uint32_t group_filters = layer->filters / layer->groups, width = layer->window.output_width;
    const uint32_t pixels = (uint32_t)layer->window.output_height * width;
    int16_t *const first = (int16_t *)scratch, *const second = first + size;
    int32_t sums[BLOCK], second_sums[BLOCK];
    memset(scratch, 0, 4 * size);
    for (uint32_t pixel = 0; pixel < pixels; pixel += 2) {
        const uint32_t next = pixel + 1 < pixels ? pixel + 1 : pixel;
        for (uint32_t group = 0; group < layer->groups; group++) {
            gather(layer, input + group * channels, pixel / width, pixel % width, first);
            gather(layer, input + group * channels, next / width, next % width, second);
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
        uint32_t bits = 0;
        for (uint32_t i = f; i < f + 8 && i < filters; i++) {
            bits |= (uint32_t)(sums[i] < to->thresholds[begin + i]) << (i - f);
        }
        output[f / 8] = (uint8_t)(bits ^ (to->inverted != NULL ? to->inverted[(begin + f) / 8] : 0u));
    }
}

void bopkit_conv_to_bits(const bopkit_conv *layer, const int32_t *thresholds, const uint8_t *inverted,
                         const void *input, uint8_t *output, void *scratch) {
    const to_bits to = {thresholds, inverted, output, (layer->filters + 7u) / 8u};
    convolve(layer, input, scratch, finish_bits, &to);
}
