// Vectors of which only some lanes are in memory. Included behind epilogue.inl.h. Copies of fixed
// sizes are instructions, others would be calls.

inline Floats load_part(const float* from, int count) {
  if (count == kLanes) return load(from);
  float lanes[kLanes] = {};
  float* to = lanes;
  if (count & 8) {
    __builtin_memcpy(to, from, 32);
    to += 8;
    from += 8;
  }
  if (count & 4) {
    __builtin_memcpy(to, from, 16);
    to += 4;
    from += 4;
  }
  for (int i = 0; i < (count & 3); ++i) to[i] = from[i];
  return load(lanes);
}

inline void store_part(const Floats& y, int count, float* to) {
  if (count == kLanes) {
    __builtin_memcpy(to, &y, sizeof y);
    return;
  }
  float lanes[kLanes];
  __builtin_memcpy(lanes, &y, sizeof lanes);
  const float* from = lanes;
  if (count & 8) {
    __builtin_memcpy(to, from, 32);
    to += 8;
    from += 8;
  }
  if (count & 4) {
    __builtin_memcpy(to, from, 16);
    to += 4;
    from += 4;
  }
  for (int i = 0; i < (count & 3); ++i) to[i] = from[i];
}
