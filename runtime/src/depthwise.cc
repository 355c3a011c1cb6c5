// Depthwise convolutions of float32 and of int8. They may use what steps may.
#include <algorithm>
#include <type_traits>

#include "epilogue_step.h"
#include "quantization.h"
#include "steps.h"
#include "window.h"

namespace bopkit {
namespace {

template <typename Element>
class DepthwiseConv : public EpilogueStep {
 public:
  static constexpr bool kIsInt8 = std::is_same<Element, int8_t>::value;
  using Sum = typename std::conditional<kIsInt8, int32_t, float>::type;

  // `filter` is [filter_h, filter_w, channels], as many as the input has, or a multiple.
  DepthwiseConv(const Op& op, int input, const Element* filter, int channels)
      : EpilogueStep(input),
        window_(op.window),
        channels_(channels),
        multiplier_(channels / op.channels_in) {
    const int64_t taps = int64_t{window_.filter_h} * window_.filter_w;
    weights_.assign(filter, filter + taps * channels_);
  }

  void set_bias(const float* bias) {
    bias_.assign((channels_ + kPanel - 1) / kPanel * kPanel, 0.0f);
    std::copy(bias, bias + channels_, bias_.begin());
  }

  void requantize(RequantizationVectors by) {
    requantization_ = std::move(by);
    epilogue_.is_requantized = true;
    epilogue_.requantization = requantization_.pointers();
  }

  std::string name() const override {
    return std::string(kIsInt8 ? "int8 " : "") + "depthwise conv " +
           std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w) + suffix();
  }

  Epilogue sums_epilogue() const override { return epilogue_; }

  bool shape(StepContext& shared) override {
    const Value& input = shared.value(input_);
    if (input.shape.rank != 4) return fail("got an input that is not a batch of images");
    if (input.c != channels_ / multiplier_)
      return fail("got an input of another number of channels");
    height_ = window_extent(input.h, window_.filter_h, window_.stride_h, window_.dilation_h,
                            window_.is_same);
    width_ = window_extent(input.w, window_.filter_w, window_.stride_w, window_.dilation_w,
                           window_.is_same);
    if (height_.size < 1 || width_.size < 1) return fail("got an input smaller than its filter");
    Shape out = input.shape;
    out.dims[1] = height_.size;
    out.dims[2] = width_.size;
    out.dims[3] = channels_;
    pixels_ = int64_t{input.n} * height_.size * width_.size;
    return shape_results(shared, out);
  }

  bool prepare(const StepContext& shared) override {
    source_ = shared.value(input_);
    most_ = int64_t{window_.filter_h} * window_.filter_w;
    if (!taps_.allocate(shared.threads * 2 * most_ * static_cast<int64_t>(sizeof(void*)))) {
      return fail("found no memory for its taps");
    }
    if (multiplier_ == 1) return true;
    source_.c = channels_;
    source_.border = {};
    if (!repeated_.allocate(source_.lay_out())) return fail("found no memory for its input");
    source_.place(repeated_.as<char>());
    return true;
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    if (multiplier_ == 1) {
      source_.first = shared.value(input_).first;
    } else {
      repeat_channels(shared.value(input_));
    }
    const Value& input = source_;
    session.run(input.n * height_.size, static_cast<double>(macs()) / kMacsPerNs, [&](int unit) {
      convolve_row(shared, input, unit / height_.size, unit % height_.size);
    });
  }

  int64_t float_macs() const override { return kIsInt8 ? 0 : macs(); }
  int64_t int8_macs() const override { return kIsInt8 ? macs() : 0; }

 private:
  static constexpr double kMacsPerNs = 10;
  // Of one call of the micro-kernels: an epilogue of integers takes no more than a tile.
  static constexpr int kPixels = kIsInt8 ? kMaxTilePixels : 2 * kMaxTilePixels;

  // The pixels under the filter that lie within the image; `most_` further, their weights.
  struct Taps {
    const Element** first;
    int count;
  };

  int64_t macs() const { return pixels_ * window_.filter_h * window_.filter_w * channels_; }

  // Each channel of the input is that of several filters.
  void repeat_channels(const Value& input) {
    for (int row = 0; row < input.n * input.h; ++row) {
      for (int x = 0; x < input.w; ++x) {
        const Element* from = input.at<const Element>(row / input.h, row % input.h, x);
        Element* to = source_.at<Element>(row / input.h, row % input.h, x);
        for (int c = 0; c < input.c; ++c, to += multiplier_) std::fill_n(to, multiplier_, from[c]);
      }
    }
  }

