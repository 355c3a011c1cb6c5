// Counts, for each set of taps beyond the edge, what their weights added to the sums.
#include "padding_correction.h"

#include <algorithm>
#include <utility>

#include "kernels.h"

namespace bopkit {
namespace {

using TapRange =
    std::pair<int, int>;  // of taps along one axis: the first, and the one after the last

// Numbers the ranges of taps that lie inside, along one axis: that of each output cell is one of
// `ranges`.
std::vector<int> classify(const Extent& extent, int size, int filter, int stride, int dilation,
                          std::vector<TapRange>* ranges) {
  std::vector<int> classes;
  for (int i = 0; i < extent.size; ++i) {
    const int64_t origin = int64_t{i} * stride - extent.before;
    int first = 0, end = filter;
    while (first < filter && origin + int64_t{first} * dilation < 0) ++first;
    while (end > first && origin + int64_t{end - 1} * dilation >= size) --end;
    const TapRange range(first, end);
    const auto found = std::find(ranges->begin(), ranges->end(), range);
    classes.push_back(static_cast<int>(found - ranges->begin()));
    if (found == ranges->end()) ranges->push_back(range);
  }
  return classes;
}

}  // namespace

bool PaddingCorrection::prepare(const Window& window, const Extent& height, const Extent& width,
                                int input_h, int input_w) {
  row_class_.clear();
  column_class_.clear();
  inner_class_ = -1;
  const bool has_border = height.before + height.after + width.before + width.after != 0;
  if (filter_.weights == nullptr || !has_border) return true;
  const int h = window.filter_h, w = window.filter_w;
  std::vector<TapRange> rows, columns;
  row_class_ = classify(height, input_h, h, window.stride_h, window.dilation_h, &rows);
  column_class_ = classify(width, input_w, w, window.stride_w, window.dilation_w, &columns);
  column_classes_ = static_cast<int>(columns.size());
  stride_ = (filter_.channels_out + kPanel - 1) / kPanel * kPanel;
  if (!corrections_.allocate(4 * static_cast<int64_t>(rows.size()) * column_classes_ * stride_)) {
    return false;
  }
  // A border's cells count as +1; as zeros they add nothing, which is to say that half of their
  // bits differ. A tap so adds its channels less twice its number of negative weights. Sums over
  // rectangles of taps come from sums over corners.
  std::vector<int32_t> corner(static_cast<size_t>(h + 1) * (w + 1));
  for (int channel = 0; channel < filter_.channels_out; ++channel) {
    const uint32_t* weights =
        filter_.weights + static_cast<int64_t>(channel) * h * w * filter_.words;
    for (int y = 0; y < h; ++y) {
      int32_t in_row = 0;
      for (int x = 0; x < w; ++x) {
        int negatives = 0;
        for (int k = 0; k < filter_.words; ++k) negatives += __builtin_popcount(*weights++);
        in_row += filter_.tap_channels - 2 * negatives;
        corner[(y + 1) * (w + 1) + x + 1] = corner[y * (w + 1) + x + 1] + in_row;
      }
    }
    const auto sum = [&](const TapRange& row, const TapRange& column) {
      return corner[row.second * (w + 1) + column.second] -
             corner[row.first * (w + 1) + column.second] -
             corner[row.second * (w + 1) + column.first] +
             corner[row.first * (w + 1) + column.first];
    };
    const int32_t all = sum({0, h}, {0, w});
    for (size_t r = 0; r < rows.size(); ++r) {
      for (int c = 0; c < column_classes_; ++c) {
        int32_t* to = corrections_.as<int32_t>() + (r * column_classes_ + c) * stride_;
        to[channel] = all - sum(rows[r], columns[c]);
      }
    }
  }
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int c = 0; c < column_classes_; ++c) {
      if (rows[r] == TapRange(0, h) && columns[c] == TapRange(0, w)) {
        inner_class_ = static_cast<int>(r) * column_classes_ + c;
      }
    }
  }
  return true;
}

}  // namespace bopkit
