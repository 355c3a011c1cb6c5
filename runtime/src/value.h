// A tensor inside a partition: who holds its memory, and how its rows lie there.
#pragma once

#include <cstdint>

#include "memory.h"
#include "tflite_abi.h"

namespace bopkit {

inline constexpr int kMostRank = 6;

// The shape that LiteRT sees; signs count in words of 32.
struct Shape {
  int rank = 0;
  int dims[kMostRank] = {};

  int channels() const { return dims[rank - 1]; }
};

// Cells around a picture that stay zero, so that a convolution needs no special case at its edge. A
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

  Shape shape;
  int n = 1, h = 1, w = 1, c = 1;
  Border border;
  int64_t row = 0, picture = 0;  // strides in elements; that of a pixel is c
  char* first = nullptr;         // element [0, 0, 0, 0]

  int element_bytes() const { return type == abi::kFloat32 || type == abi::kInt32 ? 4 : 1; }
  int64_t pixels() const { return int64_t{n} * h * w; }
  int64_t offset(int picture_index, int y, int x) const {
    return picture_index * picture + y * row + int64_t{x} * c;
  }

  template <typename T>
  T* at(int picture_index, int y, int x) const {
    return reinterpret_cast<T*>(first) + offset(picture_index, y, x);
  }

  // Sets n, h, w and c from `shape`; false where it holds nothing, or more than memory can.
  bool set_shape(const Shape& from) {
    shape = from;
    if (from.rank < 1 || from.rank > kMostRank) return false;
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
    row = int64_t{w + border.left + border.right} * c;
    if (row > kMaxBytes) return kMaxBytes + 1;
    picture = row * (h + border.top + border.bottom);
    if (picture > kMaxBytes) return kMaxBytes + 1;
    return picture * n * element_bytes();
  }

  void place(char* memory) {
    first = memory + (border.top * row + int64_t{border.left} * c) * element_bytes();
  }
};

}  // namespace bopkit
