/* Kernels for binarized networks on small processors. C99; no heap, no library but memcpy and memset.
 *
 * Feature maps are [height][width][channels], one picture at a time. A binary map keeps the channels of a pixel in
 * (channels + 7) / 8 bytes, the first channel in the lowest bit of the first byte; a bit that is set stands for -1,
 * one that is clear for +1, and what lies beyond the channels is clear.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BOPKIT_KERNELS_H
#define BOPKIT_KERNELS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#if INT_MAX < 0x7fffffff
#error "bopkit's kernels need an int of 32 bits."
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bopkit's kernels need a little-endian processor: weights are words whose first byte is the lowest."
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Where a window meets its map. All sizes in pixels. */
typedef struct {
    uint16_t input_height, input_width;
    uint16_t output_height, output_width;
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t dilation_height, dilation_width;
    uint16_t pad_top, pad_left;
} bopkit_window;

/* A convolution of signs.
 *
 * A patch is what one window sees of one group of channels: the bytes of its pixels, row by row. `weights` has the
 * whole words of each filter's patch, `tails` the bytes that are left of each. The distance of a filter is
 * twice the number of products that are -1, plus the number of products that lie outside of the map and count nothing:
 * the sum of products is the number of all products less the distance.
 */
typedef struct {
    bopkit_window window;
    uint16_t groups;
    uint16_t group_bytes;   /* bytes of a pixel that one group reads */
    uint16_t group_channels;
    uint16_t filters;       /* of all groups */
    uint8_t pads_with_ones; /* what lies outside of the map counts +1, not nothing */
    const uint32_t *weights;
    const uint8_t *tails;
} bopkit_bconv;

/* bit of filter f = (distance > thresholds[f]), inverted where the bit of f is set in `inverted` (may be null). */
void bopkit_bconv_to_bits(const bopkit_bconv *layer, const int16_t *thresholds, const uint8_t *inverted,
                          const uint8_t *input, uint8_t *output, void *scratch);

/* The same where distances are too large for 16 bits. */
void bopkit_bconv_to_bits_wide(const bopkit_bconv *layer, const int32_t *thresholds, const uint8_t *inverted,
                               const uint8_t *input, uint8_t *output, void *scratch);

/* What a distance becomes as int8: (distance * multipliers[f] + offsets[f]) >> shift, within -128..127. Distances
 * are first brought within `least` and `most`, beyond which results stay the same. The product wraps around at 32 bits,
 * and the sum wraps it back. Float32 has rounded some results off that line: `exceptions` has the filter, the distance
 * and what is to be added, in the order of filters. */
typedef struct {
    const int32_t *multipliers;
    const int32_t *offsets;
    int32_t least, most;
    const int32_t *exceptions;
    uint16_t exception_count;
    uint8_t shift;
} bopkit_distance_to_int8;

void bopkit_bconv_to_int8(const bopkit_bconv *layer, const bopkit_distance_to_int8 *scale, const uint8_t *input,
                          int8_t *output, void *scratch);

/* What a distance becomes as float: distance * multipliers[f] + offsets[f]. */
typedef struct {
    const float *multipliers;
    const float *offsets;
    int32_t least, most;
} bopkit_distance_to_float;

void bopkit_bconv_to_float(const bopkit_bconv *layer, const bopkit_distance_to_float *scale, const uint8_t *input,
                           float *output, void *scratch);

/* Maximum of signs: negative where the whole window is. What lies outside of the map does not count. */
void bopkit_max_pool_bits(const bopkit_window *window, uint16_t pixel_bytes, const uint8_t *input, uint8_t *output);

/* A convolution of int8 or uint8 with int8 weights; a dense layer is one of a single pixel.
 *
 * `weights` has (patch + 3) / 4 * 4 numbers a filter, zeros behind the patch. uint8 numbers are multiplied as int8, 128
 * less. `bias` has the zero point in it: products are of the stored numbers. Outside of the map is `padding`, the zero
 * point of int8. Scratch is three times two patches.
 */
typedef struct {
    bopkit_window window;
    uint16_t channels; /* of the input, and so of a group's pixel times groups */
    uint16_t filters;
    uint16_t groups;
    uint8_t is_unsigned; /* the input is uint8 */
    int16_t padding;
    const int8_t *weights;
    const int32_t *bias; /* null where the epilogue has it */
} bopkit_conv;

/* Rescaling of sums to int8, in the arithmetic of TensorFlow Lite: multiplier * 2^(-31 - shift). */
typedef struct {
    const int32_t *multipliers; /* one a filter */
    const int8_t *shifts;       /* one a filter, to the right; below 0 to the left, before the product */
    int16_t zero_point;
    int8_t least, most;
    uint8_t rounds_once; /* as dense layers do; else the product is rounded before it is shifted */
} bopkit_sum_to_int8;

