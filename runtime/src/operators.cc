// Reads operators. All numbers come from a file that may be damaged or hostile: each is checked
// before it is used.
#include "operators.h"

#include <algorithm>
#include <cstring>

#include "flexbuffer.h"
#include "value.h"

namespace bopkit {
namespace {

// Largest filter, stride or dilation: far beyond any network, and small enough that no product of
// two overflows.
constexpr int kMaxExtent = 1 << 14;

constexpr int kMaxChannels = 1 << 24;

// Most multiplications of one output number, so that twice their sum fits into int32.
constexpr int64_t kMaxDepth = int64_t{1} << 28;
constexpr int64_t kMaxTaps = 1 << 12;  // of a depthwise convolution: a row holds pointers to all

int element_bytes(abi::Type type) {
  switch (type) {
    case abi::kFloat32:
    case abi::kInt32:
      return 4;
    case abi::kFloat16:
    case abi::kInt16:
      return 2;
    case abi::kInt8:
    case abi::kUInt8:
    case abi::kBool:
      return 1;
    case abi::kInt64:
      return 8;
    default:
      return 0;
  }
}

bool is_extent(int value) { return value >= 1 && value <= kMaxExtent; }

// Whether a tensor has one value for each channel of an image, [n, 1, 1, c] or [1, c].
bool is_gate(const abi::Tensor& gate, const abi::Tensor& images, int compared_from) {
  if (gate.dims == nullptr || images.dims == nullptr || images.dims->size != 4) return false;
  const int rank = gate.dims->size;
  if (rank < 1 || rank > 4 || last_dim(gate) != last_dim(images)) return false;
  for (int i = 0; i < rank - 1; ++i) {
    const bool is_batch = rank == 4 && i == 0;
    const bool fits = is_batch && (compared_from > 0 || gate.dims->data[0] == images.dims->data[0]);
    if (gate.dims->data[i] != 1 && !fits) return false;
  }
  return true;
}

}  // namespace

int last_dim(const abi::Tensor& tensor) { return tensor.dims->data[tensor.dims->size - 1]; }

bool same_shape(const abi::Tensor& a, const abi::Tensor& b, int from) {
  if (a.dims == nullptr || b.dims == nullptr || a.dims->size != b.dims->size) return false;
  return std::equal(a.dims->data + from, a.dims->data + a.dims->size, b.dims->data + from);
}

bool has_sound_quantization(const abi::Tensor& tensor) {
  const auto is_byte = [](int value) { return value >= -128 && value <= 127; };
  if (tensor.quantization_type != 1 || !is_byte(tensor.zero_point)) return false;
  const auto* affine = static_cast<const abi::AffineQuantization*>(tensor.quantization);
  if (affine == nullptr || affine->scale == nullptr || affine->scale->size <= 1) return true;
  const int axis = affine->quantized_dimension;
  if (axis < 0 || axis >= tensor.dims->size || tensor.dims->data[axis] != affine->scale->size) {
    return false;
  }
  if (affine->zero_point == nullptr) return true;
  const int* zeros = affine->zero_point->data;
  return std::all_of(zeros, zeros + affine->zero_point->size, is_byte);
}

bool is_window(const Window& window) {
  return is_extent(window.filter_h) && is_extent(window.filter_w) && is_extent(window.stride_h) &&
         is_extent(window.stride_w) && is_extent(window.dilation_h) && is_extent(window.dilation_w);
}

bool is_activation(int value) { return value >= abi::kActNone && value <= abi::kActRelu6; }

bool is_constant(const abi::Tensor& tensor) {
  return (tensor.allocation_type == abi::kMmapRo || tensor.allocation_type == abi::kPersistentRo) &&
         tensor.data != nullptr;
}

int64_t count_elements(const abi::Tensor& tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor.dims->size; ++i) {
    const int size = tensor.dims->data[i];
    if (size < 1 || count > kMaxBytes / size) return -1;
    count *= size;
  }
  return count;
}

bool is_sound(const abi::Tensor& tensor, int rank) {
  if (tensor.dims == nullptr || tensor.dims->size != rank) return false;
  const int64_t count = count_elements(tensor);
  const int size = element_bytes(tensor.type);
  if (count < 1 || size == 0) return false;
  const bool is_aligned =
      reinterpret_cast<uintptr_t>(tensor.data) % static_cast<uintptr_t>(size) == 0;
  return !is_constant(tensor) || (is_aligned && tensor.bytes >= static_cast<size_t>(count) * size);
}

