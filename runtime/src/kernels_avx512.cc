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

// The sums of a tile stay in registers until its epilogue has ended: through memory, that takes as
// long as half of a binary tile of 64 channels. So everything is inlined, and loops over the tile are
// unrolled.
#define BOPKIT_FOR_TILE                              \
  _Pragma("unroll") for (int p = 0; p < pixels; ++p) \
      _Pragma("unroll") for (int v = 0; v < vectors; ++v)

template <int pixels, int vectors>
using TileFloats = Floats[pixels][vectors];

// For `apply`.
template <int pixels, int vectors>
struct Tile {
  const EpilogueOp& op;
  const Row* rows;
  TileFloats<pixels, vectors>& y;

  template <typename Function>
  BOPKIT_ALWAYS_INLINE void map(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v]);
  }
  template <typename Function>
  BOPKIT_ALWAYS_INLINE void join(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v], load(rows[p].operands[op.operand] + kLanes * v));
  }
  template <typename Function>
  BOPKIT_ALWAYS_INLINE void scale(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v], load(op.vector + kLanes * v));
  }
  BOPKIT_ALWAYS_INLINE void store() const {
    BOPKIT_FOR_TILE store_part(y[p][v], kLanes, rows[p].stored + kLanes * v);
  }
};

// Whether `store_tile` is for it: whole vectors, and no bytes.
inline bool is_for_tiles(int channels, const Row& row) {
  return channels % kLanes == 0 && row.bytes == nullptr;
}

// Stores bits of a tile: `masks[p][v]` has those of a vector.
template <int pixels, int vectors>
BOPKIT_ALWAYS_INLINE void store_bits(const __mmask16 (&masks)[pixels][vectors], const Row* rows) {
  BOPKIT_FOR_TILE {
    if (v % 2 == 0) {
      rows[p].bits[v / 2] =
          v + 1 < vectors ? _mm512_kunpackw(masks[p][v + 1 < vectors ? v + 1 : v], masks[p][v])
                          : masks[p][v];
    }
  }
}

template <int pixels, int vectors>
BOPKIT_ALWAYS_INLINE void store_tile(const Epilogue& epilogue, TileFloats<pixels, vectors>& y,
                                     const Row* rows) {
  for (int i = 0; i < epilogue.op_count; ++i) {
    apply(epilogue.ops[i].kind, Tile<pixels, vectors>{epilogue.ops[i], rows, y});
  }
  if (rows[0].floats != nullptr) {
    BOPKIT_FOR_TILE store_part(y[p][v], kLanes, rows[p].floats + kLanes * v);
  }
  if (rows[0].bits != nullptr) {
    __mmask16 masks[pixels][vectors];
    BOPKIT_FOR_TILE masks[p][v] =
        _mm512_cmp_ps_mask((__m512)y[p][v], _mm512_setzero_ps(), _CMP_LT_OQ);
    store_bits<pixels, vectors>(masks, rows);
  }
}

template <int pixels, int vectors>
void binary_tile(const BinaryGemmArgs& args, const Epilogue& epilogue,
                 const int32_t* const* corrections, const Row* rows) {
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
  if (!is_for_tiles(args.channels, rows[0])) {
    BOPKIT_FOR_TILE _mm512_storeu_si512(args.sums + p * kPanel + 16 * v, sums[p][v]);
    return integer_epilogue(epilogue, args.sums, corrections, args.channels, rows, pixels);
  }
  BOPKIT_FOR_TILE {
    sums[p][v] = _mm512_slli_epi32(sums[p][v], 1);
    if (corrections[p] != nullptr) {
      sums[p][v] = _mm512_add_epi32(sums[p][v], _mm512_loadu_si512(corrections[p] + 16 * v));
    }
  }
  if (epilogue.threshold != nullptr) {
    __mmask16 masks[pixels][vectors];
    BOPKIT_FOR_TILE masks[p][v] =
        _mm512_cmpgt_epi32_mask(sums[p][v], _mm512_loadu_si512(epilogue.threshold + 16 * v));
    return store_bits<pixels, vectors>(masks, rows);
  }
  if (epilogue.has_clamp) {
    const __m512i min = _mm512_set1_epi32(epilogue.clamp_min),
                  max = _mm512_set1_epi32(epilogue.clamp_max);
    BOPKIT_FOR_TILE sums[p][v] = _mm512_max_epi32(min, _mm512_min_epi32(max, sums[p][v]));
  }
  TileFloats<pixels, vectors> y;
  BOPKIT_FOR_TILE {
    y[p][v] = (Floats)_mm512_cvtepi32_ps(sums[p][v]) * load(epilogue.multiplier + 16 * v);
    y[p][v] = y[p][v] + load(epilogue.bias + 16 * v);
  }
  store_tile<pixels, vectors>(epilogue, y, rows);
}

