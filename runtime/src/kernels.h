// The micro-kernels, once for each instruction set, and what they take. They know neither steps nor
// LiteRT: numbers and pointers only.
#pragma once

#include <cstdint>

namespace bopkit {

// A panel: output channels that a micro-kernel computes at a time, in lanes of its vectors. A
// multiple of 32, so that the bits of a panel fill whole words.
inline constexpr int kPanel = 64;

// A tile: the pixels by channels that a micro-kernel computes at a time. No tile has more pixels.
inline constexpr int kMaxTilePixels = 12;

inline constexpr int kMaxEpilogueOps = 12;  // of one step
inline constexpr int kMaxOperands = 2;      // tensors that join one step

// What happens to a row of results before it is stored, in the order of the network.
enum class EpilogueOpKind : uint8_t {
  kAddOperand,           // y + t, t a tensor of the same shape
  kSubtractOperand,      // y - t
  kSubtractFromOperand,  // t - y
  kMultiplyOperand,      // y * t
  kAddVector,            // y + v, v one value a channel
  kSubtractVector,       // y - v
  kSubtractFromVector,   // v - y
  kMultiplyVector,       // y * v
  kMaximumVector,        // the larger of y and v
  kPReluVector,          // y * v where y is negative
  kStore,                // y is stored as it is now, and goes on
  kRelu,
  kReluN1To1,
  kRelu6,
};

struct EpilogueOp {
  EpilogueOpKind kind;
  int operand;          // index of the operand tensor
  const float* vector;  // [channels, padded to kPanel]
};

// How sums of int8 products become int8, as LiteRT's reference kernels do it: x = (sum + bias) <<
// left_shift; then twice the upper half of x * multiplier, rounded; then >> right_shift, rounded
// half away from zero; then + zero_point; then clamped. Vectors as those of Epilogue.
struct Requantization {
  const int32_t* bias = nullptr;
  const int32_t* multiplier = nullptr;
  const int32_t *left_shift = nullptr, *right_shift = nullptr;
  int32_t zero_point = 0, min = 0, max = 0;
  float scale = 1;  // of the float32 that the result stands for: (y - zero_point) * scale
  // Where it is not null: (sum + bias) * factor in double precision, rounded half away from zero, in
  // place of the multiplication by integers.
  const double* factor = nullptr;
  // Without a factor: the result is below the zero point where a sum, without its bias, is below this.
  const int32_t* least_not_negative = nullptr;