// Whether the tensor's values are known before the first run.
bool OpReader::is_fixed(int index) const {
  return is_constant(tensor(index)) || constants_.count(index) != 0;
}

// A vector of known values, one a channel.
bool OpReader::is_channel_vector(int index, abi::Type type, int channels) const {
  if (index < 0 || !is_fixed(index)) return false;
  const abi::Tensor& vector = tensor(index);
  return vector.type == type && is_sound(vector, 1) && vector.dims->data[0] == channels;
}

bool OpReader::fail(const char* what) {
  error_ = what;
  return false;
}

bool OpReader::has_tensors(const abi::Node& node, int inputs) {
  if (node.inputs == nullptr || node.outputs == nullptr || node.inputs->size != inputs ||
      node.outputs->size != 1) {
    return false;
  }
  const auto exists = [this](int index, int least) {
    return index >= least && index < static_cast<int>(context_->tensors_size);
  };
  for (int i = 0; i < inputs; ++i) {
    if (!exists(node.inputs->data[i], i == 0 ? 0 : -1)) return false;
  }
  const int output = node.outputs->data[0];
  if (!exists(output, 0) || is_constant(tensor(output))) return false;
  // A rank of 0 has no channels.
  const auto has_rank = [](const abi::Tensor& tensor) {
    return tensor.dims != nullptr && tensor.dims->size >= 1 && tensor.dims->size <= kMaxRank;
  };
  const abi::Tensor &from = tensor(node.inputs->data[0]), &to = tensor(output);
  return has_rank(from) && has_rank(to) && count_elements(from) > 0;
}

Claim OpReader::read(const abi::Node& node, const abi::Registration& registration, bool was_claimed,
                     Op* op) {
  *op = Op{};
  was_claimed_ = was_claimed;
  if (registration.builtin_code == abi::kCustom) {
    const char* name = registration.custom_name;
    return name != nullptr && std::strncmp(name, "Lce", 3) == 0 ? read_lce(name, node, op)
                                                                : Claim::kNo;
  }
  return claims_floats_ ? read_builtin(registration.builtin_code, node, op) : Claim::kNo;
}

Claim OpReader::read_lce(const char* name, const abi::Node& node, Op* op) {
  const auto result = [](bool is_fine) { return is_fine ? Claim::kYes : Claim::kBroken; };
  const bool is_conv = std::strcmp(name, "LceBconv2d") == 0;
  if (!has_tensors(node, is_conv ? 5 : 1)) {
    error_ = "has other inputs or outputs than LCE's operators have";
    return Claim::kBroken;
  }
  op->input = node.inputs->data[0];
  op->output = node.outputs->data[0];
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  const auto is_plain = [](abi::Type type) {
    return type == abi::kFloat32 || type == abi::kInt8 || type == abi::kBool;
  };
  if (is_conv) return result(read_binary_conv(node, op));
  if (std::strcmp(name, "LceQuantize") == 0) {
    op->kind = OpKind::kBitPack;
    return result((is_plain(input.type) && output.type == abi::kInt32) ||
                  fail("does not turn float32, int8 or bool into int32"));
  }
  if (std::strcmp(name, "LceDequantize") == 0) {
    op->kind = OpKind::kBitUnpack;
    if (input.type != abi::kInt32 || !is_plain(output.type)) {
      return result(fail("does not turn int32 into float32, int8 or bool"));
    }
    if (last_dim(output) < 1 || last_dim(output) > kMaxChannels) {
      return result(fail("has channels out of range"));
    }
    if (output.dims->size != input.dims->size || words_of(last_dim(output)) != last_dim(input)) {
      return result(fail("has an output of another shape than its input"));
    }
    return result(output.type != abi::kInt8 ||
                  (has_sound_quantization(output) && output.scale > 0) ||
                  fail("has an output without a scale"));
  }
  if (std::strcmp(name, "LceBMaxPool2d") == 0) return result(read_bit_packed_max_pool(node, op));
  error_ = "is not known: it is none of LCE 0.16's operators";
  return Claim::kBroken;
}

