/* Pools.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <float.h>

#include "bopkit_float.h"
#include "bopkit_kernels.h"
#include "bopkit_rescale.h"

/* Pixels of the map that a window sees along one axis: from `first` on, `count`, `dilation` is 1 in pools. */
typedef struct {
    uint32_t first, count;
} span;

static span span_of(uint32_t place, uint32_t stride, uint32_t pad, uint32_t kernel, uint32_t size) {
    const int32_t begin = (int32_t)(place * stride) - (int32_t)pad, end = begin + (int32_t)kernel;
    span seen;
    seen.first = begin > 0 ? (uint32_t)begin : 0;
    seen.count = (uint32_t)(end < (int32_t)size ? end : (int32_t)size) - seen.first;
    return seen;
}

#define EACH_WINDOW(window, rows, columns)                                                                        \
    for (uint32_t y = 0; y < (window)->output_height; y++)                                                        \
        for (uint32_t x = 0; x < (window)->output_width; x++)                                                     \
            for (int once = 1; once;)                                                                             \
                for (const span rows = span_of(y, (window)->stride_height, (window)->pad_top,                     \
                                               (window)->kernel_height, (window)->input_height),                  \
                                columns = span_of(x, (window)->stride_width, (window)->pad_left,                  \
                                                  (window)->kernel_width, (window)->input_width);                 \
                     once; once = 0)

void bopkit_max_pool_bits(const bopkit_window *window, uint16_t pixel_bytes, const uint8_t *input, uint8_t *output) {
    EACH_WINDOW(window, rows, columns) {
        for (uint32_t b = 0; b < pixel_bytes; b++) {
            uint8_t all = 0xff;
            for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
                const uint8_t *from = input + (i * window->input_width + columns.first) * pixel_bytes + b;
                for (uint32_t j = 0; j < columns.count; j++, from += pixel_bytes) {
                    all &= *from;
                }
            }
            *output++ = all;
        }
    }
}

void bopkit_max_pool_int8(const bopkit_window *window, uint16_t channels, int8_t least, int8_t most,
                          const int8_t *input, int8_t *output) {
    EACH_WINDOW(window, rows, columns) {
        for (uint32_t c = 0; c < channels; c++) {
            int32_t greatest = INT8_MIN;
            for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
                const int8_t *from = input + (i * window->input_width + columns.first) * channels + c;
                for (uint32_t j = 0; j < columns.count; j++, from += channels) {
                    greatest = *from > greatest ? *from : greatest;
                }
            }
            *output++ = (int8_t)bopkit_between(greatest, least, most);
        }
    }
}

void bopkit_average_pool_int8(const bopkit_window *window, uint16_t channels, int8_t least, int8_t most,
                              const int8_t *input, int8_t *output) {
    EACH_WINDOW(window, rows, columns) {
        const int32_t count = (int32_t)(rows.count * columns.count);
        for (uint32_t c = 0; c < channels; c++) {
            int32_t sum = 0;
            for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
                const int8_t *from = input + (i * window->input_width + columns.first) * channels + c;
                for (uint32_t j = 0; j < columns.count; j++, from += channels) {
                    sum += *from;
                }
            }
            sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count; /* the nearest, halves away from zero */
            *output++ = (int8_t)bopkit_between(sum, least, most);
        }
    }
}

void bopkit_mean_int8(const bopkit_mean *layer, const int8_t *input, int8_t *output, void *scratch) {
    int32_t *const sums = scratch;
    for (uint32_t c = 0; c < layer->channels; c++) {
        sums[c] = -(int32_t)layer->pixels * layer->input_zero_point;
    }
    for (uint32_t pixel = 0; pixel < layer->pixels; pixel++) {
        for (uint32_t c = 0; c < layer->channels; c++) {
            sums[c] += *input++;
        }
    }
    for (uint32_t c = 0; c < layer->channels; c++) {
        const int32_t mean = bopkit_rescale(sums[c], layer->multiplier, layer->shift);
        output[c] = (int8_t)bopkit_between(mean + layer->output_zero_point, INT8_MIN, INT8_MAX);
    }
}

void bopkit_max_pool_float(const bopkit_window *window, uint16_t channels, float least, float most,
                           const float *input, float *output) {
    EACH_WINDOW(window, rows, columns) {
        for (uint32_t c = 0; c < channels; c++) {
            float greatest = -FLT_MAX;
            for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
                const float *from = input + (i * window->input_width + columns.first) * channels + c;
                for (uint32_t j = 0; j < columns.count; j++, from += channels) {
                    greatest = *from > greatest ? *from : greatest;
                }
            }
            *output++ = bopkit_float_between(greatest, least, most);
        }
    }
}

void bopkit_average_pool_float(const bopkit_window *window, uint16_t channels, float least, float most,
                               const float *input, float *output) {
    EACH_WINDOW(window, rows, columns) {
        for (uint32_t c = 0; c < channels; c++) {
            float sum = 0.0f;
            for (uint32_t i = rows.first; i < rows.first + rows.count; i++) {
                const float *from = input + (i * window->input_width + columns.first) * channels + c;
                for (uint32_t j = 0; j < columns.count; j++, from += channels) {
                    sum += *from;
                }
            }
            *output++ = bopkit_float_between(sum / (float)(rows.count * columns.count), least, most);
        }
    }
}

void bopkit_mean_float(uint32_t pixels, uint16_t channels, const float *input, float *output) {
    for (uint32_t c = 0; c < channels; c++) {
        output[c] = 0.0f;
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
        for (uint32_t c = 0; c < channels; c++) {
            output[c] += *input++;
        }
    }
    for (uint32_t c = 0; c < channels; c++) {
        output[c] /= (float)pixels;
    }
}
