// The epilogue, from sums in registers to stored results. Included by each instruction set's
// kernels in a namespace of its own, with its target chosen. Needs `negative_mask(Ints)`: one bit a
// lane, set where the lane is negative; `rounding_high_product`; and `load_part` and `store_part`,
// which parts.inl.h has for all that have nothing better.
//
// Only multiplications and additions of float32, each rounded: the library is built with
// -ffp-contract=off, because a fused one would move values across zero that LCE leaves on the other
// side.

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

typedef int8_t Bytes __attribute__((vector_size(16)));

inline uint32_t negative_mask(const Ints& lanes);
// (2 * a * b + 2^31) >> 32 of each lane, of which no two are the least int32.
inline Ints rounding_high_product(const Ints& a, const Ints& b);
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

template <typename Vector>
BOPKIT_ALWAYS_INLINE Vector clamp_below(Vector a, float bound) {
  const Vector bounds = Vector{} + bound;
  return a < bounds ? bounds : a;
}

template <typename Vector>
BOPKIT_ALWAYS_INLINE Vector clamp_above(Vector a, float bound) {
  const Vector bounds = Vector{} + bound;
  return a > bounds ? bounds : a;
}

// What an operation does to vectors of numbers: `numbers` replaces each of them by what the function
// makes of it, of it and its operand, or of it and its channels' constants.
template <typename Numbers>
BOPKIT_ALWAYS_INLINE void apply(EpilogueOpKind kind, const Numbers& numbers) {
  switch (kind) {
    case EpilogueOpKind::kAddOperand:
      return numbers.join([](auto a, auto b) { return a + b; });
    case EpilogueOpKind::kSubtractOperand:
      return numbers.join([](auto a, auto b) { return a - b; });
    case EpilogueOpKind::kSubtractFromOperand:
      return numbers.join([](auto a, auto b) { return b - a; });
    case EpilogueOpKind::kMultiplyOperand:
      return numbers.join([](auto a, auto b) { return a * b; });
    case EpilogueOpKind::kAddVector:
      return numbers.scale([](auto a, auto v) { return a + v; });
    case EpilogueOpKind::kSubtractVector:
      return numbers.scale([](auto a, auto v) { return a - v; });
    case EpilogueOpKind::kSubtractFromVector:
      return numbers.scale([](auto a, auto v) { return v - a; });
    case EpilogueOpKind::kMultiplyVector:
      return numbers.scale([](auto a, auto v) { return a * v; });
    case EpilogueOpKind::kMaximumVector:
      return numbers.scale([](auto a, auto v) { return a > v ? a : v; });
    case EpilogueOpKind::kPReluVector:
      return numbers.scale([](auto a, auto v) { return a < decltype(a){} ? a * v : a; });
    case EpilogueOpKind::kStore:
      return numbers.store();
    case EpilogueOpKind::kRelu:
      return numbers.map([](auto a) { return clamp_below(a, 0); });
    case EpilogueOpKind::kReluN1To1:
      return numbers.map([](auto a) { return clamp_above(clamp_below(a, -1), 1); });
    case EpilogueOpKind::kRelu6:
      return numbers.map([](auto a) { return clamp_above(clamp_below(a, 0), 6); });
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

inline Ints clamp(Ints x, int32_t min, int32_t max) {
  x = x > max ? Ints{} + max : x;
  return x < min ? Ints{} + min : x;
}

// `count` numbers, 1 to kLanes; the others are zero.
inline Bytes load_bytes(const int8_t* from, int count) {
  Bytes bytes{};
  if (count == kLanes) {
    __builtin_memcpy(&bytes, from, sizeof bytes);
  } else {
    for (int i = 0; i < count; ++i) bytes[i] = from[i];
  }
  return bytes;
}

// Stores `count` lanes, each of which is an int8.
inline void store_int8(const Ints& x, int count, int8_t* to) {
  const Bytes bytes = __builtin_convertvector(x, Bytes);
  if (count == kLanes) {
    __builtin_memcpy(to, &bytes, sizeof bytes);
    return;
  }
  for (int i = 0; i < count; ++i) to[i] = bytes[i];
}

inline void store_bytes(const Epilogue& epilogue, Floats y, int count, int8_t* to) {
  if (epilogue.byte_scale != 1) y = y / all(epilogue.byte_scale);
  // Saturated before the conversion, which would be undefined beyond int32; NaN is the least.
  y = y > all(-512) ? y : all(-512);
  y = y < all(512) ? y : all(512);
  // Half away from zero, as std::round. A comparison that holds is -1.
  const Ints whole = __builtin_convertvector(y, Ints);
  const Floats rest = y - __builtin_convertvector(whole, Floats);
  const Ints rounded = whole - (Ints)(rest >= all(0.5f)) + (Ints)(rest <= all(-0.5f));
  store_int8(clamp(rounded + epilogue.byte_zero_point, -128, 127), count, to);
}

// See Requantization; less the zero point. `x` are the sums with their bias, `channel` the first one's.
inline Ints requantize_in_double(const Requantization& by, const Ints& x, int channel) {
  typedef double Doubles __attribute__((vector_size(128)));
  Doubles factor;
  __builtin_memcpy(&factor, by.factor + channel, sizeof factor);
  const Doubles y = __builtin_convertvector(x, Doubles) * factor, zero = {};
  // What is far outside of int8 becomes an int32 that is.
  const Doubles upper = y < zero + 512 ? y : zero + 512;
  const Doubles bounded = upper > zero - 512 ? upper : zero - 512;
  const Ints whole = __builtin_convertvector(bounded, Ints);
  const Doubles rest = bounded - __builtin_convertvector(whole, Doubles);
  const Ints up = __builtin_convertvector(rest >= zero + 0.5, Ints),
             down = __builtin_convertvector(rest <= zero - 0.5, Ints);
  return clamp(whole - up + down, by.min - by.zero_point, by.max - by.zero_point);
}

// A vector of channels' part of a Requantization, for the sums of many pixels.
class Requantizer {
 public:
  Requantizer(const Requantization& by, int channel)
      : by_(by),
        channel_(channel),
        bias_(load(by.bias + channel)),
        multiplier_(load(by.multiplier + channel)),
        left_(load(by.left_shift + channel)),
        right_(load(by.right_shift + channel)),
        rest_bits_(~((Ints{} - 1) << right_)),
        half_(rest_bits_ >> 1) {}

  // Without a factor; less the zero point.
  Ints by_integers(const Ints& sums) const {
    const Ints x = rounding_high_product((sums + bias_) << left_, multiplier_);
    // A comparison that holds is -1.
    const Ints rounded = (x >> right_) - ((x & rest_bits_) > half_ - (x < 0));
    return clamp(rounded, by_.min - by_.zero_point, by_.max - by_.zero_point);
  }
  Ints in_double(const Ints& sums) const {
    return requantize_in_double(by_, sums + bias_, channel_);
  }

 private:
  const Requantization& by_;
  int channel_;
  Ints bias_, multiplier_, left_, right_, rest_bits_, half_;
};

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
    if (row.bytes != nullptr) store_bytes(epilogue, y[p], count, row.bytes + channel);
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
      if (epilogue.has_clamp) x = clamp(x, epilogue.clamp_min, epilogue.clamp_max);
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
        if (epilogue.multiplier != nullptr) y[p] = y[p] * load(epilogue.multiplier + channel);
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
        if (epilogue.has_clamp) x = clamp(x, epilogue.clamp_min, epilogue.clamp_max);
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

inline void float_epilogue(const Epilogue& epilogue, const float* sums, int64_t stride,
                           int channels, const Row* rows, int pixels) {
  BOPKIT_EPILOGUE(float_epilogue_rows, epilogue, sums, stride, channels, rows, pixels)
}

// Calls `function(p, channel, count, x)` with each vector of requantized sums, less the zero point.
template <typename Function>
inline void requantize(const Requantization& by, const int32_t* sums, int channels, int pixels,
                       const Function& function) {
  for (int channel = 0; channel < channels; channel += kLanes) {
    const int count = channels - channel < kLanes ? channels - channel : kLanes;
    const Requantizer requantizer(by, channel);
    const int32_t* from = sums + channel;
    if (by.factor != nullptr) {
      for (int p = 0; p < pixels; ++p, from += kPanel) {
        function(p, channel, count, requantizer.in_double(load(from)));
      }
    } else {
      for (int p = 0; p < pixels; ++p, from += kPanel) {
        function(p, channel, count, requantizer.by_integers(load(from)));
      }
    }
  }
}

// Whether of requantized sums nothing but their signs is left.
inline bool wants_signs_alone(const Epilogue& epilogue, const Row& row) {
  return epilogue.op_count == 0 && epilogue.requantization.factor == nullptr &&
         row.floats == nullptr && row.bytes == nullptr;
}

inline void store_signs(const Requantization& by, const int32_t* sums, int channels,
                        const Row* rows, int pixels) {
  for (int p = 0; p < pixels; ++p, sums += kPanel) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const int count = channels - channel < kLanes ? channels - channel : kLanes;
      store_bits(negative_mask(load(sums + channel) < load(by.least_not_negative + channel)),
                 channel, count, rows[p].bits);
    }
  }
}

