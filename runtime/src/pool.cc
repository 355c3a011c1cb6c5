// Pools: the largest or the mean of each window, of float32; the largest of bit-packed numbers; and
// the mean over a whole image. They may use what steps may.
#include <algorithm>
#include <type_traits>

#include "epilogue_step.h"
#include "pooled_window.h"
#include "steps.h"

namespace bopkit {
namespace {

class Pool : public EpilogueStep {
  static constexpr int kLeastRows = 8;  // of each of two parts a thread

 public:
  Pool(const Op& op, int input, std::unique_ptr<EpilogueStep> source)
      : EpilogueStep(input),
        window_(op.window),
        is_maximum_(op.kind == OpKind::kMaxPool),
        source_(std::move(source)),
        pools_sums_(is_maximum_ && source_ != nullptr && source_->makes_sums()) {
    if (pools_sums_) epilogue_ops_ = source_->activations();
  }

  std::string name() const override {
    const std::string size =
        std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w);
    const std::string before = source_ == nullptr ? "" : source_->name() + ", ";
    return before + (is_maximum_ ? "max pool " : "average pool ") + size + suffix();
  }

  bool shape(StepContext& shared) override {
    if (source_ != nullptr && !source_->shape(shared)) return fail(source_->error().c_str());
    Shape out;
    const char* problem = pooled_shape(shared.value(input_), window_, &height_, &width_, &out);
    if (problem != nullptr) return fail(problem);
    inner_columns_ =
        inner_range(width_, window_.stride_w, window_.filter_w, shared.value(input_).w);
    return shape_results(shared, out);
  }

  bool prepare(const StepContext& shared) override {
    if (source_ == nullptr) return true;
    if (!source_->prepare(shared)) return fail(source_->error().c_str());
    const Value& input = shared.value(input_);
    pitch_ = pools_sums_ ? source_->sums_pitch() : input.c;
    strip_ = int64_t{std::min(window_.filter_h, input.h)} * input.w * pitch_;
    const bool fits = strip_ <= kMaxBytes / 4 / shared.threads;
    return (fits && strips_.allocate(shared.threads * strip_ * 4)) ||
           fail("found no memory for its rows");
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const int64_t taps = int64_t{window_.filter_h} * window_.filter_w;
    const double ns = static_cast<double>(input.n) * height_.size * width_.size * input.c * taps *
                      4 / kBytesPerNs;
    if (source_ == nullptr) {
      session.run(input.n * height_.size, ns, [&](int unit) {
        run_rows<float>(shared, unit / height_.size, unit % height_.size, unit % height_.size + 1,
                        nullptr);
      });
      return;
    }
    source_->start(shared, session);
    const double all_ns = ns + macs_ns(shared.kernels);
    const int parts = parts_for(session.threads_for(all_ns));
    session.run(input.n * parts, all_ns, [&](int unit) {
      const int64_t part = unit % parts;
      const int begin = static_cast<int>(part * height_.size / parts),
                end = static_cast<int>((part + 1) * height_.size / parts);
      const int64_t strip = ThreadPool::thread_number() * strip_;
      if (pools_sums_ && source_->sums_epilogue().is_requantized) {
        run_rows(shared, unit / parts, begin, end, strips_.as<int32_t>() + strip);
      } else {
        run_rows(shared, unit / parts, begin, end, strips_.as<float>() + strip);
      }
    });
  }

  std::vector<int> reads() const override {
    std::vector<int> values = EpilogueStep::reads();
    if (source_ == nullptr) return values;
    const std::vector<int> before = source_->reads();
    values.insert(values.end(), before.begin(), before.end());
    return values;
  }

  int64_t binary_macs() const override { return source_ == nullptr ? 0 : source_->binary_macs(); }
  int64_t float_macs() const override { return source_ == nullptr ? 0 : source_->float_macs(); }
  int64_t int8_macs() const override { return source_ == nullptr ? 0 : source_->int8_macs(); }

 private:
  // Parts of an image, each one unit of work. One that begins within the image computes the rows that
  // its window shares with the part before once more.
  int parts_for(int threads) const {
    if (threads == 1) return 1;
    const bool shares_rows = window_.filter_h > window_.stride_h;
    const int per_thread = !shares_rows ? 4 : height_.size < 2 * kLeastRows * threads ? 1 : 2;
    return std::min(height_.size, per_thread * threads);
  }

  // Rows under a window, and the distance of their pixels.
  template <typename Number>
  struct Rows {
    std::vector<const Number*> first;
    int64_t pixel_stride;
  };

