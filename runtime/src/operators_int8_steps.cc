// Reads operators of which input and output are int8, and which are steps of their own: all but
// products with weights.
#include <algorithm>
#include <cmath>

#include "operators.h"
#include "quantization.h"

namespace bopkit {
namespace {

// What numbers of two int8 are multiplied by at most: the result is then an int32.
constexpr double kMaxFactor = 1 << 14;

// Most cells of a window, so that twice the sum of so many int8 is exact in float32.
constexpr int64_t kMaxCells = 1 << 16;

constexpr int kMaxMargin = 1 << 20;

// A table of results has 256 for each channel.
constexpr int kMaxTableChannels = 1 << 13;

bool is_factor(double factor) { return factor < kMaxFactor; }

// LiteRT multiplies and divides scales in float32; what leaves its normal range may be taken for
// zero there, or not.
bool is_exact(float factor) { return std::isnormal(factor); }

// Whether a constant has one int8 for all, or one for each of the last dimension.
bool is_int8_vector(const abi::Tensor& constant, const abi::Tensor& values) {
  if (!is_int8(constant) || constant.dims->size > values.dims->size) return false;
  const int64_t count = constant.dims->size == 0 ? 1 : count_elements(constant);
  const bool is_vector = count == 1 || (count == last_dim(values) && last_dim(constant) == count);
  return is_vector && count <= kMaxTableChannels && constant.bytes >= static_cast<size_t>(count);
}

// Whether sizes are the same or 1, of images; of other ranks they must be the same.
bool can_broadcast(const abi::Tensor& operand, const abi::Tensor& output, int from) {
  if (operand.dims == nullptr || operand.dims->size != output.dims->size) return false;
  if (output.dims->size != 4) return same_shape(operand, output, from);
  for (int i = from; i < 4; ++i) {
    const int size = operand.dims->data[i];
    if (size != output.dims->data[i] && size != 1) return false;
  }
  return count_elements(operand) > 0;
}

}  // namespace

bool OpReader::read_int8_step(int code, const abi::Node& node, Op* op) {
  op->is_int8 = true;
  if (code == abi::kAdd || code == abi::kSub || code == abi::kMul) {
    return read_int8_arithmetic(code, node, op);
  }
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  const bool is_from_bytes = is_int8(input) || (code == abi::kQuantize && is_uint8(input));
  if (!is_from_bytes || !is_int8(output)) return false;
  const auto is_map_by_factor = [&] {
    return is_map(node, op) && is_exact(input.scale / output.scale) &&
           is_factor(map_factor(op->kind, input, output));
  };
  switch (code) {
    case abi::kQuantize:
      op->kind = OpKind::kQuantize;
      return is_map_by_factor();
    case abi::kRelu:
    case abi::kReluN1To1:
    case abi::kRelu6:
      op->kind = OpKind::kRelu;
      op->activation = code == abi::kRelu    ? abi::kActRelu
                       : code == abi::kRelu6 ? abi::kActRelu6
                                             : abi::kActReluN1To1;
      return is_map_by_factor();
    case abi::kPrelu:
      return read_int8_slopes(node, op);
    case abi::kMaxPool2d:
    case abi::kAveragePool2d:
      return node.inputs->size == 1 && read_pool(code, node, op) &&
             int64_t{op->window.filter_h} * op->window.filter_w <= kMaxCells;
    case abi::kMean:
      return read_mean(node, op) && is_factor(map_factor(op->kind, input, output));
    case abi::kPad:
      return read_int8_pad(node, op);
    case abi::kReshape:
      op->is_int8 = false;  // a step that knows no numbers
      return read_reshape(node, op);
    default:
      return false;
  }
}

bool OpReader::read_int8_arithmetic(int code, const abi::Node& node, Op* op) const {
  const auto* params = static_cast<const abi::ArithmeticParams*>(node.builtin_data);
  if (params == nullptr || node.inputs->size != 2 || node.inputs->data[1] < 0 ||
      !is_activation(params->activation)) {
    return false;
  }
  op->kind = code == abi::kAdd   ? OpKind::kAdd
             : code == abi::kSub ? OpKind::kSubtract
                                 : OpKind::kMultiply;
  op->activation = params->activation;
  op->other = node.inputs->data[1];
  const abi::Tensor &first = tensor(op->input), &second = tensor(op->other),
                    &output = tensor(op->output);
  if (!is_int8(first) || !is_int8(second) || !is_int8(output)) return false;
  const ArithmeticFactors factors = arithmetic_factors(op->kind, first, second, output);
  // LiteRT ends the process where a sum has such a factor.
  const bool has_factor = op->kind == OpKind::kMultiply
                              ? is_exact(first.scale * second.scale) && is_factor(factors.result)
                              : factors.result < 1;
  if (!has_factor) return false;
  op->is_reversed = is_fixed(op->input);
  if (op->is_reversed) std::swap(op->input, op->other);
  const abi::Tensor &input = tensor(op->input), &other = tensor(op->other);
  const int compared = was_claimed_ ? 1 : 0;  // the first dimension, until `prepare` knows it
  if (is_constant(input)) return false;
  if (is_constant(other)) {
    return same_shape(input, output, compared) && last_dim(input) == last_dim(output) &&
           is_int8_vector(other, input);
  }
  return !is_fixed(op->other) && can_broadcast(input, output, compared) &&
         can_broadcast(other, output, compared);
}

bool OpReader::read_int8_slopes(const abi::Node& node, Op* op) const {
  if (node.inputs->size != 2 || node.inputs->data[1] < 0) return false;
  op->kind = OpKind::kPRelu;
  op->other = node.inputs->data[1];
  const abi::Tensor &input = tensor(op->input), &slopes = tensor(op->other),
                    &output = tensor(op->output);
  if (!is_constant(slopes) || !is_int8_vector(slopes, input) ||
      !same_shape(input, output, was_claimed_ ? 1 : 0) || last_dim(input) != last_dim(output)) {
    return false;
  }
  const SlopeFactors factors = slope_factors(input, slopes, output);
  return is_exact(input.scale / output.scale) && is_exact(input.scale * slopes.scale) &&
         is_factor(factors.positive) && is_factor(factors.negative);
}

bool OpReader::read_int8_pad(const abi::Node& node, Op* op) const {
  op->kind = OpKind::kPad;
  const int32_t* sizes = margins_of(node);
  if (sizes == nullptr || tensor(op->input).dims->size != 4) return false;
  op->margins.assign(sizes + 2, sizes + 8);
  return sizes[0] == 0 && sizes[1] == 0 &&
         std::all_of(op->margins.begin(), op->margins.end(),
                     [](int size) { return size >= 0 && size <= kMaxMargin; });
}

}  // namespace bopkit
