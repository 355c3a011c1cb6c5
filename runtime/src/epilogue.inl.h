// The epilogue, from sums in registers to stored results. Included by each instruction set's
// kernels in a namespace of its own, with its target chosen. Needs `negative_mask(Ints)`: one bit a
// lane, set where the lane is negative; and `load_part` and `store_part`, which parts.inl.h has for
// all that have nothing better.
//
// Only multiplications and additions of float32, each rounded: the library is built with
// -ffp-contract=off, because a fused one would move values across zero that LCE leaves on the other
// side.

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

inline uint32_t negative_mask(const Ints& lanes);
// `count` lanes, 1 to kLanes; those loaded beyond are zero.
inline Floats load_part(const float* from, int count);
inline void store_part(const Floats& y, int count, float* to);

inline Floats load(const float* from) {
  Floats lanes;
  __builtin_memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

inline Ints load(const int32_t* from) {
  Ints lanes;
  __builtin_memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

inline Floats all(float value) { return Floats{} + value; }

#define BOPKIT_ALWAYS_INLINE __attribute__((always_inline)) inline

// What an operation does to vectors of numbers: `numbers` replaces each of them by what the function
// makes of it, of it and its operand, or of it and its channels' constants.
template <typename Numbers>
BOPKIT_ALWAYS_INLINE void apply(EpilogueOpKind kind, const Numbers& numbers) {
  switch (kind) {
    case EpilogueOpKind::kAddOperand:
      return numbers.join([](Floats a, Floats b) { return a + b; });
    case EpilogueOpKind::kSubtractOperand:
      return numbers.join([](Floats a, Floats b) { return a - b; });
    case EpilogueOpKind::kSubtractFromOperand:
      return numbers.join([](Floats a, Floats b) { return b - a; });
    case EpilogueOpKind::kMultiplyOperand:
      return numbers.join([](Floats a, Floats b) { return a * b; });
    case EpilogueOpKind::kAddVector:
      return numbers.scale([](Floats a, Floats v) { return a + v; });
    case EpilogueOpKind::kSubtractVector:
      return numbers.scale([](Floats a, Floats v) { return a - v; });
    case EpilogueOpKind::kSubtractFromVector:
      return numbers.scale([](Floats a, Floats v) { return v - a; });
    case EpilogueOpKind::kMultiplyVector:
      return numbers.scale([](Floats a, Floats v) { return a * v; });
    case EpilogueOpKind::kMaximumVector:
      return numbers.scale([](Floats a, Floats v) { return a > v ? a : v; });
    case EpilogueOpKind::kPReluVector:
      return numbers.scale([](Floats a, Floats v) { return a < all(0) ? a * v : a; });
    case EpilogueOpKind::kStore:
      return numbers.store();
    case EpilogueOpKind::kRelu:
      return numbers.map([](Floats a) { return a < all(0) ? all(0) : a; });
    case EpilogueOpKind::kReluN1To1:
      return numbers.map([](Floats a) {
        a = a < all(-1) ? all(-1) : a;
        return a > all(1) ? all(1) : a;
      });
    case EpilogueOpKind::kRelu6:
      return numbers.map([](Floats a) {
        a = a < all(0) ? all(0) : a;
        return a > all(6) ? all(6) : a;
      });
  }
}

// A vector of each pixel.
struct Column {
  const EpilogueOp& op;
  const Row* rows;
  int channel, count, pixels;
  Floats* y;

  template <typename Function>
  void map(const Function& function) const {
    for (int p = 0; p < pixels; ++p) y[p] = function(y[p]);
  }
  template <typename Function>
  void join(const Function& function) const {
    for (int p = 0; p < pixels; ++p) {
      y[p] = function(y[p], load_part(rows[p].operands[op.operand] + channel, count));
    }
  }
  template <typename Function>
  void scale(const Function& function) const {
    const Floats v = load(op.vector + channel);
    for (int p = 0; p < pixels; ++p) y[p] = function(y[p], v);
  }
  void store() const {
    for (int p = 0; p < pixels; ++p) store_part(y[p], count, rows[p].stored + channel);
  }
};

inline void store_bytes(const Floats& y, int count, int8_t* to) {
  float lanes[kLanes];
  __builtin_memcpy(lanes, &y, sizeof lanes);
  for (int i = 0; i < count; ++i) {
    // Half away from zero, as std::round; saturated before the conversion, which would be undefined
    // beyond int32.
    float value = lanes[i] > -129.0f ? lanes[i] : -129.0f;
    value = value < 128.0f ? value : 128.0f;
    int32_t rounded = static_cast<int32_t>(value);
    const float rest = value - static_cast<float>(rounded);
    rounded += (rest >= 0.5f) - (rest <= -0.5f);
    to[i] = static_cast<int8_t>(rounded < -128 ? -128 : rounded > 127 ? 127 : rounded);
  }
}

// Bit-packs up to 16 channels from `channel` on.
inline void store_bits(uint32_t mask, int channel, int count, uint32_t* words) {
  mask &= 0xffffu >> (kLanes - count);
  if (channel % 32 == 0) {
    words[channel / 32] = mask;
  } else {
    words[channel / 32] |= mask << 16;
  }
}

// The epilogues that nearly all steps of a network have, and the rest: each is compiled apart.
enum class EpilogueForm { kNone, kAddOperand, kAny };

// Ends the epilogue of a vector of each pixel, of which there are at most kMaxTilePixels.
template <EpilogueForm kForm>
inline void store(const Epilogue& epilogue, Floats* y, int channel, int count, const Row* rows,
                  int pixels) {
  if (kForm == EpilogueForm::kAny) {
    for (int i = 0; i < epilogue.op_count; ++i) {
      const EpilogueOp *op = &epilogue.ops[i], *next = op + 1;
      // A batch norm: in one pass, each operation rounded as ever.
      if (op->kind == EpilogueOpKind::kMultiplyVector && i + 1 < epilogue.op_count &&
          next->kind == EpilogueOpKind::kAddVector) {
        const Floats factor = load(op->vector + channel), shift = load(next->vector + channel);
        for (int p = 0; p < pixels; ++p) {
          const Floats product = y[p] * factor;
          y[p] = product + shift;
        }
        ++i;
        continue;
      }
      apply(op->kind, Column{*op, rows, channel, count, pixels, y});
    }
  }
  for (int p = 0; p < pixels; ++p) {
    const Row& row = rows[p];
    if (kForm == EpilogueForm::kAddOperand)
      y[p] = y[p] + load_part(row.operands[0] + channel, count);
    if (row.floats != nullptr) store_part(y[p], count, row.floats + channel);
    if (row.bits != nullptr) store_bits(negative_mask(y[p] < all(0)), channel, count, row.bits);
    if (row.bytes != nullptr) store_bytes(y[p], count, row.bytes + channel);
  }
}

template <EpilogueForm kForm, bool kWhole>
inline void integer_epilogue_rows(const Epilogue& epilogue, const int32_t* sums,
                                  const int32_t* const* corrections, int channels, const Row* rows,
                                  int pixels) {
  for (int channel = 0; channel < channels; channel += kLanes) {
    const int count = kWhole || channels - channel >= kLanes ? kLanes : channels - channel;
    Floats y[kMaxTilePixels];
    for (int p = 0; p < pixels; ++p) {
      Ints x = load(sums + p * kPanel + channel) * 2;
      if (corrections[p] != nullptr) x = x + load(corrections[p] + channel);
      if (epilogue.threshold != nullptr) {
        store_bits(negative_mask(x > load(epilogue.threshold + channel)), channel, count,
                   rows[p].bits);
        continue;
      }
      if (epilogue.has_clamp) {
        x = x > epilogue.clamp_max ? Ints{} + epilogue.clamp_max : x;
        x = x < epilogue.clamp_min ? Ints{} + epilogue.clamp_min : x;
      }
      y[p] = __builtin_convertvector(x, Floats) * load(epilogue.multiplier + channel);
      y[p] = y[p] + load(epilogue.bias + channel);
    }
    if (epilogue.threshold == nullptr) store<kForm>(epilogue, y, channel, count, rows, pixels);
  }
}

template <EpilogueForm kForm, bool kWhole>
inline void float_epilogue_rows(const Epilogue& epilogue, const float* sums, int64_t stride,
                                int channels, const Row* rows, int pixels) {
  for (int first = 0; first < pixels; first += kMaxTilePixels) {
    const int left = pixels - first, in_tile = left < kMaxTilePixels ? left : kMaxTilePixels;
    const float* from = sums + first * stride;
    for (int channel = 0; channel < channels; channel += kLanes) {
      const int count = kWhole || channels - channel >= kLanes ? kLanes : channels - channel;
      Floats y[kMaxTilePixels];
      for (int p = 0; p < in_tile; ++p) {
        y[p] = load_part(from + p * stride + channel, count);
        if (epilogue.bias != nullptr) y[p] = y[p] + load(epilogue.bias + channel);
      }
      store<kForm>(epilogue, y, channel, count, rows + first, in_tile);
    }
  }
}

inline EpilogueForm form_of(const Epilogue& epilogue) {
  if (epilogue.op_count == 0) return EpilogueForm::kNone;
  const EpilogueOp& first = epilogue.ops[0];
  return epilogue.op_count == 1 && first.kind == EpilogueOpKind::kAddOperand && first.operand == 0
             ? EpilogueForm::kAddOperand
             : EpilogueForm::kAny;
}

// The epilogue of most binary convolutions: sums are scaled, at most with an operand added, and
// stored as floats or signs or both, in whole words of channels. Pixel by pixel: what each vector
// would ask anew is known.
inline bool is_plain(const Epilogue& epilogue, EpilogueForm form, int channels, const Row& row) {
  return form != EpilogueForm::kAny && epilogue.multiplier != nullptr && channels % 32 == 0 &&
         row.bytes == nullptr;
}

inline void plain_epilogue(const Epilogue& epilogue, const int32_t* sums,
                           const int32_t* const* corrections, int channels, const Row* rows,
                           int pixels) {
  for (int p = 0; p < pixels; ++p, sums += kPanel) {
    const int32_t* correction = corrections[p];
    const float* operand = epilogue.op_count != 0 ? rows[p].operands[0] : nullptr;
    float* floats = rows[p].floats;
    uint32_t* bits = rows[p].bits;
    for (int word = 0; word < channels / 32; ++word) {
      uint32_t mask = 0;
      for (int half = 0; half < 32; half += kLanes) {
        const int channel = word * 32 + half;
        Ints x = load(sums + channel) * 2;
        if (correction != nullptr) x = x + load(correction + channel);
        if (epilogue.has_clamp) {
          x = x > epilogue.clamp_max ? Ints{} + epilogue.clamp_max : x;
          x = x < epilogue.clamp_min ? Ints{} + epilogue.clamp_min : x;
        }
        Floats y = __builtin_convertvector(x, Floats) * load(epilogue.multiplier + channel);
        y = y + load(epilogue.bias + channel);
        if (operand != nullptr) y = y + load(operand + channel);
        if (floats != nullptr) __builtin_memcpy(floats + channel, &y, sizeof y);
        if (bits != nullptr) mask |= negative_mask(y < all(0)) << half;
      }
      if (bits != nullptr) bits[word] = mask;
    }
  }
}

#define BOPKIT_EPILOGUE(function, ...)                                                         \
  switch (form_of(epilogue)) {                                                                 \
    case EpilogueForm::kNone:                                                                  \
      return channels % kLanes == 0 ? function<EpilogueForm::kNone, true>(__VA_ARGS__)         \
                                    : function<EpilogueForm::kNone, false>(__VA_ARGS__);       \
    case EpilogueForm::kAddOperand:                                                            \
      return channels % kLanes == 0 ? function<EpilogueForm::kAddOperand, true>(__VA_ARGS__)   \
                                    : function<EpilogueForm::kAddOperand, false>(__VA_ARGS__); \
    case EpilogueForm::kAny:                                                                   \
      return channels % kLanes == 0 ? function<EpilogueForm::kAny, true>(__VA_ARGS__)          \
                                    : function<EpilogueForm::kAny, false>(__VA_ARGS__);        \
  }

inline void integer_epilogue(const Epilogue& epilogue, const int32_t* sums,
                             const int32_t* const* corrections, int channels, const Row* rows,
                             int pixels) {
  if (is_plain(epilogue, form_of(epilogue), channels, rows[0])) {
    return plain_epilogue(epilogue, sums, corrections, channels, rows, pixels);
  }
  BOPKIT_EPILOGUE(integer_epilogue_rows, epilogue, sums, corrections, channels, rows, pixels)
}

inline void float_epilogue(const Epilogue& epilogue, const float* sums, int64_t stride,
                           int channels, const Row* rows, int pixels) {
  BOPKIT_EPILOGUE(float_epilogue_rows, epilogue, sums, stride, channels, rows, pixels)
}

#undef BOPKIT_EPILOGUE

inline void max_row(float* max, const float* row, int channels) {
  int i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    const Floats a = load(max + i), b = load(row + i);
    const Floats larger = a < b ? b : a;
    __builtin_memcpy(max + i, &larger, sizeof larger);
  }
  for (; i < channels; ++i) max[i] = max[i] < row[i] ? row[i] : max[i];
}

inline void add_row(float* sum, const float* row, int channels) {
  int i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    const Floats total = load(sum + i) + load(row + i);
    __builtin_memcpy(sum + i, &total, sizeof total);
  }
  for (; i < channels; ++i) sum[i] += row[i];
}

inline void add_rows(float* sum, const float* rows, int64_t stride, int count, int channels) {
  int i = 0;
  for (; i + 4 * kLanes <= channels; i += 4 * kLanes) {
    Floats totals[4];
    for (int v = 0; v < 4; ++v) totals[v] = load(sum + i + v * kLanes);
    for (int row = 0; row < count; ++row) {
      const float* from = rows + row * stride + i;
      for (int v = 0; v < 4; ++v) totals[v] = totals[v] + load(from + v * kLanes);
    }
    for (int v = 0; v < 4; ++v) store_part(totals[v], kLanes, sum + i + v * kLanes);
  }
  for (int row = 0; i < channels && row < count; ++row) {
    add_row(sum + i, rows + row * stride + i, channels - i);
  }
}

inline void depthwise_row(float* to, const float* const* rows, const float* const* weights,
                          int taps, int channels) {
  for (int i = 0; i < channels; i += kLanes) {
    const int count = channels - i < kLanes ? channels - i : kLanes;
    Floats sum{};
    for (int t = 0; t < taps; ++t) {
      sum = sum + load_part(rows[t] + i, count) * load_part(weights[t] + i, count);
    }
    store_part(sum, count, to + i);
  }
}
