// Pools and means of int8.
#include <algorithm>
#include <tuple>

#include "int8_step.h"
#include "int8_steps.h"
#include "pooled_window.h"
#include "quantization.h"

namespace bopkit {
namespace {

// Sums of so many channels at a time stay in the first-level cache.
constexpr int kChannels = 256;

class Pool : public Int8Step {
 public:
  Pool(const Op& op, int input, int output, const abi::Context& context)
      : Int8Step(input, output), window_(op.window), is_maximum_(op.kind == OpKind::kMaxPool) {
    std::tie(min_, max_) = int8_range(op.activation, context.tensors[op.output]);
  }

  std::string name() const override {
    return std::string("int8 ") + (is_maximum_ ? "max" : "average") + " pool " +
           std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w);
  }

  bool shape(StepContext& shared) override {
    Shape out;
    const char* problem = pooled_shape(shared.value(input_), window_, &height_, &width_, &out);
    return problem == nullptr ? shape_output(shared, out) : fail(problem);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    const double ns = 0.1 * window_.filter_h * window_.filter_w;
    for_rows(output, ns, session, [&](int image, int y) {
      std::vector<const int8_t*> taps;
      taps.reserve(static_cast<size_t>(window_.filter_h) * window_.filter_w);
      const auto [top, bottom] =
          covered(y, window_.stride_h, height_.before, window_.filter_h, input.h);
      for (int x = 0; x < output.w; ++x) {
        const auto [left, right] =
            covered(x, window_.stride_w, width_.before, window_.filter_w, input.w);
        taps.clear();
        for (int v = top; v < bottom; ++v) {
          const int8_t* from = input.at<const int8_t>(image, v, left);
          for (int u = left; u < right; ++u, from += input.pixel_stride) taps.push_back(from);
        }
        int8_t* to = output.at<int8_t>(image, y, x);
        if (is_maximum_) {
          shared.kernels.max_of_int8(to, taps.data(), static_cast<int>(taps.size()), output.c,
                                     static_cast<int8_t>(min_), static_cast<int8_t>(max_));
        } else {
          take_average(taps, output.c, to);
        }
      }
    });
  }

 private:
  // Rounded half away from zero.
  void take_average(const std::vector<const int8_t*>& taps, int channels, int8_t* to) const {
    const int32_t half = static_cast<int32_t>(taps.size() / 2);
    const auto count = static_cast<float>(taps.size());
    int32_t sums[kChannels];
    for (int first = 0; first < channels; first += kChannels) {
      const int some = std::min(kChannels, channels - first);
      std::fill(sums, sums + some, 0);
      for (const int8_t* from : taps) {
        for (int c = 0; c < some; ++c) sums[c] += from[first + c];
      }
      for (int c = 0; c < some; ++c) {
        // The quotient of integers below 2^24 is cut to the same integer as float32.
        const auto sum = static_cast<float>(sums[c] > 0 ? sums[c] + half : sums[c] - half);
        const auto mean = static_cast<int32_t>(sum / count);
        to[first + c] = static_cast<int8_t>(std::min(std::max(mean, min_), max_));
      }
    }
  }

  Window window_;
  bool is_maximum_;
  int32_t min_ = 0, max_ = 0;
  Extent height_{}, width_{};
};

class Mean : public Int8Step {
 public:
  Mean(const Op& op, int input, int output, const abi::Context& context)
      : Int8Step(input, output),
        keeps_rank_(op.keeps_rank),
        zero_point_(context.tensors[op.input].zero_point),
        output_zero_point_(context.tensors[op.output].zero_point),
        multiplier_(quantize_multiplier(
            map_factor(op.kind, context.tensors[op.input], context.tensors[op.output]))) {}

  std::string name() const override { return "int8 mean"; }

  bool shape(StepContext& shared) override {
    const Value& input = shared.value(input_);
    if (input.shape.rank != 4) return fail("got an input that is not a batch of images");
    const int64_t count = int64_t{input.h} * input.w;
    if (count > kMaxMeanPixels) return fail("got images whose sums an int32 does not hold");
    // The multiplier takes in the division by `count`, as far as it stays an integer of 31 bits.
    int shift = 0;
    while (count >> (shift + 1) != 0) ++shift;
    shift = std::min(shift, 31 + multiplier_.shift);
    const int exponent = multiplier_.shift - shift;
    rescaling_ = {static_cast<int32_t>((int64_t{multiplier_.value} << shift) / count),
                  std::max(exponent, 0), std::max(-exponent, 0)};
    return shape_output(
        shared, keeps_rank_ ? Shape{4, {input.n, 1, 1, input.c}} : Shape{2, {input.n, input.c}});
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    const double ns = 0.1 * input.h * input.w;
    for_rows(output, ns, session, [&](int image, int) {
      int32_t sums[kChannels];
      for (int first = 0; first < input.c; first += kChannels) {
        const int some = std::min(kChannels, input.c - first);
        std::fill(sums, sums + some, -zero_point_ * input.h * input.w);
        for (int y = 0; y < input.h; ++y) {
          for (int x = 0; x < input.w; ++x) {
            const int8_t* from = input.at<const int8_t>(image, y, x) + first;
            for (int c = 0; c < some; ++c) sums[c] += from[c];
          }
        }
        int8_t* to = output.at<int8_t>(image, 0, 0) + first;
        for (int c = 0; c < some; ++c) {
          const int32_t mean = rescale(rescaling_, sums[c]) + output_zero_point_;
          to[c] = static_cast<int8_t>(std::min(std::max(mean, -128), 127));
        }
      }
    });
  }

 private:
  static constexpr int64_t kMaxMeanPixels = 1 << 22;

  bool keeps_rank_;
  int32_t zero_point_, output_zero_point_;
  QuantizedMultiplier multiplier_;
  Rescaling rescaling_;
};

}  // namespace

std::unique_ptr<Step> make_int8_pool(const Op& op, int input, int output,
                                     const abi::Context& context) {
  return std::make_unique<Pool>(op, input, output, context);
}

std::unique_ptr<Step> make_int8_mean(const Op& op, int input, int output,
                                     const abi::Context& context) {
  return std::make_unique<Mean>(op, input, output, context);
}

}  // namespace bopkit