  bool stands_for(float scale_of_it, int32_t zero_point_of_it) const {
    return scale == scale_of_it && zero_point == zero_point_of_it;
  }
};

// x times a real factor, as LiteRT's reference kernels compute it: x << left_shift; then twice the
// upper half of x * multiplier, rounded; then >> right_shift, rounded half away from zero.
struct Rescaling {
  int32_t multiplier = 0;
  int left_shift = 0, right_shift = 0;
};

// A sum or a product of two int8 of any scale, as LiteRT's reference kernels compute it. Its terms
// are the numbers without their zero points; those of a sum are shifted to the left by
// kInt8SumShift and rescaled first.
struct Int8Arithmetic {
  int32_t zero_points[2] = {};
  Rescaling terms[2], result;
  int32_t zero_point = 0, min = 0, max = 0;  // of the result
};
inline constexpr int kInt8SumShift = 20;

// How sums become results. Vectors have one value a channel and are padded to kPanel.
struct Epilogue {
  // Of integer sums: y = float(clamp(2 * sum + correction)) * multiplier + bias, each rounded to
  // float32 as LCE does. Of float sums: y = sum * multiplier + bias, where there are such.
  bool has_clamp = false;
  int32_t clamp_min = 0, clamp_max = 0;
  const float* multiplier = nullptr;
  const float* bias = nullptr;
  // Of integer sums whose sign alone is wanted: negative where 2 * sum + correction exceeds it.
  const int32_t* threshold = nullptr;
  // Of integer sums of int8 products: y is the float32 that the int8 stands for, unless that itself
  // is what Row::bytes gets.
  bool is_requantized = false, stores_int8_sums = false;
  Requantization requantization;
  // Row::bytes gets y / byte_scale, rounded half away from zero, + byte_zero_point.
  float byte_scale = 1;
  int32_t byte_zero_point = 0;
  const EpilogueOp* ops = nullptr;
  int op_count = 0;
};

// Where the results of one pixel go, and the tensors that join them; each points at the row's first
// channel of this panel, or is null. Without initial values: a step has arrays of them.
struct Row {
  float* floats;
  float* stored;   // for EpilogueOpKind::kStore
  uint32_t* bits;  // bit-packed, whole words: bits behind the last channel are zero
  int8_t* bytes;
  const float* operands[kMaxOperands];
};

// What a micro-kernel multiplies. A patch is what one output pixel reads: `runs` runs of
// `run_length` elements, a run beginning at `run_offset[i]` from the patch's first. Pointers and
// offsets are the indirection buffer, in place of im2col. `Element` is a word of 32 bit-packed
// numbers, a float or an int8.
template <typename Element, typename Weight, typename Sum>
struct GemmArgs {
  int pixels;  // of the tile: 1 to Packing::tile_pixels
  const Element* const* patch;
  const int32_t* run_offset;
  int runs;
  int run_length;
  // With Packing::joins_tails runs may be one element longer, their tail. The tails of so many runs are
  // side by side behind all runs, filled up to a multiple of Packing::depth.
  int tails;
  const Weight* panel;  // packed weights of up to kPanel channels
  int channels;         // 1 to kPanel
  Sum* sums;            // [pixels][kPanel]: written up to the next multiple of 16 channels
  // With rows, one a pixel, their epilogue follows, and what `sums` holds then is undefined. All
  // vectors begin at the rows' first channel. Of integers only are there corrections, each of which
  // may be null.
  const Row* rows = nullptr;
  const Epilogue* epilogue = nullptr;
  const int32_t* const* corrections = nullptr;
};

using BinaryGemmArgs = GemmArgs<uint32_t, uint32_t, int32_t>;  // sums: number of bits that differ
using FloatGemmArgs = GemmArgs<float, float, float>;           // sums: of products
using MixedGemmArgs = GemmArgs<float, int8_t, float>;          // the same, of weights without scale
// Sums: of products of (x + Kernels::int8_offset) and a weight, which is never -128.
using Int8GemmArgs = GemmArgs<int8_t, int8_t, int32_t>;

// Of each of `pixels` pixels p and of `channels` channels: to + p * to_step = the sum of
// (rows[i] + p * step - zero_point) * weights[i], one after the other, and the bias last. Rows, weights and
// bias begin `first` channels earlier. Of floats there is no zero point; of int8 no bias, and sums are
// written up to the next multiple of 16 channels.
template <typename Element, typename Sum>
struct DepthwiseArgs {
  Sum* to;
  int64_t to_step;
  const Element* const* rows;
  const Element* const* weights;
  int taps;
  int64_t step;
  int pixels, first, channels;
  int32_t zero_point = 0;
  const float* bias = nullptr;  // padded to kPanel; may be null
};

using FloatDepthwiseArgs = DepthwiseArgs<float, float>;
using Int8DepthwiseArgs = DepthwiseArgs<int8_t, int32_t>;

// The micro-kernels of one instruction set.
struct Kernels {
  const char* name;
  bool (*is_supported)();
  bool has_fast_floats;  // whether float products are worth claiming

  // How a panel is packed: in blocks of channels that lie side by side; see `Conv::pack`. A block
  // that is the whole panel is as wide as its channels need, rounded up to the granule; a panel of
  // smaller blocks has whole ones, and a multiple of the granule.
  struct Packing {
    int tile_pixels;  // of one call, at most
    int block, granule;
    bool is_byte_wise = false;   // of a word, the first byte of each channel first, then the second
    int narrow_tile_pixels = 0;  // of a call with up to 16 channels, where that is another number
    int depth = 1;               // elements of a channel that lie side by side
    bool is_one_run = false;     // a patch is one run, whose parts the micro-kernel gathers itself
    int pixel_step = 1;          // a call of a multiple wastes nothing; tile_pixels is one
    // Where it is not null, binary patches and weights are words 0 to k, joined by exclusive or, in
    // place of each word k. Of weights it is the complement where k % 4 is 1. The number of words is
    // made even. The function does so with any number of pixels' patches, to be `pitch` apart; those
    // it makes are the patches of calls.
    void (*gather_prefixes)(const BinaryGemmArgs& args, int64_t pitch, uint32_t* to) = nullptr;
    bool joins_tails = false;  // see GemmArgs::tails
  };
  Packing binary, floats, int8;
  int int8_offset;  // what the micro-kernel adds to each int8 that it multiplies

