// Steps that treat each number by itself: arithmetic that no other step's epilogue holds, and
// bit-packing and unpacking. They may use what steps may.
#include <algorithm>
#include <cmath>

#include "epilogue_step.h"
#include "steps.h"

namespace bopkit {
namespace {

class Elementwise : public EpilogueStep {
 public:
  using EpilogueStep::EpilogueStep;

  std::string name() const override { return "map" + suffix(); }
  bool shape(StepContext& shared) override {
    return shape_results(shared, shared.value(input_).shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const double ns = static_cast<double>(input.pixels()) * input.c * 8 / kBytesPerNs;
    const int rows = input.n * input.h;
    const int width = input.h == 1 && input.w == 1 ? 1 : input.w;
    session.run(rows, is_small(ns), [&](int unit) {
      for (int x = 0; x < width; ++x) run_row(shared, input, unit / input.h, unit % input.h, x);
    });
  }

 private:
  void run_row(const StepContext& shared, const Value& input, int image, int y, int x) const {
    const float* from = input.at<const float>(image, y, x);
    const Row row = row_at(shared, image, y, x);
    for (int first = 0; first < input.c; first += kPanel) {
      store_floats(shared.kernels, from + first, first, std::min(kPanel, input.c - first), row);
    }
  }
};

class BitPackBytes : public PlainStep {
 public:
  BitPackBytes(int input, int output, int zero_point)
      : PlainStep(input, output), zero_point_(zero_point) {}

  std::string name() const override { return "signs of bytes"; }

  bool shape(StepContext& shared) override {
    Shape packed = shared.value(input_).shape;
    packed.dims[packed.rank - 1] = words_of(packed.channels());
    return shape_output(shared, packed);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    for_pixels(input, session, [&](int image, int y, int x) {
      const int8_t* from = input.at<const int8_t>(image, y, x);
      uint32_t* to = output.at<uint32_t>(image, y, x);
      std::fill(to, to + output.c, 0u);
      for (int c = 0; c < input.c; ++c) {
        to[c / 32] |= static_cast<uint32_t>(from[c] < zero_point_) << (c % 32);
      }
    });
  }

 private:
  int zero_point_;
};

class BitUnpack : public PlainStep {
 public:
  BitUnpack(int input, int output, float scale, int zero_point) : PlainStep(input, output) {
    const int one = scale > 0 ? static_cast<int>(std::round(std::min(1.0f / scale, 512.0f))) : 1;
    plus_one_ = static_cast<int8_t>(std::min(127, zero_point + one));
    minus_one_ = static_cast<int8_t>(std::max(-128, zero_point - one));
  }

  std::string name() const override { return "unpack signs"; }

  bool shape(StepContext& shared) override {
    // How many channels the last word holds is known from the output only.
    Value& output = shared.value(output_);
    Shape shape = shared.value(input_).shape;
    const int channels = output.shape.channels();
    if (shape.channels() != words_of(channels)) {
      return fail("got an input of another number of channels");
    }
    shape.dims[shape.rank - 1] = channels;
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    for_pixels(output, session, [&](int image, int y, int x) {
      const uint32_t* from = input.at<const uint32_t>(image, y, x);
      const auto is_negative = [from](int c) { return (from[c / 32] >> (c % 32) & 1u) != 0; };
      if (output.type == abi::kFloat32) {
        float* to = output.at<float>(image, y, x);
        for (int c = 0; c < output.c; ++c) to[c] = is_negative(c) ? -1.0f : 1.0f;
      } else if (output.type == abi::kInt8) {
        int8_t* to = output.at<int8_t>(image, y, x);
        for (int c = 0; c < output.c; ++c) to[c] = is_negative(c) ? minus_one_ : plus_one_;
      } else {
        bool* to = output.at<bool>(image, y, x);
        for (int c = 0; c < output.c; ++c) to[c] = !is_negative(c);
      }
    });
  }

 private:
  int8_t plus_one_, minus_one_;
};

}  // namespace

std::unique_ptr<EpilogueStep> make_elementwise(int input) {
  return std::make_unique<Elementwise>(input);
}

std::unique_ptr<Step> make_bit_pack_bytes(int input, int output, int zero_point) {
  return std::make_unique<BitPackBytes>(input, output, zero_point);
}

std::unique_ptr<Step> make_bit_unpack(int input, int output, float scale, int zero_point) {
  return std::make_unique<BitUnpack>(input, output, scale, zero_point);
}

}  // namespace bopkit
