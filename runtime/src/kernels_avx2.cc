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
#include "parts.inl.h"

inline uint32_t negative_mask(const Ints& lanes) {
  __m256i halves[2];
  __builtin_memcpy(halves, &lanes, sizeof halves);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(halves[0]))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(halves[1]))) << 8;
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

template <int pixels>
void float_block(const FloatGemmArgs& args, const float* weights, float* to) {
  __m256 sums[pixels][2] = {};
  for (int run = 0; run < args.runs; ++run) {
    const float* x[pixels];
    for (int p = 0; p < pixels; ++p) x[p] = args.patch[p] + args.run_offset[run];
    for (int k = 0; k < args.run_length; ++k, weights += kFloatBlock) {
      const __m256 first = _mm256_loadu_ps(weights), second = _mm256_loadu_ps(weights + 8);
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

void binary_gemm(const BinaryGemmArgs& args) {
  static constexpr void (*kTiles[kTilePixels][2])(const BinaryGemmArgs&) = {
      {binary_tile<1, 1>, binary_tile<1, 2>},
      {binary_tile<2, 1>, binary_tile<2, 2>},
      {binary_tile<3, 1>, binary_tile<3, 2>},
      {binary_tile<4, 1>, binary_tile<4, 2>},
  };
  kTiles[args.pixels - 1][(args.channels - 1) / 32](args);
}

void float_gemm(const FloatGemmArgs& args) {
  static constexpr void (*kTiles[kFloatTilePixels])(const FloatGemmArgs&, const float*, float*) = {
      float_block<1>, float_block<2>, float_block<3>,
      float_block<4>, float_block<5>, float_block<6>};
  const ptrdiff_t stride = static_cast<ptrdiff_t>(args.runs) * args.run_length * kFloatBlock;
  for (int i = 0; i * kFloatBlock < args.channels; ++i) {
    kTiles[args.pixels - 1](args, args.panel + i * stride, args.sums + i * kFloatBlock);
  }
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

BOPKIT_TARGET_END

}  // namespace

const Kernels kAvx2Kernels = {"avx2",
                              is_supported,
                              true,
                              {kTilePixels, kPanel, 32, true},
                              {kFloatTilePixels, kFloatBlock, 16, false},
                              binary_rows,
                              float_rows,
                              float_epilogue,
                              max_row,
                              add_row,
                              add_rows,
                              depthwise_row};

}  // namespace bopkit

#endif
