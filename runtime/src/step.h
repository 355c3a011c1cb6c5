// One step of a partition.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "operators.h"
#include "partition.h"
#include "value.h"

namespace bopkit {

class Step {
 public:
  explicit Step(int input) : input_(input) {}
  virtual ~Step() = default;

  virtual std::string name() const = 0;

  // Computes the shape of the outputs from that of the inputs, and asks for the borders that the
  // input should have.
  virtual bool shape(Partition& partition) = 0;
  // Gets ready to run, once all values have their layout.
  virtual bool prepare(Partition&) { return true; }
  virtual void run(Partition& partition, ThreadPool::Session& session) = 0;

  // Values that it reads and writes.
  virtual std::vector<int> reads() const { return {input_}; }
  virtual std::vector<int> writes() const = 0;

  virtual int64_t binary_macs() const { return 0; }
  virtual int64_t float_macs() const { return 0; }

  const std::string& error() const { return error_; }

  int64_t runs = 0, total_ns = 0, least_ns = 0;

 protected:
  bool fail(const char* what) {
    error_ = what;
    return false;
  }

  int input_;
  std::string error_;
};

// A step that computes rows of float32 or of sums, and finishes them: arithmetic with other tensors
// and constants, and storing as numbers, as signs, or as both.
class EpilogueStep : public Step {
 public:
  using Step::Step;

  // The value that its rows are worth so far, -1 where they are not float32.
  int result = -1;
  int floats = -1, bits = -1, bytes = -1;  // the values that it writes, -1 where it does not

  // Some steps can compute one row of their output at a time into memory of the caller's, float32
  // [w, channels], so that what follows finds it in the cache. `start` comes before the first row.
  virtual bool makes_rows() const { return false; }
  virtual void start(Partition&, ThreadPool::Session&) {}
  virtual void make_row(Partition&, int /*image*/, int /*y*/, float* /*to*/) const {}

  bool can_append(bool with_operand) const;
  void append(EpilogueOpKind kind) { epilogue_ops_.push_back({kind, 0, nullptr}); }
  void append(EpilogueOpKind kind, int operand);
  void append(EpilogueOpKind kind, std::vector<float> vector);
  void append_activation(abi::Activation activation);

  std::vector<int> reads() const override;
  std::vector<int> writes() const override;

 protected:
  // Sets the shape of what it writes to that of [n, h, w, channels] or of another rank; checks that
  // the operands have it.
  bool shape_results(Partition& partition, const Shape& shape);
  // Rows of a pixel of the output, at channel 0.
  Row row_at(Partition& partition, int image, int y, int x) const;
  // The rows of the pixel to the right.
  Row row_after(Row row, int channels) const;
  // What is left to do with `channels` rows from `first` on: the vectors begin there.
  void epilogue_from(int first, Epilogue* epilogue, EpilogueOp* ops) const;
  std::string suffix() const;

  bool joins_operands() const { return !operands_.empty(); }

  std::vector<EpilogueOp> epilogue_ops_;

 private:
  std::vector<int> operands_;
  std::vector<std::vector<float>> vectors_;
  std::vector<int> vector_channels_;
};

// `row` from its channel `first` on, a multiple of 32.
Row from_channel(Row row, int first);

// Size of the output of a window over `size` cells, and how many cells the window reaches over the
// edge in front and behind.
struct Extent {
  int size, before, after;
};
Extent window_extent(int size, int filter, int stride, int dilation, bool is_same);

// Whether a step so short is better done by one thread: `ns` is a rough guess.
inline bool is_small(double ns) { return ns < 20e3; }

// Steps that write float32 rows.
std::unique_ptr<EpilogueStep> make_binary_conv(const Op& op, int input, abi::Context* context,
                                               Partition& partition, const float* multiplier,
                                               const float* bias);
std::unique_ptr<EpilogueStep> make_float_conv(const Op& op, int input, abi::Context* context,
                                              Partition& partition, const float* filter,
                                              const float* bias);
// With `source`, the pool computes its input itself, row by row; the value `input` then has no
// memory.
std::unique_ptr<EpilogueStep> make_pool(const Op& op, int input,
                                        std::unique_ptr<EpilogueStep> source);
std::unique_ptr<EpilogueStep> make_elementwise(int input);  // rows as they are

// Other steps.
std::unique_ptr<Step> make_bit_packed_max_pool(const Op& op, int input, int output);
std::unique_ptr<Step> make_bit_pack_bytes(int input, int output, int zero_point);  // int8, and bool
std::unique_ptr<Step> make_bit_unpack(int input, int output, float scale, int zero_point);
std::unique_ptr<Step> make_mean(const Op& op, int input, int output);
std::unique_ptr<Step> make_reshape(int input, int output, std::vector<int> shape, bool is_alias);

}  // namespace bopkit
