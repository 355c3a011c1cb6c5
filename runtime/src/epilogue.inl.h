// The epilogue, from sums in registers to stored results. Included by each instruction set's
// kernels in a namespace of its own, with its target chosen. Needs `negative_mask(Ints)`: one bit a
// lane, set where the lane is negative.
//
// Only multiplications and additions of float32, each rounded: the library is built with
// -ffp-contract=off, because a fused one would move values across zero that LCE leaves on the other
// side.

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

inline uint32_t negative_mask(const Ints& lanes);

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

// `count` lanes; the others are zero.
inline Floats load_part(const float* from, int count) {
  Floats lanes{};
  __builtin_memcpy(&lanes, from, static_cast<size_t>(count) * sizeof(float));
  return lanes;
}

inline void apply(const EpilogueOp& op, const Row& row, int channel, int count, Floats& y) {
  Floats other{};
  if (op.vector != nullptr) {
    other = load(op.vector + channel);
  } else if (op.kind <= EpilogueOpKind::kMultiplyOperand) {
    const float* operand = row.operands[op.operand] + channel;
    other = count == kLanes ? load(operand) : load_part(operand, count);
  }
  switch (op.kind) {
    case EpilogueOpKind::kAddOperand:
    case EpilogueOpKind::kAddVector:
      y = y + other;
      break;
    case EpilogueOpKind::kSubtractOperand:
    case EpilogueOpKind::kSubtractVector:
      y = y - other;
      break;
    case EpilogueOpKind::kSubtractFromOperand:
    case EpilogueOpKind::kSubtractFromVector:
      y = other - y;
      break;
    case EpilogueOpKind::kMultiplyOperand:
    case EpilogueOpKind::kMultiplyVector:
      y = y * other;
      break;
    case EpilogueOpKind::kMaximumVector:
      y = y > other ? y : other;
      break;
    case EpilogueOpKind::kPReluVector:
      y = y < all(0) ? y * other : y;
      break;
    case EpilogueOpKind::kStore:
      __builtin_memcpy(row.stored + channel, &y, static_cast<size_t>(count) * sizeof(float));
      break;
    case EpilogueOpKind::kRelu:
      y = y < all(0) ? all(0) : y;
      break;
    case EpilogueOpKind::kReluN1To1:
      y = y < all(-1) ? all(-1) : y;
      y = y > all(1) ? all(1) : y;
      break;
    case EpilogueOpKind::kRelu6:
      y = y < all(0) ? all(0) : y;
      y = y > all(6) ? all(6) : y;
      break;
  }
}

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

template <EpilogueForm kForm, bool kWhole>
inline void store(const Epilogue& epilogue, Floats y, int channel, int count, const Row& row) {
  if (kForm == EpilogueForm::kAddOperand) {
    const float* operand = row.operands[0] + channel;
    y = y + (kWhole ? load(operand) : load_part(operand, count));
  } else if (kForm == EpilogueForm::kAny) {
    for (int i = 0; i < epilogue.op_count; ++i) apply(epilogue.ops[i], row, channel, count, y);
  }
  if (row.floats != nullptr) {
    __builtin_memcpy(row.floats + channel, &y,
                     kWhole ? sizeof y : static_cast<size_t>(count) * sizeof(float));
  }
  if (row.bits != nullptr) store_bits(negative_mask(y < all(0)), channel, count, row.bits);
  if (row.bytes != nullptr) store_bytes(y, count, row.bytes + channel);
}

template <EpilogueForm kForm, bool kWhole>
inline void integer_epilogue_rows(const Epilogue& epilogue, const int32_t* sums,
                                  const int32_t* const* corrections, int channels, const Row* rows,
                                  int pixels) {
  for (int p = 0; p < pixels; ++p, sums += kPanel) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const int count = kWhole || channels - channel >= kLanes ? kLanes : channels - channel;
      Ints x = load(sums + channel) * 2;
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
      const Floats y = __builtin_convertvector(x, Floats) * load(epilogue.multiplier + channel);
      store<kForm, kWhole>(epilogue, y + load(epilogue.bias + channel), channel, count, rows[p]);
    }
  }
}

template <EpilogueForm kForm, bool kWhole>
inline void float_epilogue_rows(const Epilogue& epilogue, const float* sums, int64_t stride,
                                int channels, const Row* rows, int pixels) {
  for (int p = 0; p < pixels; ++p, sums += stride) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const int count = kWhole || channels - channel >= kLanes ? kLanes : channels - channel;
      Floats y =
          kWhole || count == kLanes ? load(sums + channel) : load_part(sums + channel, count);
      if (epilogue.bias != nullptr) y = y + load(epilogue.bias + channel);
      store<kForm, kWhole>(epilogue, y, channel, count, rows[p]);
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

#define BOPKIT_EPILOGUE(function, ...)                                                         \
  switch (form_of(epilogue)) {                                                                 \
    case EpilogueForm::kNone:                                                                  \
      return channels % kLanes == 0 ? function<EpilogueForm::kNone, true>(__VA_ARGS__)         \
                                    : function<EpilogueForm::kNone, false>(__VA_ARGS__);       \
    case EpilogueForm::kAddOperand:                                                            \
      return channels % kLanes == 0 ? function<EpilogueForm::kAddOperand, true>(__VA_ARGS__)   \
                                    : function<EpilogueForm::kAddOperand, false>(__VA_ARGS__); \
    case EpilogueForm::kAny:                                                                   \
      return function<EpilogueForm::kAny, false>(__VA_ARGS__);                                 \
  }

inline void integer_epilogue(const Epilogue& epilogue, const int32_t* sums,
                             const int32_t* const* corrections, int channels, const Row* rows,
                             int pixels) {
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

inline void depthwise_row(float* to, const float* const* rows, const float* const* weights,
                          int taps, int channels) {
  int i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    Floats sum{};
    for (int t = 0; t < taps; ++t) sum = sum + load(rows[t] + i) * load(weights[t] + i);
    __builtin_memcpy(to + i, &sum, sizeof sum);
  }
  for (; i < channels; ++i) {
    float sum = 0;
    for (int t = 0; t < taps; ++t) sum = sum + rows[t][i] * weights[t][i];
    to[i] = sum;
  }
}
