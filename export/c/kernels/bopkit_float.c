/* Operators of float that compute each number by itself, and softmax.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <float.h>

#include "bopkit_float.h"
#include "bopkit_kernels.h"
#include "bopkit_memory.h"

/* x and y are numbers of the operands; each operand begins anew when it is used up. */
#define EACH_PAIR(function, result)                                                                               \
    void function(const bopkit_float_elementwise *layer, const float *first, const float *second, float *output) { \
        for (uint32_t i = 0, j = 0, k = 0; i < layer->elements; i++) {                                            \
            const float x = first[j], y = second[k];                                                              \
            output[i] = bopkit_float_between(result, layer->least, layer->most);                                  \
            j = j + 1 == layer->first_elements ? 0 : j + 1;                                                       \
            k = k + 1 == layer->second_elements ? 0 : k + 1;                                                      \
        }                                                                                                         \
    }

EACH_PAIR(bopkit_add_float, x + y)
EACH_PAIR(bopkit_subtract_float, x - y)
EACH_PAIR(bopkit_multiply_float, x * y)
EACH_PAIR(bopkit_divide_float, x / y)
EACH_PAIR(bopkit_maximum_float, x > y ? x : y)

void bopkit_prelu_float(uint32_t elements, uint32_t channels, const float *slopes, const float *input,
                        float *output) {
    for (uint32_t i = 0, c = 0; i < elements; i++) {
        output[i] = input[i] >= 0.0f ? input[i] : input[i] * slopes[c];
        c = c + 1 == channels ? 0 : c + 1;
    }
}

void bopkit_clamp_float(uint32_t elements, float least, float most, const float *input, float *output) {
    for (uint32_t i = 0; i < elements; i++) {
        output[i] = bopkit_float_between(input[i], least, most);
    }
}

void bopkit_absolute_float(uint32_t elements, const float *input, float *output) {
    for (uint32_t i = 0; i < elements; i++) {
        output[i] = input[i] < 0.0f ? -input[i] : input[i];
    }
}

void bopkit_negate_float(uint32_t elements, const float *input, float *output) {
    for (uint32_t i = 0; i < elements; i++) {
        output[i] = -input[i];
    }
}

/* e^x for x <= 0: 2^n e^r, where r is at most half of ln 2, by the first terms of its series. */
static float power_of_e(float x) {
    if (x < -87.0f) {
        return 0.0f;
    }
    const int32_t n = (int32_t)(x * 1.44269504f - 0.5f);
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f; /* ln 2 in two parts */
    const float series =
        1.0f +
        r * (1.0f +
             r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720 + r / 5040))))));
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

void bopkit_logistic_float(uint32_t elements, const float *input, float *output) {
    for (uint32_t i = 0; i < elements; i++) {
        const float power = power_of_e(input[i] < 0.0f ? input[i] : -input[i]);
        output[i] = (input[i] < 0.0f ? power : 1.0f) / (1.0f + power);
    }
}

void bopkit_softmax_float(uint32_t rows, uint32_t classes, float beta, const float *input, float *output) {
    for (uint32_t row = 0; row < rows; row++, input += classes, output += classes) {
        float greatest = input[0], sum = 0.0f;
        for (uint32_t c = 1; c < classes; c++) {
            greatest = input[c] > greatest ? input[c] : greatest;
        }
        for (uint32_t c = 0; c < classes; c++) {
            output[c] = power_of_e((input[c] - greatest) * beta);
            sum += output[c];
        }
        for (uint32_t c = 0; c < classes; c++) {
            output[c] /= sum;
        }
    }
}

void bopkit_float_of_int8(uint32_t elements, float scale, int16_t zero_point, const int8_t *input, float *output) {
    for (uint32_t i = 0; i < elements; i++) {
        output[i] = (float)(input[i] - zero_point) * scale;
    }
}

void bopkit_float_of_uint8(uint32_t elements, float scale, int16_t zero_point, const uint8_t *input, float *output) {
    for (uint32_t i = 0; i < elements; i++) {
        output[i] = (float)(input[i] - zero_point) * scale;
    }
}

void bopkit_int8_of_float(uint32_t elements, float scale, int16_t zero_point, const float *input, int8_t *output) {
    for (uint32_t i = 0; i < elements; i++) {
        const float x = bopkit_float_between(input[i] / scale, -1024.0f, 1024.0f);
        int32_t whole = (int32_t)x;
        const float rest = x - (float)whole; /* exact: adding a half before cutting off could round up */
        whole += (rest >= 0.5f) - (rest <= -0.5f) + zero_point;
        output[i] = (int8_t)(whole < INT8_MIN ? INT8_MIN : whole > INT8_MAX ? INT8_MAX : whole);
    }
}

void bopkit_float_of_bits(uint32_t pixels, uint16_t channels, const uint8_t *input, float *output) {
    for (uint32_t pixel = 0; pixel < pixels; pixel++, input += (channels + 7u) / 8u) {
        for (uint32_t c = 0; c < channels; c++) {
            *output++ = input[c / 8] >> (c % 8) & 1 ? -1.0f : 1.0f;
        }
    }
}

void bopkit_signs_of_float(uint32_t pixels, uint16_t channels, const float *input, uint8_t *output) {
    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
        for (uint32_t c = 0; c < channels; c += 8) {
            uint32_t bits = 0;
            for (uint32_t i = c; i < c + 8u && i < channels; i++) {
                bits |= (uint32_t)(*input++ <= -FLT_MIN) << (i - c);
            }
            *output++ = (uint8_t)bits;
        }
    }
}
