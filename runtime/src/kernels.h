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

// What a micro-kernel multiplies. A patch is what one output pixel reads: `runs` runs of
// `run_length` elements, a run beginning at `run_offset[i]` from the patch's first. Pointers and
// offsets are the indirection buffer, in place of im2col. `Element` is a word of 32 bit-packed
// numbers, or a float.
template <typename Element, typename Sum>
struct GemmArgs {
  int pixels;  // of the tile: 1 to Packing::tile_pixels
  const Element* const* patch;
  const int32_t* run_offset;
  int runs;
  int run_length;
  const Element* panel;  // packed weights of up to kPanel channels
  int channels;          // 1 to kPanel
  Sum* sums;             // [pixels][kPanel]: written up to the next multiple of 16 channels
};

using BinaryGemmArgs = GemmArgs<uint32_t, int32_t>;  // sums: number of bits that differ
using FloatGemmArgs = GemmArgs<float, float>;        // sums: of products

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

// How sums become results. Vectors have one value a channel and are padded to kPanel.
struct Epilogue {
  // Of integer sums: y = float(clamp(2 * sum + correction)) * multiplier + bias, each rounded to
  // float32 as LCE does. Of float sums: y = sum + bias, where there is a bias.
  bool has_clamp = false;
  int32_t clamp_min = 0, clamp_max = 0;
  const float* multiplier = nullptr;
  const float* bias = nullptr;
  // Of integer sums whose sign alone is wanted: negative where 2 * sum + correction exceeds it.
  const int32_t* threshold = nullptr;
  const EpilogueOp* ops = nullptr;
  int op_count = 0;
};

// Where the results of one pixel go, and the tensors that join them; each points at the row's first
// channel of this panel.
struct Row {
  float* floats = nullptr;
  float* stored = nullptr;   // for EpilogueOpKind::kStore
  uint32_t* bits = nullptr;  // bit-packed, whole words: bits behind the last channel are zero
  int8_t* bytes = nullptr;
  const float* operands[kMaxOperands] = {};
};

// The micro-kernels of one instruction set.
struct Kernels {
  const char* name;
  bool (*is_supported)();
  bool has_fast_floats;  // whether float products are worth claiming

  // How a panel is packed: in blocks of channels that lie side by side; see `Conv::pack`. A block
  // that is the whole panel is as wide as its channels need, rounded up to the granule.
  struct Packing {
    int tile_pixels;  // of one call, at most
    int block, granule;
    bool is_byte_wise;  // of a word, the first byte of each channel comes first, then the second
    int narrow_tile_pixels = 0;  // of a call with up to 16 channels, where that is another number
  };
  Packing binary, floats;

  // A tile and the epilogue of its rows, all vectors of which begin at the tile's first channel. A
  // correction may be null. What is left in `args.sums` is undefined.
  void (*binary_rows)(const BinaryGemmArgs& args, const Epilogue& epilogue,
                      const int32_t* const* corrections, const Row* rows);
  void (*float_rows)(const FloatGemmArgs& args, const Epilogue& epilogue, const Row* rows);
  // The epilogue of rows of any number of channels and pixels, floats that lie `stride` apart.
  void (*float_epilogue)(const Epilogue& epilogue, const float* sums, int64_t stride, int channels,
                         const Row* rows, int pixels);
  // Rows of any number of channels.
  void (*max_row)(float* max, const float* row, int channels);
  void (*add_row)(float* sum, const float* row, int channels);
  // Adds `count` rows, `stride` apart, one after the other.
  void (*add_rows)(float* sum, const float* rows, int64_t stride, int count, int channels);
  // to = the sum of rows[i] * weights[i], one after the other.
  void (*depthwise_row)(float* to, const float* const* rows, const float* const* weights, int taps,
                        int channels);
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels;
#endif
#if defined(__aarch64__)
extern const Kernels kNeonKernels, kNeonDotKernels;
#endif

// All kernels that this library holds, the fastest first; null at the end.
extern const Kernels* const kAllKernels[];

}  // namespace bopkit