// The integer epilogue of sums that are requantized: of floats from there on.
template <typename FloatEpilogue>
inline void requantized_epilogue(const Epilogue& epilogue, const int32_t* sums, int channels,
                                 const Row* rows, int pixels, const FloatEpilogue& end) {
  const Requantization by = epilogue.requantization;
  if (epilogue.stores_int8_sums) {
    return requantize(by, sums, channels, pixels,
                      [&](int p, int channel, int count, const Ints& x) {
                        store_int8(x + by.zero_point, count, rows[p].bytes + channel);
                      });
  }
  if (wants_signs_alone(epilogue, rows[0])) {
    return store_signs(by, sums, channels, rows, pixels);
  }
  alignas(64) float y[kMaxTilePixels * kPanel];
  requantize(by, sums, channels, pixels, [&](int p, int channel, int, const Ints& x) {
    const Floats numbers = __builtin_convertvector(x, Floats) * all(by.scale);
    __builtin_memcpy(y + p * kPanel + channel, &numbers, sizeof numbers);
  });
  end(epilogue, y, kPanel, channels, rows, pixels);
}

inline void integer_epilogue(const Epilogue& epilogue, const int32_t* sums,
                             const int32_t* const* corrections, int channels, const Row* rows,
                             int pixels) {
  if (epilogue.is_requantized) {
    return requantized_epilogue(epilogue, sums, channels, rows, pixels, float_epilogue);
  }
  if (is_plain(epilogue, form_of(epilogue), channels, rows[0])) {
    return plain_epilogue(epilogue, sums, corrections, channels, rows, pixels);
  }
  BOPKIT_EPILOGUE(integer_epilogue_rows, epilogue, sums, corrections, channels, rows, pixels)
}

