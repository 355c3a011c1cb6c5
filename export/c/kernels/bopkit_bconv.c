/* Binary convolutions. The distance of a patch to each filter is counted with carry-save adders: nine words become
 * four, one each of ones, twos, fours and eights, and only these are counted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_bits.h"
#include "bopkit_kernels.h"
#include "bopkit_memory.h"

typedef struct {
    const bopkit_bconv *layer;
    uint32_t words;      /* whole words of a patch */
    uint32_t tail_bytes; /* and bytes behind them */
    uint32_t *patch;
    uint32_t *mask;
} patches;

static patches patches_of(const bopkit_bconv *layer, uint32_t *scratch) {
    const bopkit_window *window = &layer->window;
    const uint32_t bytes = (uint32_t)window->kernel_height * window->kernel_width * layer->group_bytes;
    patches each;
    each.layer = layer;
    each.words = bytes / 4;
    each.tail_bytes = bytes % 4;
    each.patch = scratch;
    each.mask = scratch + (bytes + 3) / 4;
    scratch[bytes / 4] = 0; /* beyond the last byte is nothing; one word of the mask where there is no tail */
    return each;
}

static void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes) {
    if (((bytes | (uint32_t)(uintptr_t)to | (uint32_t)(uintptr_t)from) & 3) == 0) {
        uint32_t *to_word = (uint32_t *)(void *)to;
        const uint32_t *from_word = (const uint32_t *)(const void *)from;
        for (uint32_t i = 0; i < bytes / 4; i++) {
            to_word[i] = from_word[i];
        }
    } else {
        for (uint32_t i = 0; i < bytes; i++) {
            to[i] = from[i];
        }
    }
}

/* Copies what the window of an output pixel sees. Number of its pixels that lie outside of the map; where they count
 * nothing, the mask is made too. */
static uint32_t gather(const patches *each, const uint8_t *input, uint32_t y, uint32_t x) {
    const bopkit_bconv *layer = each->layer;
    const bopkit_window *window = &layer->window;
    const uint32_t bytes = layer->group_bytes, pixel_bytes = bytes * layer->groups;
    const int32_t top = (int32_t)(y * window->stride_height) - window->pad_top;
    const int32_t left = (int32_t)(x * window->stride_width) - window->pad_left;
    const int32_t right = left + (window->kernel_width - 1) * window->dilation_width;
    const int32_t bottom = top + (window->kernel_height - 1) * window->dilation_height;
    uint8_t *to = (uint8_t *)each->patch;
    if (top >= 0 && left >= 0 && bottom < window->input_height && right < window->input_width) {
        const uint8_t *row = input + ((uint32_t)top * window->input_width + (uint32_t)left) * pixel_bytes;
        const uint32_t row_stride = (uint32_t)window->dilation_height * window->input_width * pixel_bytes;
        if (layer->groups == 1 && window->dilation_width == 1) {
            const uint32_t row_bytes = window->kernel_width * bytes;
            for (uint32_t i = 0; i < window->kernel_height; i++, row += row_stride, to += row_bytes) {
                copy_bytes(to, row, row_bytes);
            }
        } else {
            for (uint32_t i = 0; i < window->kernel_height; i++, row += row_stride) {
                for (uint32_t j = 0; j < window->kernel_width; j++, to += bytes) {
                    copy_bytes(to, row + j * window->dilation_width * pixel_bytes, bytes);
                }
            }
        }
        return 0;
    }
    uint32_t outside = 0;
    uint8_t *mask = (uint8_t *)each->mask;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            if (row >= 0 && row < window->input_height && column >= 0 && column < window->input_width) {
                copy_bytes(to, input + ((uint32_t)row * window->input_width + (uint32_t)column) * pixel_bytes, bytes);
                if (!layer->pads_with_ones) {
                    memset(mask, 0xff, bytes);
                }
            } else {
                memset(to, 0, bytes);
                if (!layer->pads_with_ones) {
                    memset(mask, 0, bytes);
                }
                outside++;
            }
            to += bytes;
            mask += bytes;
        }
    }
    return layer->pads_with_ones ? 0 : outside;
}

/* The bytes of a filter that fill no word; what lies beyond them in the patch is clear too. */
static inline uint32_t tail_of(const uint8_t *tails, uint32_t bytes) {
    uint32_t tail = 0;
    for (uint32_t i = bytes; i > 0; i--) {
        tail = tail << 8 | tails[i - 1];
    }
    return tail;
}

/* Filters whose distances are counted before anything is done with them. */
#define BOPKIT_BLOCK 32u