bool OpReader::read_binary_conv(const abi::Node& node, Op* op) {
  op->kind = OpKind::kBinaryConv;
  op->filter = node.inputs->data[1];
  op->multiplier = node.inputs->data[2];
  op->bias = node.inputs->data[3];
  op->threshold = node.inputs->data[4];
  const FlexMap options(node.custom_initial_data,
                        node.custom_initial_data_size < 0 ? 0 : node.custom_initial_data_size);
  Window& window = op->window;
  int padding, pad_values, activation;
  if (!options.integer("stride_height", &window.stride_h) ||
      !options.integer("stride_width", &window.stride_w) ||
      !options.integer("dilation_height_factor", &window.dilation_h) ||
      !options.integer("dilation_width_factor", &window.dilation_w) ||
      !options.integer("padding", &padding) || !options.integer("pad_values", &pad_values) ||
      !options.integer("channels_in", &op->channels_in) ||
      !options.integer("fused_activation_function", &activation)) {
    return fail("lacks options, or has damaged ones");
  }
  if (op->filter < 0) return fail("has no filter");
  const abi::Tensor &input = tensor(op->input), &filter = tensor(op->filter),
                    &output = tensor(op->output);
  if (!is_constant(filter) || filter.type != abi::kInt32 || !is_sound(filter, 4)) {
    return fail("has no constant filter of packed signs");
  }
  window.filter_h = filter.dims->data[1];
  window.filter_w = filter.dims->data[2];
  window.is_same = padding == 0;
  op->pads_with_one = pad_values == 1;
  op->activation = static_cast<abi::Activation>(activation);
  if (!is_window(window) || (padding != 0 && padding != 1) ||
      (pad_values != 0 && pad_values != 1) || !is_activation(activation)) {
    return fail("has options out of range");
  }
  const int channels_out = filter.dims->data[0];
  const int words = filter.dims->data[3];
  if (op->channels_in < 1 || op->channels_in > kMaxChannels) {
    return fail("has channels out of range");
  }
  const int words_in = words_of(op->channels_in);
  const int groups = words_in / words;
  if (words_in % words != 0) {
    return fail("has a filter of another number of channels than its input");
  }
  if (groups > 1 && (op->channels_in != groups * words * 32 || channels_out % groups != 0)) {
    return fail(
        "has groups whose channels are no multiple of 32, or no equal share of the output's");
  }
  if (int64_t{window.filter_h} * window.filter_w * words * 32 > kMaxDepth) {
    return fail("is too large");
  }
  if (input.type != abi::kInt32 || input.dims->size != 4 || output.dims->size != 4) {
    return fail("has an input of another type or rank");
  }
  if (output.type == abi::kInt32) {
    return is_channel_vector(op->threshold, abi::kInt32, channels_out) ||
           fail("has no constant threshold for each channel");
  }
  if (output.type != abi::kFloat32 && output.type != abi::kInt8) {
    return fail("has an output of another type");
  }
  if (!is_channel_vector(op->multiplier, abi::kFloat32, channels_out) ||
      !is_channel_vector(op->bias, abi::kFloat32, channels_out)) {
    return fail("has no constant multiplier and bias for each channel");
  }
  return output.type != abi::kInt8 || (has_sound_quantization(output) && output.scale > 0) ||
         fail("has an output without a scale");
}

bool OpReader::read_bit_packed_max_pool(const abi::Node& node, Op* op) {
  op->kind = OpKind::kBitPackedMaxPool;
  const FlexMap options(node.custom_initial_data,
                        node.custom_initial_data_size < 0 ? 0 : node.custom_initial_data_size);
  Window& window = op->window;
  int padding;
  if (!options.integer("filter_height", &window.filter_h) ||
      !options.integer("filter_width", &window.filter_w) ||
      !options.integer("stride_height", &window.stride_h) ||
      !options.integer("stride_width", &window.stride_w) || !options.integer("padding", &padding)) {
    return fail("lacks options, or has damaged ones");
  }
  window.is_same = padding == 0;
  if (!is_window(window) || (padding != 0 && padding != 1)) return fail("has options out of range");
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  return (input.type == abi::kInt32 && output.type == abi::kInt32 && input.dims->size == 4 &&
          output.dims->size == 4) ||
         fail("has an input or output of another type or rank");
}

