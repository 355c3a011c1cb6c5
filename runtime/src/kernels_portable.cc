// Plain C++, for any processor. Signs are counted as compilers can turn into any vectors: in bytes
// of 16 channels side by side.
#include <cstddef>

#include "kernels.h"

namespace bopkit {
namespace {

bool is_supported() { return true; }

#include "epilogue.inl.h"
#include "parts.inl.h"

inline uint32_t negative_mask(const Ints& lanes) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(lanes[i]) >> 31 << i;
  return mask;
}

constexpr int kTilePixels = 2;
constexpr int kBlock = 16;

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

template <int pixels>
void float_block(const FloatGemmArgs& args, const float* weights, float* sums) {
  Floats totals[pixels] = {};
  for (int run = 0; run < args.runs; ++run) {
    for (int k = 0; k < args.run_length; ++k, weights += kBlock) {
      const Floats w = load(weights);
      for (int p = 0; p < pixels; ++p) totals[p] += w * args.patch[p][args.run_offset[run] + k];
    }
  }
  for (int p = 0; p < pixels; ++p) {
    __builtin_memcpy(sums + p * kPanel, &totals[p], sizeof totals[p]);
  }
}

// Calls a block's function for each block of the panel.
#define BOPKIT_FOR_BLOCKS(block, args)                                                   \
  const auto tile = args.pixels == 1 ? block<1> : block<2>;                              \
  const ptrdiff_t stride = static_cast<ptrdiff_t>(args.runs) * args.run_length * kBlock; \
  for (int i = 0; i * kBlock < args.channels; ++i)                                       \
  tile(args, args.panel + i * stride, args.sums + i * kBlock)

void binary_gemm(const BinaryGemmArgs& args) { BOPKIT_FOR_BLOCKS(binary_block, args); }

void float_gemm(const FloatGemmArgs& args) { BOPKIT_FOR_BLOCKS(float_block, args); }

void binary_rows(const BinaryGemmArgs& args, const Epilogue& epilogue,
                 const int32_t* const* corrections, const Row* rows) {
  binary_gemm(args);
  integer_epilogue(epilogue, args.sums, corrections, args.channels, rows, args.pixels);
}

void float_rows(const FloatGemmArgs& args, const Epilogue& epilogue, const Row* rows) {
  float_gemm(args);
  float_epilogue(epilogue, args.sums, kPanel, args.channels, rows, args.pixels);
}

}  // namespace

const Kernels kPortableKernels = {"portable",
                                  is_supported,
                                  false,
                                  {kTilePixels, kBlock, kBlock, false},
                                  {kTilePixels, kBlock, kBlock, false},
                                  binary_rows,
                                  float_rows,
                                  float_epilogue,
                                  max_row,
                                  add_row,
                                  add_rows,
                                  depthwise_row};

const Kernels* const kAllKernels[] = {
#if defined(__x86_64__)
    &kAvx512Kernels,   &kAvx2Kernels,
#endif
#if defined(__aarch64__)
    &kNeonDotKernels,  &kNeonKernels,
#endif
    &kPortableKernels, nullptr};

}  // namespace bopkit
