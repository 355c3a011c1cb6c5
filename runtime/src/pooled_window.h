// The window of a pool over an image.
#pragma once

#include <algorithm>
#include <utility>

#include "value.h"
#include "window.h"

namespace bopkit {

// Cells of an image that the window of output cell `i` covers.
inline std::pair<int, int> covered(int i, int stride, int before, int filter, int size) {
  const int begin = i * stride - before;
  return {std::max(begin, 0), std::min(begin + filter, size)};
}

// Shape of the output of a pool, and its extents; returns what is wrong, or nothing.
inline const char* pooled_shape(const Value& input, const Window& window, Extent* height,
                                Extent* width, Shape* out) {
  if (input.shape.rank != 4) return "got an input that is not a batch of images";
  *height = window_extent(input.h, window.filter_h, window.stride_h, 1, window.is_same);
  *width = window_extent(input.w, window.filter_w, window.stride_w, 1, window.is_same);
  if (height->size < 1 || width->size < 1) return "got an input smaller than its window";
  *out = input.shape;
  out->dims[1] = height->size;
  out->dims[2] = width->size;
  return nullptr;
}

}  // namespace bopkit
