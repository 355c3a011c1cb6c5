// AVX-512 with VPOPCNTDQ and VNNI: lanes are output channels, so that no sum crosses lanes; 6 pixels by 64
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

BOPKIT_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512vnni,fma")

#include "epilogue.inl.h"
#include "int8.inl.h"

inline uint32_t negative_mask(const Ints& lanes) { return _mm512_movepi32_mask((__m512i)lanes); }

inline Ints rounding_high_product(const Ints& a, const Ints& b) {
  const __m512i x = (__m512i)a, y = (__m512i)b, half = _mm512_set1_epi64(int64_t{1} << 30);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, y), half);
  const __m512i odd =
      _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(y, 32)), half);
  return (Ints)_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 31), 0xaaaa,
                                     _mm512_slli_epi64(odd, 1));
}

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

inline __m512 load_floats(const float* from) { return _mm512_loadu_ps(from); }
inline __m512 load_floats(const int8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

template <typename Weight, int pixels, int vectors>
void float_tile(const GemmArgs<float, Weight, float>& args) {
  __m512 sums[pixels][vectors] = {};
  const Weight* weights = args.panel;
  for (int run = 0; run < args.runs; ++run) {
    const float* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += 16 * vectors) {
      __m512 w[vectors];
      for (int v = 0; v < vectors; ++v) w[v] = load_floats(weights + 16 * v);
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

template <int pixels, int vectors>
void int8_tile(const Int8GemmArgs& args) {
  __m512i sums[pixels][vectors] = {};
  const int8_t* weights = args.panel;
  for (int run = 0; run < args.runs; ++run) {
    const int8_t* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; k += 4, weights += 64 * vectors) {
      __m512i w[vectors];
      for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(weights + 64 * v);
      for (int p = 0; p < pixels; ++p) {
        int32_t four;
        __builtin_memcpy(&four, x[p] + k, sizeof four);
        // VPDPBUSD takes one factor without a sign: x + 128.
        const __m512i shifted = _mm512_xor_si512(_mm512_set1_epi32(four), _mm512_set1_epi8(-128));
        for (int v = 0; v < vectors; ++v) {
          sums[p][v] = _mm512_dpbusd_epi32(sums[p][v], shifted, w[v]);
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
void float_weights_tile(const FloatGemmArgs& args) {
  float_tile<float, pixels, vectors>(args);
}

template <int pixels, int vectors>
void int8_weights_tile(const MixedGemmArgs& args) {
  float_tile<int8_t, pixels, vectors>(args);
}

// Tiles of up to kTilePixels pixels by 16 to 64 channels, and of up to twice as many by 16: six sums
// of one vector each would wait for each other.
#define BOPKIT_ROW(tile, pixels) \
  { tile<pixels, 1>, tile<pixels, 2>, tile<pixels, 3>, tile<pixels, 4> }
#define BOPKIT_RUN_TILE(tile, Args, args)                                                         \
  static constexpr void (*kTiles[kTilePixels][4])(const Args&) = {                                \
      BOPKIT_ROW(tile, 1), BOPKIT_ROW(tile, 2), BOPKIT_ROW(tile, 3),                              \
      BOPKIT_ROW(tile, 4), BOPKIT_ROW(tile, 5), BOPKIT_ROW(tile, 6)};                             \
  static constexpr void (*kNarrowTiles[])(const Args&) = {tile<7, 1>,  tile<8, 1>,  tile<9, 1>,   \
                                                          tile<10, 1>, tile<11, 1>, tile<12, 1>}; \
  if (args.pixels > kTilePixels) return kNarrowTiles[args.pixels - kTilePixels - 1](args);        \
  kTiles[args.pixels - 1][(args.channels - 1) / 16](args)

void binary_gemm(const BinaryGemmArgs& args) { BOPKIT_RUN_TILE(binary_tile, BinaryGemmArgs, args); }

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
  BOPKIT_RUN_TILE(float_weights_tile, FloatGemmArgs, args);
}

void mixed_gemm(const MixedGemmArgs& args) {
  BOPKIT_RUN_TILE(int8_weights_tile, MixedGemmArgs, args);
}

void int8_gemm(const Int8GemmArgs& args) { BOPKIT_RUN_TILE(int8_tile, Int8GemmArgs, args); }

BOPKIT_TARGET_END

}  // namespace

const Kernels kAvx512Kernels = {"avx512",
                                is_supported,
                                true,
                                {kTilePixels, kPanel, 16},
                                {kTilePixels, kPanel, 16, false, 2 * kTilePixels},
                                {kTilePixels, kPanel, 16, false, 2 * kTilePixels, 4},
                                128,
                                binary_gemm,
                                float_gemm,
                                mixed_gemm,
                                int8_gemm,
                                integer_epilogue,
                                float_epilogue,
                                dequantize_int8,
                                dequantize_uint8,
                                add_int8,
                                multiply_int8,
                                pack_int8_signs,
                                max_of,
                                max_of_int32,
                                sum_of,
                                add_rows,
                                depthwise_row,
                                depthwise_int8_row,
                                binary_gemm_to_rows,
                                1500,
                                90,
                                300};

}  // namespace bopkit

#endif
