// NEON, included once for every AArch64 processor, once for those with SDOT and UDOT
// (BOPKIT_HAS_DOT), which sum four products in one instruction, and once for those that also have
// SMMLA (BOPKIT_HAS_I8MM), which sums eight products for each of two pixels by two channels. In
// registers are 16 channels of 2 pixels of bits, or of 6 of floats or of int8.

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

// A register's part of 16 channels.
typedef float QuarterFloats __attribute__((vector_size(16)));
typedef int32_t QuarterInts __attribute__((vector_size(16)));

inline QuarterFloats load_quarter(const float* from) { return (QuarterFloats)vld1q_f32(from); }
inline QuarterInts load_quarter(const int32_t* from) { return (QuarterInts)vld1q_s32(from); }

constexpr int kTilePixels = 12;  // of a call, in steps of those that fit into registers
constexpr int kBlock = 16;

// Patches of int8 are gathered: what a tile reads of their runs, or as much of it as this, is copied
// into the first-level cache, one run behind the other. No loop then ends with a run, only the last
// one is filled up, and one pointer a pixel is enough.
constexpr int kSegmentBytes = 1024;

// Calls `take` with the offset, the length and the place in the segment of each part of a run that
// belongs to the `count` elements from `first` on.
template <typename Args, typename Function>
BOPKIT_ALWAYS_INLINE void for_parts(const Args& args, int first, int count, const Function& take) {
  int run = first / args.run_length, skipped = first % args.run_length;
  for (int place = 0; place < count; ++run, skipped = 0) {
    const int left = args.run_length - skipped, part = left < count - place ? left : count - place;
    take(args.run_offset[run] + skipped, part, place);
    place += part;
  }
}

// See Packing::gather_prefixes. Run by run: what is known of a run so is there for all pixels. `kLength` is
// the length of runs, or 0.
template <int kLength>
void gather_runs(const BinaryGemmArgs& args, int64_t pitch, uint32_t* to) {
  const int length = kLength == 0 ? args.run_length : kLength;
  for (int run = 0; run < args.runs; ++run, to += length) {
    uint32_t* prefixes = to;
    for (int p = 0; p < args.pixels; ++p, prefixes += pitch) {
      const uint32_t* from = args.patch[p] + args.run_offset[run];
      uint32_t prefix = run == 0 ? 0 : prefixes[-1];
      int k = 0;
      for (; k + 4 <= length; k += 4) {
        const uint32_t p1 = prefix ^ from[k], p2 = p1 ^ from[k + 1], p3 = p2 ^ from[k + 2];
        prefix = p3 ^ from[k + 3];
        prefixes[k] = p1;
        prefixes[k + 1] = p2;
        prefixes[k + 2] = p3;
        prefixes[k + 3] = prefix;
      }
      for (; k < length; ++k) prefixes[k] = prefix ^= from[k];
    }
  }
}

void gather_prefixes(const BinaryGemmArgs& args, int64_t pitch, uint32_t* to) {
  constexpr int kOf64Channels = 3 * 64 / 32, kOf128Channels = 3 * 128 / 32;
  const auto gather = args.run_length == kOf64Channels    ? gather_runs<kOf64Channels>
                      : args.run_length == kOf128Channels ? gather_runs<kOf128Channels>
                                                          : gather_runs<0>;
  gather(args, pitch, to);
  const int64_t words = int64_t{args.runs} * args.run_length;
  for (int p = 0; p < args.pixels && words < pitch; ++p) {
    to[p * pitch + words] = to[p * pitch + words - 1];
  }
}

// The number of bits that differ, of a pixel and four channels.
//
// Adding the bits d1 and d2 that differ in two words to a third number makes a carry, and carries
// alone need be counted: half as many. Sums, which take most of a carry-save adder's instructions, are
// known beforehand: they are the exclusive or of all words so far, of which the patch's and the
// weights' are computed once. With p0 in front of both words, p1 between and p2 behind them, the carry
// is p1 ? ~p2 : p0. Of the next two words it is p3 ? ~p4 : p2 = ~(p3 ? p4 : ~p2), so that weights with
// a complement in p2, which packing puts there, spare the negation; the carries then are 32 less the
// bits of that.
struct Counter {
  uint32x4_t prefix = vdupq_n_u32(0);  // p0
  int32x4_t total;
#ifdef BOPKIT_HAS_DOT
  explicit Counter(int pairs = 0) : total(vdupq_n_s32(64 * pairs)) {}
  void flush() {}
  // Twice the sum; `sign` is -1 where `prefix` is a complement: behind the first of two pairs.
  int32x4_t doubled(int sign) const {
    const int8x16_t counts = vreinterpretq_s8_u8(vcntq_u8(vreinterpretq_u8_u32(prefix)));
    return vdotq_s32(total, counts, vdupq_n_s8(static_cast<int8_t>(2 * sign)));
  }
#else
  int8x16_t bytes = vdupq_n_s8(0);
  explicit Counter(int pairs = 0) : total(vdupq_n_s32(16 * pairs)) {}
  void flush() {
    total = vpadalq_s16(total, vpaddlq_s8(bytes));
    bytes = vdupq_n_s8(0);
  }
  int32x4_t doubled(int sign) const {
    const int8x16_t counts = vreinterpretq_s8_u8(vcntq_u8(vreinterpretq_u8_u32(prefix)));
    const int8x16_t last = vmulq_s8(counts, vdupq_n_s8(static_cast<int8_t>(sign)));
    return vshlq_n_s32(vpadalq_s16(vshlq_n_s32(total, 1), vpaddlq_s8(last)), 1);
  }
#endif
};

