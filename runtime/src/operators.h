// The operators that the delegate claims, read from LiteRT's graph and checked: what follows trusts
// them. It may use LiteRT's structs, and knows neither steps nor kernels.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "memory.h"
#include "tflite_abi.h"
#include "value.h"
#include "window.h"

namespace bopkit {

enum class OpKind {
  kBitPack,           // LceQuantize: float32, int8 or bool -> bit-packed
  kBitUnpack,         // LceDequantize: bit-packed -> float32, int8 or bool
  kBinaryConv,        // LceBconv2d
  kBitPackedMaxPool,  // LceBMaxPool2d
  kInt8Conv,          // CONV_2D and FULLY_CONNECTED of int8
  kInt8DepthwiseConv,
  kQuantize,    // float32, int8 or uint8 -> int8
  kDequantize,  // int8 or uint8 -> float32
  kCast,        // uint8 -> float32
  kFloatConv,   // CONV_2D and FULLY_CONNECTED of float32
  kMaxPool,     // of float32 or int8, as nearly all below
  kAveragePool,
  kMean,  // over height and width
  kDepthwiseConv,
  kConcatenation,  // of channels, as the next two
  kSplit,
  kPad,
  kLogistic,
  kSoftmax,
  kAdd,
  kSubtract,
  kMultiply,
  kMaximum,
  kPRelu,
  kRelu,
  kReshape,
  kConstant,  // DEQUANTIZE of a constant
};

// One operator. Tensors are indices of LiteRT's graph, -1 where there is none.
struct Op {
  OpKind kind;
  int input = -1;
  int other = -1;  // second operand of arithmetic
  int output = -1;
  abi::Activation activation = abi::kActNone;
  Window window;

  // Of convolutions.
  int filter = -1, multiplier = -1, bias = -1, threshold = -1;
  int channels_in = 0;  // of a binary one: bits, not words
  bool pads_with_one = false;
  bool is_dense = false;  // FULLY_CONNECTED

  bool keeps_rank = false;  // of FULLY_CONNECTED and MEAN

  // Whether numbers are int8 before and after: of the kinds of float32, and of kQuantize, which may
  // have uint8 before.
  bool is_int8 = false;
  bool is_reversed = false;  // other - input

  std::vector<int> parts;     // inputs of CONCATENATION, outputs of SPLIT: the first one is above
  int before = 0, after = 0;  // channels that PAD adds
  // What PAD of int8 adds before and behind height, width and channels.
  std::vector<int> margins;
  float beta = 1;  // of SOFTMAX
};

enum class Claim { kNo, kYes, kBroken };

// Constants that a DEQUANTIZE turns into float32: by its output, its input.
using Constants = std::map<int, int>;

// Reads an operator of LiteRT's graph.
class OpReader {
 public:
  // With `constants`, a DEQUANTIZE is claimed if it makes one of them, even where the operators of
  // another partition read it.
  OpReader(abi::Context* context, bool claims_floats, bool claims_float_products,
           const Constants* constants)
      : context_(context),
        claims_floats_(claims_floats),
        claims_float_products_(claims_float_products),
        knows_constants_(constants != nullptr) {
    if (constants != nullptr) constants_ = *constants;
  }

  // kYes with `op` filled in; kNo for an operator that others run; kBroken with `error()` for one
  // that is ours and wrong. Operators are read in the order in which they run. `was_claimed`: it
  // was claimed before, when all shapes fitted. While an input is being resized, tflite-runtime
  // 2.14 asks again, and the numbers of images of inner tensors are still the old ones.
  Claim read(const abi::Node& node, const abi::Registration& registration, bool was_claimed,
             Op* op);

  const std::string& error() const { return error_; }

 private:
  Claim read_lce(const char* name, const abi::Node& node, Op* op);
  Claim read_builtin(int code, const abi::Node& node, Op* op);
  bool read_binary_conv(const abi::Node& node, Op* op);
  bool read_bit_packed_max_pool(const abi::Node& node, Op* op);
  Claim read_int8(int code, const abi::Node& node, Op* op);
  bool read_int8_step(int code, const abi::Node& node, Op* op);
  bool read_int8_arithmetic(int code, const abi::Node& node, Op* op) const;
  bool read_int8_slopes(const abi::Node& node, Op* op) const;
  bool read_int8_pad(const abi::Node& node, Op* op) const;
  bool is_map(const abi::Node& node, const Op* op) const;
  std::vector<int64_t> largest_sums(const Op& op, int channels, int channel_axis) const;
  bool are_int8_products(Op* op, OpKind kind, int channel_axis);
  bool are_float_products(Op* op);
  bool read_conv(const abi::Node& node, Op* op);
  bool read_dense(const abi::Node& node, Op* op);
  bool read_arithmetic(const abi::Node& node, Op* op);
  bool read_mean(const abi::Node& node, Op* op);
  bool read_depthwise_conv(const abi::Node& node, Op* op);
  bool are_float_depthwise_products(Op* op);
  bool read_channel_constant(const abi::Node& node, Op* op);
  bool read_concatenation(const abi::Node& node, Op* op);
  bool read_split(const abi::Node& node, Op* op);
  bool read_reshape(const abi::Node& node, Op* op);
  bool read_pool(int code, const abi::Node& node, Op* op) const;
  const int32_t* margins_of(const abi::Node& node) const;
  bool read_pad(const abi::Node& node, Op* op);
  bool has_channels_alone_different(int a, int b) const;
  bool has_tensors(const abi::Node& node, int inputs);
  bool is_fixed(int index) const;
  Claim read_constant(Op* op);
  bool is_channel_vector(int index, abi::Type type, int channels) const;
  const abi::Tensor& tensor(int index) const { return context_->tensors[index]; }
  bool fail(const char* what);

  abi::Context* context_;
  bool was_claimed_ = false;
  bool claims_floats_, claims_float_products_, knows_constants_;
  Constants constants_;
  std::string error_;
};

bool is_constant(const abi::Tensor& tensor);

// Whether the tensor has `rank` dimensions of at least one, and holds as many bytes as they need,
// where it holds any.
bool is_sound(const abi::Tensor& tensor, int rank);

int64_t count_elements(const abi::Tensor& tensor);

// Whether two tensors have the same shape, from dimension `from` on.
bool same_shape(const abi::Tensor& a, const abi::Tensor& b, int from = 0);

int last_dim(const abi::Tensor& tensor);

bool is_window(const Window& window);
bool is_activation(int value);

// A tensor of int8, or of uint8, with one scale and one zero point.
bool is_int8(const abi::Tensor& tensor);
bool is_uint8(const abi::Tensor& tensor);

// Whether zero points are values of int8, so that no sum with them overflows; the axis of scales
// must be one of the tensor.
bool has_sound_quantization(const abi::Tensor& tensor);

// Whether a tensor holds int8 that stand for value * scale, with one scale, or one for each index of
// `axis`.
bool has_int8_weights(const abi::Tensor& filter, int axis);

}  // namespace bopkit
