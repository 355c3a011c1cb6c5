// Multipliers, ranges and biases, once and before the first run.
#include "quantization.h"

#include <algorithm>
#include <cmath>
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

// What a sum of products is multiplied by. LiteRT multiplies the scales of a dense layer without
// channels' own scales in float32.
double factor_of(const abi::Tensor& input, float filter_scale, bool is_of_floats,
                 const abi::Tensor& output) {
  const double product = is_of_floats
                             ? static_cast<double>(input.scale * filter_scale)
                             : static_cast<double>(input.scale) * static_cast<double>(filter_scale);
  return product / static_cast<double>(output.scale);
}

}  // namespace

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
  for (auto* vector :
       {&vectors.bias, &vectors.multiplier, &vectors.left_shift, &vectors.right_shift}) {
    vector->assign(lanes, 0);
  }
  const std::vector<float> scales = scales_of(filter, static_cast<int>(channels));
  const bool is_of_floats = op.is_dense && !is_per_channel(filter);
  const auto* biases =
      op.bias < 0 ? nullptr : static_cast<const int32_t*>(context.tensors[op.bias].data);
  for (size_t c = 0; c < channels; ++c) {
    vectors.bias[c] = (biases == nullptr ? 0 : biases[c]) + offsets[c];
    const QuantizedMultiplier multiplier =
        quantize_multiplier(factor_of(input, scales[c], is_of_floats, output));
    vectors.multiplier[c] = multiplier.value;
    vectors.left_shift[c] = std::max(multiplier.shift, 0);
    vectors.right_shift[c] = std::max(-multiplier.shift, 0);
  }
  vectors.zero_point = output.zero_point;
  std::tie(vectors.min, vectors.max) = int8_range(op.activation, output);
  vectors.scale = output.scale;
  return vectors;
}

}  // namespace bopkit