#undef BOPKIT_EPILOGUE

// The epilogue of a tile, if it has one, from its sums in memory.
template <typename Element, typename Weight>
inline void end_tile(const GemmArgs<Element, Weight, int32_t>& args) {
  if (args.rows == nullptr) return;
  integer_epilogue(*args.epilogue, args.sums, args.corrections, args.channels, args.rows,
                   args.pixels);
}

template <typename Weight>
inline void end_tile(const GemmArgs<float, Weight, float>& args) {
  if (args.rows == nullptr) return;
  float_epilogue(*args.epilogue, args.sums, kPanel, args.channels, args.rows, args.pixels);
}

// Vectors of channels that are computed at a time, so that they do not wait for each other.
constexpr int kMany = 4;

// to = end(function(...function(rows[0], rows[1])..., rows[count - 1])); the lanes of a last vector
// that `channels` does not fill are zero.
template <typename Function, typename End>
inline void reduce(float* to, const float* const* rows, int count, int channels,
                   const Function& function, const End& end) {
  int i = 0;
  for (; i + kMany * kLanes <= channels; i += kMany * kLanes) {
    Floats y[kMany];
    for (int v = 0; v < kMany; ++v) y[v] = load(rows[0] + i + v * kLanes);
    for (int row = 1; row < count; ++row) {
      for (int v = 0; v < kMany; ++v) y[v] = function(y[v], load(rows[row] + i + v * kLanes));
    }
    for (int v = 0; v < kMany; ++v) store_part(end(y[v]), kLanes, to + i + v * kLanes);
  }
  for (; i < channels; i += kLanes) {
    const int lanes = channels - i < kLanes ? channels - i : kLanes;
    Floats y = load_part(rows[0] + i, lanes);
    for (int row = 1; row < count; ++row) y = function(y, load_part(rows[row] + i, lanes));
    store_part(end(y), lanes, to + i);
  }
}

