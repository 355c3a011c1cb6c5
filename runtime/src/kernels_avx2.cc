// AVX2. It cannot count ones, but look up 32 bytes at a time in a table of 16: the table holds, for
// four signs of a pixel, how many differ from each of the 16 patterns that four signs of a weight
// can have, and the weights are what is looked up. A look-up and an addition so do 128
// multiplications; counting in nibbles takes eight instructions for 256.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstring>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

namespace bopkit {
namespace {

bool is_supported() { return cpu_features().avx2; }

// For each byte of a pixel: the table of its lower four signs, then that of its upper four.
struct Tables {
  alignas(64) uint8_t rows[256][2][16];
};

constexpr int ones(int nibble) {
  return (nibble & 1) + (nibble >> 1 & 1) + (nibble >> 2 & 1) + (nibble >> 3 & 1);
}

constexpr Tables make_tables() {
  Tables tables{};
  for (int byte = 0; byte < 256; ++byte) {
    for (int pattern = 0; pattern < 16; ++pattern) {
      tables.rows[byte][0][pattern] = static_cast<uint8_t>(ones((byte & 15) ^ pattern));
      tables.rows[byte][1][pattern] = static_cast<uint8_t>(ones((byte >> 4) ^ pattern));
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

BOPKIT_TARGET("avx2,fma")

#include "epilogue.inl.h"
#include "exponential.inl.h"
#include "int8.inl.h"
#include "parts.inl.h"

inline uint32_t negative_mask(const Ints& lanes) {
  __m256i halves[2];
  __builtin_memcpy(halves, &lanes, sizeof halves);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(halves[0]))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(halves[1]))) << 8;
}

inline Ints rounding_high_product(const Ints& a, const Ints& b) {
  __m256i x[2], y[2], products[2];
  __builtin_memcpy(x, &a, sizeof x);
  __builtin_memcpy(y, &b, sizeof y);
  const __m256i half = _mm256_set1_epi64x(int64_t{1} << 30);
  for (int i = 0; i < 2; ++i) {
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x[i], y[i]), half);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(x[i], 32), _mm256_srli_epi64(y[i], 32)), half);
    products[i] = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
  }
  Ints product;
  __builtin_memcpy(&product, products, sizeof product);
  return product;
}

constexpr int kTilePixels = 4;

// Sums are kept in bytes, to which a word adds at most 32: after 7 words they are added to the
// integers.
constexpr int kWordsOfBytes = 7;

inline void add_bytes(__m256i bytes, int32_t* sums) {
  alignas(32) uint8_t lanes[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), bytes);
  for (int i = 0; i < 32; i += 8) {
    __m256i* to = reinterpret_cast<__m256i*>(sums + i);
    const __m256i wide =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(lanes + i)));
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), wide));
  }
}

inline __m256i table(const uint8_t* row) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(row)));
}

// `vectors` of 32 channels.
template <int pixels, int vectors>
void binary_tile(const BinaryGemmArgs& args) {
  for (int p = 0; p < pixels; ++p) {
    std::memset(args.sums + p * kPanel, 0, 32 * vectors * sizeof(int32_t));
  }
  const __m256i low = _mm256_set1_epi8(15);
  const uint8_t* weights = reinterpret_cast<const uint8_t*>(args.panel);
  __m256i bytes[pixels][vectors] = {};
  int left = kWordsOfBytes;
  for (int run = 0; run < args.runs; ++run) {
    const uint8_t* x[pixels];
    for (int p = 0; p < pixels; ++p) {
      x[p] = reinterpret_cast<const uint8_t*>(args.patch[p] + args.run_offset[run]);
    }
    for (int k = 0; k < args.run_length; ++k) {
      for (int b = 0; b < 4; ++b, weights += 32 * vectors) {
        __m256i lower[vectors], upper[vectors];
        for (int v = 0; v < vectors; ++v) {
          const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 32 * v));
          lower[v] = _mm256_and_si256(w, low);
          upper[v] = _mm256_and_si256(_mm256_srli_epi16(w, 4), low);
        }
        for (int p = 0; p < pixels; ++p) {
          const auto& row = kTables.rows[x[p][4 * k + b]];
          const __m256i first = table(row[0]), second = table(row[1]);
          for (int v = 0; v < vectors; ++v) {
            bytes[p][v] = _mm256_add_epi8(bytes[p][v], _mm256_shuffle_epi8(first, lower[v]));
            bytes[p][v] = _mm256_add_epi8(bytes[p][v], _mm256_shuffle_epi8(second, upper[v]));
          }
        }
      }
      if (--left == 0) {
        for (int p = 0; p < pixels; ++p) {
          for (int v = 0; v < vectors; ++v) {
            add_bytes(bytes[p][v], args.sums + p * kPanel + 32 * v);
            bytes[p][v] = _mm256_setzero_si256();
          }
        }
        left = kWordsOfBytes;
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < vectors; ++v) add_bytes(bytes[p][v], args.sums + p * kPanel + 32 * v);
  }
}

