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
#include "exponential.inl.h"
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

// The sums of a tile stay in registers until its epilogue has ended: through memory, that takes as
// long as half of a binary tile of 64 channels. So everything is inlined, and loops over the tile are
// unrolled.
#if defined(__clang__)
#define BOPKIT_UNROLL _Pragma("unroll")
#else
#define BOPKIT_UNROLL _Pragma("GCC unroll 16")
#endif
#define BOPKIT_FOR_TILE \
  BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) BOPKIT_UNROLL for (int v = 0; v < vectors; ++v)

template <int pixels, int vectors>
using TileFloats = Floats[pixels][vectors];

// Only the last vector of a pixel may be one in part, and only in tiles of less than a panel: masks
// would slow down the others.
constexpr int kPanelVectors = kPanel / kLanes;

template <int vectors>
BOPKIT_ALWAYS_INLINE int lanes_of(int v, int last_lanes) {
  return v + 1 < vectors || vectors >= kPanelVectors ? kLanes : last_lanes;
}

// For `apply`.
template <int pixels, int vectors>
struct Tile {
  const EpilogueOp& op;
  const Row* rows;
  int channel;     // of the rows, the tile's first
  int last_lanes;  // that the last vector of each pixel has
  TileFloats<pixels, vectors>& y;

  template <typename Function>
  BOPKIT_ALWAYS_INLINE void map(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v]);
  }
  template <typename Function>
  BOPKIT_ALWAYS_INLINE void join(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] =
        function(y[p][v], load_part(rows[p].operands[op.operand] + channel + kLanes * v,
                                    lanes_of<vectors>(v, last_lanes)));
  }
  template <typename Function>
  BOPKIT_ALWAYS_INLINE void scale(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v], load(op.vector + channel + kLanes * v));
  }
  BOPKIT_ALWAYS_INLINE void store() const {
    BOPKIT_FOR_TILE store_part(y[p][v], lanes_of<vectors>(v, last_lanes),
                               rows[p].stored + channel + kLanes * v);
  }
};

// Whether the epilogue takes sums from registers: not to bytes, see above.
template <typename Args>
inline bool ends_in_registers(const Args& args) {
  return args.rows != nullptr && args.rows[0].bytes == nullptr &&
         (args.channels == kPanel || args.channels <= kPanel - kLanes);
}

// Of the last vector of each pixel of a tile of `vectors`.
template <int vectors>
inline int last_lanes_of(int channels) {
  return channels - kLanes * (vectors - 1);
}

// Stores bits of a tile: `masks[p][v]` has those of a vector.
template <int pixels, int vectors>
BOPKIT_ALWAYS_INLINE void store_bits(__mmask16 (&masks)[pixels][vectors], const Row* rows,
                                     int channel, int last_lanes) {
  BOPKIT_FOR_TILE {
    if (v + 1 == vectors) masks[p][v] &= 0xffffu >> (kLanes - last_lanes);
  }
  BOPKIT_FOR_TILE {
    if (v % 2 == 0) {
      rows[p].bits[channel / 32 + v / 2] =
          v + 1 < vectors ? _mm512_kunpackw(masks[p][v + 1 < vectors ? v + 1 : v], masks[p][v])
                          : masks[p][v];
    }
  }
}

template <int pixels, int vectors>
BOPKIT_ALWAYS_INLINE void store_tile(const Epilogue& epilogue, TileFloats<pixels, vectors>& y,
                                     const Row* rows, int channel, int last_lanes) {
  for (int i = 0; i < epilogue.op_count; ++i) {
    apply(epilogue.ops[i].kind,
          Tile<pixels, vectors>{epilogue.ops[i], rows, channel, last_lanes, y});
  }
  if (rows[0].floats != nullptr) {
    BOPKIT_FOR_TILE store_part(y[p][v], lanes_of<vectors>(v, last_lanes),
                               rows[p].floats + channel + kLanes * v);
  }
  if (rows[0].bits != nullptr) {
    __mmask16 masks[pixels][vectors];
    BOPKIT_FOR_TILE masks[p][v] =
        _mm512_cmp_ps_mask((__m512)y[p][v], _mm512_setzero_ps(), _CMP_LT_OQ);
    store_bits<pixels, vectors>(masks, rows, channel, last_lanes);
  }
}

// The epilogue of floats in memory, from a channel of the rows on, a multiple of kPanel.
template <int pixels, int vectors>
void epilogue_tile(const Epilogue& epilogue, const float* from, int64_t stride, const Row* rows,
                   int channel, int last_lanes) {
  TileFloats<pixels, vectors> y;
  BOPKIT_FOR_TILE y[p][v] =
      load_part(from + p * stride + channel + kLanes * v, lanes_of<vectors>(v, last_lanes));
  if (epilogue.multiplier != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] * load(epilogue.multiplier + channel + kLanes * v);
  }
  if (epilogue.bias != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] + load(epilogue.bias + channel + kLanes * v);
  }
  store_tile<pixels, vectors>(epilogue, y, rows, channel, last_lanes);
}

