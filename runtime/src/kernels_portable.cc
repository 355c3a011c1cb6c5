// Plain C++, for any processor. Signs are counted as compilers can turn into any vectors: in bytes
// of 16 channels side by side.
#include <cstddef>

#include "kernels.h"

namespace bopkit {
namespace {

bool is_supported() { return true; }

#include "epilogue.inl.h"
#include "exponential.inl.h"
#include "int8.inl.h"
#include "parts.inl.h"

inline uint32_t negative_mask(const Ints& lanes) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(lanes[i]) >> 31 << i;
  return mask;
}

inline Ints rounding_high_product(const Ints& a, const Ints& b) {
  Ints product;
  for (int i = 0; i < kLanes; ++i) {
    product[i] = static_cast<int32_t>((int64_t{a[i]} * b[i] + (int64_t{1} << 30)) >> 31);
  }
  return product;
}

constexpr int kTilePixels = 2;
constexpr int kBlock = 16;
constexpr Kernels::Packing kPacking = {kTilePixels, kBlock, kBlock};

// A byte counts to 255, and a word adds at most 8 to each of its bytes.
constexpr int kWordsOfBytes = 31;

typedef uint32_t Words __attribute__((vector_size(64)));

// Ones of each byte.
inline Words count_bytes(Words x) {
  x = x - ((x >> 1) & 0x55555555u);
  x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
  return (x + (x >> 4)) & 0x0f0f0f0fu;
}

inline Words sum_bytes(Words x) {
  x = (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
  return (x & 0xffffu) + (x >> 16);
}

template <int pixels>
void binary_block(const BinaryGemmArgs& args, const uint32_t* weights, int32_t* sums) {
  Words totals[pixels] = {}, bytes[pixels] = {};
  int left = kWordsOfBytes;
  for (int run = 0; run < args.runs; ++run) {
    for (int k = 0; k < args.run_length; ++k, weights += kBlock) {
      Words w;
      __builtin_memcpy(&w, weights, sizeof w);
      for (int p = 0; p < pixels; ++p) {
        bytes[p] += count_bytes(w ^ args.patch[p][args.run_offset[run] + k]);
      }
      if (--left == 0) {
        for (int p = 0; p < pixels; ++p) {
          totals[p] += sum_bytes(bytes[p]);
          bytes[p] = Words{};
        }
        left = kWordsOfBytes;
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    totals[p] += sum_bytes(bytes[p]);
    __builtin_memcpy(sums + p * kPanel, &totals[p], sizeof totals[p]);
  }
}

inline Bytes load(const int8_t* from) {
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

inline Floats load_floats(const float* from) { return load(from); }
inline Floats load_floats(const int8_t* from) {
  return __builtin_convertvector(load(from), Floats);
}

template <int pixels, typename Weight>
void float_block(const GemmArgs<float, Weight, float>& args, const Weight* weights, float* sums) {
  Floats totals[pixels] = {};
  for (int run = 0; run < args.runs; ++run) {
    for (int k = 0; k < args.run_length; ++k, weights += kBlock) {
      const Floats w = load_floats(weights);
      for (int p = 0; p < pixels; ++p) totals[p] += w * args.patch[p][args.run_offset[run] + k];
    }
  }
  for (int p = 0; p < pixels; ++p) {
    __builtin_memcpy(sums + p * kPanel, &totals[p], sizeof totals[p]);
  }
}

typedef int16_t Shorts __attribute__((vector_size(32)));

inline Shorts load_shorts(const int8_t* from) {
  return __builtin_convertvector(load(from), Shorts);
}

// Two products of int8 fit into an int16, as no weight is -128: SSE2 has no products of int32.
template <int pixels>
void int8_block(const Int8GemmArgs& args, const int8_t* weights, int32_t* sums) {
  Ints totals[pixels] = {};
  for (int run = 0; run < args.runs; ++run) {
    int k = 0;
    for (; k + 2 <= args.run_length; k += 2, weights += 2 * kBlock) {
      const Shorts w = load_shorts(weights), next_w = load_shorts(weights + kBlock);
      for (int p = 0; p < pixels; ++p) {
        const int8_t* x = args.patch[p] + args.run_offset[run] + k;
        totals[p] += __builtin_convertvector(w * int16_t{x[0]} + next_w * int16_t{x[1]}, Ints);
      }
    }
    for (; k < args.run_length; ++k, weights += kBlock) {
      const Shorts w = load_shorts(weights);
      for (int p = 0; p < pixels; ++p) {
        const int16_t x = args.patch[p][args.run_offset[run] + k];
        totals[p] += __builtin_convertvector(w * x, Ints);
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    __builtin_memcpy(sums + p * kPanel, &totals[p], sizeof totals[p]);
  }
}

// Calls a block's function for each block of the panel; then ends the tile.
template <typename Args, typename Weight, typename Sum>
inline void for_blocks(const Args& args, void (*one)(const Args&, const Weight*, Sum*),
                       void (*two)(const Args&, const Weight*, Sum*)) {
  const ptrdiff_t stride = static_cast<ptrdiff_t>(args.runs) * args.run_length * kBlock;
  for (int i = 0; i * kBlock < args.channels; ++i) {
    (args.pixels == 1 ? one : two)(args, args.panel + i * stride, args.sums + i * kBlock);
  }
  end_tile(args);
}

void binary_gemm(const BinaryGemmArgs& args) { for_blocks(args, binary_block<1>, binary_block<2>); }

void float_gemm(const FloatGemmArgs& args) {
  for_blocks(args, float_block<1, float>, float_block<2, float>);
}

void mixed_gemm(const MixedGemmArgs& args) {
  for_blocks(args, float_block<1, int8_t>, float_block<2, int8_t>);
}

void int8_gemm(const Int8GemmArgs& args) { for_blocks(args, int8_block<1>, int8_block<2>); }

}  // namespace

const Kernels kPortableKernels = {"portable",
                                  is_supported,
                                  false,
                                  kPacking,
                                  kPacking,
                                  kPacking,
                                  0,
                                  binary_gemm,
                                  float_gemm,
                                  mixed_gemm,
                                  int8_gemm,
                                  integer_epilogue,
                                  float_epilogue,
                                  BOPKIT_COMMON_KERNELS(),
                                  depthwise_rows_by<kMany, FloatDepthwiseArgs>,
                                  depthwise_rows_by<kMany, Int8DepthwiseArgs>,
                                  120,
                                  8,
                                  10};

const Kernels* const kAllKernels[] = {
#if defined(__x86_64__)
    &kAvx512Kernels,   &kAvx2Kernels,
#endif
#if defined(__aarch64__)
    &kNeonI8mmKernels, &kNeonDotKernels, &kNeonKernels,
#endif
    &kPortableKernels, nullptr};

}  // namespace bopkit