Claim OpReader::read_builtin(int code, const abi::Node& node, Op* op) {
  const auto result = [](bool is_claimed) { return is_claimed ? Claim::kYes : Claim::kNo; };
  const int inputs = node.inputs == nullptr ? 0 : node.inputs->size;
  if (code == abi::kConcatenation) return result(read_concatenation(node, op));
  if (code == abi::kSplit) return result(read_split(node, op));
  if (inputs < 1 || inputs > 3 || !has_tensors(node, inputs)) return Claim::kNo;
  op->input = node.inputs->data[0];
  op->output = node.outputs->data[0];
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  if (code == abi::kDequantize && is_constant(input)) {
    return inputs == 1 ? read_constant(op) : Claim::kNo;
  }
  if (input.type != abi::kFloat32 || output.type != abi::kFloat32) {
    return read_int8(code, node, op);
  }
  if (is_fixed(op->input)) return Claim::kNo;
  switch (code) {
    case abi::kConv2d:
      return result(read_conv(node, op) && are_float_products(op));
    case abi::kFullyConnected:
      return result(read_dense(node, op) && are_float_products(op));
    case abi::kAveragePool2d:
    case abi::kMaxPool2d:
      return result(read_pool(code, node, op));
    case abi::kAdd:
    case abi::kSub:
    case abi::kMul:
      op->kind = code == abi::kAdd   ? OpKind::kAdd
                 : code == abi::kSub ? OpKind::kSubtract
                                     : OpKind::kMultiply;
      return result(read_arithmetic(node, op));
    case abi::kDepthwiseConv2d:
      return result(claims_float_products_ && read_depthwise_conv(node, op) &&
                    are_float_depthwise_products(op));
    case abi::kMaximum:
    case abi::kPrelu:
      op->kind = code == abi::kMaximum ? OpKind::kMaximum : OpKind::kPRelu;
      return result(read_channel_constant(node, op));
    case abi::kPad:
      return result(read_pad(node, op));
    case abi::kLogistic:
      op->kind = OpKind::kLogistic;
      return result(inputs == 1);
    case abi::kSoftmax: {
      const auto* softmax = static_cast<const abi::SoftmaxParams*>(node.builtin_data);
      if (softmax == nullptr || inputs != 1) return Claim::kNo;
      op->kind = OpKind::kSoftmax;
      op->beta = softmax->beta;
      return Claim::kYes;
    }
    case abi::kRelu:
      op->kind = OpKind::kRelu;
      op->activation = abi::kActRelu;
      return result(inputs == 1);
    case abi::kMean:
      return result(read_mean(node, op));
    case abi::kReshape:
      return result(read_reshape(node, op));
    default:
      return Claim::kNo;
  }
}

Claim OpReader::read_constant(Op* op) {
  op->kind = OpKind::kConstant;
  if (knows_constants_) return constants_.count(op->output) != 0 ? Claim::kYes : Claim::kNo;
  const abi::Tensor &input = tensor(op->input), &output = tensor(op->output);
  const bool is_known =
      input.type == abi::kFloat16 || (input.type == abi::kInt8 && has_sound_quantization(input));
  if (!is_known || output.type != abi::kFloat32 || !is_sound(input, input.dims->size)) {
    return Claim::kNo;
  }
  if (!same_shape(input, output)) return Claim::kNo;
  return constants_.emplace(op->output, op->input).second ? Claim::kYes : Claim::kNo;
}

namespace {

// Of a convolution with a filter [., h, w, .].
template <typename Params>
Window window_of(const Params& params, const abi::Tensor& filter) {
  return {filter.dims->data[1],
          filter.dims->data[2],
          params.stride_height,
          params.stride_width,
          params.dilation_height_factor,
          params.dilation_width_factor,
          params.padding == abi::kPaddingSame};
}

}  // namespace

// The shapes and options of a convolution of any type.
bool OpReader::read_conv(const abi::Node& node, Op* op) {
  const auto* params = static_cast<const abi::ConvParams*>(node.builtin_data);
  if (params == nullptr || node.inputs->size != 3 || node.inputs->data[1] < 0 ||
      !is_activation(params->activation)) {
    return false;
  }
  op->filter = node.inputs->data[1];
  op->bias = node.inputs->data[2];
  op->activation = params->activation;
  const abi::Tensor &input = tensor(op->input), &filter = tensor(op->filter);
  if (!is_fixed(op->filter) || !is_sound(filter, 4) || input.dims->size != 4) return false;
  op->channels_in = last_dim(input);
  const int groups = op->channels_in / filter.dims->data[3];
  if (groups < 1 || op->channels_in != groups * filter.dims->data[3] ||
      filter.dims->data[0] % groups != 0) {
    return false;
  }
  op->window = window_of(*params, filter);
  return is_window(op->window);
}

