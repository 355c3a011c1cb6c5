/* Binary convolutions. The distance of a patch to each filter is counted with carry-save adders: nine words become
 * four, one each of ones, twos, fours and eights, and only these are counted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_bits.h"
#include "bopkit_kernels.h"
#include "bopkit_memory.h"

/* What the windows of a layer have in common, and what one of them sees. */
typedef struct {
    const bopkit_bconv *layer;
    uint32_t words;      /* whole words of a patch */
    uint32_t tail_bytes; /* and bytes behind them */
    uint32_t *patch;
    uint32_t *mask;
    uint32_t runs;       /* stretches of memory that a window within the map is made of */
    uint32_t run_bytes;
    uint32_t run_step;   /* from one pixel of a row to the next, where a run is a pixel */
    uint32_t row_stride; /* from one row of the window to the next */
} patches;

static patches patches_of(const bopkit_bconv *layer, uint32_t *scratch) {
    const bopkit_window *window = &layer->window;
    const uint32_t bytes = (uint32_t)window->kernel_height * window->kernel_width * layer->group_bytes;
    const uint32_t pixel_bytes = (uint32_t)layer->group_bytes * layer->groups;
    patches each;
    each.layer = layer;
    each.words = bytes / 4;
    each.tail_bytes = bytes % 4;
    each.patch = scratch;
    each.mask = scratch + (bytes + 3) / 4;
    each.run_step = window->dilation_width * pixel_bytes;
    each.row_stride = (uint32_t)window->dilation_height * window->input_width * pixel_bytes;
    each.runs = each.run_step == layer->group_bytes ? 1 : window->kernel_width;
    each.run_bytes = layer->group_bytes * (uint32_t)window->kernel_width / each.runs;
    scratch[bytes / 4] = 0; /* beyond the last byte is nothing; one word of the mask where there is no tail */
    return each;
}

/* Channels come in eights, so that bytes mostly come in twos. */
static BOPKIT_INLINE void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes) {
    for (; bytes >= 4; bytes -= 4, to += 4, from += 4) {
        memcpy(to, from, 4);
    }
    if (bytes >= 2) {
        memcpy(to, from, 2);
        to += 2;
        from += 2;
        bytes -= 2;
    }
    if (bytes > 0) {
        *to = *from;
    }
}

/* Copies what a window sees whose upper left corner lies at `from`, all of it within the map. */
static BOPKIT_INLINE void gather_inside(const patches *each, const uint8_t *from) {
    const uint32_t bytes = each->run_bytes, row_stride = each->row_stride;
    uint8_t *to = (uint8_t *)each->patch;
    for (uint32_t i = each->layer->window.kernel_height; i > 0; i--, from += row_stride) {
        const uint8_t *run = from;
        for (uint32_t j = each->runs; j > 0; j--, run += each->run_step, to += bytes) {
            copy_bytes(to, run, bytes);
        }
    }
}

/* The same where part of it lies outside of the map: number of those pixels. Where they count nothing, the mask is made
 * too, and else 0 is told. */