// Four words of weights, and of a patch, or of two patches. In assembly, as a compiler finds four
// instructions for BIT and BSL each, and moves loads and exclusive ors ahead until it has no registers
// left. Sums are doubled, as epilogues want them.
#ifdef BOPKIT_HAS_DOT
constexpr unsigned kMostSteps = ~0u;  // sums are integers from the start
#define BOPKIT_SUM total
#define BOPKIT_ADD(sum, counts) "sdot %[" sum "].4s, " counts ".16b, %[four].16b\n"
#define BOPKIT_SUBTRACT(sum, counts) "sdot %[" sum "].4s, " counts ".16b, %[minus_four].16b\n"
#define BOPKIT_FACTORS , [four] "w"(vdupq_n_s8(4)), [minus_four] "w"(vdupq_n_s8(-4))
#else
constexpr unsigned kMostSteps =
    15;  // four words add at most 8 to each byte of a sum, or subtract it
#define BOPKIT_SUM bytes
#define BOPKIT_ADD(sum, counts) "add %[" sum "].16b, %[" sum "].16b, " counts ".16b\n"
#define BOPKIT_SUBTRACT(sum, counts) "sub %[" sum "].16b, %[" sum "].16b, " counts ".16b\n"
#define BOPKIT_FACTORS
#endif

BOPKIT_ALWAYS_INLINE const uint32_t* count_step(const uint32_t* weights, const uint32x4x4_t (&x)[1],
                                                Counter& a) {
  asm("ld1 {v28.4s, v29.4s, v30.4s, v31.4s}, [%[weights]], #64\n"
      "eor v28.16b, v28.16b, %[a1].16b\n"
      "eor v29.16b, v29.16b, %[a2].16b\n"
      "eor v30.16b, v30.16b, %[a3].16b\n"
      "eor v31.16b, v31.16b, %[a4].16b\n"
      "bit %[prefix_a].16b, v29.16b, v28.16b\n"
      "bsl v30.16b, v31.16b, v29.16b\n"
      "cnt v28.16b, %[prefix_a].16b\n"
      "cnt v30.16b, v30.16b\n"
      "mov %[prefix_a].16b, v31.16b\n" BOPKIT_ADD("sum_a", "v28") BOPKIT_SUBTRACT("sum_a", "v30")
      : [weights] "+&r"(weights), [prefix_a] "+&w"(a.prefix), [sum_a] "+&w"(a.BOPKIT_SUM)
      : [a1] "w"(x[0].val[0]), [a2] "w"(x[0].val[1]), [a3] "w"(x[0].val[2]),
        [a4] "w"(x[0].val[3])BOPKIT_FACTORS
      : "v28", "v29", "v30", "v31", "memory");
  return weights;
}

BOPKIT_ALWAYS_INLINE const uint32_t* count_step(const uint32_t* weights, const uint32x4x4_t (&x)[2],
                                                Counter& a, Counter& b) {
  asm("ld1 {v28.4s, v29.4s, v30.4s, v31.4s}, [%[weights]], #64\n"
      "eor v26.16b, v28.16b, %[a1].16b\n"
      "eor v27.16b, v29.16b, %[a2].16b\n"
      "eor v28.16b, v28.16b, %[b1].16b\n"
      "eor v29.16b, v29.16b, %[b2].16b\n"
      "bit %[prefix_a].16b, v27.16b, v26.16b\n"
      "bit %[prefix_b].16b, v29.16b, v28.16b\n"
      "eor v26.16b, v30.16b, %[a3].16b\n"
      "eor v28.16b, v30.16b, %[b3].16b\n"
      "cnt v30.16b, %[prefix_a].16b\n"
      "eor %[prefix_a].16b, v31.16b, %[a4].16b\n"
      "bsl v26.16b, %[prefix_a].16b, v27.16b\n"
      "cnt v27.16b, %[prefix_b].16b\n"
      "eor %[prefix_b].16b, v31.16b, %[b4].16b\n"
      "bsl v28.16b, %[prefix_b].16b, v29.16b\n"
      BOPKIT_ADD("sum_a", "v30")
      BOPKIT_ADD("sum_b", "v27")
      "cnt v26.16b, v26.16b\n"
      "cnt v28.16b, v28.16b\n"
      BOPKIT_SUBTRACT("sum_a", "v26")
      BOPKIT_SUBTRACT("sum_b", "v28")
      : [weights] "+&r"(weights), [prefix_a] "+&w"(a.prefix), [sum_a] "+&w"(a.BOPKIT_SUM),
        [prefix_b] "+&w"(b.prefix), [sum_b] "+&w"(b.BOPKIT_SUM)
      : [a1] "w"(x[0].val[0]), [a2] "w"(x[0].val[1]), [a3] "w"(x[0].val[2]),
        [a4] "w"(x[0].val[3]), [b1] "w"(x[1].val[0]), [b2] "w"(x[1].val[1]),
        [b3] "w"(x[1].val[2]), [b4] "w"(x[1].val[3]) BOPKIT_FACTORS
      : "v26", "v27", "v28", "v29", "v30", "v31", "memory");
  return weights;
}