  // Rows `begin` to `end` of an image. With `strip` the rows under the window are made there, each
  // as the window reaches it.
  template <typename Number>
  void run_rows(const StepContext& shared, int image, int begin, int end, Number* strip) const {
    const Value& input = shared.value(input_);
    const int64_t length = int64_t{input.w} * pitch_;
    const int slots = std::min(window_.filter_h, input.h);
    Rows<Number> rows{{}, strip != nullptr ? pitch_ : input.pixel_stride};
    std::vector<const Number*> taps(static_cast<size_t>(slots) *
                                    std::min(window_.filter_w, input.w));
    int made = 0;  // rows before this one are in the strip, as far as the window still needs them
    for (int y = begin; y < end; ++y) {
      const auto [top, bottom] =
          covered(y, window_.stride_h, height_.before, window_.filter_h, input.h);
      rows.first.clear();
      for (int v = top; v < bottom; ++v) {
        if (strip == nullptr) {
          rows.first.push_back(input.at<const Number>(image, v, 0));
          continue;
        }
        Number* row = strip + v % slots * length;
        if (v >= made) fill_row(shared, image, v, row);
        rows.first.push_back(row);
      }
      made = std::max(made, bottom);
      pool_row(shared, rows, input, image, y, taps.data());
    }
  }

  void fill_row(const StepContext& shared, int image, int y, int32_t* to) const {
    source_->make_sums(shared, image, y, to);
  }
  void fill_row(const StepContext& shared, int image, int y, float* to) const {
    if (pools_sums_) {
      source_->make_sums(shared, image, y, to);
    } else {
      source_->make_row(shared, image, y, to);
    }
  }

  // `taps` holds as many as a window has.
  template <typename Number>
  void pool_row(const StepContext& shared, const Rows<Number>& rows, const Value& input, int image,
                int y, const Number** taps) const {
    alignas(kAlignment) Number pooled[kMaxTilePixels * kPanel];
    const RowStep to_right = row_step(shared);
    if constexpr (std::is_same<Number, float>::value) {
      if (stores_floats_alone()) {
        Row row = row_at(shared, image, y, 0);
        for (int x = 0; x < width_.size; ++x, row = row + to_right) {
          const int count = find_taps(rows, input, x, 0, taps);
          reduce(shared.kernels, taps, count, input.c, row.floats);
        }
        return;
      }
    }
    Row rows_of_panel[kMaxTilePixels];
    for (int begin = 0; begin < width_.size; begin += kMaxTilePixels) {
      const int pixels = std::min(kMaxTilePixels, width_.size - begin);
      const Row row = row_at(shared, image, y, begin);
      for (int first = 0; first < input.c; first += kPanel) {
        const int channels = std::min(kPanel, input.c - first);
        for (int i = 0; i < pixels;) {
          const int count = find_taps(rows, input, begin + i, first, taps);
          const bool is_whole = inner_columns_.has(begin + i);
          const int alike = is_whole ? std::min(pixels - i, inner_columns_.end - begin - i) : 1;
          reduce_pixels(shared.kernels, taps, count, window_.stride_w * rows.pixel_stride, alike,
                        channels, pooled + i * kPanel);
          i += alike;
        }
        fill_rows(row + step_to_channel(row, first), to_right, pixels, rows_of_panel);
        finish(shared.kernels, pooled, first, channels, rows_of_panel, pixels);
      }
    }
  }

  // Whether what is pooled is the result, in memory as it should be.
  bool stores_floats_alone() const {
    return !pools_sums_ && epilogue_ops_.empty() && floats >= 0 && bits < 0 && bytes < 0;
  }

  // Channel `first` of the pixels under the window of a pixel; how many they are.
  template <typename Number>
  int find_taps(const Rows<Number>& rows, const Value& input, int x, int first,
                const Number** taps) const {
    const auto [left, right] =
        covered(x, window_.stride_w, width_.before, window_.filter_w, input.w);
    int count = 0;
    for (const Number* row : rows.first) {
      for (int u = left; u < right; ++u) taps[count++] = row + u * rows.pixel_stride + first;
    }
    return count;
  }

