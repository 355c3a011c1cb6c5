// What zero padding changes in the sums of a binary convolution. It uses weights and windows, and
// belongs to conv.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"
#include "window.h"

namespace bopkit {

// A bit has no zero: the cells of a border count as +1. What they added to the sums of a pixel
// depends only on which taps of its filter lie beyond the edge, and is known before the first run.
class PaddingCorrection {
 public:
  // Bit-packed weights [channels_out, filter_h, filter_w, words], of which a tap uses
  // `tap_channels` bits. They stay where they are.
  struct Filter {
    const uint32_t* weights = nullptr;
    int channels_out = 0, words = 0, tap_channels = 0;
  };

  // Without a filter there is nothing to correct.
  void set_filter(const Filter& filter) { filter_ = filter; }

  // Gets ready for an image of `input_h` by `input_w` cells; false where there is no memory.
  bool prepare(const Window& window, const Extent& height, const Extent& width, int input_h,
               int input_w);

  // Of a row of output pixels.
  class RowOfPixels {
   public:
    RowOfPixels() = default;
    RowOfPixels(const PaddingCorrection& of, int first_class)
        : columns_(of.column_class_.data()),
          corrections_(of.corrections_.as<int32_t>() + first_class * of.stride_),
          stride_(of.stride_),
          inner_class_(of.inner_class_ - first_class) {}

    // What is to be added to the doubled sums of a pixel, for each channel, padded to kPanel; null
    // for nothing.
    const int32_t* at(int x) const {
      if (columns_ == nullptr || columns_[x] == inner_class_) return nullptr;
      return corrections_ + columns_[x] * stride_;
    }

   private:
    const int* columns_ = nullptr;
    const int32_t* corrections_ = nullptr;
    int64_t stride_ = 0;
    int inner_class_ = -1;
  };

  RowOfPixels row(int y) const {
    if (row_class_.empty()) return RowOfPixels();
    return RowOfPixels(*this, row_class_[y] * column_classes_);
  }

 private:
  Filter filter_;
  // Pixels with the same taps beyond the edge are of one class, numbered by row and column.
  std::vector<int> row_class_, column_class_;
  int column_classes_ = 1;
  int inner_class_ = -1;  // of the pixels that see no edge
  Buffer corrections_;    // int32 [row classes][column classes][stride_]
  int64_t stride_ = 0;    // channels_out, padded to kPanel
};

}  // namespace bopkit