// The first two of four words: the last of a patch.
BOPKIT_ALWAYS_INLINE void count_half_step(const uint32_t* weights, uint32x4_t x1, uint32x4_t x2,
                                          Counter& a) {
  asm("ld1 {v28.4s, v29.4s}, [%[weights]]\n"
      "eor v28.16b, v28.16b, %[x1].16b\n"
      "eor v29.16b, v29.16b, %[x2].16b\n"
      "bit %[prefix_a].16b, v29.16b, v28.16b\n"
      "cnt v28.16b, %[prefix_a].16b\n"
      "mov %[prefix_a].16b, v29.16b\n" BOPKIT_ADD("sum_a", "v28")
      : [prefix_a] "+&w"(a.prefix), [sum_a] "+&w"(a.BOPKIT_SUM)
      : [weights] "r"(weights), [x1] "w"(x1), [x2] "w"(x2)BOPKIT_FACTORS
      : "v28", "v29", "memory");
}

#undef BOPKIT_SUM
#undef BOPKIT_ADD
#undef BOPKIT_SUBTRACT
#undef BOPKIT_FACTORS

// Sums of `words` words, an even number, and of blocks of 4 channels that are `stride` apart.
template <int pixels>
BOPKIT_ALWAYS_INLINE void count_bits(const uint32_t* const* patches, const uint32_t* weights,
                                     size_t stride, unsigned words,
                                     QuarterInts (&doubled)[pixels][4]) {
  Counter counters[pixels][4];
  BOPKIT_FOR_TILE counters[p][v] = Counter(static_cast<int>(words / 2));
  const uint32_t *x[pixels], *blocks[4];
  BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) x[p] = patches[p];
  BOPKIT_UNROLL for (int v = 0; v < 4; ++v) blocks[v] = weights + v * stride;
  for (unsigned left = words / 4; left > 0;) {
    unsigned steps = left < kMostSteps ? left : kMostSteps;
    left -= steps;
    do {
      uint32x4x4_t word[pixels];
      BOPKIT_UNROLL for (int p = 0; p < pixels; ++p, x[p - 1] += 4) word[p] = vld4q_dup_u32(x[p]);
      BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
        if constexpr (pixels == 1) {
          blocks[v] = count_step(blocks[v], word, counters[0][v]);
        } else {
          blocks[v] = count_step(blocks[v], word, counters[0][v], counters[1][v]);
        }
      }
    } while (--steps > 0);
    BOPKIT_FOR_TILE counters[p][v].flush();
  }
  const bool has_half = words % 4 != 0;
  if (has_half) {
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      const uint32x4_t x1 = vld1q_dup_u32(x[p]), x2 = vld1q_dup_u32(x[p] + 1);
      BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
        count_half_step(blocks[v], x1, x2, counters[p][v]);
        counters[p][v].flush();
      }
    }
  }
  BOPKIT_FOR_TILE doubled[p][v] = (QuarterInts)counters[p][v].doubled(has_half ? -1 : 1);
}

// Whether channels are whole vectors of 16, as the epilogues below want them: numbers stay in
// registers until all has been done with them. Bits of so many channels are half a word.
inline bool has_whole_vectors(int channels, const Row& row) {
  return channels % (row.bits != nullptr ? 32 : kLanes) == 0;
}

// For `apply`.
template <int pixels>
struct Tile {
  const EpilogueOp& op;
  int channel;
  const Row* rows;
  QuarterFloats (&y)[pixels][4];

  template <typename Function>
  BOPKIT_ALWAYS_INLINE void map(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v]);
  }
  template <typename Function>
  BOPKIT_ALWAYS_INLINE void join(const Function& function) const {
    BOPKIT_FOR_TILE {
      y[p][v] = function(y[p][v], load_quarter(rows[p].operands[op.operand] + channel + 4 * v));
    }
  }
  template <typename Function>
  BOPKIT_ALWAYS_INLINE void scale(const Function& function) const {
    BOPKIT_FOR_TILE y[p][v] = function(y[p][v], load_quarter(op.vector + channel + 4 * v));
  }
  BOPKIT_ALWAYS_INLINE void store() const {
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      float* to = rows[p].stored + channel;
      BOPKIT_UNROLL for (int v = 0; v < 4; ++v) vst1q_f32(to + 4 * v, (float32x4_t)y[p][v]);
    }
  }
};

