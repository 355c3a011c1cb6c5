// Multipliers, ranges and biases, once and before the first run.
#include "quantization.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace bopkit {
namespace {

const abi::AffineQuantization* affine_of(const abi::Tensor& tensor) {
  return static_cast<const abi::AffineQuantization*>(tensor.quantization);
}

bool is_per_channel(const abi::Tensor& tensor) {
  const abi::AffineQuantization* affine = affine_of(tensor);
  return affine != nullptr && affine->scale != nullptr && affine->scale->size > 1;
}

// The least x that becomes no negative number: rescaling keeps the order.
int64_t least_not_negative(const Rescaling& by) {
  int64_t below = std::numeric_limits<int32_t>::min() >> by.left_shift, above = 0;
  while (below + 1 < above) {
    const int64_t x = (below + above) / 2;
    (rescale(by, static_cast<int32_t>(x)) < 0 ? below : above) = x;
  }
  return above;
}

}  // namespace

double factor_of(const abi::Tensor& input, float filter_scale, const abi::Tensor& output) {
  return static_cast<double>(input.scale) * static_cast<double>(filter_scale) /
         static_cast<double>(output.scale);
}

QuantizedMultiplier quantize_multiplier(double factor) {
  if (factor == 0) return {0, 0};
  int shift;
  const double fraction = std::frexp(factor, &shift);
  auto value = static_cast<int64_t>(std::round(fraction * static_cast<double>(int64_t{1} << 31)));
  if (value == int64_t{1} << 31) {
    value /= 2;
    ++shift;
  }
  if (shift < -31) return {0, 0};
  return {static_cast<int32_t>(value), shift};
}

Rescaling rescaling_of(double factor) {
  const QuantizedMultiplier multiplier = quantize_multiplier(factor);
  return {multiplier.value, std::max(multiplier.shift, 0), std::max(-multiplier.shift, 0)};
}

int32_t rescale(const Rescaling& by, int32_t x) {
  const int64_t product = int64_t{x} * (int64_t{1} << by.left_shift) * by.multiplier;
  const int64_t high = (product + (int64_t{1} << 30)) >> 31;
  const int64_t rest_bits = (int64_t{1} << by.right_shift) - 1;
  const int64_t half = (rest_bits >> 1) + (high < 0 ? 1 : 0);
  return static_cast<int32_t>((high >> by.right_shift) + ((high & rest_bits) > half ? 1 : 0));
}

ArithmeticFactors arithmetic_factors(OpKind kind, const abi::Tensor& a, const abi::Tensor& b,
                                     const abi::Tensor& output) {
  if (kind == OpKind::kMultiply) {
    return {{1, 1}, static_cast<double>(a.scale * b.scale / output.scale)};
  }
  const double twice = 2 * static_cast<double>(std::max(a.scale, b.scale));
  const double steps = static_cast<double>(1 << kInt8SumShift) * static_cast<double>(output.scale);
  return {{static_cast<double>(a.scale) / twice, static_cast<double>(b.scale) / twice},
          twice / steps};
}

SlopeFactors slope_factors(const abi::Tensor& input, const abi::Tensor& slopes,
                           const abi::Tensor& output) {
  return {static_cast<double>(input.scale / output.scale),
          static_cast<double>(input.scale * slopes.scale / output.scale)};
}

double map_factor(OpKind kind, const abi::Tensor& input, const abi::Tensor& output) {
  if (kind == OpKind::kRelu) return static_cast<double>(input.scale / output.scale);
  return static_cast<double>(input.scale) / static_cast<double>(output.scale);
}

std::vector<float> scales_of(const abi::Tensor& tensor, int channels) {
  if (!is_per_channel(tensor)) return std::vector<float>(channels, tensor.scale);
  const abi::FloatArray* scales = affine_of(tensor)->scale;
  return std::vector<float>(scales->data, scales->data + channels);
}

std::pair<int32_t, int32_t> int8_range(abi::Activation activation, const abi::Tensor& output) {
  const auto quantized = [&](float value) {
    // What lies far outside of int8 must not overflow.
    const float steps = std::round(std::min(value / output.scale, 1e6f));
    return output.zero_point + static_cast<int32_t>(std::max(steps, -1e6f));
  };
  int32_t min = -128, max = 127;
  if (activation == abi::kActRelu || activation == abi::kActRelu6) {
    min = std::max(min, quantized(0));
  }
  if (activation == abi::kActRelu6) max = std::min(max, quantized(6));
  if (activation == abi::kActReluN1To1) {
    min = std::max(min, quantized(-1));
    max = std::min(max, quantized(1));
  }
  return {min, max};
}

std::vector<int32_t> sums_of_weights(const abi::Tensor& filter) {
  std::vector<int32_t> sums(static_cast<size_t>(filter.dims->data[0]), 0);
  const auto* weights = static_cast<const int8_t*>(filter.data);
  const int64_t depth = count_elements(filter) / filter.dims->data[0];
  for (int32_t& sum : sums) {
    for (int64_t k = 0; k < depth; ++k) sum += *weights++;
  }
  return sums;
}

RequantizationVectors requantization_of(const abi::Context& context, const Op& op,
                                        const std::vector<int32_t>& offsets) {
  const abi::Tensor &input = context.tensors[op.input], &filter = context.tensors[op.filter],
                    &output = context.tensors[op.output];
  const size_t channels = offsets.size();
  const size_t lanes = (channels + kPanel - 1) / kPanel * kPanel;
  RequantizationVectors vectors;
  for (auto* vector : {&vectors.bias, &vectors.multiplier, &vectors.left_shift,
                       &vectors.right_shift, &vectors.least_not_negative}) {
    vector->assign(lanes, 0);
  }
  const std::vector<float> scales = scales_of(filter, static_cast<int>(channels));
  // LiteRT's reference kernel rescales a dense layer's sums otherwise than those of convolutions.
  if (op.is_dense) vectors.factor.assign(lanes, 0);
  const auto* biases =
      op.bias < 0 ? nullptr : static_cast<const int32_t*>(context.tensors[op.bias].data);
  for (size_t c = 0; c < channels; ++c) {
    vectors.bias[c] = (biases == nullptr ? 0 : biases[c]) + offsets[c];
    const double factor = factor_of(input, scales[c], output);
    if (op.is_dense) vectors.factor[c] = factor;
    const QuantizedMultiplier multiplier = quantize_multiplier(factor);
    vectors.multiplier[c] = multiplier.value;
    vectors.left_shift[c] = std::max(multiplier.shift, 0);
    vectors.right_shift[c] = std::max(-multiplier.shift, 0);
  }
  vectors.zero_point = output.zero_point;
  std::tie(vectors.min, vectors.max) = int8_range(op.activation, output);
  for (size_t c = 0; c < channels; ++c) {
    constexpr int64_t kMin = std::numeric_limits<int32_t>::min(),
                      kMax = std::numeric_limits<int32_t>::max();
    const Rescaling by = {vectors.multiplier[c], vectors.left_shift[c], vectors.right_shift[c]};
    const int64_t least =
        vectors.min >= vectors.zero_point ? kMin : least_not_negative(by) - vectors.bias[c];
    vectors.least_not_negative[c] = static_cast<int32_t>(std::clamp(least, kMin, kMax));
  }
  vectors.scale = output.scale;
  return vectors;
}

}  // namespace bopkit