inline void max_of(float* to, const float* const* rows, int count, int channels) {
  reduce(
      to, rows, count, channels, [](const Floats& a, const Floats& b) { return a < b ? b : a; },
      [](const Floats& max) { return max; });
}

inline void mean_of(float* to, const float* const* rows, int count, int channels) {
  const auto add = [](const Floats& a, const Floats& b) { return a + b; };
  const float divisor = static_cast<float>(count);
  if ((count & (count - 1)) == 0) {  // a power of two: the product is the quotient, and is quicker
    const float factor = 1 / divisor;
    return reduce(to, rows, count, channels, add,
                  [factor](const Floats& sum) { return sum * all(factor); });
  }
  reduce(to, rows, count, channels, add,
         [divisor](const Floats& sum) { return sum / all(divisor); });
}

template <int kVectors>
inline void max_of_vectors(int32_t* to, const int32_t* const* rows, int count, int64_t i) {
  Ints max[kVectors];
  for (int v = 0; v < kVectors; ++v) max[v] = load(rows[0] + i + v * kLanes);
  for (int row = 1; row < count; ++row) {
    for (int v = 0; v < kVectors; ++v) {
      const Ints other = load(rows[row] + i + v * kLanes);
      max[v] = max[v] < other ? other : max[v];
    }
  }
  __builtin_memcpy(to, max, sizeof max);
}

inline void max_of_int32(int32_t* to, const int32_t* const* rows, int count, int64_t step,
                         int pixels, int channels) {
  for (int p = 0; p < pixels; ++p, to += kPanel) {
    int i = 0;
    for (; i + kMany * kLanes <= channels; i += kMany * kLanes) {
      max_of_vectors<kMany>(to + i, rows, count, p * step + i);
    }
    for (; i < channels; i += kLanes) max_of_vectors<1>(to + i, rows, count, p * step + i);
  }
}

inline void add_rows(float* sum, const float* rows, int64_t stride, int count, int channels) {
  int i = 0;
  for (; i + kMany * kLanes <= channels; i += kMany * kLanes) {
    Floats totals[kMany];
    for (int v = 0; v < kMany; ++v) totals[v] = load(sum + i + v * kLanes);
    for (int row = 0; row < count; ++row) {
      const float* from = rows + row * stride + i;
      for (int v = 0; v < kMany; ++v) totals[v] = totals[v] + load(from + v * kLanes);
    }
    for (int v = 0; v < kMany; ++v) store_part(totals[v], kLanes, sum + i + v * kLanes);
  }
  for (; i < channels; i += kLanes) {
    const int lanes = channels - i < kLanes ? channels - i : kLanes;
    Floats total = load_part(sum + i, lanes);
    for (int row = 0; row < count; ++row) total = total + load_part(rows + row * stride + i, lanes);
    store_part(total, lanes, sum + i);
  }
}

// `count` elements of a depthwise convolution, less the zero point; lanes beyond are zero, or less it.
BOPKIT_ALWAYS_INLINE Floats load_elements(const float* from, int count, int32_t) {
  return load_part(from, count);
}

