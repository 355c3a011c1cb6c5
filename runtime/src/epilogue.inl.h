// The last part of a step, included by each instruction set's kernels in a namespace of its own,
// with its target chosen. Needs `negative_mask(Ints)`: one bit a lane, set where the lane is
// negative.
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

inline void apply(const Post& post, const Row& row, int channel, int count, Floats& y) {
  Floats other{};
  if (post.vector != nullptr) {
    other = load(post.vector + channel);
  } else if (post.kind <= PostKind::kMultiplyOperand) {
    const float* operand = row.operands[post.operand] + channel;
    other = count == kLanes ? load(operand) : load_part(operand, count);
  }
  switch (post.kind) {
    case PostKind::kAddOperand:
    case PostKind::kAddVector:
      y = y + other;
      break;
    case PostKind::kSubtractOperand:
    case PostKind::kSubtractVector:
      y = y - other;
      break;
    case PostKind::kSubtractFromOperand:
    case PostKind::kSubtractFromVector:
      y = other - y;
      break;
    case PostKind::kMultiplyOperand:
    case PostKind::kMultiplyVector:
      y = y * other;
      break;
    case PostKind::kRelu:
      y = y < all(0) ? all(0) : y;
      break;
    case PostKind::kReluN1To1:
      y = y < all(-1) ? all(-1) : y;
      y = y > all(1) ? all(1) : y;
      break;
    case PostKind::kRelu6:
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

// Signs of up to 16 channels from `channel` on.
inline void store_signs(uint32_t mask, int channel, int count, uint32_t* words) {
  mask &= 0xffffu >> (kLanes - count);
  if (channel % 32 == 0) {
    words[channel / 32] = mask;
  } else {
    words[channel / 32] |= mask << 16;
  }
}

// What nearly all steps of a network do, and the rest.
enum class Posts { kNone, kAddOperand, kAny };

template <Posts kPosts, bool kWhole>
inline void store(const Finish& finish, Floats y, int channel, int count, const Row& row) {
  if (kPosts == Posts::kAddOperand) {
    const float* operand = row.operands[0] + channel;
    y = y + (kWhole ? load(operand) : load_part(operand, count));
  } else if (kPosts == Posts::kAny) {
    for (int i = 0; i < finish.post_count; ++i) apply(finish.posts[i], row, channel, count, y);
  }
  if (row.floats != nullptr) {
    __builtin_memcpy(row.floats + channel, &y,
                     kWhole ? sizeof y : static_cast<size_t>(count) * sizeof(float));
  }
  if (row.signs != nullptr) store_signs(negative_mask(y < all(0)), channel, count, row.signs);
  if (row.bytes != nullptr) store_bytes(y, count, row.bytes + channel);
}

template <Posts kPosts, bool kWhole>
inline void finish_integer_rows(const Finish& finish, const int32_t* sums,
                                const int32_t* const* corrections, int channels, const Row* rows,
                                int pixels) {
  for (int p = 0; p < pixels; ++p, sums += kPanel) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const int count = kWhole || channels - channel >= kLanes ? kLanes : channels - channel;
      Ints x = load(sums + channel) * 2;
      if (corrections[p] != nullptr) x = x + load(corrections[p] + channel);
      if (finish.threshold != nullptr) {
        store_signs(negative_mask(x > load(finish.threshold + channel)), channel, count,
                    rows[p].signs);
        continue;
      }
      if (finish.has_clamp) {
        x = x > finish.clamp_max ? Ints{} + finish.clamp_max : x;
        x = x < finish.clamp_min ? Ints{} + finish.clamp_min : x;
      }
      const Floats y = __builtin_convertvector(x, Floats) * load(finish.multiplier + channel);
      store<kPosts, kWhole>(finish, y + load(finish.bias + channel), channel, count, rows[p]);
    }
  }
}

template <Posts kPosts, bool kWhole>
inline void finish_float_rows(const Finish& finish, const float* sums, int channels,
                              const Row* rows, int pixels) {
  for (int p = 0; p < pixels; ++p, sums += kPanel) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const int count = kWhole || channels - channel >= kLanes ? kLanes : channels - channel;
      Floats y =
          kWhole || count == kLanes ? load(sums + channel) : load_part(sums + channel, count);
      if (finish.bias != nullptr) y = y + load(finish.bias + channel);
      store<kPosts, kWhole>(finish, y, channel, count, rows[p]);
    }
  }
}

inline Posts posts_of(const Finish& finish) {
  if (finish.post_count == 0) return Posts::kNone;
  const Post& first = finish.posts[0];
  return finish.post_count == 1 && first.kind == PostKind::kAddOperand && first.operand == 0
             ? Posts::kAddOperand
             : Posts::kAny;
}

#define BOPKIT_FINISH(function, ...)                                                    \
  switch (posts_of(finish)) {                                                           \
    case Posts::kNone:                                                                  \
      return channels % kLanes == 0 ? function<Posts::kNone, true>(__VA_ARGS__)         \
                                    : function<Posts::kNone, false>(__VA_ARGS__);       \
    case Posts::kAddOperand:                                                            \
      return channels % kLanes == 0 ? function<Posts::kAddOperand, true>(__VA_ARGS__)   \
                                    : function<Posts::kAddOperand, false>(__VA_ARGS__); \
    case Posts::kAny:                                                                   \
      return function<Posts::kAny, false>(__VA_ARGS__);                                 \
  }

inline void finish_integers(const Finish& finish, const int32_t* sums,
                            const int32_t* const* corrections, int channels, const Row* rows,
                            int pixels) {
  BOPKIT_FINISH(finish_integer_rows, finish, sums, corrections, channels, rows, pixels)
}

inline void finish_floats(const Finish& finish, const float* sums, int channels, const Row* rows,
                          int pixels) {
  BOPKIT_FINISH(finish_float_rows, finish, sums, channels, rows, pixels)
}

#undef BOPKIT_FINISH

inline void take_maximum(float* most, const float* row, int channels) {
  int i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    const Floats a = load(most + i), b = load(row + i);
    const Floats larger = a < b ? b : a;
    __builtin_memcpy(most + i, &larger, sizeof larger);
  }
  for (; i < channels; ++i) most[i] = most[i] < row[i] ? row[i] : most[i];
}

inline void add_row(float* sum, const float* row, int channels) {
  int i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    const Floats total = load(sum + i) + load(row + i);
    __builtin_memcpy(sum + i, &total, sizeof total);
  }
  for (; i < channels; ++i) sum[i] += row[i];
}
