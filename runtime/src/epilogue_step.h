// A step whose results go through an epilogue before they are stored: arithmetic with other tensors
// and constants, activations, bit-packing. Base class of convolutions, pools and Elementwise.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels.h"
#include "step.h"

namespace bopkit {

// From a row to another, in bytes: zero for what neither has.
struct RowStep {
  intptr_t floats = 0, stored = 0, bits = 0, bytes = 0, operands[kMaxOperands] = {};
};

// As pairs, because each pixel of each step has its row.
inline Row operator+(const Row& row, const RowStep& step) {
  typedef intptr_t Pair __attribute__((vector_size(2 * sizeof(intptr_t))));
  constexpr int kPairs = sizeof(Row) / sizeof(Pair);
  static_assert(sizeof(Row) == sizeof(RowStep) && sizeof(Row) == kPairs * sizeof(Pair),
                "a row is pairs of pointers");
  Pair pointers[kPairs], steps[kPairs];
  std::memcpy(pointers, &row, sizeof pointers);
  std::memcpy(steps, &step, sizeof steps);
  for (int i = 0; i < kPairs; ++i) pointers[i] += steps[i];
  Row sum;
  std::memcpy(&sum, pointers, sizeof sum);
  return sum;
}

// The rows of `count` pixels, of which `row` is the first.
inline void fill_rows(Row row, const RowStep& to_next, int count, Row* rows) {
  for (int i = 0; i < count; ++i, row = row + to_next) rows[i] = row;
}

// From a row's first channel to channel `first`, a multiple of 32.
inline RowStep step_to_channel(const Row& row, int first) {
  const auto step = [first](const auto* from, int channels_of_one) -> intptr_t {
    return from == nullptr ? 0 : intptr_t{first / channels_of_one} * sizeof(*from);
  };
  RowStep to_channel{
      step(row.floats, 1), step(row.stored, 1), step(row.bits, 32), step(row.bytes, 1), {}};
  for (int i = 0; i < kMaxOperands; ++i) to_channel.operands[i] = step(row.operands[i], 1);
  return to_channel;
}

// A step that computes rows of float32 or of sums, applies the epilogue to them, and stores them as
// numbers, bit-packed, or as both.
class EpilogueStep : public Step {
 public:
  using Step::Step;

  // The value that its rows are after the epilogue so far, -1 where they are not float32.
  int result = -1;
  // The values that it writes, -1 where it does not: `stored` in the middle of the epilogue, the
  // others at its end.
  int stored = -1, floats = -1, bits = -1, bytes = -1;
  // Of `bytes`: whether they are the int8 that the step computes itself, without an epilogue; else
  // how they stand for the results.
  bool bytes_are_sums = false;
  float byte_scale = 1;
  int byte_zero_point = 0;

  // Whether its result is what sums of int8 stand for, with the scale and zero point of `tensor`.
  bool stands_for_int8(const abi::Tensor& tensor) const;

  // Some steps can compute one row of their output at a time into memory of the caller's, float32
  // [w, channels], so that what follows finds it in the cache. `start` comes before the first row.
  virtual bool makes_rows() const { return false; }
  virtual void start(const StepContext&, ThreadPool::Session&) {}
  virtual void make_row(const StepContext&, int /*image*/, int /*y*/, float* /*to*/) const {}

  // Of some of these the results grow with the sums that they come from, channel by channel: what is
  // the largest sum becomes the largest result. They can leave the rest to what takes the largest:
  // `make_sums` writes sums, int32 where they are requantized and else float32, `sums_pitch` apart.
  // Then `sums_epilogue` and `activations` make them results. Others have a `sums_epilogue` too, with
  // which their rows begin.
  virtual bool makes_sums() const { return false; }
  virtual int sums_pitch() const { return 0; }
  virtual void make_sums(const StepContext&, int /*image*/, int /*y*/, void* /*to*/) const {}
  virtual Epilogue sums_epilogue() const { return {}; }
  const std::vector<EpilogueOp>& activations() const { return epilogue_ops_; }

  // Some can compute one row of an image at a time, and store it; `start` comes before, too.
  virtual bool runs_rows() const { return false; }
  virtual void run_row(const StepContext&, int /*image*/, int /*y*/) const {}

  bool can_append(bool with_operand) const;
  void append(EpilogueOpKind kind) { epilogue_ops_.push_back({kind, 0, nullptr}); }
  void append(EpilogueOpKind kind, int operand);
  void append(EpilogueOpKind kind, std::vector<float> vector);
  void append_activation(abi::Activation activation);
  // Whether results can be stored here, in the middle of the epilogue, with more to come.
  bool can_store() const {
    return stored < 0 && floats >= 0 && can_append(false) &&
           epilogue_ops_.size() + 3 <= kMaxEpilogueOps;
  }
  // From now on `floats` is stored here, and the result goes on.
  void append_store();

  std::vector<int> reads() const override;
  std::vector<int> writes() const override;
  // `floats` is stored behind all operands of its pixel; `stored` is not.
  bool can_overwrite(int read, int written) const override;

 protected:
  // Sets the shape of what it writes to that of [n, h, w, channels] or of another rank; checks that
  // the operands have it.
  bool shape_results(StepContext& shared, const Shape& shape);
  // The row of a pixel of the output, at channel 0.
  Row row_at(const StepContext& shared, int image, int y, int x) const;
  // From the row of a pixel to that of the pixel to the right.
  RowStep row_step(const StepContext& shared) const;
  // Completes `epilogue`, of all channels, for rows that begin at channel `first`: its vectors then
  // begin there. `ops` holds kMaxEpilogueOps.
  void epilogue_from(int first, Epilogue* epilogue, EpilogueOp* ops) const;
  // Whether a row of an image can be treated as one pixel of as many channels as it has numbers: all
  // that is read and written lies one pixel behind the other, and is no bits.
  bool has_plain_rows(const StepContext& shared) const;
  // Whether the rows of all that is read and written lie one behind the other.
  bool has_rows_side_by_side(const StepContext& shared) const;
  // The same epilogue for rows of `pixels`, treated as one: `vectors` holds what it points to.
  std::vector<EpilogueOp> epilogue_of_row(int pixels,
                                          std::vector<std::vector<float>>* vectors) const;
  // For `name`: the epilogue in words.
  std::string suffix() const;

  int vectors() const { return static_cast<int>(vectors_.size()); }
  bool joins_operands() const { return !operands_.empty(); }
  bool stores_twice() const { return stored >= 0; }
  bool has_activations_alone() const;

  std::vector<EpilogueOp> epilogue_ops_;

 private:
  template <typename Predicate>
  bool holds_for_values(const StepContext& shared, const Predicate& holds) const;

  std::vector<int> operands_;
  std::vector<std::vector<float>> vectors_;
  std::vector<int> vector_channels_;
};

// Ends sums of at most kMaxTilePixels pixels, kPanel apart, that need no correction.
inline void end_sums(const Kernels& kernels, const Epilogue& epilogue, const float* sums,
                     int channels, const Row* rows, int pixels) {
  kernels.float_epilogue(epilogue, sums, kPanel, channels, rows, pixels);
}

inline void end_sums(const Kernels& kernels, const Epilogue& epilogue, const int32_t* sums,
                     int channels, const Row* rows, int pixels) {
  static constexpr const int32_t* kNone[kMaxTilePixels] = {};
  kernels.integer_epilogue(epilogue, sums, kNone, channels, rows, pixels);
}

}  // namespace bopkit
