// How LiteRT stands int8 for real numbers, and the integer arithmetic that its reference kernels do
// in place of real one. It uses LiteRT's structs and kernels.h.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels.h"
#include "operators.h"
#include "tflite_abi.h"

namespace bopkit {

// A real factor as `value` * 2^(shift - 31), where `value` is at least 2^30, or 0.
struct QuantizedMultiplier {
  int32_t value;
  int shift;
};

// The nearest one. As LiteRT has it, factors below 2^-32 are zero.
QuantizedMultiplier quantize_multiplier(double factor);

Rescaling rescaling_of(double factor);
int32_t rescale(const Rescaling& by, int32_t x);

// What the terms and the result of ADD, SUB and MUL are multiplied by, and in PRELU what is not
// negative and what is: in the precision in which LiteRT computes it. Terms of a product are not.
struct ArithmeticFactors {
  double terms[2], result;
};
ArithmeticFactors arithmetic_factors(OpKind kind, const abi::Tensor& a, const abi::Tensor& b,
                                     const abi::Tensor& output);
struct SlopeFactors {
  double positive, negative;
};
SlopeFactors slope_factors(const abi::Tensor& input, const abi::Tensor& slopes,
                           const abi::Tensor& output);
// Of QUANTIZE from int8, of MEAN, and of RELU and its kin.
double map_factor(OpKind kind, const abi::Tensor& input, const abi::Tensor& output);

// What a sum of products is multiplied by.
double factor_of(const abi::Tensor& input, float filter_scale, const abi::Tensor& output);

// One scale for each channel, from one or from as many.
std::vector<float> scales_of(const abi::Tensor& tensor, int channels);

// The least and largest int8 that an activation leaves.
std::pair<int32_t, int32_t> int8_range(abi::Activation activation, const abi::Tensor& output);

// Holds what a Requantization points to.
struct RequantizationVectors {
  std::vector<int32_t> bias, multiplier, left_shift, right_shift, least_not_negative;
  std::vector<double> factor;  // of a dense layer
  int32_t zero_point = 0, min = 0, max = 0;
  float scale = 1;

  Requantization pointers() const {
    return {bias.data(),
            multiplier.data(),
            left_shift.data(),
            right_shift.data(),
            zero_point,
            min,
            max,
            scale,
            factor.empty() ? nullptr : factor.data(),
            least_not_negative.data()};
  }
};

// Of a convolution or a dense layer of int8, to whose sums `offsets` are added, one a channel.
RequantizationVectors requantization_of(const abi::Context& context, const Op& op,
                                        const std::vector<int32_t>& offsets);

// The sum of each output channel's weights, [channels, ...].
std::vector<int32_t> sums_of_weights(const abi::Tensor& filter);

}  // namespace bopkit