// A bit of each lane of a comparison's results.
BOPKIT_ALWAYS_INLINE void store_half_word(const QuarterInts (&holds)[4], int channel,
                                          uint32_t* words) {
  static const uint32_t kBits[4] = {0x1111, 0x2222, 0x4444, 0x8888};
  const int32x4_t low = vsliq_n_s32((int32x4_t)holds[0], (int32x4_t)holds[1], 4);
  const int32x4_t high = vsliq_n_s32((int32x4_t)holds[2], (int32x4_t)holds[3], 4);
  const uint32x4_t bits = vreinterpretq_u32_s32(vsliq_n_s32(low, high, 8));
  const uint16_t half = static_cast<uint16_t>(vaddvq_u32(vandq_u32(bits, vld1q_u32(kBits))));
  __builtin_memcpy(reinterpret_cast<char*>(words) + channel / 8, &half, sizeof half);
}

// x + zero_point, saturated: what is added to is that already.
BOPKIT_ALWAYS_INLINE void store_narrow(const QuarterInts (&x)[4], int32_t zero_point, int8_t* to) {
  const int16x8_t zero = vdupq_n_s16(static_cast<int16_t>(zero_point));
  const int16x8_t low = vqmovn_high_s32(vqmovn_s32((int32x4_t)x[0]), (int32x4_t)x[1]);
  const int16x8_t high = vqmovn_high_s32(vqmovn_s32((int32x4_t)x[2]), (int32x4_t)x[3]);
  vst1q_s8(to, vqmovn_high_s16(vqmovn_s16(vqaddq_s16(low, zero)), vqaddq_s16(high, zero)));
}

// As `store_bytes` of a whole vector: FCVTAS rounds half away from zero, and saturates. FMAXNM takes the
// other number in place of NaN.
BOPKIT_ALWAYS_INLINE void store_bytes(const Epilogue& epilogue, const QuarterFloats (&y)[4],
                                      int8_t* to) {
  QuarterInts rounded[4];
  BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
    const float32x4_t quotient = (float32x4_t)(y[v] / epilogue.byte_scale);
    rounded[v] = (QuarterInts)vcvtaq_s32_f32(vmaxnmq_f32(quotient, vdupq_n_f32(-512)));
  }
  store_narrow(rounded, epilogue.byte_zero_point, to);
}

template <int pixels>
BOPKIT_ALWAYS_INLINE void end_floats(const Epilogue& epilogue, int channel, const Row* rows,
                                     QuarterFloats (&y)[pixels][4]) {
  if (form_of(epilogue) ==
      EpilogueForm::kAddOperand) {  // as nearly all binary convolutions have it
    BOPKIT_FOR_TILE y[p][v] = y[p][v] + load_quarter(rows[p].operands[0] + channel + 4 * v);
  } else {
    for (int i = 0; i < epilogue.op_count; ++i) {
      apply(epilogue.ops[i].kind, Tile<pixels>{epilogue.ops[i], channel, rows, y});
    }
  }
  if (rows[0].floats != nullptr) {
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      float* to = rows[p].floats + channel;
      BOPKIT_UNROLL for (int v = 0; v < 4; ++v) vst1q_f32(to + 4 * v, (float32x4_t)y[p][v]);
    }
  }
  if (rows[0].bits != nullptr) {
    QuarterInts is_negative[pixels][4];
    BOPKIT_FOR_TILE is_negative[p][v] = y[p][v] < QuarterFloats{};
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      store_half_word(is_negative[p], channel, rows[p].bits);
    }
  }
  for (int p = 0; p < pixels && rows[0].bytes != nullptr; ++p) {
    store_bytes(epilogue, y[p], rows[p].bytes + channel);
  }
}

template <int pixels>
BOPKIT_ALWAYS_INLINE void end_doubled(const Epilogue& epilogue, const int32_t* const* corrections,
                                      int channel, const Row* rows, QuarterInts (&x)[pixels][4]) {
  BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
    if (corrections[p] == nullptr) continue;
    BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
      x[p][v] = x[p][v] + load_quarter(corrections[p] + channel + 4 * v);
    }
  }
  if (epilogue.threshold != nullptr) {
    BOPKIT_FOR_TILE x[p][v] = x[p][v] > load_quarter(epilogue.threshold + channel + 4 * v);
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) store_half_word(x[p], channel, rows[p].bits);
    return;
  }
  if (epilogue.has_clamp) {
    const int32x4_t min = vdupq_n_s32(epilogue.clamp_min), max = vdupq_n_s32(epilogue.clamp_max);
    BOPKIT_FOR_TILE { x[p][v] = (QuarterInts)vmaxq_s32(min, vminq_s32(max, (int32x4_t)x[p][v])); }
  }
  QuarterFloats y[pixels][4];
  BOPKIT_FOR_TILE {
    y[p][v] = __builtin_convertvector(x[p][v], QuarterFloats) *
              load_quarter(epilogue.multiplier + channel + 4 * v);
    y[p][v] = y[p][v] + load_quarter(epilogue.bias + channel + 4 * v);
  }
  end_floats<pixels>(epilogue, channel, rows, y);
}