  void (*binary_gemm)(const BinaryGemmArgs&);
  void (*float_gemm)(const FloatGemmArgs&);
  void (*mixed_gemm)(const MixedGemmArgs&);  // packed as floats are
  void (*int8_gemm)(const Int8GemmArgs&);
  // Rows of 1 to kPanel channels, one a pixel, `sums` kPanel apart; all vectors begin at the rows'
  // first channel. A correction may be null.
  void (*integer_epilogue)(const Epilogue& epilogue, const int32_t* sums,
                           const int32_t* const* corrections, int channels, const Row* rows,
                           int pixels);
  // The same of rows of any number of channels and pixels, floats that lie `stride` apart.
  void (*float_epilogue)(const Epilogue& epilogue, const float* sums, int64_t stride, int channels,
                         const Row* rows, int pixels);
  // to = (from - zero_point) * scale.
  void (*dequantize_int8)(const int8_t* from, int64_t count, int32_t zero_point, float scale,
                          float* to);
  void (*dequantize_uint8)(const uint8_t* from, int64_t count, int32_t zero_point, float scale,
                           float* to);
  void (*add_int8)(const Int8Arithmetic& by, const int8_t* a, const int8_t* b, int64_t count,
                   int8_t* to);
  void (*multiply_int8)(const Int8Arithmetic& by, const int8_t* a, const int8_t* b, int64_t count,
                        int8_t* to);
  // The largest of rows of any number of channels, but not below `min` nor above `max`.
  void (*max_of_int8)(int8_t* to, const int8_t* const* rows, int count, int channels, int8_t min,
                      int8_t max);
  // Bit-packs a pixel: what is below the zero point is negative.
  void (*pack_int8_signs)(const int8_t* from, int channels, int32_t zero_point, uint32_t* to);
  // The largest, and the mean, of rows of any number of channels.
  void (*max_of)(float* to, const float* const* rows, int count, int channels);
  void (*mean_of)(float* to, const float* const* rows, int count, int channels);
  // The largest of rows[i] + p * step, of each pixel and of at most kPanel channels; `to` is
  // [pixels][kPanel]. Rows are read and written up to the next multiple of 16 channels.
  void (*max_of_int32)(int32_t* to, const int32_t* const* rows, int count, int64_t step, int pixels,
                       int channels);
  // Adds `count` rows, `stride` apart, one after the other.
  void (*add_rows)(float* sum, const float* rows, int64_t stride, int count, int channels);
  // 1 / (1 + e^-x), and e^(beta * x) divided by the sum of all of them.
  void (*logistic)(const float* from, int count, float* to);
  void (*softmax)(const float* from, int count, float beta, float* to);
  void (*depthwise_rows)(const FloatDepthwiseArgs&);
  void (*depthwise_int8_rows)(const Int8DepthwiseArgs&);
  // Multiply-accumulates of one core in a nanosecond, roughly, to tell what threads should share.
  double binary_macs_per_ns, float_macs_per_ns, int8_macs_per_ns;
};

// Those of Kernels, in their order, that every instruction set has from the same headers, in `scope`.
#define BOPKIT_COMMON_KERNELS(scope)                                                             \
  scope dequantize_int8, scope dequantize_uint8, scope add_int8, scope multiply_int8,            \
      scope max_of_int8, scope pack_int8_signs, scope max_of, scope mean_of, scope max_of_int32, \
      scope add_rows, scope logistic, scope softmax

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels;
#endif
#if defined(__aarch64__)
extern const Kernels kNeonKernels, kNeonDotKernels, kNeonI8mmKernels;
#endif

// All kernels that this library holds, the fastest first; null at the end.
extern const Kernels* const kAllKernels[];

}  // namespace bopkit