void bopkit_conv_to_int8(const bopkit_conv *layer, const bopkit_sum_to_int8 *scale, const void *input, int8_t *output,
                         void *scratch);

/* bit of filter f = (sum < thresholds[f]), inverted where the bit of f is set in `inverted` (may be null). */
void bopkit_conv_to_bits(const bopkit_conv *layer, const int32_t *thresholds, const uint8_t *inverted,
                         const void *input, uint8_t *output, void *scratch);

/* A convolution of each channel by itself: `weights` is [kernel][channels * multiplier]. */
typedef struct {
    bopkit_window window;
    uint16_t channels;
    uint16_t multiplier; /* filters of a channel, one after the other */
    uint8_t is_unsigned;
    int16_t padding;
    const int8_t *weights;
    const int32_t *bias;
} bopkit_depthwise;

void bopkit_depthwise_to_int8(const bopkit_depthwise *layer, const bopkit_sum_to_int8 *scale, const void *input,
                              int8_t *output);
void bopkit_depthwise_to_bits(const bopkit_depthwise *layer, const int32_t *thresholds, const uint8_t *inverted,
                              const void *input, uint8_t *output);


void bopkit_max_pool_int8(const bopkit_window *window, uint16_t channels, int8_t least, int8_t most,
                          const int8_t *input, int8_t *output);
void bopkit_average_pool_int8(const bopkit_window *window, uint16_t channels, int8_t least, int8_t most,
                              const int8_t *input, int8_t *output);

/* Mean over all pixels. The scratch is of one word a channel. */
typedef struct {
    uint32_t pixels;
    uint16_t channels;
    int16_t input_zero_point, output_zero_point;
    int32_t multiplier;
    int8_t shift;
} bopkit_mean;

void bopkit_mean_int8(const bopkit_mean *layer, const int8_t *input, int8_t *output, void *scratch);

/* An operator of two int8 tensors. The second may be one pixel, or one number, that meets all of the first. */
typedef struct {
    uint32_t elements;        /* of the first */
    uint32_t second_elements; /* it begins anew after so many */
    int16_t zero_point, second_zero_point, output_zero_point;
    int32_t multiplier, second_multiplier, output_multiplier;
    int8_t shift, second_shift, output_shift;
    int8_t least, most;
} bopkit_elementwise;

/* Also a difference: then second_multiplier is negative. Output may be an input's memory. */
void bopkit_add_int8(const bopkit_elementwise *layer, const int8_t *first, const int8_t *second, int8_t *output);
void bopkit_multiply_int8(const bopkit_elementwise *layer, const int8_t *first, const int8_t *second, int8_t *output);

/* The same sum where one multiplication of each gives all of its results:
 * (first * multiplier + second * second_multiplier + offset) >> shift. */
typedef struct {
    uint32_t elements, second_elements;
    int32_t multiplier, second_multiplier, offset;
    uint8_t shift;
    int8_t least, most;
} bopkit_weighted_sum;

void bopkit_weighted_sum_int8(const bopkit_weighted_sum *layer, const int8_t *first, const int8_t *second,
                              int8_t *output);

/* Signs of such sums, of which the shift and the bounds do not matter, of two tensors of one shape. */
void bopkit_signs_of_sum(const bopkit_weighted_sum *layer, uint16_t channels, const int8_t *first,
                         const int8_t *second, uint8_t *output);

void bopkit_maximum_int8(uint32_t elements, uint32_t second_elements, const int8_t *first, const int8_t *second,
                         int8_t *output);

/* Keeps what is positive, and multiplies what is negative by the slope of its channel. */
typedef struct {
    uint32_t elements;
    uint16_t channels;
    int16_t zero_point, slope_zero_point, output_zero_point;
    int32_t multiplier, slope_multiplier;
    int8_t shift, slope_shift;
    const int8_t *slopes;
} bopkit_prelu;

void bopkit_prelu_int8(const bopkit_prelu *layer, const int8_t *input, int8_t *output);

/* table[x + 128] for each number; for uint8 table[x]. With `channels` tables of 256 numbers one after the other, each
 * channel has its own. */
void bopkit_table_int8(uint32_t elements, const int8_t *table, const int8_t *input, int8_t *output);
void bopkit_table_uint8(uint32_t elements, uint16_t channels, const int8_t *tables, const uint8_t *input,
                        int8_t *output);

/* Signs of int8 numbers: bit = (x < thresholds[c]), inverted where the bit of c is set in `inverted` (may be null).
 * `has_one_threshold`: thresholds[0] is that of all channels. */
void bopkit_signs_of_int8(uint32_t pixels, uint16_t channels, const int16_t *thresholds, uint8_t has_one_threshold,
                          const uint8_t *inverted, const int8_t *input, uint8_t *output);

/* +1 and -1 as numbers. */
void bopkit_numbers_of_bits(uint32_t pixels, uint16_t channels, int8_t positive, int8_t negative,
                            const uint8_t *input, int8_t *output);