// See Requantization; less the zero point.
template <int pixels>
BOPKIT_ALWAYS_INLINE void requantize(const Requantization& by, int channel,
                                     QuarterInts (&x)[pixels][4]) {
  const int32x4_t min = vdupq_n_s32(by.min - by.zero_point),
                  max = vdupq_n_s32(by.max - by.zero_point);
  BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
    const int32x4_t bias = vld1q_s32(by.bias + channel + 4 * v);
    const int32x4_t left = vld1q_s32(by.left_shift + channel + 4 * v);
    const int32x4_t multiplier = vld1q_s32(by.multiplier + channel + 4 * v);
    const int32x4_t right = vnegq_s32(vld1q_s32(by.right_shift + channel + 4 * v));
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      int32x4_t y = vshlq_s32(vaddq_s32((int32x4_t)x[p][v], bias), left);
      y = vqrdmulhq_s32(y, multiplier);
      // The shift rounds half up: one less where a negative number is shifted makes that away from
      // zero.
      y = vrshlq_s32(vqaddq_s32(y, vshrq_n_s32(vandq_s32(y, right), 31)), right);
      x[p][v] = (QuarterInts)vmaxq_s32(min, vminq_s32(max, y));
    }
  }
}

template <int pixels>
inline void end_sums(const Epilogue& epilogue, const int32_t* sums,
                     const int32_t* const* corrections, int channel, const Row* rows) {
  QuarterInts x[pixels][4];
  BOPKIT_FOR_TILE x[p][v] = load_quarter(sums + p * kPanel + channel + 4 * v);
  if (!epilogue.is_requantized) {
    BOPKIT_FOR_TILE x[p][v] = x[p][v] * 2;
    return end_doubled<pixels>(epilogue, corrections, channel, rows, x);
  }
  const Requantization& by = epilogue.requantization;
  requantize<pixels>(by, channel, x);
  if (epilogue.stores_int8_sums) {
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      store_narrow(x[p], by.zero_point, rows[p].bytes + channel);
    }
    return;
  }
  QuarterFloats y[pixels][4];
  BOPKIT_FOR_TILE { y[p][v] = __builtin_convertvector(x[p][v], QuarterFloats) * by.scale; }
  end_floats<pixels>(epilogue, channel, rows, y);
}

inline void end_integers(const Epilogue& epilogue, const int32_t* sums,
                         const int32_t* const* corrections, int channels, const Row* rows,
                         int pixels) {
  const bool is_in_double = epilogue.is_requantized && epilogue.requantization.factor != nullptr;
  if (is_in_double || !has_whole_vectors(channels, rows[0])) {
    return integer_epilogue(epilogue, sums, corrections, channels, rows, pixels);
  }
  for (int channel = 0; channel < channels; channel += kLanes) {
    int p = 0;
    for (; p + 2 <= pixels; p += 2) {
      end_sums<2>(epilogue, sums + p * kPanel, corrections + p, channel, rows + p);
    }
    if (p < pixels) end_sums<1>(epilogue, sums + p * kPanel, corrections + p, channel, rows + p);
  }
}

template <int pixels>
inline void end_float_sums(const Epilogue& epilogue, const float* sums, int64_t stride, int channel,
                           const Row* rows) {
  QuarterFloats y[pixels][4];
  BOPKIT_FOR_TILE y[p][v] = load_quarter(sums + p * stride + channel + 4 * v);
  if (epilogue.multiplier != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] * load_quarter(epilogue.multiplier + channel + 4 * v);
  }
  if (epilogue.bias != nullptr) {
    BOPKIT_FOR_TILE y[p][v] = y[p][v] + load_quarter(epilogue.bias + channel + 4 * v);
  }
  end_floats<pixels>(epilogue, channel, rows, y);
}

// Whether nothing but int8 of the floats is wanted.
inline bool is_quantization(const Epilogue& epilogue, const Row& row) {
  return epilogue.op_count == 0 && epilogue.multiplier == nullptr && epilogue.bias == nullptr &&
         row.floats == nullptr && row.bits == nullptr && row.bytes != nullptr;
}

inline void quantize(const Epilogue& epilogue, const float* from, int count, int8_t* to) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    QuarterFloats y[4];
    BOPKIT_UNROLL for (int v = 0; v < 4; ++v) y[v] = load_quarter(from + i + 4 * v);
    store_bytes(epilogue, y, to + i);
  }
  if (i < count) store_bytes(epilogue, load_part(from + i, count - i), count - i, to + i);
}