// The shapes and options of a dense layer of any type.
bool OpReader::read_dense(const abi::Node& node, Op* op) {
  const auto* params = static_cast<const abi::FullyConnectedParams*>(node.builtin_data);
  if (params == nullptr || params->weights_format != 0 || node.inputs->size < 2 ||
      node.inputs->data[1] < 0 || !is_activation(params->activation)) {
    return false;
  }
  op->is_dense = true;
  op->keeps_rank = params->keep_num_dims;
  op->filter = node.inputs->data[1];
  op->bias = node.inputs->size == 3 ? node.inputs->data[2] : -1;
  op->activation = params->activation;
  const abi::Tensor &input = tensor(op->input), &filter = tensor(op->filter);
  if (!is_fixed(op->filter) || !is_sound(filter, 2) || filter.dims->data[1] != last_dim(input)) {
    return false;
  }
  op->channels_in = filter.dims->data[1];
  return input.dims->size != 4 || (input.dims->data[1] == 1 && input.dims->data[2] == 1);
}

// Checks the types of a convolution or dense layer whose shapes were read.
bool OpReader::are_float_products(Op* op) {
  op->kind = OpKind::kFloatConv;
  const abi::Tensor& filter = tensor(op->filter);
  // LiteRT rounds activations that meet weights of int8 to int8, too. We do not.
  const bool has_weights = filter.type == abi::kFloat32
                               ? claims_float_products_
                               : is_constant(filter) && has_int8_weights(filter, 0);
  return has_weights &&
         (op->bias < 0 || is_channel_vector(op->bias, abi::kFloat32, filter.dims->data[0]));
}

bool OpReader::read_arithmetic(const abi::Node& node, Op* op) {
  const auto* params = static_cast<const abi::ArithmeticParams*>(node.builtin_data);
  if (params == nullptr || node.inputs->size != 2 || node.inputs->data[1] < 0 ||
      !is_activation(params->activation)) {
    return false;
  }
  op->other = node.inputs->data[1];
  op->activation = params->activation;
  const abi::Tensor &input = tensor(op->input), &other = tensor(op->other),
                    &output = tensor(op->output);
  const int compared = was_claimed_ ? 1 : 0;  // the first dimension, until `prepare` knows it
  if (!is_fixed(op->other) && !same_shape(input, output, compared) &&
      op->kind != OpKind::kSubtract && is_gate(input, output, compared) &&
      same_shape(other, output, compared)) {
    std::swap(op->input, op->other);
    return other.type == abi::kFloat32;
  }
  if (other.type != abi::kFloat32 || other.dims == nullptr ||
      !same_shape(input, output, compared)) {
    return false;
  }
  if (last_dim(input) != last_dim(output)) return false;  // constants are as many as these
  if (!is_fixed(op->other)) {
    return same_shape(input, other, compared) || is_gate(other, input, compared);
  }
  // One value a channel, or one for all.
  const int64_t count = other.dims->size == 0 ? 1 : count_elements(other);
  const bool is_vector = count == 1 || (count == last_dim(input) && last_dim(other) == count);
  return is_vector && other.dims->size <= input.dims->size &&
         (!is_constant(other) || other.bytes >= static_cast<size_t>(count) * sizeof(float));
}

bool OpReader::read_mean(const abi::Node& node, Op* op) {
  const auto* params = static_cast<const abi::ReducerParams*>(node.builtin_data);
  if (params == nullptr || node.inputs->size != 2 || node.inputs->data[1] < 0) return false;
  op->kind = OpKind::kMean;
  op->keeps_rank = params->keep_dims;
  const abi::Tensor &input = tensor(op->input), &axes = tensor(node.inputs->data[1]);
  if (input.dims->size != 4 || !is_constant(axes) || axes.type != abi::kInt32 ||
      !is_sound(axes, 1) || axes.dims->data[0] != 2) {
    return false;
  }
  const auto* axis = static_cast<const int32_t*>(axes.data);
  const int first = axis[0] < 0 ? axis[0] + 4 : axis[0],
            second = axis[1] < 0 ? axis[1] + 4 : axis[1];
  return (first == 1 && second == 2) || (first == 2 && second == 1);
}

