// A tensor inside a partition: who holds its memory, and how its rows lie there. It uses memory.h,
// and of LiteRT the structs of tensors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "memory.h"
#include "tflite_abi.h"

namespace bopkit {

inline constexpr int kMaxRank = 6;

// Words that hold the bits of so many channels, one bit each: 1 for -1, 0 for +1.
inline int words_of(int channels) { return (channels + 31) / 32; }

// The shape that LiteRT sees; bit-packed channels count in words of 32.
struct Shape {
  int rank = 0;
  int dims[kMaxRank] = {};

  int channels() const { return dims[rank - 1]; }
};

// That of a tensor; of rank 0 where it has none, or more dimensions than any that is claimed.
inline Shape shape_of(const abi::Tensor& tensor) {
  Shape shape;
  if (tensor.dims == nullptr || tensor.dims->size > kMaxRank) return shape;
  shape.rank = tensor.dims->size;
  std::copy(tensor.dims->data, tensor.dims->data + shape.rank, shape.dims);
  return shape;
}

// Cells around an image that stay zero, so that a convolution needs no special case at its edge. A
// zero word is +1.
struct Border {
  int top = 0, left = 0, bottom = 0, right = 0;

  bool is_none() const { return top == 0 && left == 0 && bottom == 0 && right == 0; }
  bool covers(const Border& other) const {
    return top >= other.top && left >= other.left && bottom >= other.bottom && right >= other.right;
  }
  void grow_to(const Border& other) {
    top = top > other.top ? top : other.top;
    left = left > other.left ? left : other.left;
    bottom = bottom > other.bottom ? bottom : other.bottom;
    right = right > other.right ? right : other.right;
  }
};

// A tensor of rank 4 is [n, h, w, c]; of any other rank, [n, 1, 1, c] with all but the last
// dimension in n.
struct Value {
  int tensor = -1;
  abi::Type type = abi::kNoType;
  bool is_input = false, is_output = false;  // of the partition: then LiteRT holds the memory
  bool is_reshaped = false;                  // read or written by a RESHAPE: then it has no border
  int uses = 0;                              // operators of the partition that read it
  int alias_of = -1;                         // the value whose memory it shares
  bool is_view = false;  // of channels of `alias_of`, from `first_channel` on; else a reshape of it
  int first_channel = 0;
  bool has_zeros = false;  // channels that nobody writes and that are zero
  int zero_point = 0;      // of int8: what stands for zero, and what its border holds

  Shape shape;
  int n = 1, h = 1, w = 1, c = 1;
  Border border;
  int64_t row_stride = 0, image_stride = 0, pixel_stride = 0;  // in elements
  char* first = nullptr;                                       // element [0, 0, 0, 0]

  int element_bytes() const { return type == abi::kFloat32 || type == abi::kInt32 ? 4 : 1; }
  int64_t pixels() const { return int64_t{n} * h * w; }
  int64_t offset(int image, int y, int x) const {
    return image * image_stride + y * row_stride + x * pixel_stride;
  }

  template <typename T>
  T* at(int image, int y, int x) const {
    return reinterpret_cast<T*>(first) + offset(image, y, x);
  }

  // Sets n, h, w and c from `shape`; false where it holds nothing, or more than memory can.
  bool set_shape(const Shape& from) {
    shape = from;
    if (from.rank < 1 || from.rank > kMaxRank) return false;
    int64_t elements = 1;
    for (int i = 0; i < from.rank; ++i) {
      if (from.dims[i] < 1 || elements > kMaxBytes / 4 / from.dims[i]) return false;
      elements *= from.dims[i];
    }
    c = from.channels();
    n = h = w = 1;
    if (from.rank == 4) {
      n = from.dims[0];
      h = from.dims[1];
      w = from.dims[2];
    } else {
      n = static_cast<int>(elements / c);
    }
    return true;
  }

  // Sets the strides; returns the bytes that the value needs with its border, more than kMaxBytes
  // for too many.
  int64_t lay_out() {
    pixel_stride = c;
    row_stride = int64_t{w + border.left + border.right} * c;
    if (row_stride > kMaxBytes) return kMaxBytes + 1;
    image_stride = row_stride * (h + border.top + border.bottom);
    if (image_stride > kMaxBytes) return kMaxBytes + 1;
    return image_stride * n * element_bytes();
  }

  // Lies where the channels of `owner` lie.
  void lay_out_as_view(const Value& owner) {
    border = owner.border;
    pixel_stride = owner.pixel_stride;
    row_stride = owner.row_stride;
    image_stride = owner.image_stride;
  }

  bool is_contiguous() const { return pixel_stride == c; }

  // Gives the cells of the border, in zeroed memory, what they hold.
  void fill_border(char* memory, int64_t bytes) const {
    if (type == abi::kInt8) std::memset(memory, zero_point, static_cast<size_t>(bytes));
  }

  void place(char* memory) {
    first = memory + (border.top * row_stride + border.left * pixel_stride) * element_bytes();
  }
};

}  // namespace bopkit