inline void end_all_floats(const Epilogue& epilogue, const float* sums, int64_t stride,
                           int channels, const Row* rows, int pixels) {
  if (pixels == 1 && is_quantization(epilogue, rows[0])) {
    return quantize(epilogue, sums, channels, rows[0].bytes);
  }
  if (!has_whole_vectors(channels, rows[0])) {
    return float_epilogue(epilogue, sums, stride, channels, rows, pixels);
  }
  for (int channel = 0; channel < channels; channel += kLanes) {
    int p = 0;
    for (; p + 2 <= pixels; p += 2) {
      end_float_sums<2>(epilogue, sums + p * stride, stride, channel, rows + p);
    }
    if (p < pixels) end_float_sums<1>(epilogue, sums + p * stride, stride, channel, rows + p);
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

// Weights of int8 need registers for themselves.
template <typename Weight>
constexpr int kFloatBlockPixels = sizeof(Weight) == sizeof(float) ? 6 : 4;

// Adds products by element `lane` of `x`.
template <int pixels, int lane, typename Weight>
BOPKIT_ALWAYS_INLINE void add_float_products(const Weight* weights, const float32x4_t (&x)[pixels],
                                             float32x4_t (&sums)[pixels][4]) {
  float32x4_t w[4];
  load_floats(weights, w);
  BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      sums[p][v] = vfmaq_laneq_f32(sums[p][v], w[v], x[p], lane);
    }
  }
}

template <int pixels, typename Weight>
void float_block(const GemmArgs<float, Weight, float>& args, int pixel, const Weight* weights,
                 float* to) {
  float32x4_t sums[pixels][4];
  BOPKIT_FOR_TILE sums[p][v] = vdupq_n_f32(0);
  for (int run = 0; run < args.runs; ++run) {
    const float* from[pixels];
    for (int p = 0; p < pixels; ++p) from[p] = args.patch[pixel + p] + args.run_offset[run];
    float32x4_t x[pixels];
    int k = 0;
    for (; k + 4 <= args.run_length; k += 4, weights += 4 * kBlock) {
      for (int p = 0; p < pixels; ++p) x[p] = vld1q_f32(from[p] + k);
      add_float_products<pixels, 0>(weights, x, sums);
      add_float_products<pixels, 1>(weights + kBlock, x, sums);
      add_float_products<pixels, 2>(weights + 2 * kBlock, x, sums);
      add_float_products<pixels, 3>(weights + 3 * kBlock, x, sums);
    }
    for (; k < args.run_length; ++k, weights += kBlock) {
      for (int p = 0; p < pixels; ++p) x[p] = vld1q_dup_f32(from[p] + k);
      add_float_products<pixels, 0>(weights, x, sums);
    }
  }
  BOPKIT_FOR_TILE vst1q_f32(to + p * kPanel + 4 * v, sums[p][v]);
}

inline int8x16_t four_times(const int8_t* four) {
  int32_t word;
  __builtin_memcpy(&word, four, sizeof word);
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

// Copies part of a run of each patch.
inline void gather_part(const Int8GemmArgs& args, int offset, int part, int place,
                        int8_t (*gathered)[kSegmentBytes]) {
  if (part >= 16 && part <= 32) {
    for (int p = 0; p < args.pixels; ++p) {
      const int8_t* from = args.patch[p] + offset;
      const int8x16_t first = vld1q_s8(from), last = vld1q_s8(from + part - 16);
      vst1q_s8(gathered[p] + place, first);
      vst1q_s8(gathered[p] + place + part - 16, last);
    }
    return;
  }
  for (int p = 0; p < args.pixels; ++p) {
    __builtin_memcpy(gathered[p] + place, args.patch[p] + offset, static_cast<size_t>(part));
  }
}

// The blocks below multiply `count` elements, a multiple of kInt8Depth, of each pixel's patch, and
// add the sums in `to` where `adds` says so.
#if defined(BOPKIT_HAS_I8MM)

constexpr int kInt8BlockPixels = 6;
constexpr int kInt8Depth = 8;

template <int pixels>
void int8_block(const int8_t* const* patches, int count, const int8_t* weights, bool adds,
                int32_t* to) {
  constexpr int kPairs = (pixels + 1) / 2;
  int32x4_t sums[kPairs][8];  // of two pixels by two channels
  for (auto& row : sums) {
    for (int32x4_t& sum : row) sum = vdupq_n_s32(0);
  }
  const int8_t* from[2 * kPairs];
  for (int p = 0; p < 2 * kPairs; ++p) from[p] = patches[p < pixels ? p : pixels - 1];
  for (int k = 0; k < count; k += 8) {
    int8x16_t x[kPairs];
    for (int p = 0; p < kPairs; ++p) {
      x[p] = vcombine_s8(vld1_s8(from[2 * p]), vld1_s8(from[2 * p + 1]));
      from[2 * p] += 8;
      from[2 * p + 1] += 8;
    }
    BOPKIT_UNROLL for (int v = 0; v < 8; ++v, weights += 16) {
      const int8x16_t w = vld1q_s8(weights);
      BOPKIT_UNROLL for (int p = 0; p < kPairs; ++p) sums[p][v] = vmmlaq_s32(sums[p][v], x[p], w);
    }
  }
  BOPKIT_FOR_TILE {
    const int32x4_t first = sums[p / 2][2 * v], second = sums[p / 2][2 * v + 1];
    int32x4_t sum = p % 2 == 0 ? vcombine_s32(vget_low_s32(first), vget_low_s32(second))
                               : vcombine_s32(vget_high_s32(first), vget_high_s32(second));
    int32_t* place = to + p * kPanel + 4 * v;
    if (adds) sum = vaddq_s32(sum, vld1q_s32(place));
    vst1q_s32(place, sum);
  }
}

#elif defined(BOPKIT_HAS_DOT)

constexpr int kInt8BlockPixels = 6;
constexpr int kInt8Depth = 4;

template <int pixels, int lane>
BOPKIT_ALWAYS_INLINE void add_products(const int8_t* weights, const int8x16_t (&x)[pixels],
                                       int32x4_t (&sums)[pixels][4]) {
  BOPKIT_UNROLL for (int v = 0; v < 4; ++v) {
    const int8x16_t w = vld1q_s8(weights + 16 * v);
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      sums[p][v] = vdotq_laneq_s32(sums[p][v], w, x[p], lane);
    }
  }
}

