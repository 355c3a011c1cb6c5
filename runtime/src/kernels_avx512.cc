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
using BinarySums = __m512i[pixels][vectors];

template <int pixels, int vectors>
__attribute__((always_inline)) inline void count_differing_bits(const BinaryGemmArgs& args,
                                                                BinarySums<pixels, vectors>& sums) {
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
}

template <int pixels, int vectors>
void binary_tile(const BinaryGemmArgs& args) {
  BinarySums<pixels, vectors> sums = {};
  count_differing_bits<pixels, vectors>(args, sums);
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < vectors; ++v) {
      _mm512_storeu_si512(args.sums + p * kPanel + 16 * v, sums[p][v]);
    }
  }
}

// The tile, and its plain epilogue while the sums are in registers: through memory it takes as long
// as half of the tile itself, where that has 64 channels of input. All loops have to be unrolled.
template <int pixels, int vectors>
void binary_tile_to_rows(const BinaryGemmArgs& args, const Epilogue& epilogue,
                         const int32_t* const* corrections, const Row* rows) {
  BinarySums<pixels, vectors> sums = {};
  count_differing_bits<pixels, vectors>(args, sums);
  __m512 multiplier[vectors], bias[vectors];
  for (int v = 0; v < vectors; ++v) {
    multiplier[v] = _mm512_loadu_ps(epilogue.multiplier + 16 * v);
    bias[v] = _mm512_loadu_ps(epilogue.bias + 16 * v);
  }
  const bool adds_operand = epilogue.op_count != 0;
#pragma unroll
  for (int p = 0; p < pixels; ++p) {
    const Row& row = rows[p];
    __m512 y[vectors];
    for (int v = 0; v < vectors; ++v) {
      __m512i x = _mm512_slli_epi32(sums[p][v], 1);
      if (corrections[p] != nullptr) {
        x = _mm512_add_epi32(x, _mm512_loadu_si512(corrections[p] + 16 * v));
      }
      y[v] = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(x), multiplier[v]), bias[v]);
      if (adds_operand) y[v] = _mm512_add_ps(y[v], _mm512_loadu_ps(row.operands[0] + 16 * v));
      if (row.floats != nullptr) _mm512_storeu_ps(row.floats + 16 * v, y[v]);
    }
    for (int v = 0; row.bits != nullptr && v < vectors; v += 2) {
      const __mmask16 lower = _mm512_cmp_ps_mask(y[v], _mm512_setzero_ps(), _CMP_LT_OQ),
                      upper = _mm512_cmp_ps_mask(y[v + 1], _mm512_setzero_ps(), _CMP_LT_OQ);
      row.bits[v / 2] = _mm512_kunpackw(upper, lower);
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

void binary_gemm_to_rows(const BinaryGemmArgs& args, const Epilogue& epilogue,
                         const int32_t* const* corrections, const Row* rows) {
  using Tile = void (*)(const BinaryGemmArgs&, const Epilogue&, const int32_t* const*, const Row*);
  static constexpr Tile kTiles[kTilePixels][2] = {
      {binary_tile_to_rows<1, 2>, binary_tile_to_rows<1, 4>},
      {binary_tile_to_rows<2, 2>, binary_tile_to_rows<2, 4>},
      {binary_tile_to_rows<3, 2>, binary_tile_to_rows<3, 4>},
      {binary_tile_to_rows<4, 2>, binary_tile_to_rows<4, 4>},
      {binary_tile_to_rows<5, 2>, binary_tile_to_rows<5, 4>},
      {binary_tile_to_rows<6, 2>, binary_tile_to_rows<6, 4>}};
  kTiles[args.pixels - 1][args.channels / 32 - 1](args, epilogue, corrections, rows);
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
                                binary_gemm_to_rows};

}  // namespace bopkit

#endif
