// Reads operators of int8, and those that turn numbers into int8 or back. What LiteRT's reference
// kernels would compute otherwise than ours, or not at all, is left to LiteRT.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "operators.h"
#include "quantization.h"

namespace bopkit {
namespace {

// Denormals are zeros here.
bool is_scale(float scale) { return std::isnormal(scale) && scale > 0; }

bool has_one_scale(const abi::Tensor& tensor) {
  const auto* affine = static_cast<const abi::AffineQuantization*>(tensor.quantization);
  const bool has_one = affine == nullptr || affine->scale == nullptr || affine->scale->size == 1;
  return has_one && is_scale(tensor.scale);
}

}  // namespace

bool is_int8(const abi::Tensor& tensor) {
  return tensor.type == abi::kInt8 && has_sound_quantization(tensor) && has_one_scale(tensor);
}

bool is_uint8(const abi::Tensor& tensor) {
  return tensor.type == abi::kUInt8 && tensor.quantization_type == 1 && tensor.zero_point >= 0 &&
         tensor.zero_point <= 255 && has_one_scale(tensor);
}

bool has_int8_weights(const abi::Tensor& filter, int axis) {
  if (filter.type != abi::kInt8 || !has_sound_quantization(filter)) return false;
  const auto* affine = static_cast<const abi::AffineQuantization*>(filter.quantization);
  if (affine == nullptr || affine->scale == nullptr || affine->scale->size < 1) return false;
  const abi::FloatArray& scales = *affine->scale;
  if (scales.size > 1 && affine->quantized_dimension != axis) return false;
  if (scales.size == 1 && (filter.scale != scales.data[0] || filter.zero_point != 0)) return false;
  if (!std::all_of(scales.data, scales.data + scales.size, is_scale)) return false;
  const abi::IntArray* zeros = affine->zero_point;
  return zeros == nullptr ||
         std::all_of(zeros->data, zeros->data + zeros->size, [](int zero) { return zero == 0; });
}

Claim OpReader::read_int8(int code, const abi::Node& node, Op* op) {
  const auto result = [](bool is_claimed) { return is_claimed ? Claim::kYes : Claim::kNo; };
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  const bool is_arithmetic = code == abi::kAdd || code == abi::kSub || code == abi::kMul;
  if (is_fixed(op->input) && !is_arithmetic) return Claim::kNo;
  switch (code) {
    case abi::kQuantize:
      op->kind = OpKind::kQuantize;
      if (input.type != abi::kFloat32) return result(read_int8_step(code, node, op));
      return result(is_int8(output) && is_map(node, op));
    case abi::kDequantize:
      op->kind = OpKind::kDequantize;
      return result((is_int8(input) || is_uint8(input)) && output.type == abi::kFloat32 &&
                    is_map(node, op));
    case abi::kCast:
      op->kind = OpKind::kCast;
      return result(input.type == abi::kUInt8 && output.type == abi::kFloat32 && is_map(node, op));
    case abi::kConv2d:
      return result(is_int8(input) && read_conv(node, op) &&
                    are_int8_products(op, OpKind::kInt8Conv, 0));
    case abi::kFullyConnected:
      return result(is_int8(input) && read_dense(node, op) &&
                    are_int8_products(op, OpKind::kInt8Conv, 0));
    case abi::kDepthwiseConv2d:
      return result(is_int8(input) && read_depthwise_conv(node, op) &&
                    are_int8_products(op, OpKind::kInt8DepthwiseConv, 3));
    default:
      return result(read_int8_step(code, node, op));
  }
}

// Whether each number of the output is one of the input.
bool OpReader::is_map(const abi::Node& node, const Op* op) const {
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  return node.inputs->size == 1 && same_shape(input, output, was_claimed_ ? 1 : 0) &&
         last_dim(input) == last_dim(output);
}

// Checks the types and values of a convolution or dense layer whose shapes were read.
bool OpReader::are_int8_products(Op* op, OpKind kind, int channel_axis) {
  op->kind = kind;
  const abi::Tensor &input = tensor(op->input), &filter = tensor(op->filter),
                    &output = tensor(op->output);
  if (!is_int8(output) || !has_int8_weights(filter, channel_axis)) return false;
  const int channels = filter.dims->data[channel_axis];
  if (op->bias >= 0) {
    const abi::Tensor& bias = tensor(op->bias);
    if (bias.type != abi::kInt32 || !is_constant(bias) || !is_sound(bias, 1) ||
        bias.dims->data[0] != channels) {
      return false;
    }
  }
  // Kernels add two products within an int16.
  const int64_t count = count_elements(filter);
  const auto* weights = static_cast<const int8_t*>(filter.data);
  if (std::any_of(weights, weights + count, [](int8_t weight) { return weight == -128; })) {
    return false;
  }
  // No sum may overflow an int32, also where requantization shifts it left, even if all inputs are
  // as far from their zero point as they can be.
  const std::vector<float> scales = scales_of(filter, channels);
  const std::vector<int64_t> largest = largest_sums(*op, channels, channel_axis);
  for (int c = 0; c < channels; ++c) {
    const double factor = factor_of(input, scales[c], output);
    // Dense layers are rescaled in double precision.
    const int left = op->is_dense ? 0 : std::max(0, quantize_multiplier(factor).shift);
    constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
    if (left > 30 || largest[c] << left > kMost) return false;
    if (op->is_dense && !(static_cast<double>(largest[c]) * factor < kMost)) return false;
  }
  return true;
}

// The largest magnitude that the sum of each output channel can have, with its bias.
std::vector<int64_t> OpReader::largest_sums(const Op& op, int channels, int channel_axis) const {
  constexpr int64_t kLargestInput = 255;  // less its zero point
  const abi::Tensor& filter = tensor(op.filter);
  const auto* weights = static_cast<const int8_t*>(filter.data);
  const auto* biases = op.bias < 0 ? nullptr : static_cast<const int32_t*>(tensor(op.bias).data);
  std::vector<int64_t> largest(static_cast<size_t>(channels), 0);
  int64_t inner = 1;
  for (int i = channel_axis + 1; i < filter.dims->size; ++i) inner *= filter.dims->data[i];
  const int64_t count = count_elements(filter);
  for (int64_t i = 0; i < count; ++i) {
    largest[i / inner % channels] += kLargestInput * std::abs(int{weights[i]});
  }
  for (int c = 0; biases != nullptr && c < channels; ++c)
    largest[c] += std::abs(int64_t{biases[c]});
  return largest;
}

}  // namespace bopkit