template <int pixels>
void int8_block(const int8_t* const* patches, int count, const int8_t* weights, bool adds,
                int32_t* to) {
  int32x4_t sums[pixels][4];
  BOPKIT_FOR_TILE sums[p][v] = vdupq_n_s32(0);
  const int8_t* from[pixels];
  for (int p = 0; p < pixels; ++p) from[p] = patches[p];
  int8x16_t x[pixels];
  int k = 0;
  for (; k + 16 <= count; k += 16, weights += 16 * kBlock) {
    for (int p = 0; p < pixels; ++p) x[p] = vld1q_s8(from[p] + k);
    add_products<pixels, 0>(weights, x, sums);
    add_products<pixels, 1>(weights + 4 * kBlock, x, sums);
    add_products<pixels, 2>(weights + 8 * kBlock, x, sums);
    add_products<pixels, 3>(weights + 12 * kBlock, x, sums);
  }
  for (; k < count; k += 4, weights += 4 * kBlock) {
    for (int p = 0; p < pixels; ++p) x[p] = four_times(from[p] + k);
    add_products<pixels, 0>(weights, x, sums);
  }
  BOPKIT_FOR_TILE {
    int32_t* place = to + p * kPanel + 4 * v;
    if (adds) sums[p][v] = vaddq_s32(sums[p][v], vld1q_s32(place));
    vst1q_s32(place, sums[p][v]);
  }
}

#else

constexpr int kInt8BlockPixels = 2;
constexpr int kInt8Depth = 4;

// Two products of int8 fit into an int16: no weight is -128.
template <int pixels>
void int8_block(const int8_t* const* patches, int count, const int8_t* weights, bool adds,
                int32_t* to) {
  int32x4_t sums[pixels][8];  // of two channels, each in two parts
  for (auto& row : sums) {
    for (int32x4_t& sum : row) sum = vdupq_n_s32(0);
  }
  int k = 0;
  for (; k + 8 <= count; k += 8, weights += 8 * kBlock) {
    int8x8_t x[pixels], next[pixels];
    for (int p = 0; p < pixels; ++p) {
      x[p] = vget_low_s8(four_times(patches[p] + k));
      next[p] = vget_low_s8(four_times(patches[p] + k + 4));
    }
    BOPKIT_UNROLL for (int v = 0; v < 8; ++v) {
      const int8x8_t w = vld1_s8(weights + 8 * v);
      const int8x8_t next_w = vld1_s8(weights + 4 * kBlock + 8 * v);
      BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
        sums[p][v] = vpadalq_s16(sums[p][v], vmlal_s8(vmull_s8(w, x[p]), next_w, next[p]));
      }
    }
  }
  if (k < count) {
    BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) {
      const int8x8_t x = vget_low_s8(four_times(patches[p] + k));
      BOPKIT_UNROLL for (int v = 0; v < 8; ++v) {
        sums[p][v] = vpadalq_s16(sums[p][v], vmull_s8(vld1_s8(weights + 8 * v), x));
      }
    }
  }
  BOPKIT_FOR_TILE {
    int32x4_t sum = vpaddq_s32(sums[p][2 * v], sums[p][2 * v + 1]);
    int32_t* place = to + p * kPanel + 4 * v;
    if (adds) sum = vaddq_s32(sum, vld1q_s32(place));
    vst1q_s32(place, sum);
  }
}

#endif

template <int pixels>
inline void binary_tile(const BinaryGemmArgs& args, size_t words, int pixel, int channel) {
  QuarterInts x[pixels][4];
  const uint32_t* weights = args.panel + static_cast<size_t>(channel) * words;
  count_bits<pixels>(args.patch + pixel, weights, 4 * words, static_cast<unsigned>(words), x);
  if (args.rows != nullptr && has_whole_vectors(args.channels, args.rows[0])) {
    return end_doubled<pixels>(*args.epilogue, args.corrections + pixel, channel, args.rows + pixel,
                               x);
  }
  int32_t* sums = args.sums + pixel * kPanel + channel;
  BOPKIT_FOR_TILE vst1q_s32(sums + p * kPanel + 4 * v, vshrq_n_s32((int32x4_t)x[p][v], 1));
}