void epilogue_by_tiles(const Epilogue& epilogue, const float* from, int64_t stride, int channels,
                       const Row* rows, int pixels) {
  if (rows[0].bytes != nullptr) {
    return float_epilogue(epilogue, from, stride, channels, rows, pixels);
  }
  using Function = void (*)(const Epilogue&, const float*, int64_t, const Row*, int, int);
  static constexpr Function kWide[] = {epilogue_tile<kTilePixels, 1>, epilogue_tile<kTilePixels, 2>,
                                       epilogue_tile<kTilePixels, 3>,
                                       epilogue_tile<kTilePixels, 4>};
  static constexpr Function kSingle[] = {epilogue_tile<1, 1>, epilogue_tile<1, 2>,
                                         epilogue_tile<1, 3>, epilogue_tile<1, 4>};
  constexpr int kLongVectors = 16;
  for (int first = 0; first < pixels;) {
    const bool is_wide = pixels - first >= kTilePixels;
    for (int channel = 0; channel < channels;) {
      const int left = channels - channel;
      const bool is_long = !is_wide && left >= kLongVectors * kLanes;
      // Not three, with a part behind them: signs are stored by words.
      const int vectors = is_long                  ? kLongVectors
                          : left >= kPanel         ? kPanelVectors
                          : left > kPanel - kLanes ? 2
                                                   : (left - 1) / kLanes + 1;
      const int last_lanes = left < vectors * kLanes ? left - (vectors - 1) * kLanes : kLanes;
      const Function tile = is_long   ? epilogue_tile<1, kLongVectors>
                            : is_wide ? kWide[vectors - 1]
                                      : kSingle[vectors - 1];
      tile(epilogue, from + first * stride, stride, rows + first, channel, last_lanes);
      channel += vectors * kLanes;
    }
    first += is_wide ? kTilePixels : 1;
  }
}

void integer_epilogue_by_tiles(const Epilogue& epilogue, const int32_t* sums,
                               const int32_t* const* corrections, int channels, const Row* rows,
                               int pixels) {
  if (!epilogue.is_requantized) {
    return integer_epilogue(epilogue, sums, corrections, channels, rows, pixels);
  }
  requantized_epilogue(epilogue, sums, channels, rows, pixels, epilogue_by_tiles);
}

