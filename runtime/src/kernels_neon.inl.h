// NEON, included once for every AArch64 processor and once for those with UDOT (BOPKIT_HAS_DOT),
// which sums the counts of four bytes in the instruction that ARMv8.0 needs to add them up as
// bytes. 4 pixels by 16 channels in registers.

#include "epilogue.inl.h"
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

template <int pixels>
void float_block(const FloatGemmArgs& args, const float* weights, float* to) {
  float32x4_t sums[pixels][4];
  for (auto& row : sums) {
    for (float32x4_t& sum : row) sum = vdupq_n_f32(0);
  }
  for (int run = 0; run < args.runs; ++run) {
    const float* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += kBlock) {
      float32x4_t w[4];
      for (int v = 0; v < 4; ++v) w[v] = vld1q_f32(weights + 4 * v);
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

// Calls a block's function for each block of the panel.
template <typename Args, typename Element, typename Sum>
inline void for_blocks(const Args& args,
                       void (*const (&tiles)[kTilePixels])(const Args&, const Element*, Sum*)) {
  const ptrdiff_t stride = static_cast<ptrdiff_t>(args.runs) * args.run_length * kBlock;
  for (int i = 0; i * kBlock < args.channels; ++i) {
    tiles[args.pixels - 1](args, args.panel + i * stride, args.sums + i * kBlock);
  }
}

void binary_gemm(const BinaryGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels])(const BinaryGemmArgs&, const uint32_t*, int32_t*) = {
      binary_block<1>, binary_block<2>, binary_block<3>, binary_block<4>};
  for_blocks(args, kTiles);
}

void float_gemm(const FloatGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels])(const FloatGemmArgs&, const float*, float*) = {
      float_block<1>, float_block<2>, float_block<3>, float_block<4>};
  for_blocks(args, kTiles);
}

void binary_rows(const BinaryGemmArgs& args, const Epilogue& epilogue,
                 const int32_t* const* corrections, const Row* rows) {
  binary_gemm(args);
  integer_epilogue(epilogue, args.sums, corrections, args.channels, rows, args.pixels);
}

void float_rows(const FloatGemmArgs& args, const Epilogue& epilogue, const Row* rows) {
  float_gemm(args);
  float_epilogue(epilogue, args.sums, kPanel, args.channels, rows, args.pixels);
}

constexpr Kernels::Packing kPacking = {kTilePixels, kBlock, kBlock, false};