void binary_gemm(const BinaryGemmArgs& args) {
  const size_t length = static_cast<size_t>(args.runs) * static_cast<size_t>(args.run_length);
  const size_t words = length + length % 2;
  for (int channel = 0; channel < args.channels; channel += kBlock) {
    int pixel = 0;
    for (; pixel + 2 <= args.pixels; pixel += 2) binary_tile<2>(args, words, pixel, channel);
    if (pixel < args.pixels) binary_tile<1>(args, words, pixel, channel);
  }
  if (args.rows != nullptr && !has_whole_vectors(args.channels, args.rows[0])) end_tile(args);
}

template <typename Weight>
void gemm_of_floats(const GemmArgs<float, Weight, float>& args) {
  constexpr int kMost = kFloatBlockPixels<Weight>;
  static constexpr void (*kBlocks[])(const GemmArgs<float, Weight, float>&, int, const Weight*,
                                     float*) = {
      float_block<1, Weight>, float_block<2, Weight>,         float_block<3, Weight>,
      float_block<4, Weight>, float_block<kMost - 1, Weight>, float_block<kMost, Weight>};
  const ptrdiff_t stride = ptrdiff_t{args.runs} * args.run_length;
  const int tiles = (args.pixels + kMost - 1) / kMost;
  for (int channel = 0; channel < args.channels; channel += kBlock) {
    for (int tile = 0; tile < tiles; ++tile) {
      const int begin = tile * args.pixels / tiles, end = (tile + 1) * args.pixels / tiles;
      kBlocks[end - begin - 1](args, begin, args.panel + channel * stride,
                               args.sums + begin * kPanel + channel);
    }
  }
  if (args.rows == nullptr) return;
  end_all_floats(*args.epilogue, args.sums, kPanel, args.channels, args.rows, args.pixels);
}

void float_gemm(const FloatGemmArgs& args) { gemm_of_floats(args); }
void mixed_gemm(const MixedGemmArgs& args) { gemm_of_floats(args); }

void int8_gemm(const Int8GemmArgs& args) {
  static constexpr void (*kBlocks[])(const int8_t* const*, int, const int8_t*, bool, int32_t*) = {
    int8_block<1>,
    int8_block<2>,
#if defined(BOPKIT_HAS_DOT)
    int8_block<3>,
    int8_block<4>,
    int8_block<5>,
    int8_block<6>,
#endif
  };
  const int length = args.runs * args.run_length;
  const ptrdiff_t rounded = (length + kInt8Depth - 1) / kInt8Depth * kInt8Depth;
  const bool is_gathered = args.runs > 1 || length != rounded;
  alignas(16) int8_t gathered[kTilePixels][kSegmentBytes];
  const int8_t* patches[kTilePixels];
  for (int first = 0; first < length; first += kSegmentBytes) {
    const int left = length - first, count = left < kSegmentBytes ? left : kSegmentBytes;
    const int rounded_count = (count + kInt8Depth - 1) / kInt8Depth * kInt8Depth;
    for (int p = 0; p < args.pixels; ++p) {
      patches[p] = is_gathered ? gathered[p] : args.patch[p] + args.run_offset[0] + first;
    }
    if (is_gathered) {
      for (int p = 0; p < args.pixels; ++p) {
        __builtin_memset(gathered[p] + rounded_count - kInt8Depth, 0, kInt8Depth);
      }
      for_parts(args, first, count, [&](int offset, int part, int place) {
        gather_part(args, offset, part, place, gathered);
      });
    }
    const int tiles = (args.pixels + kInt8BlockPixels - 1) / kInt8BlockPixels;
    for (int channel = 0; channel < args.channels; channel += kBlock) {
      const int8_t* weights = args.panel + channel * rounded + first * kBlock;
      for (int tile = 0; tile < tiles; ++tile) {
        const int begin = tile * args.pixels / tiles, end = (tile + 1) * args.pixels / tiles;
        kBlocks[end - begin - 1](patches + begin, rounded_count, weights, first != 0,
                                 args.sums + begin * kPanel + channel);
      }
    }
  }
  if (args.rows == nullptr) return;
  end_integers(*args.epilogue, args.sums, args.corrections, args.channels, args.rows, args.pixels);
}

constexpr auto depthwise_floats = depthwise_rows_by<kMany, FloatDepthwiseArgs>;
constexpr auto depthwise_int8 = depthwise_rows_by<kMany, Int8DepthwiseArgs>;

constexpr Kernels::Packing kBinaryPacking = {kTilePixels, 4,    kBlock, false,          0,
                                             1,           true, 2,      gather_prefixes};
constexpr Kernels::Packing kPacking = {kTilePixels, kBlock, kBlock};
constexpr Kernels::Packing kInt8Packing = {kTilePixels, kBlock,     kBlock, false,
                                           0,           kInt8Depth, true,   kInt8BlockPixels};