template <int pixels, int vectors>
void binary_tile(const BinaryGemmArgs& args) {
  __m512i sums[pixels][vectors] = {};
  const uint32_t* weights = args.panel;
  const uint32_t* x[pixels];
  for (int p = 0; p < pixels; ++p) x[p] = args.patch[p];
  for (int run = 0; run < args.runs; ++run) {
    const int64_t begin = args.run_offset[run], end = begin + args.run_length;
    for (int64_t k = begin; k < end; ++k, weights += 16 * vectors) {
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
  if (!ends_in_registers(args)) {
    BOPKIT_FOR_TILE _mm512_storeu_si512(args.sums + p * kPanel + 16 * v, sums[p][v]);
    return end_tile(args);
  }
  const Epilogue& epilogue = *args.epilogue;
  BOPKIT_FOR_TILE {
    sums[p][v] = _mm512_slli_epi32(sums[p][v], 1);
    if (args.corrections[p] != nullptr) {
      sums[p][v] = _mm512_add_epi32(sums[p][v], _mm512_loadu_si512(args.corrections[p] + 16 * v));
    }
  }
  if (epilogue.threshold != nullptr) {
    __mmask16 masks[pixels][vectors];
    BOPKIT_FOR_TILE masks[p][v] =
        _mm512_cmpgt_epi32_mask(sums[p][v], _mm512_loadu_si512(epilogue.threshold + 16 * v));
    return store_bits<pixels, vectors>(masks, args.rows, 0, last_lanes_of<vectors>(args.channels));
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
  store_tile<pixels, vectors>(epilogue, y, args.rows, 0, last_lanes_of<vectors>(args.channels));
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
  const float* x[pixels];
  for (int p = 0; p < pixels; ++p) x[p] = args.patch[p];
  for (int run = 0; run < args.runs; ++run) {
    const int64_t begin = args.run_offset[run], end = begin + args.run_length;
    for (int64_t k = begin; k < end; ++k, weights += 16 * vectors) {
      __m512 w[vectors];
      for (int v = 0; v < vectors; ++v) w[v] = load_floats(weights + 16 * v);
      for (int p = 0; p < pixels; ++p) {
        const __m512 value = _mm512_set1_ps(x[p][k]);
        for (int v = 0; v < vectors; ++v) sums[p][v] = _mm512_fmadd_ps(w[v], value, sums[p][v]);
      }
    }
  }
  if (!ends_in_registers(args)) {
    BOPKIT_FOR_TILE _mm512_storeu_ps(args.sums + p * kPanel + 16 * v, sums[p][v]);
    return end_tile(args);
  }
  const Epilogue& epilogue = *args.epilogue;
  TileFloats<pixels, vectors> y;
  BOPKIT_FOR_TILE y[p][v] = (Floats)sums[p][v];
  if (epilogue.multiplier != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] * load(epilogue.multiplier + 16 * v);
  }
  if (epilogue.bias != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] + load(epilogue.bias + 16 * v);
  }
  store_tile<pixels, vectors>(epilogue, y, args.rows, 0, last_lanes_of<vectors>(args.channels));
}

// Adds the products of four int8 of each pixel, `four[p]`, and those of its channels.
template <int pixels, int vectors>
BOPKIT_ALWAYS_INLINE void add_products(const int32_t (&four)[pixels], const int8_t* weights,
                                       __m512i (&sums)[pixels][vectors]) {
  __m512i w[vectors];
  for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(weights + 64 * v);
  for (int p = 0; p < pixels; ++p) {
    // VPDPBUSD takes one factor without a sign: x + 128.
    const __m512i shifted = _mm512_xor_si512(_mm512_set1_epi32(four[p]), _mm512_set1_epi8(-128));
    for (int v = 0; v < vectors; ++v) {
      sums[p][v] = _mm512_dpbusd_epi32(sums[p][v], shifted, w[v]);
    }
  }
}

template <int pixels, int vectors>
void int8_tile(const Int8GemmArgs& args) {
  __m512i sums[pixels][vectors] = {};
  const int8_t* weights = args.panel;
  const int8_t* x[pixels];
  int32_t four[pixels];
  for (int p = 0; p < pixels; ++p) x[p] = args.patch[p];
  for (int run = 0; run < args.runs; ++run) {
    const int64_t begin = args.run_offset[run], end = begin + args.run_length;
    for (int64_t k = begin; k < end; k += 4, weights += 64 * vectors) {
      for (int p = 0; p < pixels; ++p) __builtin_memcpy(&four[p], x[p] + k, sizeof four[p]);
      add_products<pixels, vectors>(four, weights, sums);
    }
  }
  for (int tail = 0; tail < args.tails; tail += 4, weights += 64 * vectors) {
    int64_t at[4];  // behind the last tail its own again, by weights of zero
    for (int i = 0; i < 4; ++i) {
      at[i] = args.run_offset[tail + i < args.tails ? tail + i : args.tails - 1] + args.run_length;
    }
    for (int p = 0; p < pixels; ++p) {
      four[p] = 0;
      for (int i = 0; i < 4; ++i) four[p] |= static_cast<uint8_t>(x[p][at[i]]) << (8 * i);
    }
    add_products<pixels, vectors>(four, weights, sums);
  }
  BOPKIT_FOR_TILE _mm512_storeu_si512(args.sums + p * kPanel + 16 * v, sums[p][v]);
}

#undef BOPKIT_FOR_TILE
#undef BOPKIT_UNROLL

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

void float_gemm(const FloatGemmArgs& args) {
  BOPKIT_RUN_TILE(float_weights_tile, FloatGemmArgs, args);
}

void mixed_gemm(const MixedGemmArgs& args) {
  BOPKIT_RUN_TILE(int8_weights_tile, MixedGemmArgs, args);
}

void int8_tiles(const Int8GemmArgs& args) { BOPKIT_RUN_TILE(int8_tile, Int8GemmArgs, args); }

// Sums go through memory: requantization takes some 25 instructions a vector, so that one more is
// little, and the code is there once for all tiles.
void int8_gemm(const Int8GemmArgs& args) {
  int8_tiles(args);
  if (args.rows == nullptr) return;
  integer_epilogue_by_tiles(*args.epilogue, args.sums, args.corrections, args.channels, args.rows,
                            args.pixels);
}

BOPKIT_TARGET_END

}  // namespace

const Kernels kAvx512Kernels = {
    "avx512",
    is_supported,
    true,
    {kTilePixels, kPanel, 16},
    {kTilePixels, kPanel, 16, false, 2 * kTilePixels},
    {kTilePixels, kPanel, 16, false, 2 * kTilePixels, 4, false, 1, nullptr, true},
    128,
    binary_gemm,
    float_gemm,
    mixed_gemm,
    int8_gemm,
    integer_epilogue_by_tiles,
    epilogue_by_tiles,
    BOPKIT_COMMON_KERNELS(),
    depthwise_rows_by<2 * kMany, FloatDepthwiseArgs>,
    depthwise_rows_by<2 * kMany, Int8DepthwiseArgs>,
    1500,
    90,
    300};

}  // namespace bopkit

#endif