template <int pixels, int vectors>
void float_tile(const FloatGemmArgs& args, const Epilogue& epilogue, const Row* rows) {
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
  if (!is_for_tiles(args.channels, rows[0])) {
    BOPKIT_FOR_TILE _mm512_storeu_ps(args.sums + p * kPanel + 16 * v, sums[p][v]);
    return float_epilogue(epilogue, args.sums, kPanel, args.channels, rows, pixels);
  }
  TileFloats<pixels, vectors> y;
  BOPKIT_FOR_TILE y[p][v] = (Floats)sums[p][v];
  if (epilogue.bias != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] + load(epilogue.bias + 16 * v);
  }
  store_tile<pixels, vectors>(epilogue, y, rows);
}

#undef BOPKIT_FOR_TILE

#define BOPKIT_ROW(tile, pixels) \
  { tile<pixels, 1>, tile<pixels, 2>, tile<pixels, 3>, tile<pixels, 4> }
#define BOPKIT_TILES(tile)                                                              \
  {                                                                                     \
    BOPKIT_ROW(tile, 1), BOPKIT_ROW(tile, 2), BOPKIT_ROW(tile, 3), BOPKIT_ROW(tile, 4), \
        BOPKIT_ROW(tile, 5), BOPKIT_ROW(tile, 6)                                        \
  }

void binary_rows(const BinaryGemmArgs& args, const Epilogue& epilogue,
                 const int32_t* const* corrections, const Row* rows) {
  static constexpr decltype(&binary_rows) kTiles[kTilePixels][4] = BOPKIT_TILES(binary_tile);
  kTiles[args.pixels - 1][(args.channels - 1) / 16](args, epilogue, corrections, rows);
}

void float_rows(const FloatGemmArgs& args, const Epilogue& epilogue, const Row* rows) {
  using Function = decltype(&float_rows);
  static constexpr Function kTiles[kTilePixels][4] = BOPKIT_TILES(float_tile);
  // Six sums of one vector each would wait for each other.
  static constexpr Function kNarrowTiles[] = {float_tile<7, 1>,  float_tile<8, 1>,
                                              float_tile<9, 1>,  float_tile<10, 1>,
                                              float_tile<11, 1>, float_tile<12, 1>};
  const bool is_narrow = args.pixels > kTilePixels;
  const Function tile = is_narrow ? kNarrowTiles[args.pixels - kTilePixels - 1]
                                  : kTiles[args.pixels - 1][(args.channels - 1) / 16];
  tile(args, epilogue, rows);
}

BOPKIT_TARGET_END

}  // namespace

const Kernels kAvx512Kernels = {"avx512",
                                is_supported,
                                true,
                                {kTilePixels, kPanel, 16, false},
                                {kTilePixels, kPanel, 16, false, 2 * kTilePixels},
                                binary_rows,
                                float_rows,
                                float_epilogue,
                                max_row,
                                add_row,
                                add_rows,
                                depthwise_row};

}  // namespace bopkit

#endif
