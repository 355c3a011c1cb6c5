/* Operators that compute each number by itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bopkit_kernels.h"
#include "bopkit_memory.h"
#include "bopkit_rescale.h"

/* Sums are computed in steps of 2^-20. */
#define SUM_BITS 20

void bopkit_add_int8(const bopkit_elementwise *layer, const int8_t *first, const int8_t *second, int8_t *output) {
    for (uint32_t i = 0, j = 0; i < layer->elements; i++) {
        const int32_t x = (first[i] - layer->zero_point) * (1 << SUM_BITS);
        const int32_t y = (second[j] - layer->second_zero_point) * (1 << SUM_BITS);
        const int32_t sum = bopkit_rescale(x, layer->multiplier, layer->shift) +
                            bopkit_rescale(y, layer->second_multiplier, layer->second_shift);
        const int32_t value = bopkit_rescale(sum, layer->output_multiplier, layer->output_shift);
        output[i] = (int8_t)bopkit_between(value + layer->output_zero_point, layer->least, layer->most);
        j = j + 1 == layer->second_elements ? 0 : j + 1;
    }
}

void bopkit_weighted_sum_int8(const bopkit_weighted_sum *layer, const int8_t *first, const int8_t *second,
                              int8_t *output) {
    const int32_t multiplier = layer->multiplier, second_multiplier = layer->second_multiplier;
    const int32_t offset = layer->offset, least = layer->least, most = layer->most, shift = layer->shift;
    const uint32_t run = layer->second_elements;
    for (uint32_t begin = 0; begin < layer->elements; begin += run, first += run, output += run) {
        for (uint32_t i = 0; i < run; i++) {
            const int32_t sum = first[i] * multiplier + second[i] * second_multiplier + offset;
            output[i] = (int8_t)bopkit_between(sum >> shift, least, most);
        }
    }
}

void bopkit_multiply_int8(const bopkit_elementwise *layer, const int8_t *first, const int8_t *second, int8_t *output) {
    for (uint32_t i = 0, j = 0; i < layer->elements; i++) {
        const int32_t product = (first[i] - layer->zero_point) * (second[j] - layer->second_zero_point);
        const int32_t value = bopkit_rescale(product, layer->output_multiplier, layer->output_shift);
        output[i] = (int8_t)bopkit_between(value + layer->output_zero_point, layer->least, layer->most);
        j = j + 1 == layer->second_elements ? 0 : j + 1;
    }
}

void bopkit_maximum_int8(uint32_t elements, uint32_t second_elements, const int8_t *first, const int8_t *second,
                         int8_t *output) {
    for (uint32_t i = 0, j = 0; i < elements; i++) {
        output[i] = first[i] > second[j] ? first[i] : second[j];
        j = j + 1 == second_elements ? 0 : j + 1;
    }
}

void bopkit_prelu_int8(const bopkit_prelu *layer, const int8_t *input, int8_t *output) {
    for (uint32_t i = 0, c = 0; i < layer->elements; i++) {
        const int32_t x = input[i] - layer->zero_point;
        const int32_t value =
            x >= 0 ? bopkit_rescale(x, layer->multiplier, layer->shift)
                   : bopkit_rescale(x * (layer->slopes[c] - layer->slope_zero_point), layer->slope_multiplier,
                                           layer->slope_shift);
        output[i] = (int8_t)bopkit_between(value + layer->output_zero_point, INT8_MIN, INT8_MAX);
        c = c + 1 == layer->channels ? 0 : c + 1;
    }
}

void bopkit_table_int8(uint32_t elements, const int8_t *table, const int8_t *input, int8_t *output) {
    for (uint32_t i = 0; i < elements; i++) {
        output[i] = table[input[i] + 128];
    }
}

void bopkit_table_uint8(uint32_t elements, uint16_t channels, const int8_t *tables, const uint8_t *input,
                        int8_t *output) {
    for (uint32_t i = 0, c = 0; i < elements; i++) {
        output[i] = tables[256u * c + input[i]];
        c = c + 1 == channels ? 0 : c + 1;
    }
}

/* Signs of number - threshold come in from above. */
static BOPKIT_INLINE uint32_t add_sign(uint32_t bits, int32_t number, int32_t threshold) {
    return bits >> 1 | ((uint32_t)(number - threshold) & 0x80000000u);
}

void bopkit_signs_of_int8(uint32_t pixels, uint16_t channels, const int16_t *thresholds, uint8_t has_one_threshold,
                          const uint8_t *inverted, const int8_t *input, uint8_t *output) {
    if (has_one_threshold && inverted == NULL && channels % 8 == 0) {
        const int32_t threshold = thresholds[0];
        for (uint32_t bytes = pixels * channels / 8; bytes > 0; bytes--, input += 8) {
            uint32_t bits = 0;
            for (uint32_t i = 0; i < 8; i++) {
                bits = add_sign(bits, input[i], threshold);
            }
            *output++ = (uint8_t)(bits >> 24);
        }
        return;
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
        for (uint32_t c = 0; c < channels; c += 8) {
            const uint32_t left = channels - c < 8 ? channels - c : 8;
            uint32_t bits = 0;
            for (uint32_t i = 0; i < left; i++) {
                bits = add_sign(bits, *input++, thresholds[has_one_threshold ? 0 : c + i]);
            }
            *output++ = (uint8_t)(bits >> (32 - left) ^ (inverted != NULL ? inverted[c / 8] : 0u));
        }
    }
}

void bopkit_signs_of_sum(const bopkit_weighted_sum *layer, uint16_t channels, const int8_t *first,
                         const int8_t *second, uint8_t *output) {
    const int32_t multiplier = layer->multiplier, second_multiplier = layer->second_multiplier;
    const int32_t offset = layer->offset;
    for (uint32_t pixel = layer->elements / channels; pixel > 0; pixel--) {
        for (uint32_t c = 0; c < channels; c += 8) {
            const uint32_t left = channels - c < 8u ? channels - c : 8u;
            uint32_t bits = 0;
            for (uint32_t i = 0; i < left; i++) {
                bits = add_sign(bits, *first++ * multiplier + *second++ * second_multiplier, -offset);
            }
            *output++ = (uint8_t)(bits >> (32 - left));
        }
    }
}

void bopkit_numbers_of_bits(uint32_t pixels, uint16_t channels, int8_t positive, int8_t negative,
                            const uint8_t *input, int8_t *output) {
    for (uint32_t pixel = 0; pixel < pixels; pixel++, input += (channels + 7u) / 8u) {
        for (uint32_t c = 0; c < channels; c++) {
            *output++ = input[c / 8] >> (c % 8) & 1 ? negative : positive;
        }
    }
}

void bopkit_copy_rows(uint32_t rows, uint32_t bytes, uint32_t input_stride, uint32_t output_stride, const void *input,
                      void *output) {
    const uint8_t *from = input;
    uint8_t *to = output;
    for (uint32_t row = 0; row < rows; row++, from += input_stride, to += output_stride) {
        memcpy(to, from, bytes);
    }
}

void bopkit_pad(const bopkit_padding *layer, const void *input, void *output) {
    const uint8_t *from = input;
    uint8_t *to = output;
    memset(to, layer->padding, (uint32_t)layer->output_height * layer->output_width * layer->output_bytes);
    for (uint32_t y = 0; y < layer->input_height; y++) {
        for (uint32_t x = 0; x < layer->input_width; x++, from += layer->input_bytes) {
            const uint32_t pixel = (y + layer->top) * layer->output_width + x + layer->left;
            memcpy(to + pixel * layer->output_bytes + layer->before, from, layer->input_bytes);
        }
    }
}