BOPKIT_ALWAYS_INLINE Ints load_elements(const int8_t* from, int count, int32_t zero_point) {
  typedef int16_t Shorts
      __attribute__((vector_size(32)));  // products of which take one instruction
  const Shorts x =
      __builtin_convertvector(load_bytes(from, count), Shorts) - static_cast<int16_t>(zero_point);
  return __builtin_convertvector(x, Ints);
}

// `kPixels` pixels by `kVectors` vectors of channels, from channel `i` on, of a DepthwiseArgs.
template <int kPixels, int kVectors, typename Element, typename Sum>
inline void depthwise_block(const DepthwiseArgs<Element, Sum>& args, int pixel, int i, int lanes) {
  decltype(load_elements(args.rows[0], 0, 0)) sums[kPixels][kVectors] = {};
  for (int t = 0; t < args.taps; ++t) {
    const Element* row = args.rows[t] + pixel * args.step + args.first + i;
    const Element* weights = args.weights[t] + args.first + i;
    for (int v = 0; v < kVectors; ++v) {
      const auto weight = load_elements(weights + v * kLanes, lanes, 0);
      for (int p = 0; p < kPixels; ++p) {
        const auto x = load_elements(row + p * args.step + v * kLanes, lanes, args.zero_point);
        sums[p][v] = sums[p][v] + x * weight;
      }
    }
  }
  Sum* to = args.to + pixel * args.to_step + i;
  for (int v = 0; v < kVectors; ++v) {
    for (int p = 0; p < kPixels; ++p) {
      Sum* place = to + p * args.to_step + v * kLanes;
      if constexpr (sizeof(Element) == sizeof(float)) {
        if (args.bias != nullptr) {
          sums[p][v] = sums[p][v] + load(args.bias + args.first + i + v * kLanes);
        }
        store_part(sums[p][v], lanes, place);
      } else {
        __builtin_memcpy(place, &sums[p][v], sizeof sums[p][v]);
      }
    }
  }
}

// All channels of some pixels, before the next pixels: so they are read as they lie in memory.
template <int kPixels, int kVectors, typename Args>
inline void depthwise_pixels(const Args& args, int pixel) {
  int i = 0;
  for (; i + kVectors * kLanes <= args.channels; i += kVectors * kLanes) {
    depthwise_block<kPixels, kVectors>(args, pixel, i, kLanes);
  }
  for (; i < args.channels; i += kLanes) {
    const int left = args.channels - i;
    depthwise_block<kPixels, 1>(args, pixel, i, left < kLanes ? left : kLanes);
  }
}

// `kSums` vectors of sums are in registers: of more pixels where there are few channels.
template <int kSums, typename Args>
inline void depthwise_rows_by(const Args& args) {
  constexpr int kWidePixels = kSums / kMany;
  int p = 0;
  if (args.channels < kMany * kLanes) {
    for (; p + kSums <= args.pixels; p += kSums) depthwise_pixels<kSums, 1>(args, p);
    for (; p + kMany <= args.pixels; p += kMany) depthwise_pixels<kMany, 1>(args, p);
  }
  for (; p + kWidePixels <= args.pixels; p += kWidePixels) {
    depthwise_pixels<kWidePixels, kMany>(args, p);
  }
  for (; kWidePixels > 1 && p < args.pixels; ++p) depthwise_pixels<1, kMany>(args, p);
}

template <typename Byte>
inline void dequantize(const Byte* from, int64_t count, int32_t zero_point, float scale,
                       float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i] - zero_point) * scale;
}

inline void dequantize_int8(const int8_t* from, int64_t count, int32_t zero_point, float scale,
                            float* to) {
  dequantize(from, count, zero_point, scale, to);
}

inline void dequantize_uint8(const uint8_t* from, int64_t count, int32_t zero_point, float scale,
                             float* to) {
  dequantize(from, count, zero_point, scale, to);
}