  // The taps of the next pixels are `step` further.
  void reduce_pixels(const Kernels& kernels, const int32_t* const* taps, int count, int64_t step,
                     int pixels, int channels, int32_t* to) const {
    kernels.max_of_int32(to, taps, count, step, pixels, channels);
  }
  void reduce_pixels(const Kernels& kernels, const float** taps, int count, int64_t step,
                     int pixels, int channels, float* to) const {
    for (int p = 0; p < pixels; ++p, to += kPanel) {
      reduce(kernels, taps, count, channels, to);
      for (int i = 0; i < count; ++i) taps[i] += step;
    }
  }
  void reduce(const Kernels& kernels, const float* const* taps, int count, int channels,
              float* to) const {
    (is_maximum_ ? kernels.max_of : kernels.mean_of)(to, taps, count, channels);
  }

  template <typename Number>
  void finish(const Kernels& kernels, const Number* pooled, int first, int channels,
              const Row* rows, int pixels) const {
    Epilogue epilogue = pools_sums_ ? source_->sums_epilogue() : Epilogue{};
    EpilogueOp ops[kMaxEpilogueOps];
    epilogue_from(first, &epilogue, ops);
    end_sums(kernels, epilogue, pooled, channels, rows, pixels);
  }

  Window window_;
  bool is_maximum_;
  std::unique_ptr<EpilogueStep> source_;
  bool pools_sums_;
  Extent height_{}, width_{};
  Range inner_columns_{};  // of pixels whose windows are whole
  int pitch_ = 0;          // from a pixel of a part's rows to the next
  int64_t strip_ = 0;      // numbers that a thread keeps of the rows under its window
  Buffer strips_;
};

// The largest of bit-packed numbers is -1 only where all are: their bits are joined by AND.
class BitPackedMaxPool : public PlainStep {
 public:
  BitPackedMaxPool(const Op& op, int input, int output)
      : PlainStep(input, output), window_(op.window) {}

  std::string name() const override {
    return "max pool " + std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w) +
           " of signs";
  }

  bool shape(StepContext& shared) override {
    Shape out;
    const char* problem = pooled_shape(shared.value(input_), window_, &height_, &width_, &out);
    return problem == nullptr ? shape_output(shared, out) : fail(problem);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    const double pixel_ns = 8 + 0.5 * output.c * window_.filter_h * window_.filter_w;
    for_pixels(output, session, pixel_ns, [&](int image, int y, int x) {
      const auto [top, bottom] =
          covered(y, window_.stride_h, height_.before, window_.filter_h, input.h);
      const auto [left, right] =
          covered(x, window_.stride_w, width_.before, window_.filter_w, input.w);
      uint32_t* to = output.at<uint32_t>(image, y, x);
      std::fill(to, to + output.c, ~0u);
      for (int v = top; v < bottom; ++v) {
        for (int u = left; u < right; ++u) {
          const uint32_t* from = input.at<const uint32_t>(image, v, u);
          for (int c = 0; c < output.c; ++c) to[c] &= from[c];
        }
      }
    });
  }

 private:
  Window window_;
  Extent height_{}, width_{};
};

class Mean : public PlainStep {
 public:
  Mean(const Op& op, int input, int output)
      : PlainStep(input, output), keeps_rank_(op.keeps_rank) {}

  std::string name() const override { return "mean"; }

  bool shape(StepContext& shared) override {
    const Value& input = shared.value(input_);
    if (input.shape.rank != 4) return fail("got an input that is not a batch of images");
    return shape_output(
        shared, keeps_rank_ ? Shape{4, {input.n, 1, 1, input.c}} : Shape{2, {input.n, input.c}});
  }

  void run(const StepContext& shared, ThreadPool::Session&) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    const float count = static_cast<float>(input.h) * static_cast<float>(input.w);
    for (int image = 0; image < input.n; ++image) {
      float* to = output.at<float>(image, 0, 0);
      std::fill(to, to + input.c, 0.0f);
      for (int y = 0; y < input.h; ++y) {
        shared.kernels.add_rows(to, input.at<const float>(image, y, 0), input.pixel_stride, input.w,
                                input.c);
      }
      for (int c = 0; c < input.c; ++c) to[c] /= count;
    }
  }

 private:
  bool keeps_rank_;
};

}  // namespace

std::unique_ptr<EpilogueStep> make_pool(const Op& op, int input,
                                        std::unique_ptr<EpilogueStep> source) {
  auto step = std::make_unique<Pool>(op, input, std::move(source));
  step->append_activation(op.activation);
  return step;
}

std::unique_ptr<Step> make_bit_packed_max_pool(const Op& op, int input, int output) {
  return std::make_unique<BitPackedMaxPool>(op, input, output);
}

std::unique_ptr<Step> make_mean(const Op& op, int input, int output) {
  return std::make_unique<Mean>(op, input, output);
}

}  // namespace bopkit