/* Distances of `filters` filters from `begin` on, BOPKIT_BLOCK at most, to the patch. */
static BOPKIT_INLINE void measure(const patches *each, uint32_t begin, uint32_t filters, uint32_t lost, int is_masked,
                                  uint32_t *distances) {
    const uint32_t words = each->words, tail_bytes = each->tail_bytes;
    const uint32_t *weights = each->layer->weights + begin * words;
    const uint8_t *tail = each->layer->tails + begin * tail_bytes;
    for (uint32_t f = 0; f < filters; f++, tail += tail_bytes) {
        const uint32_t *patch = each->patch, *mask = each->mask, *const end = weights + words;
        uint32_t total = 0;
#define BOPKIT_DIFFERENCE(i) (is_masked ? (weights[i] ^ patch[i]) & mask[i] : weights[i] ^ patch[i])
#if defined(BOPKIT_HAS_NINE_IN_ASSEMBLY)
        while (!is_masked && end - weights >= 9) {
            total = bopkit_add_nine(total, &weights, &patch);
        }
#endif
        for (; end - weights >= 9; weights += 9, patch += 9, mask += 9) {
            const uint32_t bytes = bopkit_count_nine(
                BOPKIT_DIFFERENCE(0), BOPKIT_DIFFERENCE(1), BOPKIT_DIFFERENCE(2), BOPKIT_DIFFERENCE(3),
                BOPKIT_DIFFERENCE(4), BOPKIT_DIFFERENCE(5), BOPKIT_DIFFERENCE(6), BOPKIT_DIFFERENCE(7),
                BOPKIT_DIFFERENCE(8));
            total = bopkit_add_bytes(total, bytes);
        }
        for (; end - weights >= 3; weights += 3, patch += 3, mask += 3) {
            const uint32_t bytes =
                bopkit_count_three(BOPKIT_DIFFERENCE(0), BOPKIT_DIFFERENCE(1), BOPKIT_DIFFERENCE(2));
            total = bopkit_add_bytes(total, bytes);
        }
        if (end > weights || tail_bytes > 0) {
            const uint32_t left = (uint32_t)(end - weights);
            const uint32_t first = left > 0 ? BOPKIT_DIFFERENCE(0) : 0, second = left > 1 ? BOPKIT_DIFFERENCE(1) : 0;
            uint32_t last = 0;
            if (tail_bytes > 0) {
                last = tail_of(tail, tail_bytes) ^ patch[left];
                last = is_masked ? last & mask[left] : last;
            }
            total = bopkit_add_bytes(total, bopkit_count_three(first, second, last));
        }
#undef BOPKIT_DIFFERENCE
        weights = end;
        distances[f] = 2 * total + lost;
    }
}

static void measure_inside(const patches *each, uint32_t begin, uint32_t filters, uint32_t *distances) {
    measure(each, begin, filters, 0, 0, distances);
}

static void measure_at_border(const patches *each, uint32_t begin, uint32_t filters, uint32_t outside,
                              uint32_t *distances) {
    measure(each, begin, filters, outside * each->layer->group_channels, 1, distances);
}

/* What becomes of the distances of up to BOPKIT_BLOCK filters: those from `begin` on, of the output's pixel `pixel`. */
typedef void epilogue(const void *scale, const uint32_t *distances, uint32_t pixel, uint32_t begin, uint32_t filters);

static void convolve(const bopkit_bconv *layer, const uint8_t *input, void *scratch, epilogue *finish,
                     const void *scale) {
    const patches each = patches_of(layer, scratch);
    const uint32_t group_filters = layer->filters / layer->groups;
    uint32_t distances[BOPKIT_BLOCK], pixel = 0;
    for (uint32_t y = 0; y < layer->window.output_height; y++) {
        for (uint32_t x = 0; x < layer->window.output_width; x++, pixel++) {
            for (uint32_t group = 0; group < layer->groups; group++) {
                const uint32_t outside = gather(&each, input + group * layer->group_bytes, y, x);
                for (uint32_t begin = 0; begin < group_filters; begin += BOPKIT_BLOCK) {
                    const uint32_t left = group_filters - begin;
                    const uint32_t filters = left < BOPKIT_BLOCK ? left : BOPKIT_BLOCK;
                    const uint32_t first = group * group_filters + begin;
                    if (outside == 0) {
                        measure_inside(&each, first, filters, distances);
                    } else {
                        measure_at_border(&each, first, filters, outside, distances);
                    }
                    finish(scale, distances, pixel, first, filters);
                }
            }
        }
    }
}

typedef struct {
    const void *thresholds;
    const uint8_t *inverted;
    uint8_t *output;
    uint32_t pixel_bytes;
} to_bits;

/* Writes the bits of up to 32 filters; a block begins with a byte. */
static void write_bits(const to_bits *scale, uint32_t bits, uint32_t pixel, uint32_t begin, uint32_t filters) {
    uint8_t *to = scale->output + pixel * scale->pixel_bytes + begin / 8;
    for (uint32_t i = 0; i < (filters + 7) / 8; i++, bits >>= 8) {
        to[i] = (uint8_t)(bits ^ (scale->inverted != NULL ? scale->inverted[begin / 8 + i] : 0u));
    }
}

