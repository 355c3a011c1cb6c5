// Sums, products and signs of int8. Included behind epilogue.inl.h.

// Of numbers so small that nothing overflows.
inline Ints rescale(const Rescaling& by, Ints x) {
  x = rounding_high_product(x << by.left_shift, Ints{} + by.multiplier);
  // Halves of negative numbers go down, unless nothing is shifted out.
  const int32_t half = by.right_shift > 0 ? 1 << (by.right_shift - 1) : 0;
  const int32_t minus_one = by.right_shift > 0 ? -1 : 0;
  return (x + half + ((x >> 31) & minus_one)) >> by.right_shift;
}

inline Ints load_int8(const int8_t* from, int count) {
  return __builtin_convertvector(load_bytes(from, count), Ints);
}

// `combine` makes the result's multiple of both terms.
template <typename Combine>
inline void for_int8(const Int8Arithmetic& by, const int8_t* a, const int8_t* b, int64_t count,
                     int8_t* to, const Combine& combine) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = static_cast<int>(count - i < kLanes ? count - i : kLanes);
    const Ints x = load_int8(a + i, lanes) - by.zero_points[0];
    const Ints y = load_int8(b + i, lanes) - by.zero_points[1];
    const Ints result = rescale(by.result, combine(x, y)) + by.zero_point;
    store_int8(clamp(result, by.min, by.max), lanes, to + i);
  }
}

inline void add_int8(const Int8Arithmetic& by, const int8_t* a, const int8_t* b, int64_t count,
                     int8_t* to) {
  for_int8(by, a, b, count, to, [&](Ints x, Ints y) {
    return rescale(by.terms[0], x << kInt8SumShift) + rescale(by.terms[1], y << kInt8SumShift);
  });
}

inline void multiply_int8(const Int8Arithmetic& by, const int8_t* a, const int8_t* b, int64_t count,
                          int8_t* to) {
  for_int8(by, a, b, count, to, [](Ints x, Ints y) { return x * y; });
}

// Bit-packs a pixel of so many channels: those below the zero point are negative.
inline void pack_int8_signs(const int8_t* from, int channels, int32_t zero_point, uint32_t* to) {
  for (int c = 0; c < channels; c += kLanes) {
    const int lanes = channels - c < kLanes ? channels - c : kLanes;
    store_bits(negative_mask(load_int8(from + c, lanes) < zero_point), c, lanes, to);
  }
}

// The largest of `count` rows of so many channels, but not below `min` nor above `max`.
inline void max_of_int8(int8_t* to, const int8_t* const* rows, int count, int channels, int8_t min,
                        int8_t max) {
  typedef int8_t ManyBytes __attribute__((vector_size(64)));
  constexpr int kBytes = sizeof(ManyBytes);
  for (int c = 0; c < channels; c += kBytes) {
    const bool is_whole = channels - c >= kBytes;
    const size_t bytes = static_cast<size_t>(channels - c);
    ManyBytes largest = ManyBytes{} + min;
    for (int row = 0; row < count; ++row) {
      ManyBytes x{};
      if (is_whole) {
        __builtin_memcpy(&x, rows[row] + c, sizeof x);
      } else {
        __builtin_memcpy(&x, rows[row] + c, bytes);
      }
      largest = largest < x ? x : largest;
    }
    const ManyBytes most = ManyBytes{} + max;
    largest = largest > most ? most : largest;
    if (is_whole) {
      __builtin_memcpy(to + c, &largest, sizeof largest);
    } else {
      __builtin_memcpy(to + c, &largest, bytes);
    }
  }
}