static uint32_t gather_at_border(const patches *each, const uint8_t *input, int32_t top, int32_t left) {
    const bopkit_bconv *layer = each->layer;
    const bopkit_window *window = &layer->window;
    const uint32_t bytes = layer->group_bytes, pixel_bytes = bytes * layer->groups;
    uint32_t outside = 0;
    uint8_t *to = (uint8_t *)each->patch, *mask = (uint8_t *)each->mask;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            const int is_inside =
                row >= 0 && row < window->input_height && column >= 0 && column < window->input_width;
            if (is_inside) {
                copy_bytes(to, input + ((uint32_t)row * window->input_width + (uint32_t)column) * pixel_bytes, bytes);
            } else {
                outside++;
            }
            for (uint32_t b = 0; b < bytes; b++) {
                to[b] = is_inside ? to[b] : 0;
                mask[b] = is_inside ? 0xff : 0;
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

#if defined(__ARM_FEATURE_MVE)
/* Fields of 16 bits plus the four bytes of each word. */
static BOPKIT_INLINE uint32x4_t add_bytes_of_four(uint32x4_t total, uint32x4_t x) {
    return total + (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
}

static BOPKIT_INLINE uint32x4_t masked(uint32x4_t x, const uint32_t *mask, int is_masked) {
    return is_masked ? x & *mask : x;
}

/* Distances of four filters at a time, each in a lane; the last ones may be fewer. */
static BOPKIT_INLINE void measure_by_four(const patches *each, uint32_t begin, uint32_t filters, uint32_t lost,
                                          int is_masked, uint32_t *distances) {
    const uint32_t words = each->words, tail_bytes = each->tail_bytes;
    const uint8_t *const tail = each->layer->tails + begin * tail_bytes;
    const uint32x4_t filter = vidupq_n_u32(0, 1);
    const uint32_t weights = (uint32_t)(uintptr_t)(each->layer->weights + begin * words);
    for (uint32_t f = 0; f < filters; f += 4) {
        const mve_pred16_t lanes = vctp32q(filters - f);
        /* Addresses of the filters' words; where there is no filter, of the last one that there is. */
        uint32x4_t from = vminq_u32(filter + f, vdupq_n_u32(filters - 1)) * (4 * words) + weights;
        const uint32_t *patch = each->patch, *mask = each->mask;
        uint32x4_t total = vdupq_n_u32(0);
        uint32_t left = words;
#define HERE() __asm__ volatile("" ::: "memory") /* no load is moved across */
#define DIFFERENCE(i) masked(vldrwq_gather_base_u32(from, 4 * (i)) ^ patch[i], mask + (i), is_masked)
        for (; left >= 9; left -= 9, from += 36u, patch += 9, mask += 9) {
            /* As bopkit_count_nine, but that a third is loaded when the one before it is counted: there are eight
             * registers. */
            uint32x4_t one0, one1, one2, two0, two1, two2;
            bopkit_vector_full_add(&one0, &two0, DIFFERENCE(0), DIFFERENCE(1), DIFFERENCE(2));
            HERE();
            bopkit_vector_full_add(&one1, &two1, DIFFERENCE(3), DIFFERENCE(4), DIFFERENCE(5));
            HERE();
            bopkit_vector_full_add(&one2, &two2, DIFFERENCE(6), DIFFERENCE(7), DIFFERENCE(8));
            total = add_bytes_of_four(total, bopkit_vector_count_thirds(one0, one1, one2, two0, two1, two2));
        }
        for (; left >= 3; left -= 3, from += 12u, patch += 3, mask += 3) {
            total =
                add_bytes_of_four(total, bopkit_vector_count_three(DIFFERENCE(0), DIFFERENCE(1), DIFFERENCE(2)));
        }
        for (; left > 0; left--, from += 4u, patch++, mask++) {
            total = add_bytes_of_four(total, bopkit_vector_count_one(DIFFERENCE(0)));
        }
#undef DIFFERENCE
#undef HERE
        if (tail_bytes > 0) {
            const uint32x4_t tail_places = (filter + f) * tail_bytes;
            uint32x4_t last = vdupq_n_u32(0);
            for (uint32_t i = 0; i < tail_bytes; i++) {
                last |= vldrbq_gather_offset_z_u32(tail + i, tail_places, lanes) << (int32_t)(8 * i);
            }
            total = add_bytes_of_four(total, bopkit_vector_count_one(masked(last ^ *patch, mask, is_masked)));
        }
        total = 2 * ((total + (total >> 16)) & 0xffffu) + lost;
        vstrwq_p_u32(distances + f, total, lanes);
    }
}
#else
/* Number of bits in which `words` weights and words of the patch differ. */
static BOPKIT_INLINE uint32_t count_words(const uint32_t *weights, const uint32_t *patch, const uint32_t *mask,
                                          uint32_t words, int is_masked) {
    uint32_t total = 0;
#define DIFFERENCE(i) (is_masked ? (weights[i] ^ patch[i]) & mask[i] : weights[i] ^ patch[i])
    for (; words >= 9; words -= 9, weights += 9, patch += 9, mask += 9) {
        total = bopkit_add_bytes(total, bopkit_count_nine(DIFFERENCE(0), DIFFERENCE(1), DIFFERENCE(2), DIFFERENCE(3),
                                                          DIFFERENCE(4), DIFFERENCE(5), DIFFERENCE(6), DIFFERENCE(7),
                                                          DIFFERENCE(8)));
    }
    for (; words >= 3; words -= 3, weights += 3, patch += 3, mask += 3) {
        total = bopkit_add_bytes(total, bopkit_count_three(DIFFERENCE(0), DIFFERENCE(1), DIFFERENCE(2)));
    }
    for (; words > 0; words--, weights++, patch++, mask++) {
        total = bopkit_add_bytes(total, bopkit_count_one(DIFFERENCE(0)));
    }
#undef DIFFERENCE
    return total;
}

/* Distances of `filters` filters, BOPKIT_BLOCK at most, to the patch; `lost` is what they count at least. */
static BOPKIT_INLINE void measure(const patches *each, uint32_t begin, uint32_t filters, uint32_t lost, int is_masked,
                                  uint32_t *distances) {
    const uint32_t words = each->words, tail_bytes = each->tail_bytes;
    const uint32_t *weights = each->layer->weights + begin * words;
    const uint8_t *tail = each->layer->tails + begin * tail_bytes;
    for (uint32_t f = 0; f < filters; f++, weights += words, tail += tail_bytes) {
        uint32_t total = count_words(weights, each->patch, each->mask, words, is_masked);
        if (tail_bytes > 0) {
            const uint32_t last = tail_of(tail, tail_bytes) ^ each->patch[words];
            total = bopkit_add_bytes(total, bopkit_count_one(is_masked ? last & each->mask[words] : last));
        }
        distances[f] = 2 * total + lost;
    }
}
#endif

static void measure_inside(const patches *each, uint32_t begin, uint32_t filters, uint32_t *distances) {
#if defined(__ARM_FEATURE_MVE)
    measure_by_four(each, begin, filters, 0, 0, distances);
#else
#if defined(BOPKIT_HAS_NINE_IN_ASSEMBLY)
    if (each->tail_bytes == 0 && each->words % 9 == 0) {
        const uint32_t *weights = each->layer->weights + begin * each->words;
        const uint32_t *const patch = each->patch, *const patch_end = patch + each->words;
        const uint32_t *const end = distances + filters;
        do {
            const uint32_t *at = patch;
            uint32_t total = 0;
            do {
                total = bopkit_add_nine(total, &weights, &at);
            } while (at != patch_end);
            *distances++ = 2 * total;
        } while (distances != end);
        return;
    }
#endif
    if (each->words == 4 && each->tail_bytes == 2) { /* 3x3 pixels of 16 channels */
        const uint32_t *weights = each->layer->weights + 4 * begin;
        const uint8_t *tail = each->layer->tails + 2 * begin;
        const uint32_t a = each->patch[0], b = each->patch[1], c = each->patch[2], d = each->patch[3];
        const uint32_t e = each->patch[4];
        for (uint32_t f = 0; f < filters; f++, weights += 4, tail += 2) {
            const uint32_t last = (uint32_t)tail[0] | (uint32_t)tail[1] << 8;
            const uint32_t bytes =
                bopkit_count_five(weights[0] ^ a, weights[1] ^ b, weights[2] ^ c, weights[3] ^ d, last ^ e);
            distances[f] = 2 * bopkit_add_bytes(0, bytes);
        }
        return;
    }
    measure(each, begin, filters, 0, 0, distances);
#endif
}

static void measure_at_border(const patches *each, uint32_t begin, uint32_t filters, uint32_t outside,
                              uint32_t *distances) {
    const uint32_t lost = outside * each->layer->group_channels;
#if defined(__ARM_FEATURE_MVE)
    measure_by_four(each, begin, filters, lost, 1, distances);
#else
    measure(each, begin, filters, lost, 1, distances);
#endif
}

/* What becomes of the distances of up to BOPKIT_BLOCK filters: those from `begin` on, of the output's pixel `pixel`. */
typedef void epilogue(const void *scale, const uint32_t *distances, uint32_t pixel, uint32_t begin, uint32_t filters);

static void convolve(const bopkit_bconv *layer, const uint8_t *input, void *scratch, epilogue *finish,
                     const void *scale) {
    const patches each = patches_of(layer, scratch);
    const bopkit_window *window = &layer->window;
    const uint32_t group_filters = layer->filters / layer->groups;
    const uint32_t pixel_bytes = (uint32_t)layer->group_bytes * layer->groups;
    const int32_t last_top = window->input_height - (window->kernel_height - 1) * window->dilation_height - 1;
    const int32_t last_left = window->input_width - (window->kernel_width - 1) * window->dilation_width - 1;
    uint32_t distances[BOPKIT_BLOCK], pixel = 0;
    int32_t top = -(int32_t)window->pad_top;
    for (uint32_t y = 0; y < window->output_height; y++, top += window->stride_height) {
        const int is_row_inside = top >= 0 && top <= last_top;
        int32_t left = -(int32_t)window->pad_left;
        for (uint32_t x = 0; x < window->output_width; x++, pixel++, left += window->stride_width) {
            for (uint32_t group = 0; group < layer->groups; group++) {
                const uint8_t *const from = input + group * layer->group_bytes;
                uint32_t outside = 0;
                if (is_row_inside && left >= 0 && left <= last_left) {
                    gather_inside(&each, from + ((uint32_t)top * window->input_width + (uint32_t)left) * pixel_bytes);
                } else {
                    outside = gather_at_border(&each, from, top, left);
                }
                for (uint32_t begin = 0; begin < group_filters; begin += BOPKIT_BLOCK) {
                    const uint32_t rest = group_filters - begin;
                    const uint32_t filters = rest < BOPKIT_BLOCK ? rest : BOPKIT_BLOCK;
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
#if defined(__ARM_FEATURE_MVE)
    for (uint32_t f = 0; f < filters; f += 4) {
        const mve_pred16_t lanes = vctp32q(filters - f);
        const int32x4_t limits = vldrhq_z_s32(thresholds + f, lanes);
        const int32x4_t found = vreinterpretq_s32_u32(vldrwq_z_u32(distances + f, lanes));
        const uint32_t above = vcmpgtq_s32(found, limits) & 0x1111u; /* a bit in each four; 0 > 0 in lanes without one */
        bits |= (above * 0x1248u >> 12 & 0xfu) << f;
    }
    write_bits(scale, bits, pixel, begin, filters);
#else
    /* Signs of threshold - distance come in from above; eight filters at a time, as most layers have. */
#define SIGN(f) bits = bits >> 1 | ((uint32_t)(thresholds[f] - (int32_t)distances[f]) & 0x80000000u)
    const uint32_t *const end = distances + filters;
    for (; end - distances >= 8; distances += 8, thresholds += 8) {
        SIGN(0), SIGN(1), SIGN(2), SIGN(3), SIGN(4), SIGN(5), SIGN(6), SIGN(7);
    }
    for (; distances < end; distances++, thresholds++) {
        SIGN(0);
    }
#undef SIGN
    write_bits(scale, bits >> (32 - filters), pixel, begin, filters);
#endif
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
        const int32_t *exception = by->exceptions + 3 * i;
        const uint32_t f = (uint32_t)exception[0] - begin;
        if (f >= filters) {
            break;
        }
        if (between((int32_t)distances[f], by->least, by->most) == exception[1]) {
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