// The shapes and options of a depthwise convolution of any type.
bool OpReader::read_depthwise_conv(const abi::Node& node, Op* op) {
  const auto* params = static_cast<const abi::DepthwiseConvParams*>(node.builtin_data);
  if (params == nullptr || node.inputs->size != 3 || node.inputs->data[1] < 0 ||
      !is_activation(params->activation)) {
    return false;
  }
  op->filter = node.inputs->data[1];
  op->bias = node.inputs->data[2];
  op->activation = params->activation;
  const abi::Tensor &input = tensor(op->input), &filter = tensor(op->filter);
  if (!is_fixed(op->filter) || !is_sound(filter, 4) || input.dims->size != 4 ||
      filter.dims->data[0] != 1 || last_dim(filter) % last_dim(input) != 0) {
    return false;
  }
  if (int64_t{filter.dims->data[1]} * filter.dims->data[2] > kMaxTaps) return false;
  op->window = window_of(*params, filter);
  op->channels_in = last_dim(input);
  return is_window(op->window);
}

bool OpReader::are_float_depthwise_products(Op* op) {
  op->kind = OpKind::kDepthwiseConv;
  return tensor(op->filter).type == abi::kFloat32 &&
         (op->bias < 0 || is_channel_vector(op->bias, abi::kFloat32, last_dim(tensor(op->filter))));
}

// MAXIMUM and PRELU with one value a channel, or one for all.
bool OpReader::read_channel_constant(const abi::Node& node, Op* op) {
  if (node.inputs->size != 2 || node.inputs->data[1] < 0) return false;
  op->other = node.inputs->data[1];
  const abi::Tensor &input = tensor(op->input), &other = tensor(op->other),
                    &output = tensor(op->output);
  if (other.type != abi::kFloat32 || other.dims == nullptr || !is_fixed(op->other) ||
      !same_shape(input, output, was_claimed_ ? 1 : 0) || last_dim(input) != last_dim(output)) {
    return false;
  }
  const int64_t count = other.dims->size == 0 ? 1 : count_elements(other);
  const bool is_vector = count == 1 || (count == last_dim(input) && last_dim(other) == count);
  return is_vector && other.dims->size <= input.dims->size &&
         (!is_constant(other) || other.bytes >= static_cast<size_t>(count) * sizeof(float));
}

bool OpReader::read_reshape(const abi::Node& node, Op* op) {
  op->kind = OpKind::kReshape;
  op->other = node.inputs->size == 2 ? node.inputs->data[1] : -1;
  if (op->other < 0) return false;
  const abi::Tensor& shape = tensor(op->other);
  return is_constant(shape) && shape.type == abi::kInt32 && is_sound(shape, 1) &&
         shape.dims->data[0] <= kMaxRank;
}

// Whether two tensors are images of the same size, and of numbers that mean the same.
bool OpReader::has_channels_alone_different(int a, int b) const {
  const abi::Tensor &from = tensor(a), &to = tensor(b);
  if (from.type != to.type) return false;
  if (from.type == abi::kInt8 && (!is_int8(from) || !is_int8(to) || from.scale != to.scale ||
                                  from.zero_point != to.zero_point)) {
    return false;
  }
  const auto is_image = [](const abi::Tensor& tensor) {
    return (tensor.type == abi::kFloat32 || tensor.type == abi::kInt8) && tensor.dims != nullptr &&
           tensor.dims->size == 4 && count_elements(tensor) > 0;
  };
  if (!is_image(from) || !is_image(to) || is_fixed(a) || is_fixed(b)) return false;
  const int* sizes = from.dims->data;
  return std::equal(sizes + (was_claimed_ ? 1 : 0), sizes + 3,
                    to.dims->data + (was_claimed_ ? 1 : 0));
}

namespace {

constexpr int kMaxParts = 256;

bool are_in_range(const abi::IntArray* indices, size_t count) {
  return indices != nullptr && indices->size >= 1 && indices->size <= kMaxParts &&
         std::all_of(indices->data, indices->data + indices->size,
                     [&](int index) { return index >= 0 && index < static_cast<int>(count); });
}

}  // namespace

