/* Convolutions of each channel by itself, of numbers of 8 bits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_kernels.h"
#include "bopkit_rescale.h"

/* The sum of products of output channel `filter` at one pixel. */
static int32_t sum_of(const bopkit_depthwise *layer, const uint8_t *input, uint32_t y, uint32_t x, uint32_t filter) {
    const bopkit_window *window = &layer->window;
    const uint32_t filters = (uint32_t)layer->channels * layer->multiplier;
    const int32_t top = (int32_t)(y * window->stride_height) - window->pad_top;
    const int32_t left = (int32_t)(x * window->stride_width) - window->pad_left;
    const int8_t *weight = layer->weights + filter;
    const uint8_t *const of_channel = input + filter / layer->multiplier;
    int32_t sum = layer->bias != NULL ? layer->bias[filter] : 0;
    for (int32_t i = 0, row = top; i < window->kernel_height; i++, row += window->dilation_height) {
        for (int32_t j = 0, column = left; j < window->kernel_width; j++, column += window->dilation_width) {
            int32_t number = layer->padding;
            if (row >= 0 && row < window->input_height && column >= 0 && column < window->input_width) {
                const uint32_t pixel = (uint32_t)row * window->input_width + (uint32_t)column;
                const uint8_t stored = of_channel[pixel * layer->channels];
                number = (int8_t)(layer->is_unsigned ? stored ^ 0x80 : stored);
            }
            sum += number * *weight;
            weight += filters;
        }
    }
    return sum;
}

void bopkit_depthwise_to_int8(const bopkit_depthwise *layer, const bopkit_sum_to_int8 *scale, const void *input,
                              int8_t *output) {
    const uint32_t filters = (uint32_t)layer->channels * layer->multiplier;
    for (uint32_t y = 0; y < layer->window.output_height; y++) {
        for (uint32_t x = 0; x < layer->window.output_width; x++) {
            for (uint32_t f = 0; f < filters; f++) {
                *output++ = bopkit_int8_of_sum(scale, f, sum_of(layer, input, y, x, f));
            }
        }
    }
}

void bopkit_depthwise_to_bits(const bopkit_depthwise *layer, const int32_t *thresholds, const uint8_t *inverted,
                              const void *input, uint8_t *output) {
    const uint32_t filters = (uint32_t)layer->channels * layer->multiplier;
    for (uint32_t y = 0; y < layer->window.output_height; y++) {
        for (uint32_t x = 0; x < layer->window.output_width; x++) {
            for (uint32_t f = 0; f < filters; f += 8) {
                uint32_t bits = 0;
                for (uint32_t i = f; i < f + 8 && i < filters; i++) {
                    bits |= (uint32_t)(sum_of(layer, input, y, x, i) < thresholds[i]) << (i - f);
                }
                *output++ = (uint8_t)(bits ^ (inverted != NULL ? inverted[f / 8] : 0u));
            }
        }
    }
}
