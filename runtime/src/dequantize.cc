// Turns constants of float16 or int8 into float32, once and before the first run.
#include "dequantize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "operators.h"

namespace bopkit {
namespace {

float from_half(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float magnitude = exponent == 31 ? (fraction != 0 ? std::nanf("") : INFINITY)
                          : exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace

std::vector<float> dequantize(const abi::Tensor& tensor) {
  const int64_t count = count_elements(tensor);
  std::vector<float> values(static_cast<size_t>(count));
  if (tensor.type == abi::kFloat16) {
    const auto* halves = static_cast<const uint16_t*>(tensor.data);
    std::transform(halves, halves + count, values.begin(), from_half);
    return values;
  }
  const auto* bytes = static_cast<const int8_t*>(tensor.data);
  const auto* affine = static_cast<const abi::AffineQuantization*>(tensor.quantization);
  const bool is_per_channel =
      affine != nullptr && affine->scale != nullptr && affine->scale->size > 1;
  if (!is_per_channel) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = static_cast<float>(bytes[i] - tensor.zero_point) * tensor.scale;
    }
    return values;
  }
  const int axis = affine->quantized_dimension;
  int64_t inner = 1;
  for (int i = axis + 1; i < tensor.dims->size; ++i) inner *= tensor.dims->data[i];
  const int channels = affine->scale->size;
  for (int64_t i = 0; i < count; ++i) {
    const int channel = static_cast<int>(i / inner % channels);
    const bool has_zeros = affine->zero_point != nullptr && affine->zero_point->size == channels;
    values[i] = static_cast<float>(bytes[i] - (has_zeros ? affine->zero_point->data[channel] : 0)) *
                affine->scale->data[channel];
  }
  return values;
}

}  // namespace bopkit