static void finish_bits(const void *scale, const uint32_t *distances, uint32_t pixel, uint32_t begin,
                        uint32_t filters) {
    const int16_t *thresholds = (const int16_t *)((const to_bits *)scale)->thresholds + begin;
    uint32_t bits = 0;
    for (uint32_t f = 0; f < filters; f++) { /* the sign of threshold - distance */
        bits |= ((uint32_t)(thresholds[f] - (int32_t)distances[f]) >> 31) << f;
    }
    write_bits(scale, bits, pixel, begin, filters);
}

static void finish_bits_wide(const void *scale, const uint32_t *distances, uint32_t pixel, uint32_t begin,
                             uint32_t filters) {
    const int32_t *thresholds = (const int32_t *)((const to_bits *)scale)->thresholds + begin;
    uint32_t bits = 0;
    for (uint32_t f = 0; f < filters; f++) {
        bits |= (uint32_t)((int32_t)distances[f] > thresholds[f]) << f;
    }
    write_bits(scale, bits, pixel, begin, filters);
}

void bopkit_bconv_to_bits(const bopkit_bconv *layer, const int16_t *thresholds, const uint8_t *inverted,
                          const uint8_t *input, uint8_t *output, void *scratch) {
    const to_bits scale = {thresholds, inverted, output, (layer->filters + 7u) / 8u};
    convolve(layer, input, scratch, finish_bits, &scale);
}

void bopkit_bconv_to_bits_wide(const bopkit_bconv *layer, const int32_t *thresholds, const uint8_t *inverted,
                               const uint8_t *input, uint8_t *output, void *scratch) {
    const to_bits scale = {thresholds, inverted, output, (layer->filters + 7u) / 8u};
    convolve(layer, input, scratch, finish_bits_wide, &scale);
}

static inline int32_t between(int32_t x, int32_t least, int32_t most) {
    return x < least ? least : x > most ? most : x;
}

typedef struct {
    const bopkit_distance_to_int8 *scale;
    int8_t *output;
    uint32_t filters;
} to_int8;

/* Position of the first exception of a filter from `begin` on. */
static uint32_t first_exception(const bopkit_distance_to_int8 *by, uint32_t begin) {
    uint32_t low = 0, high = by->exception_count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if ((uint32_t)by->exceptions[3 * middle] < begin) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void finish_int8(const void *scale, const uint32_t *distances, uint32_t pixel, uint32_t begin,
                        uint32_t filters) {
    const to_int8 *to = scale;
    const bopkit_distance_to_int8 *by = to->scale;
    int8_t *output = to->output + pixel * to->filters + begin;
    for (uint32_t f = 0; f < filters; f++) {
        const uint32_t distance = (uint32_t)between((int32_t)distances[f], by->least, by->most);
        const uint32_t multiplier = (uint32_t)by->multipliers[begin + f];
        const int32_t value = (int32_t)(distance * multiplier + (uint32_t)by->offsets[begin + f]) >> by->shift;
        output[f] = (int8_t)between(value, -128, 127);
    }
    for (uint32_t i = first_exception(by, begin); i < by->exception_count; i++) {
        const int16_t *exception = by->exceptions + 3 * i;
        const uint32_t f = (uint32_t)exception[0] - begin;
        if (f >= filters) {
            break;
        }
        if ((int32_t)distances[f] == exception[1]) {
            output[f] = (int8_t)(output[f] + exception[2]);
        }
    }
}

void bopkit_bconv_to_int8(const bopkit_bconv *layer, const bopkit_distance_to_int8 *scale, const uint8_t *input,
                          int8_t *output, void *scratch) {
    const to_int8 to = {scale, output, layer->filters};
    convolve(layer, input, scratch, finish_int8, &to);
}

typedef struct {
    const bopkit_distance_to_float *scale;
    float *output;
    uint32_t filters;
} to_float;

static void finish_float(const void *scale, const uint32_t *distances, uint32_t pixel, uint32_t begin,
                         uint32_t filters) {
    const to_float *to = scale;
    const bopkit_distance_to_float *by = to->scale;
    float *output = to->output + pixel * to->filters + begin;
    for (uint32_t f = 0; f < filters; f++) {
        const float distance = (float)between((int32_t)distances[f], by->least, by->most);
        output[f] = distance * by->multipliers[begin + f] + by->offsets[begin + f];
    }
}

void bopkit_bconv_to_float(const bopkit_bconv *layer, const bopkit_distance_to_float *scale, const uint8_t *input,
                           float *output, void *scratch) {
    const to_float to = {scale, output, layer->filters};
    convolve(layer, input, scratch, finish_float, &to);
}
