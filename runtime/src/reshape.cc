// Other shapes for the same numbers: RESHAPE, copied only where LiteRT holds the result, and views of
// channels. They may use what steps may.
#include <algorithm>
#include <cstring>

#include "steps.h"

namespace bopkit {
namespace {

class Reshape : public PlainStep {
 public:
  Reshape(int input, int output, std::vector<int> shape, bool is_alias)
      : PlainStep(input, output), target_(std::move(shape)), is_alias_(is_alias) {}

  std::string name() const override { return "reshape"; }

  bool shape(StepContext& shared) override {
    const Value& input = shared.value(input_);
    int64_t known = 1, all = input.pixels() * input.c;
    Shape shape;
    shape.rank = static_cast<int>(target_.size());
    int unknown = -1;
    for (int i = 0; i < shape.rank; ++i) {
      shape.dims[i] = target_[i];
      if (target_[i] == -1 && unknown < 0) {
        unknown = i;
      } else if (target_[i] < 1 || known > all / target_[i]) {
        return fail("cannot take the shape that it should");
      } else {
        known *= target_[i];
      }
    }
    if (unknown >= 0) shape.dims[unknown] = static_cast<int>(all / known);
    if (unknown < 0 ? known != all : all % known != 0) {
      return fail("cannot take the shape that it should");
    }
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session&) override {
    const Value& input = shared.value(input_);
    if (!is_alias_) {
      std::memcpy(shared.value(output_).first, input.first,
                  static_cast<size_t>(input.pixels()) * input.c * input.element_bytes());
    }
  }

 private:
  std::vector<int> target_;
  bool is_alias_;
};

class Join : public Step {
 public:
  Join(std::vector<int> parts, std::vector<int> channels, int whole, int before, int after)
      : Step(parts[0]),
        parts_(std::move(parts)),
        channels_(std::move(channels)),
        whole_(whole),
        before_(before),
        after_(after) {}

  std::string name() const override { return "join channels"; }
  std::vector<int> reads() const override { return parts_; }
  std::vector<int> writes() const override { return {whole_}; }

  bool shape(StepContext& shared) override {
    Shape shape = shared.value(parts_[0]).shape;
    int64_t channels = int64_t{before_} + after_;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const Value& value = shared.value(parts_[i]);
      channels += value.c;
      // Parts lie where the channels that the file declares put them.
      const bool fits = value.c == channels_[i] && value.shape.rank == 4 &&
                        std::equal(value.shape.dims, value.shape.dims + 3, shape.dims);
      if (!fits || channels > kMaxBytes / 4) return fail("got images of different sizes");
    }
    shape.dims[3] = static_cast<int>(channels);
    return shared.value(whole_).set_shape(shape) || fail("has an output that is too large");
  }

  void run(const StepContext&, ThreadPool::Session&) override {}

 private:
  std::vector<int> parts_, channels_;
  int whole_, before_, after_;
};

class Cut : public Step {
 public:
  Cut(int whole, int whole_channels, std::vector<int> parts, std::vector<int> channels)
      : Step(whole),
        whole_channels_(whole_channels),
        parts_(std::move(parts)),
        channels_(std::move(channels)) {}

  std::string name() const override { return "cut channels"; }
  std::vector<int> writes() const override { return parts_; }

  bool shape(StepContext& shared) override {
    Shape shape = shared.value(input_).shape;
    if (shape.rank != 4) return fail("got an input that is not a batch of images");
    if (shape.dims[3] != whole_channels_) return fail("got another number of channels");
    for (size_t i = 0; i < parts_.size(); ++i) {
      shape.dims[3] = channels_[i];
      if (!shared.value(parts_[i]).set_shape(shape)) return fail("has an output that is too large");
    }
    return true;
  }

  void run(const StepContext&, ThreadPool::Session&) override {}

 private:
  int whole_channels_;
  std::vector<int> parts_, channels_;
};

}  // namespace

std::unique_ptr<Step> make_join(std::vector<int> parts, std::vector<int> channels, int whole,
                                int before, int after) {
  return std::make_unique<Join>(std::move(parts), std::move(channels), whole, before, after);
}

std::unique_ptr<Step> make_cut(int whole, int whole_channels, std::vector<int> parts,
                               std::vector<int> channels) {
  return std::make_unique<Cut>(whole, whole_channels, std::move(parts), std::move(channels));
}

std::unique_ptr<Step> make_reshape(int input, int output, std::vector<int> shape, bool is_alias) {
  return std::make_unique<Reshape>(input, output, std::move(shape), is_alias);
}

}  // namespace bopkit