constexpr int kFloatTilePixels = 6;
constexpr int kFloatBlock = 16;

inline __m256 load_floats(const float* from) { return _mm256_loadu_ps(from); }
inline __m256 load_floats(const int8_t* from) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

template <typename Weight, int pixels>
void float_block(const GemmArgs<float, Weight, float>& args, const Weight* weights, float* to) {
  __m256 sums[pixels][2] = {};
  for (int run = 0; run < args.runs; ++run) {
    const float* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += kFloatBlock) {
      const __m256 first = load_floats(weights), second = load_floats(weights + 8);
      for (int p = 0; p < pixels; ++p) {
        const __m256 value = _mm256_broadcast_ss(x[p] + k);
        sums[p][0] = _mm256_fmadd_ps(first, value, sums[p][0]);
        sums[p][1] = _mm256_fmadd_ps(second, value, sums[p][1]);
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    _mm256_storeu_ps(to + p * kPanel, sums[p][0]);
    _mm256_storeu_ps(to + p * kPanel + 8, sums[p][1]);
  }
}

// VPMADDUBSW multiplies numbers without a sign by such with one, and saturates sums of two products.
// With the sign of x moved to the weight no sum comes near: 2 * 128 * 127 is an int16.
template <int pixels>
void int8_block(const Int8GemmArgs& args, const int8_t* weights, int32_t* to) {
  __m256i sums[pixels][2] = {};
  const __m256i ones = _mm256_set1_epi16(1);
  for (int run = 0; run < args.runs; ++run) {
    const int8_t* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; k += 4, weights += 4 * kFloatBlock) {
      __m256i w[2];
      for (int v = 0; v < 2; ++v) {
        w[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 32 * v));
      }
      for (int p = 0; p < pixels; ++p) {
        int32_t four;
        __builtin_memcpy(&four, x[p] + k, sizeof four);
        const __m256i value = _mm256_set1_epi32(four), magnitude = _mm256_abs_epi8(value);
        for (int v = 0; v < 2; ++v) {
          const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w[v], value));
          sums[p][v] = _mm256_add_epi32(sums[p][v], _mm256_madd_epi16(pairs, ones));
        }
      }
    }
  }
  for (int p = 0; p < pixels; ++p) {
    for (int v = 0; v < 2; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + p * kPanel + 8 * v), sums[p][v]);
    }
  }
}

void binary_gemm(const BinaryGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels][2])(const BinaryGemmArgs&) = {
      {binary_tile<1, 1>, binary_tile<1, 2>},
      {binary_tile<2, 1>, binary_tile<2, 2>},
      {binary_tile<3, 1>, binary_tile<3, 2>},
      {binary_tile<4, 1>, binary_tile<4, 2>},
  };
  kTiles[args.pixels - 1][(args.channels - 1) / 32](args);
  end_tile(args);
}

// Calls a block's function for each block of the panel, of `run_length` elements a run; then ends the
// tile.
template <typename Args, typename Weight, typename Sum>
inline void for_blocks(const Args& args, int run_length,
                       void (*const (&blocks)[kFloatTilePixels])(const Args&, const Weight*,
                                                                 Sum*)) {
  const ptrdiff_t stride = static_cast<ptrdiff_t>(args.runs) * run_length * kFloatBlock;
  for (int i = 0; i * kFloatBlock < args.channels; ++i) {
    blocks[args.pixels - 1](args, args.panel + i * stride, args.sums + i * kFloatBlock);
  }
  end_tile(args);
}

template <typename Weight>
void gemm_of_floats(const GemmArgs<float, Weight, float>& args) {
  static constexpr void (*kBlocks[kFloatTilePixels])(const GemmArgs<float, Weight, float>&,
                                                     const Weight*, float*) = {
      float_block<Weight, 1>, float_block<Weight, 2>, float_block<Weight, 3>,
      float_block<Weight, 4>, float_block<Weight, 5>, float_block<Weight, 6>};
  for_blocks(args, args.run_length, kBlocks);
}

void float_gemm(const FloatGemmArgs& args) { gemm_of_floats(args); }
void mixed_gemm(const MixedGemmArgs& args) { gemm_of_floats(args); }

void int8_gemm(const Int8GemmArgs& args) {
  static constexpr void (*kBlocks[kFloatTilePixels])(const Int8GemmArgs&, const int8_t*,
                                                     int32_t*) = {
      int8_block<1>, int8_block<2>, int8_block<3>, int8_block<4>, int8_block<5>, int8_block<6>};
  for_blocks(args, (args.run_length + 3) / 4 * 4, kBlocks);
}

BOPKIT_TARGET_END

}  // namespace

const Kernels kAvx2Kernels = {"avx2",
                              is_supported,
                              true,
                              {kTilePixels, kPanel, 32, true},
                              {kFloatTilePixels, kFloatBlock, 16},
                              {kFloatTilePixels, kFloatBlock, 16, false, 0, 4},
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
                              500,
                              50,
                              80};

}  // namespace bopkit

#endif