/* Copies `bytes` of each of `rows` rows; rows lie `input_stride` and `output_stride` bytes apart. */
void bopkit_copy_rows(uint32_t rows, uint32_t bytes, uint32_t input_stride, uint32_t output_stride, const void *input,
                      void *output);

/* A map within a larger one: `top` and `left` pixels and `before` bytes of each pixel come first. */
typedef struct {
    uint16_t input_height, input_width, input_bytes;
    uint16_t output_height, output_width, output_bytes;
    uint16_t top, left, before;
    uint8_t padding; /* each other byte */
} bopkit_padding;

void bopkit_pad(const bopkit_padding *layer, const void *input, void *output);

/* exp(x) / sum over classes in integers, as TensorFlow Lite computes it. powers[d] is exp(-d * scale) with 31 fractional
 * bits for a number that lies d below the greatest; what lies `entries` or more below counts nothing. */
void bopkit_softmax_int8(uint32_t rows, uint16_t classes, const int32_t *powers, uint16_t entries, const int8_t *input,
                         int8_t *output);

/* A convolution of float; a dense layer is one of a single pixel. Weights are float or int8: then a filter's sum is
 * multiplied by its scale. */
typedef struct {
    bopkit_window window;
    uint16_t channels, filters, groups;
    const float *weights;        /* null where they are int8 */
    const int8_t *int8_weights;  /* null where they are float */
    const float *scales;         /* one a filter, null where they are float */
    const float *bias;
    float least, most;
} bopkit_float_conv;

/* The scratch has a patch; it is null where the window is a single pixel without padding. */
void bopkit_conv_float(const bopkit_float_conv *layer, const float *input, float *output, void *scratch);

/* The same of each channel by itself: weights are [kernel][channels * multiplier]. */
typedef struct {
    bopkit_window window;
    uint16_t channels, multiplier;
    const float *weights;
    const int8_t *int8_weights;
    const float *scales;
    const float *bias;
    float least, most;
} bopkit_float_depthwise;

void bopkit_depthwise_float(const bopkit_float_depthwise *layer, const float *input, float *output);

void bopkit_max_pool_float(const bopkit_window *window, uint16_t channels, float least, float most,
                           const float *input, float *output);
/* What lies outside of the map does not count. */
void bopkit_average_pool_float(const bopkit_window *window, uint16_t channels, float least, float most,
                               const float *input, float *output);
/* Mean over all pixels. */
void bopkit_mean_float(uint32_t pixels, uint16_t channels, const float *input, float *output);

/* An operator of two tensors of float. Either may be one pixel, or one number, that meets all of the other. */
typedef struct {
    uint32_t elements;                        /* of the output */
    uint32_t first_elements, second_elements; /* each begins anew after so many */
    float least, most;
} bopkit_float_elementwise;

/* Output may be the memory of an input of the same size; so too below where each number is computed by itself. */
void bopkit_add_float(const bopkit_float_elementwise *layer, const float *first, const float *second, float *output);
void bopkit_subtract_float(const bopkit_float_elementwise *layer, const float *first, const float *second,
                           float *output);
void bopkit_multiply_float(const bopkit_float_elementwise *layer, const float *first, const float *second,
                           float *output);
void bopkit_divide_float(const bopkit_float_elementwise *layer, const float *first, const float *second,
                         float *output);
void bopkit_maximum_float(const bopkit_float_elementwise *layer, const float *first, const float *second,
                          float *output);

/* Keeps what is positive, and multiplies what is negative by the slope of its channel. */
void bopkit_prelu_float(uint32_t elements, uint32_t channels, const float *slopes, const float *input, float *output);
void bopkit_clamp_float(uint32_t elements, float least, float most, const float *input, float *output);
void bopkit_absolute_float(uint32_t elements, const float *input, float *output);
void bopkit_negate_float(uint32_t elements, const float *input, float *output);
void bopkit_logistic_float(uint32_t elements, const float *input, float *output);
void bopkit_softmax_float(uint32_t rows, uint32_t classes, float beta, const float *input, float *output);

/* Numbers of 8 bits stand for (x - zero_point) * scale; what becomes int8 is rounded, halves away from zero. */
void bopkit_float_of_int8(uint32_t elements, float scale, int16_t zero_point, const int8_t *input, float *output);
void bopkit_float_of_uint8(uint32_t elements, float scale, int16_t zero_point, const uint8_t *input, float *output);
void bopkit_int8_of_float(uint32_t elements, float scale, int16_t zero_point, const float *input, int8_t *output);

/* +1 and -1 as float, and signs of float: bit = (x <= -FLT_MIN), denormal numbers count as zero. */
void bopkit_float_of_bits(uint32_t pixels, uint16_t channels, const uint8_t *input, float *output);
void bopkit_signs_of_float(uint32_t pixels, uint16_t channels, const float *input, uint8_t *output);

#ifdef __cplusplus
}
#endif
#endif
