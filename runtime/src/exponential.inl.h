// Functions made of the exponential. Included behind epilogue.inl.h. The same results with all
// instruction sets, because each operation is rounded.

constexpr float kExponentialPolynomial[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                            4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// e^x, wrong by less than 2 units of the last place; 0 below, and infinity above, what a normal
// float32 with room for one more doubling holds. x = n * ln 2 + r, and a polynomial (of Cephes, by S.
// Moshier) is e^r.
inline Floats exp(const Floats& x) {
  typedef uint32_t Words __attribute__((vector_size(64)));
  constexpr float kLeast = -87.33f, kMost = 88.37f;
  // Added, it leaves the nearest whole number in the last bits.
  constexpr float kRounding = 12582912;
  Floats bounded = x < all(kLeast) ? all(kLeast) : x;
  bounded = bounded > all(kMost) ? all(kMost) : bounded;
  const Floats shifted = bounded * all(1.44269504f) + all(kRounding);
  const Floats n = shifted - all(kRounding);
  // ln 2 in two parts: the first has so few bits that its product with n is exact.
  const Floats r = bounded - n * all(0.693359375f) - n * all(-2.12194440e-4f);
  Floats y{};
  for (const float coefficient : kExponentialPolynomial) y = y * r + all(coefficient);
  y = y * (r * r) + r + all(1);
  Words exponents;
  __builtin_memcpy(&exponents, &shifted, sizeof exponents);
  exponents = (exponents + 127) << 23;  // the bits of kRounding itself are shifted out
  Floats power;
  __builtin_memcpy(&power, &exponents, sizeof power);
  y = y * power;
  y = x < all(kLeast) ? all(0) : y;
  return x > all(kMost) ? all(__builtin_inff()) : y;
}

inline void logistic(const float* from, int count, float* to) {
  for (int i = 0; i < count; i += kLanes) {
    const int lanes = count - i < kLanes ? count - i : kLanes;
    store_part(all(1) / (all(1) + exp(-load_part(from + i, lanes))), lanes, to + i);
  }
}

inline void softmax(const float* from, int count, float beta, float* to) {
  const int whole = count / kLanes * kLanes;
  float largest = from[0];
  if (whole > 0) {
    Floats most = load(from);
    for (int i = kLanes; i < whole; i += kLanes) {
      const Floats y = load(from + i);
      most = most < y ? y : most;
    }
    for (int lane = 0; lane < kLanes; ++lane) largest = most[lane] > largest ? most[lane] : largest;
  }
  for (int i = whole; i < count; ++i) largest = from[i] > largest ? from[i] : largest;
  Floats sums{};
  for (int i = 0; i < count; i += kLanes) {
    const int lanes = count - i < kLanes ? count - i : kLanes;
    const Floats y = exp((load_part(from + i, lanes) - all(largest)) * all(beta));
    store_part(y, lanes, to + i);
    if (lanes == kLanes) sums = sums + y;
  }
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  for (int i = whole; i < count; ++i) sum += to[i];
  for (int i = 0; i < count; i += kLanes) {
    const int lanes = count - i < kLanes ? count - i : kLanes;
    store_part(load_part(to + i, lanes) / all(sum), lanes, to + i);
  }
}
