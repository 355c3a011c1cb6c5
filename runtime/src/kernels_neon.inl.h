// NEON, included once for every AArch64 processor, once for those with SDOT and UDOT
// (BOPKIT_HAS_DOT), which sum four products in one instruction, and once for those that also have
// SMMLA (BOPKIT_HAS_I8MM), which sums eight products for each of two pixels by two channels. 4
// pixels by 16 channels in registers, or 6 of int8.

#include "epilogue.inl.h"
#include "exponential.inl.h"
#include "int8.inl.h"
#include "parts.inl.h"

inline uint32_t negative_mask(const Ints& lanes) {
  int32x4_t quarters[4];
  __builtin_memcpy(quarters, &lanes, sizeof quarters);
  const uint16x8_t low =
      vcombine_u16(vmovn_u32(vreinterpretq_u32_s32(vshrq_n_s32(quarters[0], 31))),
                   vmovn_u32(vreinterpretq_u32_s32(vshrq_n_s32(quarters[1], 31))));
  const uint16x8_t high =
      vcombine_u16(vmovn_u32(vreinterpretq_u32_s32(vshrq_n_s32(quarters[2], 31))),
                   vmovn_u32(vreinterpretq_u32_s32(vshrq_n_s32(quarters[3], 31))));
  static const uint16_t kBits[16] = {1,   2,   4,    8,    16,   32,   64,    128,
                                     256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return vaddvq_u16(
      vorrq_u16(vandq_u16(low, vld1q_u16(kBits)), vandq_u16(high, vld1q_u16(kBits + 8))));
}

inline Ints rounding_high_product(const Ints& a, const Ints& b) {
  int32x4_t x[4], y[4], products[4];
  __builtin_memcpy(x, &a, sizeof x);
  __builtin_memcpy(y, &b, sizeof y);
  for (int i = 0; i < 4; ++i) products[i] = vqrdmulhq_s32(x[i], y[i]);
  Ints product;
  __builtin_memcpy(&product, products, sizeof product);
  return product;
}

constexpr int kTilePixels = 4;
constexpr int kBlock = 16;

#ifdef BOPKIT_HAS_DOT
constexpr int kWordsOfBytes = 0;  // sums are integers from the start
#else
constexpr int kWordsOfBytes = 31;  // a word adds at most 8 to each byte of a sum
#endif

// Sums of a pixel and four channels.
struct Counter {
  uint32x4_t total = vdupq_n_u32(0);
#ifdef BOPKIT_HAS_DOT
  void add(uint8x16_t counts) { total = vdotq_u32(total, counts, vdupq_n_u8(1)); }
  void flush() {}
#else
  uint8x16_t bytes = vdupq_n_u8(0);
  void add(uint8x16_t counts) { bytes = vaddq_u8(bytes, counts); }
  void flush() {
    total = vpadalq_u16(total, vpaddlq_u8(bytes));
    bytes = vdupq_n_u8(0);
  }
#endif
};

template <int pixels>
void binary_block(const BinaryGemmArgs& args, const uint32_t* weights, int32_t* to) {
  Counter counters[pixels][4];
  int left = kWordsOfBytes;
  for (int run = 0; run < args.runs; ++run) {
    const uint32_t* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += kBlock) {
      uint32x4_t w[4];
      for (int v = 0; v < 4; ++v) w[v] = vld1q_u32(weights + 4 * v);
      for (int p = 0; p < pixels; ++p) {
        const uint32x4_t word = vld1q_dup_u32(x[p] + k);
        for (int v = 0; v < 4; ++v) {
          counters[p][v].add(vcntq_u8(vreinterpretq_u8_u32(veorq_u32(w[v], word))));
        }
      }
      if (--left == 0) {
        for (int p = 0; p < pixels; ++p) {
          for (int v = 0; v < 4; ++v) counters[p][v].flush();
        }
        left = kWordsOfBytes;
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < 4; ++v) {
      counters[p][v].flush();
      vst1q_s32(to + p * kPanel + 4 * v, vreinterpretq_s32_u32(counters[p][v].total));
    }
  }
}

inline void load_floats(const float* from, float32x4_t* to) {
  for (int v = 0; v < 4; ++v) to[v] = vld1q_f32(from + 4 * v);
}

inline void load_floats(const int8_t* from, float32x4_t* to) {
  const int8x16_t bytes = vld1q_s8(from);
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
  to[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
  to[1] = vcvtq_f32_s32(vmovl_high_s16(low));
  to[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
  to[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

template <int pixels, typename Weight>
void float_block(const GemmArgs<float, Weight, float>& args, const Weight* weights, float* to) {
  float32x4_t sums[pixels][4];
  for (auto& row : sums) {
    for (float32x4_t& sum : row) sum = vdupq_n_f32(0);
  }
  for (int run = 0; run < args.runs; ++run) {
    const float* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += kBlock) {
      float32x4_t w[4];
      load_floats(weights, w);
      for (int p = 0; p < pixels; ++p) {
        const float32x4_t value = vld1q_dup_f32(x[p] + k);
        for (int v = 0; v < 4; ++v) sums[p][v] = vfmaq_f32(sums[p][v], w[v], value);
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < 4; ++v) vst1q_f32(to + p * kPanel + 4 * v, sums[p][v]);
  }
}

inline int8x16_t four_times(const int8_t* four) {
  int32_t word;
  __builtin_memcpy(&word, four, sizeof word);
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

#if defined(BOPKIT_HAS_I8MM)

constexpr int kInt8TilePixels = 6;
constexpr int kInt8Depth = 8;

template <int pixels>
void int8_block(const Int8GemmArgs& args, const int8_t* weights, int32_t* to) {
  constexpr int kPairs = (pixels + 1) / 2;
  int32x4_t sums[kPairs][8];  // of two pixels by two channels
  for (auto& row : sums) {
    for (int32x4_t& sum : row) sum = vdupq_n_s32(0);
  }
  for (int run = 0; run < args.runs; ++run) {
    const int8_t* x[2 * kPairs];
    for (int p = 0; p < 2 * kPairs; ++p) {
      x[p] = args.patch[p < pixels ? p : pixels - 1] + args.run_offset[run];
    }
    for (int k = 0; k < args.run_length; k += 8, weights += 8 * kBlock) {
      int8x16_t pair[kPairs];
      for (int p = 0; p < kPairs; ++p) {
        pair[p] = vcombine_s8(vld1_s8(x[2 * p] + k), vld1_s8(x[2 * p + 1] + k));
      }
      for (int v = 0; v < 8; ++v) {
        const int8x16_t w = vld1q_s8(weights + 16 * v);
        for (int p = 0; p < kPairs; ++p) sums[p][v] = vmmlaq_s32(sums[p][v], pair[p], w);
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < 4; ++v) {
      const int32x4_t first = sums[p / 2][2 * v], second = sums[p / 2][2 * v + 1];
      vst1q_s32(to + p * kPanel + 4 * v,
                p % 2 == 0 ? vcombine_s32(vget_low_s32(first), vget_low_s32(second))
                           : vcombine_s32(vget_high_s32(first), vget_high_s32(second)));
    }
  }
}

#elif defined(BOPKIT_HAS_DOT)

constexpr int kInt8TilePixels = 6;
constexpr int kInt8Depth = 4;

template <int pixels, int lane>
inline void add_products(const int8_t* weights, const int8x16_t* x, int32x4_t (*sums)[4]) {
  for (int v = 0; v < 4; ++v) {
    const int8x16_t w = vld1q_s8(weights + 16 * v);
    for (int p = 0; p < pixels; ++p) sums[p][v] = vdotq_laneq_s32(sums[p][v], w, x[p], lane);
  }
}

template <int pixels>
void int8_block(const Int8GemmArgs& args, const int8_t* weights, int32_t* to) {
  int32x4_t sums[pixels][4];
  for (auto& row : sums) {
    for (int32x4_t& sum : row) sum = vdupq_n_s32(0);
  }
  for (int run = 0; run < args.runs; ++run) {
    const int8_t* from[pixels];
    for (int p = 0; p < pixels; ++p) from[p] = args.patch[p] + args.run_offset[run];
    int8x16_t x[pixels];
    int k = 0;
    for (; k + 12 < args.run_length; k += 16, weights += 16 * kBlock) {
      for (int p = 0; p < pixels; ++p) x[p] = vld1q_s8(from[p] + k);
      add_products<pixels, 0>(weights, x, sums);
      add_products<pixels, 1>(weights + 4 * kBlock, x, sums);
      add_products<pixels, 2>(weights + 8 * kBlock, x, sums);
      add_products<pixels, 3>(weights + 12 * kBlock, x, sums);
    }
    for (; k < args.run_length; k += 4, weights += 4 * kBlock) {
      for (int p = 0; p < pixels; ++p) x[p] = four_times(from[p] + k);
      add_products<pixels, 0>(weights, x, sums);
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < 4; ++v) vst1q_s32(to + p * kPanel + 4 * v, sums[p][v]);
  }
}

#else

constexpr int kInt8TilePixels = 2;
constexpr int kInt8Depth = 4;

// Two products of int8 fit into an int16: no weight is -128.
template <int pixels>
void int8_block(const Int8GemmArgs& args, const int8_t* weights, int32_t* to) {
  int32x4_t sums[pixels][8];  // of two channels, each in two parts
  for (auto& row : sums) {
    for (int32x4_t& sum : row) sum = vdupq_n_s32(0);
  }
  const auto add = [&](const int8x8_t* x, const int8x8_t* next) {
    for (int v = 0; v < 8; ++v) {
      const int8x8_t w = vld1_s8(weights + 8 * v);
      for (int p = 0; p < pixels; ++p) {
        int16x8_t products = vmull_s8(w, x[p]);
        if (next != nullptr) {
          products = vmlal_s8(products, vld1_s8(weights + 4 * kBlock + 8 * v), next[p]);
        }
        sums[p][v] = vpadalq_s16(sums[p][v], products);
      }
    }
  };
  for (int run = 0; run < args.runs; ++run) {
    const int8_t* from[pixels];
    for (int p = 0; p < pixels; ++p) from[p] = args.patch[p] + args.run_offset[run];
    int8x8_t x[pixels], next[pixels];
    int k = 0;
    for (; k + 4 < args.run_length; k += 8, weights += 8 * kBlock) {
      for (int p = 0; p < pixels; ++p) {
        x[p] = vget_low_s8(four_times(from[p] + k));
        next[p] = vget_low_s8(four_times(from[p] + k + 4));
      }
      add(x, next);
    }
    for (; k < args.run_length; k += 4, weights += 4 * kBlock) {
      for (int p = 0; p < pixels; ++p) x[p] = vget_low_s8(four_times(from[p] + k));
      add(x, nullptr);
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < 4; ++v) {
      vst1q_s32(to + p * kPanel + 4 * v, vpaddq_s32(sums[p][2 * v], sums[p][2 * v + 1]));
    }
  }
}

#endif

// Calls a block's function for each block of the panel, of `run_length` elements a run; then ends the
// tile.
template <typename Args, typename Weight, typename Sum, int kTile>
inline void for_blocks(const Args& args, int run_length,
                       void (*const (&tiles)[kTile])(const Args&, const Weight*, Sum*)) {
  const ptrdiff_t stride = static_cast<ptrdiff_t>(args.runs) * run_length * kBlock;
  for (int i = 0; i * kBlock < args.channels; ++i) {
    tiles[args.pixels - 1](args, args.panel + i * stride, args.sums + i * kBlock);
  }
  end_tile(args);
}

void binary_gemm(const BinaryGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels])(const BinaryGemmArgs&, const uint32_t*, int32_t*) = {
      binary_block<1>, binary_block<2>, binary_block<3>, binary_block<4>};
  for_blocks(args, args.run_length, kTiles);
}

template <typename Weight>
void gemm_of_floats(const GemmArgs<float, Weight, float>& args) {
  static constexpr void (*kTiles[kTilePixels])(const GemmArgs<float, Weight, float>&, const Weight*,
                                               float*) = {
      float_block<1, Weight>, float_block<2, Weight>, float_block<3, Weight>,
      float_block<4, Weight>};
  for_blocks(args, args.run_length, kTiles);
}

void float_gemm(const FloatGemmArgs& args) { gemm_of_floats(args); }
void mixed_gemm(const MixedGemmArgs& args) { gemm_of_floats(args); }

void int8_gemm(const Int8GemmArgs& args) {
#if defined(BOPKIT_HAS_DOT)
  static constexpr void (*kTiles[kInt8TilePixels])(const Int8GemmArgs&, const int8_t*, int32_t*) = {
      int8_block<1>, int8_block<2>, int8_block<3>, int8_block<4>, int8_block<5>, int8_block<6>};
#else
  static constexpr void (*kTiles[kInt8TilePixels])(const Int8GemmArgs&, const int8_t*, int32_t*) = {
      int8_block<1>, int8_block<2>};
#endif
  for_blocks(args, (args.run_length + kInt8Depth - 1) / kInt8Depth * kInt8Depth, kTiles);
}

constexpr Kernels::Packing kPacking = {kTilePixels, kBlock, kBlock};
constexpr Kernels::Packing kInt8Packing = {kInt8TilePixels, kBlock, kBlock, false, 0, kInt8Depth};
