// AVX-512 with VPOPCNTDQ: lanes are output channels, so that no sum crosses lanes; 6 pixels by 64
// channels in registers.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

namespace bopkit {
namespace {

bool is_supported() { return cpu_features().avx512; }

BOPKIT_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,fma")

#include "epilogue.inl.h"

inline uint32_t negative_mask(const Ints& lanes) { return _mm512_movepi32_mask((__m512i)lanes); }

inline Floats load_part(const float* from, int count) {
  return (Floats)_mm512_maskz_loadu_ps(static_cast<__mmask16>(0xffffu >> (kLanes - count)), from);
}

inline void store_part(const Floats& y, int count, float* to) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>(0xffffu >> (kLanes - count)), (__m512)y);
}

constexpr int kTilePixels = 6;

template <int pixels, int vectors>
void binary_tile(const BinaryGemmArgs& args) {
  __m512i sums[pixels][vectors] = {};
  const uint32_t* weights = args.panel;
  for (int run = 0; run < args.runs; ++run) {
    const uint32_t* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += 16 * vectors) {
      __m512i w[vectors];
      for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(weights + 16 * v);
      for (int p = 0; p < pixels; ++p) {
        const __m512i word = _mm512_set1_epi32(static_cast<int>(x[p][k]));
        for (int v = 0; v < vectors; ++v) {
          sums[p][v] =
              _mm512_add_epi32(sums[p][v], _mm512_popcnt_epi32(_mm512_xor_si512(w[v], word)));
        }
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < vectors; ++v) {
      _mm512_storeu_si512(args.sums + p * kPanel + 16 * v, sums[p][v]);
    }
  }
}

template <int pixels, int vectors>
void float_tile(const FloatGemmArgs& args) {
  __m512 sums[pixels][vectors] = {};
  const float* weights = args.panel;
  for (int run = 0; run < args.runs; ++run) {
    const float* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += 16 * vectors) {
      __m512 w[vectors];
      for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_ps(weights + 16 * v);
      for (int p = 0; p < pixels; ++p) {
        const __m512 value = _mm512_set1_ps(x[p][k]);
        for (int v = 0; v < vectors; ++v) sums[p][v] = _mm512_fmadd_ps(w[v], value, sums[p][v]);
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < vectors; ++v) _mm512_storeu_ps(args.sums + p * kPanel + 16 * v, sums[p][v]);
  }
}

#define BOPKIT_ROW(tile, pixels) \
  { tile<pixels, 1>, tile<pixels, 2>, tile<pixels, 3>, tile<pixels, 4> }
#define BOPKIT_TILES(tile)                                                              \
  {                                                                                     \
    BOPKIT_ROW(tile, 1), BOPKIT_ROW(tile, 2), BOPKIT_ROW(tile, 3), BOPKIT_ROW(tile, 4), \
        BOPKIT_ROW(tile, 5), BOPKIT_ROW(tile, 6)                                        \
  }

void binary_gemm(const BinaryGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels][4])(const BinaryGemmArgs&) =
      BOPKIT_TILES(binary_tile);
  kTiles[args.pixels - 1][(args.channels - 1) / 16](args);
}

void float_gemm(const FloatGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels][4])(const FloatGemmArgs&) = BOPKIT_TILES(float_tile);
  // Six sums of one vector each would wait for each other.
  static constexpr void (*kNarrowTiles[])(const FloatGemmArgs&) = {
      float_tile<7, 1>,  float_tile<8, 1>,  float_tile<9, 1>,
      float_tile<10, 1>, float_tile<11, 1>, float_tile<12, 1>};
  if (args.pixels > kTilePixels) return kNarrowTiles[args.pixels - kTilePixels - 1](args);
  kTiles[args.pixels - 1][(args.channels - 1) / 16](args);
}

BOPKIT_TARGET_END

}  // namespace

const Kernels kAvx512Kernels = {"avx512",
                                is_supported,
                                true,
                                {kTilePixels, kPanel, 16, false},
                                {kTilePixels, kPanel, 16, false, 2 * kTilePixels},
                                binary_gemm,
                                float_gemm,
                                integer_epilogue,
                                float_epilogue,
                                max_row,
                                add_row,
                                add_rows,
                                depthwise_row,
                                1500,
                                90};

}  // namespace bopkit

#endif