  void convolve_row(const StepContext& shared, const Value& input, int image, int y) const {
    alignas(kAlignment) Sum sums[kPixels * kPanel];
    Row rows[kPixels];
    const RowStep to_right = row_step(shared);
    Taps taps = {taps_.as<const Element*>() + ThreadPool::thread_number() * 2 * most_, 0};
    const int64_t step = window_.stride_w * input.pixel_stride;
    const bool is_direct = stores_floats_alone();
    for (int x = 0, pixels; x < width_.size; x += pixels) {
      // Pixels that see no edge at the sides have the same taps.
      pixels = std::max(1, std::min(is_direct ? width_.size : kPixels, inside_from(input, x)));
      find_taps(input, image, y, x, &taps);
      if (is_direct) {
        const Value& output = shared.value(floats);
        multiply(shared.kernels, input, taps, step, pixels, 0, channels_,
                 output.at<Sum>(image, y, x), output.pixel_stride);
        continue;
      }
      const Row row = row_at(shared, image, y, x);
      for (int first = 0; first < channels_; first += kPanel) {
        const int channels = std::min(kPanel, channels_ - first);
        Epilogue epilogue = epilogue_;
        EpilogueOp ops[kMaxEpilogueOps];
        epilogue_from(first, &epilogue, ops);
        multiply(shared.kernels, input, taps, step, pixels, first, channels, sums, kPanel);
        fill_rows(row + step_to_channel(row, first), to_right, pixels, rows);
        end_sums(shared.kernels, epilogue, sums, channels, rows, pixels);
      }
    }
  }

  // Whether the sums are the results, in memory as they should be.
  bool stores_floats_alone() const {
    return !kIsInt8 && epilogue_ops_.empty() && floats >= 0 && bits < 0 && bytes < 0;
  }

  void multiply(const Kernels& kernels, const Value&, const Taps& taps, int64_t step, int pixels,
                int first, int channels, float* to, int64_t to_step) const {
    FloatDepthwiseArgs args = {to,     to_step, taps.first, taps.first + most_, taps.count, step,
                               pixels, first,   channels};
    if (!bias_.empty()) args.bias = bias_.data();
    kernels.depthwise_rows(args);
  }
  void multiply(const Kernels& kernels, const Value& input, const Taps& taps, int64_t step,
                int pixels, int first, int channels, int32_t* to, int64_t to_step) const {
    Int8DepthwiseArgs args = {to,     to_step, taps.first, taps.first + most_, taps.count, step,
                              pixels, first,   channels};
    args.zero_point = input.zero_point;
    kernels.depthwise_int8_rows(args);
  }

  // From a pixel of a row on, how many have all columns under the filter within the image.
  int inside_from(const Value& input, int x) const {
    const int first = x * window_.stride_w - width_.before;
    const int last = input.w - 1 - (window_.filter_w - 1) * window_.dilation_w;
    return first < 0 || first > last
               ? 0
               : std::min(width_.size - x, (last - first) / window_.stride_w + 1);
  }

  void find_taps(const Value& input, int image, int y, int x, Taps* taps) const {
    taps->count = 0;
    const int left = x * window_.stride_w - width_.before;
    const int64_t to_right = window_.dilation_w * input.pixel_stride;
    for (int v = 0; v < window_.filter_h; ++v) {
      const int row = y * window_.stride_h - height_.before + v * window_.dilation_h;
      if (row < 0 || row >= input.h) continue;
      const Element* from = input.at<const Element>(image, row, 0) + left * input.pixel_stride;
      const Element* weights = weights_.data() + int64_t{v} * window_.filter_w * channels_;
      for (int u = 0, column = left; u < window_.filter_w; ++u, column += window_.dilation_w) {
        if (column >= 0 && column < input.w) {
          taps->first[taps->count] = from + u * to_right;
          taps->first[most_ + taps->count++] = weights + u * channels_;
        }
      }
    }
  }

  Window window_;
  int channels_, multiplier_;  // of the output, and of these for each of the input
  Value source_;               // the input, with each channel repeated
  Buffer repeated_;
  int64_t most_ = 0;              // taps of a pixel
  Buffer taps_;                   // of each thread: where they are, and where their weights are
  std::vector<Element> weights_;  // [filter_h, filter_w, channels]
  std::vector<float> bias_;       // of floats, padded to kPanel; or empty
  Epilogue epilogue_;
  RequantizationVectors requantization_;
  Extent height_{}, width_{};
  int64_t pixels_ = 0;
};

}  // namespace

std::unique_ptr<EpilogueStep> make_depthwise_conv(const Op& op, int input, int channels,
                                                  const float* filter, const float* bias) {
  auto step = std::make_unique<DepthwiseConv<float>>(op, input, filter, channels);
  if (bias != nullptr) step->set_bias(bias);
  step->append_activation(op.activation);
  return step;
}

std::unique_ptr<EpilogueStep> make_int8_depthwise_conv(const Op& op, int input,
                                                       const abi::Context& context) {
  const abi::Tensor& filter = context.tensors[op.filter];
  const int channels = last_dim(filter);
  auto step = std::make_unique<DepthwiseConv<int8_t>>(
      op, input, static_cast<const int8_t*>(filter.data), channels);
  step->requantize(requantization_of(context, op, std::vector<int32_t>(channels, 0)));
  return step;
}

}  // namespace bopkit