bool OpReader::read_concatenation(const abi::Node& node, Op* op) {
  const auto* params = static_cast<const abi::ConcatenationParams*>(node.builtin_data);
  if (params == nullptr || params->activation != abi::kActNone ||
      !are_in_range(node.inputs, context_->tensors_size) ||
      !are_in_range(node.outputs, context_->tensors_size) || node.outputs->size != 1 ||
      (params->axis != 3 && params->axis != -1)) {
    return false;
  }
  op->kind = OpKind::kConcatenation;
  op->parts.assign(node.inputs->data, node.inputs->data + node.inputs->size);
  op->input = op->parts[0];
  op->output = node.outputs->data[0];
  op->is_int8 = tensor(op->output).type == abi::kInt8;
  int64_t channels = 0;
  for (const int part : op->parts) {
    if (part == op->output || !has_channels_alone_different(part, op->output)) return false;
    channels += last_dim(tensor(part));
  }
  return channels == last_dim(tensor(op->output));
}

bool OpReader::read_split(const abi::Node& node, Op* op) {
  if (!are_in_range(node.inputs, context_->tensors_size) ||
      !are_in_range(node.outputs, context_->tensors_size) || node.inputs->size != 2) {
    return false;
  }
  const abi::Tensor& axis = tensor(node.inputs->data[0]);
  if (!is_constant(axis) || axis.type != abi::kInt32 || axis.dims == nullptr ||
      axis.bytes < sizeof(int32_t)) {
    return false;
  }
  const int32_t number = *static_cast<const int32_t*>(axis.data);
  if (number != 3 && number != -1) return false;
  op->kind = OpKind::kSplit;
  op->input = node.inputs->data[1];
  if (tensor(op->input).type != abi::kFloat32) return false;
  op->parts.assign(node.outputs->data, node.outputs->data + node.outputs->size);
  op->output = op->parts[0];
  int64_t channels = 0;
  for (const int part : op->parts) {
    if (part == op->input || !has_channels_alone_different(part, op->input)) return false;
    channels += last_dim(tensor(part));
  }
  return channels == last_dim(tensor(op->input));
}

// The shapes and options of a pool of any type.
bool OpReader::read_pool(int code, const abi::Node& node, Op* op) const {
  const auto* pool = static_cast<const abi::PoolParams*>(node.builtin_data);
  if (pool == nullptr || tensor(op->input).dims->size != 4 || !is_activation(pool->activation)) {
    return false;
  }
  op->kind = code == abi::kMaxPool2d ? OpKind::kMaxPool : OpKind::kAveragePool;
  op->activation = pool->activation;
  op->window = {pool->filter_height,
                pool->filter_width,
                pool->stride_height,
                pool->stride_width,
                1,
                1,
                pool->padding == abi::kPaddingSame};
  return is_window(op->window);
}

// The constant margins of a PAD, before and after each of four dimensions; null for none.
const int32_t* OpReader::margins_of(const abi::Node& node) const {
  if (node.inputs->size != 2 || node.inputs->data[1] < 0) return nullptr;
  const abi::Tensor& margins = tensor(node.inputs->data[1]);
  const bool is_known = is_constant(margins) && margins.type == abi::kInt32 &&
                        is_sound(margins, 2) && margins.dims->data[0] == 4 &&
                        margins.dims->data[1] == 2;
  return is_known ? static_cast<const int32_t*>(margins.data) : nullptr;
}

bool OpReader::read_pad(const abi::Node& node, Op* op) {
  const int32_t* sizes = margins_of(node);
  if (sizes == nullptr || !has_channels_alone_different(op->input, op->output)) return false;
  op->kind = OpKind::kPad;
  for (int i = 0; i < 6; ++i) {
    if (sizes[i] != 0) return false;
  }
  op->before = sizes[6];
  op->after = sizes[7];
  const int channels = last_dim(tensor(op->input));
  const auto is_margin = [](int size) { return size >= 0 && size <= kMaxChannels; };
  return is_margin(op->before) && is_margin(op->after) && channels <= kMaxChannels &&
         last_dim(tensor(op->output)) == op->before + channels + op->after;
}

}  // namespace bopkit
