/* Convolutions of float. Products are summed up one after the other, in the order in which the reference kernels of
 * TensorFlow Lite do: another order rounds otherwise, and a sign may depend on it. So may fused multiplications and
 * additions, which GCC makes without -std=c99 or -ffp-contract=off where the processor has them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_float.h"
#include "bopkit_kernels.h"
#include "bopkit_memory.h"

/* Copies what the window of an output pixel sees of a group; outside of the map are zeros. */
static void gather(const bopkit_float_conv *layer, const float *input, uint32_t y, uint32_t x, float *patch) {
    const bopkit_window *window = &layer->window;
    const uint32_t channels = layer->channels / layer->groups;
    const int32_t top = (int32_t)(y * window->stride_height) - window->pad_top;
    const int32_t left = (int32_t)(x * window->stride_width) - window->pad_left;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            if (row >= 0 && row < window->input_height && column >= 0 && column < window->input_width) {
                const uint32_t pixel = (uint32_t)row * window->input_width + (uint32_t)column;
                memcpy(patch, input + pixel * layer->channels, channels * sizeof(float));
            } else {
                memset(patch, 0, channels * sizeof(float));
            }
            patch += channels;
        }
    }
}

/* Sums of four filters at once: each number of the patch is read once for all of them. */
#define FOUR_SUMS(weights, size, patch, sums)                                                                     \
    for (uint32_t i = 0; i < (size); i++) {                                                                       \
        const float x = (patch)[i];                                                                               \
        (sums)[0] += x * (float)(weights)[i];                                                                     \
        (sums)[1] += x * (float)(weights)[i + (size)];                                                            \
        (sums)[2] += x * (float)(weights)[i + 2 * (size)];                                                        \
        (sums)[3] += x * (float)(weights)[i + 3 * (size)];                                                        \
    }

#define ONE_SUM(weights, size, patch, sum)                                                                        \
    for (uint32_t i = 0; i < (size); i++) {                                                                       \
        (sum) += (patch)[i] * (float)(weights)[i];                                                                \
    }

/* Sums of up to four filters, of which `filter` is the first. */
static void multiply(const bopkit_float_conv *layer, uint32_t filter, uint32_t filters, uint32_t size,
                     const float *patch, float *sums) {
    const float *weights = layer->weights;
    const int8_t *small = layer->int8_weights;
    sums[0] = sums[1] = sums[2] = sums[3] = 0.0f;
    if (filters == 4 && small != NULL) {
        small += filter * size;
        FOUR_SUMS(small, size, patch, sums)
    } else if (filters == 4) {
        weights += filter * size;
        FOUR_SUMS(weights, size, patch, sums)
    } else {
        for (uint32_t f = 0; f < filters; f++) {
            if (small != NULL) {
                ONE_SUM(small + (filter + f) * size, size, patch, sums[f])
            } else {
                ONE_SUM(weights + (filter + f) * size, size, patch, sums[f])
            }
        }
    }
}

void bopkit_conv_float(const bopkit_float_conv *layer, const float *input, float *output, void *scratch) {
    const bopkit_window *window = &layer->window;
    const uint32_t channels = layer->channels / layer->groups, group_filters = layer->filters / layer->groups;
    const uint32_t size = (uint32_t)window->kernel_height * window->kernel_width * channels;
    for (uint32_t y = 0; y < window->output_height; y++) {
        for (uint32_t x = 0; x < window->output_width; x++, output += layer->filters) {
            for (uint32_t group = 0; group < layer->groups; group++) {
                const float *patch = scratch;
                if (scratch == NULL) { /* a window of one pixel */
                    const uint32_t row = y * window->stride_height, column = x * window->stride_width;
                    patch = input + (row * window->input_width + column) * layer->channels + group * channels;
                } else {
                    gather(layer, input + group * channels, y, x, scratch);
                }
                for (uint32_t begin = 0; begin < group_filters; begin += 4) {
                    const uint32_t left = group_filters - begin, filters = left < 4 ? left : 4;
                    const uint32_t filter = group * group_filters + begin;
                    float sums[4];
                    multiply(layer, filter, filters, size, patch, sums);
                    for (uint32_t f = 0; f < filters; f++) {
                        const float scale = layer->scales != NULL ? layer->scales[filter + f] : 1.0f;
                        const float sum = sums[f] * scale + layer->bias[filter + f];
                        output[filter + f] = bopkit_float_between(sum, layer->least, layer->most);
                    }
                }
            }
        }
    }
}

void bopkit_depthwise_float(const bopkit_float_depthwise *layer, const float *input, float *output) {
    const bopkit_window *window = &layer->window;
    const uint32_t filters = (uint32_t)layer->channels * layer->multiplier;
    for (uint32_t pixel = 0; pixel < (uint32_t)window->output_height * window->output_width; pixel++) {
        const uint32_t y = pixel / window->output_width, x = pixel % window->output_width;
        const int32_t top = (int32_t)(y * window->stride_height) - window->pad_top;
        const int32_t left = (int32_t)(x * window->stride_width) - window->pad_left;
        for (uint32_t f = 0; f < filters; f++) {
            output[f] = 0.0f;
        }
        for (uint32_t tap = 0; tap < (uint32_t)window->kernel_height * window->kernel_width; tap++) {
            const int32_t row = top + (int32_t)(tap / window->kernel_width * window->dilation_height);
            const int32_t column = left + (int32_t)(tap % window->kernel_width * window->dilation_width);
            if (row < 0 || row >= window->input_height || column < 0 || column >= window->input_width) {
                continue;
            }
            const float *from = input + ((uint32_t)row * window->input_width + (uint32_t)column) * layer->channels;
            for (uint32_t c = 0, f = 0; c < layer->channels; c++) {
                for (uint32_t m = 0; m < layer->multiplier; m++, f++) {
                    const uint32_t place = tap * filters + f;
                    output[f] += from[c] * (layer->int8_weights != NULL ? (float)layer->int8_weights[place]
                                                                        : layer->weights[place]);
                }
            }
        }
        for (uint32_t f = 0; f < filters; f++, output++) {
            const float sum = *output * (layer->scales != NULL ? layer->scales[f] : 1.0f) + layer->bias[f];
            *output = bopkit_float_between(sum, layer->least, layer->most);
        }
    }
}
