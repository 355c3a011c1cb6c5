// The same int8 in other places: CONCATENATION of channels, and PAD.
#include <cstring>

#include "int8_step.h"
#include "int8_steps.h"

namespace bopkit {
namespace {

class Concatenation : public Int8Step {
 public:
  Concatenation(std::vector<int> parts, int output)
      : Int8Step(parts[0], output), parts_(std::move(parts)) {}

  std::string name() const override { return "int8 join channels"; }
  std::vector<int> reads() const override { return parts_; }

  bool shape(StepContext& shared) override {
    Shape shape = shared.value(input_).shape;
    int64_t channels = 0;
    for (const int part : parts_) {
      const Shape& of = shared.value(part).shape;
      if (of.rank != 4 || !std::equal(of.dims, of.dims + 3, shape.dims)) {
        return fail("got images of different sizes");
      }
      channels += of.channels();
      if (channels > kMaxBytes / 4) return fail("has an output that is too large");
    }
    shape.dims[3] = static_cast<int>(channels);
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& output = shared.value(output_);
    for_rows(output, 0.2, session, [&](int image, int y) {
      int8_t* to = output.at<int8_t>(image, y, 0);
      for (const int part : parts_) {
        const Value& from = shared.value(part);
        for (int x = 0; x < from.w; ++x) {
          std::memcpy(to + x * output.pixel_stride, from.at<const int8_t>(image, y, x),
                      static_cast<size_t>(from.c));
        }
        to += from.c;
      }
    });
  }

 private:
  std::vector<int> parts_;
};

// Around the image and in more channels lies what stands for zero.
class Pad : public Int8Step {
 public:
  Pad(const Op& op, int input, int output, int zero_point)
      : Int8Step(input, output), margins_(op.margins), zero_point_(zero_point) {}

  std::string name() const override { return "int8 pad"; }

  bool shape(StepContext& shared) override {
    Shape shape = shared.value(input_).shape;
    if (shape.rank != 4) return fail("got an input that is not a batch of images");
    for (int i = 0; i < 3; ++i) {
      const int64_t size = int64_t{margins_[2 * i]} + shape.dims[1 + i] + margins_[2 * i + 1];
      if (size > kMaxBytes / 4) return fail("has an output that is too large");
      shape.dims[1 + i] = static_cast<int>(size);
    }
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    const int top = margins_[0], left = margins_[2], before = margins_[4];
    for_rows(output, 0.2, session, [&](int image, int y) {
      for (int x = 0; x < output.w; ++x) {
        int8_t* to = output.at<int8_t>(image, y, x);
        const int from_y = y - top, from_x = x - left;
        const bool is_inside = from_y >= 0 && from_y < input.h && from_x >= 0 && from_x < input.w;
        if (!is_inside || input.c != output.c) {
          std::memset(to, zero_point_, static_cast<size_t>(output.c));
        }
        if (is_inside) {
          std::memcpy(to + before, input.at<const int8_t>(image, from_y, from_x),
                      static_cast<size_t>(input.c));
        }
      }
    });
  }

 private:
  std::vector<int> margins_;
  int zero_point_;
};

}  // namespace

std::unique_ptr<Step> make_int8_concatenation(std::vector<int> parts, int output) {
  return std::make_unique<Concatenation>(std::move(parts), output);
}

std::unique_ptr<Step> make_int8_pad(const Op& op, int input, int output,
                                    const abi::Context& context) {
  return std::make_unique<Pad>(op, input, output, context.tensors[op.output].zero_point);
}

}  // namespace bopkit
