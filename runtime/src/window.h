// Windows of convolutions and pools, and how many of them an image has. It uses nothing else.
#pragma once

#include <algorithm>
#include <cstdint>

namespace bopkit {

// How a window moves over an image.
struct Window {
  int filter_h = 1, filter_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  bool is_same = false;  // padded: the output is as large as the input, divided by the stride
};

// Size of the output of a window over `size` cells, and how many cells the window reaches over the
// edge in front and behind.
struct Extent {
  int size, before, after;
};

inline Extent window_extent(int size, int filter, int stride, int dilation, bool is_same) {
  const int64_t reach = int64_t{filter - 1} * dilation + 1;
  if (!is_same) return {static_cast<int>(size < reach ? 0 : (size - reach) / stride + 1), 0, 0};
  const int out = (size + stride - 1) / stride;
  const int64_t over = std::max<int64_t>(0, int64_t{out - 1} * stride + reach - size);
  return {out, static_cast<int>(over / 2), static_cast<int>(over - over / 2)};
}

// Some of the rows, or of the columns, of pixels.
struct Range {
  int begin, end;

  bool has(int i) const { return i >= begin && i < end; }
  int64_t size() const { return end - begin; }
};

// Those whose window lies within an image of `size` cells.
inline Range inner_range(const Extent& extent, int stride, int filter, int size) {
  const int begin = std::min((extent.before + stride - 1) / stride, extent.size);
  const int last = size - filter + extent.before;
  return {begin, last < 0 ? begin : std::max(begin, std::min(last / stride + 1, extent.size))};
}

}  // namespace bopkit
