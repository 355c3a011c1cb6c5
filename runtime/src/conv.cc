// Convolutions and dense layers: binary, of float32, of float32 by weights of int8, and of int8. The
// micro-kernels multiply patches, found through an indirection buffer, by packed weights, and an
// epilogue follows. It may use what steps may.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>

#include "epilogue_step.h"
#include "padding_correction.h"
#include "quantization.h"
#include "shared_weights.h"
#include "steps.h"
#include "window.h"

namespace bopkit {
namespace {

// Pixels whose patches a thread computes with one panel of weights before it takes the next: the
// panel then stays in the first-level cache.
constexpr int kChunk = 84;

// Channels of one group that are computed together.
struct Panel {
  int group, first, channels;  // `first` counts from the first channel of all groups
  int64_t weights;             // where they begin, in elements
};

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Where one of `parts` equal parts of `count` pixels begins, in steps of so many.
int64_t begin_of(int64_t part, int64_t parts, int64_t count, int step) {
  return std::min(count, part * ((count + step - 1) / step) / parts * step);
}

// Joins the words of packed weights; see Packing::gather_prefixes.
void make_prefixes(uint32_t* block, int64_t rows, int lanes) {
  for (int64_t i = lanes; i < rows * lanes; ++i) block[i] ^= block[i - lanes];
  for (int64_t row = 1; row < rows; row += 4) {
    for (int c = 0; c < lanes; ++c) block[row * lanes + c] = ~block[row * lanes + c];
  }
}

template <typename Element, typename Weight, typename Sum>
class Conv : public EpilogueStep {
 public:
  static constexpr bool kIsBinary = std::is_same<Element, uint32_t>::value;
  static constexpr bool kIsInt8 = std::is_same<Element, int8_t>::value;

  Conv(const Op& op, int input, const abi::Tensor& filter, const Kernels& kernels)
      : EpilogueStep(input),
        op_(op),
        window_(op.window),
        kernels_(kernels),
        packing_(kIsBinary ? kernels.binary
                 : kIsInt8 ? kernels.int8
                           : kernels.floats),
        channels_out_(filter.dims->data[0]),
        depth_(filter.dims->data[filter.dims->size - 1]),
        groups_((kIsBinary ? words_of(op.channels_in) : op.channels_in) / depth_),
        packs_rows_(window_.dilation_w == 1 && groups_ == 1),
        joins_tails_(packing_.joins_tails && channels_out_ > kPanel / 2 && packs_rows_ &&
                     window_.filter_h > 1 && window_.filter_w * depth_ % packing_.depth == 1) {}

  // Packs `weights`, [out, filter_h, filter_w, depth], into panels.
  bool pack(const Weight* weights);

  std::string name() const override {
    const std::string filter =
        std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w);
    const std::string kind = kIsBinary ? "binary conv " : op_.is_dense ? "dense" : "conv ";
    const std::string type = kIsInt8 ? "int8 " : "";
    return type + kind + (op_.is_dense ? "" : filter) + " to " + std::to_string(channels_out_) +
           suffix();
  }

  bool shape(StepContext& shared) override;
  bool prepare(const StepContext& shared) override;
  void run(const StepContext& shared, ThreadPool::Session& session) override;

  bool makes_rows() const override {
    return !kIsBinary && floats >= 0 && !joins_operands() && !stores_twice();
  }
  void start(const StepContext& shared, ThreadPool::Session& session) override;
  void make_row(const StepContext& shared, int image, int y, float* to) const override;
  bool makes_sums() const override {
    return makes_rows() && groups_ == 1 && has_activations_alone();
  }
  int sums_pitch() const override { return round_up(channels_out_, 16); }
  void make_sums(const StepContext& shared, int image, int y, void* to) const override;
  Epilogue sums_epilogue() const override { return epilogue_; }
  bool runs_rows() const override { return !kIsBinary && !op_.is_dense; }
  void run_row(const StepContext& shared, int image, int y) const override {
    const int64_t row = (int64_t{image} * height_.size + y) * width_.size;
    for (int x = 0; x < width_.size; x += kChunk) {
      run_chunk(shared, row + x, std::min(kChunk, width_.size - x), 0, panels_.size(), nullptr);
    }
  }

  int64_t macs() const {
    return pixels_ * window_.filter_h * window_.filter_w * depth_ * channels_out_ *
           (kIsBinary ? 32 : 1);
  }
  int64_t binary_macs() const override { return kIsBinary ? macs() : 0; }
  int64_t float_macs() const override { return kIsBinary || kIsInt8 ? 0 : macs(); }
  int64_t int8_macs() const override { return kIsInt8 ? macs() : 0; }

  void correct_padding(const PaddingCorrection::Filter& filter) {
    padding_correction_.set_filter(filter);
  }

  // The epilogue of all channels, and its vectors, padded to whole panels.
  Epilogue epilogue_;
  std::vector<float> multiplier_, bias_;
  std::vector<int32_t> threshold_;
  RequantizationVectors requantization_;

 private:
  bool needs_copy(const StepContext& shared) const;
  bool can_gather(const Value& input) const;
  bool prepare_gathering(int threads);
  const Element* gather(int image, int y, int x, int slot) const;
  bool prepare_indirection(const Value& input);
  void copy_with_border(const Value& input, ThreadPool::Session& session);
  void run_chunk(const StepContext& shared, int64_t first, int count, size_t first_panel,
                 size_t end_panel, float* to) const;
  using Args = GemmArgs<Element, Weight, Sum>;

  const Element* patch_at(int image, int y, int x) const {
    return source_.at<Element>(image, y * window_.stride_h, x * window_.stride_w) -
           border_.top * source_.row_stride - border_.left * source_.pixel_stride;
  }
  // Columns of a row of pixels whose patches need not be gathered.
  Range read_in_place(int y) const {
    return !is_gathering_ || inner_rows_.has(y) ? inner_columns_ : Range{0, 0};
  }
  // Words of a patch that Packing::gather_prefixes makes.
  int64_t prefixes_pitch() const {
    const int64_t words = int64_t{window_.filter_h} * window_.filter_w * depth_;
    return words + words % 2;
  }
  int tile_pixels(const Panel& panel) const {
    const bool is_narrow = panel.channels <= 16 && packing_.narrow_tile_pixels > 0;
    return is_narrow ? packing_.narrow_tile_pixels : packing_.tile_pixels;
  }
  Args args_of(const Panel& panel, const Element* const* patches, const int32_t* offsets,
               int pixels, Sum* sums) const {
    return {pixels,
            patches,
            offsets,
            static_cast<int>(run_offsets_.size()),
            run_length_,
            joins_tails_ ? static_cast<int>(run_offsets_.size()) : 0,
            packed_->as<Weight>() + panel.weights,
            panel.channels,
            sums};
  }
  void multiply(const Args& args) const;
  void run_panel(const Panel& panel, const Element* const* patches,
                 const int32_t* const* corrections, const Row* rows, int count) const;
  void run_prefixes(const uint32_t* const* patches, const int32_t* const* corrections,
                    const Row* rows, int count, size_t first_panel, size_t end_panel) const;
  void store_shifted_bits(uint32_t* words, int first, int channels,
                          const uint32_t* panel_words) const;

  Op op_;
  Window window_;
  const Kernels& kernels_;
  Kernels::Packing packing_;
  int channels_out_, depth_, groups_;
  bool packs_rows_;  // runs are rows of the filter; else single taps
  // The last element of each run is behind all runs, see GemmArgs::tails: for few channels it takes longer to
  // join them than to multiply the zeros.
  bool joins_tails_;
  std::vector<Panel> panels_;
  std::shared_ptr<const Buffer> packed_;

  Extent height_{}, width_{};
  int64_t pixels_ = 0;
  Border border_;
  Value source_;  // what patches are read from: the input, or a copy of it with a border
  bool is_copied_ = false;
  Buffer copy_;
  // Patches at the edges, as if they had a border: each thread has room for those of a chunk. A patch
  // has the rows that it would have in the input, as far apart, and shares them with its neighbours.
  bool is_gathering_ = false;
  Range inner_rows_{}, inner_columns_{};  // of pixels whose patches are not at the edges
  int64_t gathered_size_ = 0;             // elements of a thread
  Buffer gathered_;
  Buffer prefixes_;  // of the patches of a chunk, for each thread
  // The indirection buffer: where the runs of a patch begin, from the patch's first element.
  std::vector<int32_t> run_offsets_;
  int run_length_ = 0;
  PaddingCorrection padding_correction_;  // of a binary convolution padded with zeros
};

// The packed layout. A file holds the weights channel by channel, w[channel][k], where k counts the
// elements of a filter (words of 32 bits, or floats) in the order in which a patch is read. Here
// the channels lie side by side, so that one vector load gets element k of many channels, of which
// c is the first of a block:
//
//   packed_   | panel: channels 0 to 63 | panel: channels 64 to 127 | ... of a group, then the next
//
//   panel     | block | block | ...    of packing_.block channels: 64, the whole panel, or 16
//
//   block     w[c][0]           w[c + 1][0]           ...   w[c + lanes - 1][0]
//             w[c][1]           w[c + 1][1]           ...   w[c + lanes - 1][1]
//             ...
//             w[c][length - 1]  w[c + 1][length - 1]  ...   w[c + lanes - 1][length - 1]
//
// With is_byte_wise a row of a block is four rows of bytes, for the look-ups of AVX2:
//
//   row k     byte 0 of w[c][k], w[c + 1][k], ... | byte 1 of each | byte 2 ... | byte 3 ...
//
// With packing_.depth a row of a block has so many elements of each channel side by side, which one
// instruction multiplies and adds. The last of a run is filled up with zeros, so that runs must be
// known here, unless they are whole multiples: what is read behind a run is multiplied by zero.
//
// With is_one_run the runs of a patch count as one, at whose end alone is something filled up.
// With joins_tails_ that is done to the tails of all runs together, in rows of their own behind the others.
//
// A block has as many lanes as packing_.block, but one that is a whole panel only as many as its
// channels need, in multiples of packing_.granule. Lanes without a channel are zero.
template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::pack(const Weight* weights) {
  const int per_group = channels_out_ / groups_;
  const int64_t taps = int64_t{window_.filter_h} * window_.filter_w;
  const int64_t taps_of_run = packing_.is_one_run ? taps : packs_rows_ ? window_.filter_w : 1;
  const int64_t runs = taps / taps_of_run, run = taps_of_run * depth_ - (joins_tails_ ? 1 : 0);
  int64_t rows = (run + packing_.depth - 1) / packing_.depth;  // of a run in a block
  if (packing_.gather_prefixes != nullptr) rows += rows % 2;
  const int64_t tail_rows = joins_tails_ ? (runs + packing_.depth - 1) / packing_.depth : 0;
  const int64_t length = (runs * rows + tail_rows) * packing_.depth;
  int64_t elements = 0;
  for (int group = 0; group < groups_; ++group) {
    for (int first = 0; first < per_group; first += kPanel) {
      const int channels = std::min(kPanel, per_group - first);
      panels_.push_back({group, group * per_group + first, channels, elements});
      elements +=
          round_up(channels, packing_.block < kPanel ? std::max(packing_.block, packing_.granule)
                                                     : packing_.granule) *
          length;
      if (elements > kMaxBytes / 4) return fail("needs too much memory for its weights");
    }
  }
  Buffer packed;
  if (!packed.allocate(elements * static_cast<int64_t>(sizeof(Weight)))) {
    return fail("found no memory for its weights");
  }
  for (const Panel& panel : panels_) {
    Weight* to = packed.as<Weight>() + panel.weights;
    for (int block = 0; block < panel.channels; block += packing_.block) {
      const int channels = std::min(packing_.block, panel.channels - block);
      const int lanes =
          packing_.block < kPanel ? packing_.block : round_up(channels, packing_.granule);
      for (int64_t row = 0; row < runs * rows; ++row, to += lanes * packing_.depth) {
        const int64_t first = row % rows * packing_.depth;
        const int64_t count = std::min<int64_t>(packing_.depth, std::max<int64_t>(0, run - first));
        for (int c = 0; c < channels; ++c) {
          const Weight* from = weights + (panel.first + block + c) * taps * depth_;
          from += row / rows * taps_of_run * depth_ + first;
          if constexpr (kIsBinary) {
            if (packing_.is_byte_wise) {
              for (int b = 0; b < 4; ++b) {
                reinterpret_cast<uint8_t*>(to)[b * lanes + c] =
                    static_cast<uint8_t>(*from >> (8 * b));
              }
              continue;
            }
          }
          std::copy(from, from + count, to + int64_t{c} * packing_.depth);
        }
      }
      for (int64_t row = 0; row < tail_rows; ++row, to += lanes * packing_.depth) {
        const int64_t first = row * packing_.depth;
        const int64_t count = std::min<int64_t>(packing_.depth, runs - first);
        for (int c = 0; c < channels; ++c) {
          const Weight* from = weights + (panel.first + block + c) * taps * depth_ + run;
          for (int64_t i = 0; i < count; ++i) {
            to[c * packing_.depth + i] = from[(first + i) * taps_of_run * depth_];
          }
        }
      }
      if constexpr (kIsBinary) {
        if (packing_.gather_prefixes != nullptr) make_prefixes(to - length * lanes, length, lanes);
      }
    }
  }
  packed_ = share_weights(std::move(packed));
  return true;
}

template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::shape(StepContext& shared) {
  Value& input = shared.value(input_);
  if (input.c != depth_ * groups_) return fail("got an input of another number of channels");
  Shape out = input.shape;
  if (op_.is_dense) {
    if (input.h != 1 || input.w != 1) return fail("got an image where it takes a vector");
    height_ = width_ = {1, 0, 0};
    if (!op_.keeps_rank) {
      out.rank = 2;
      out.dims[0] = input.n;
    }
    out.dims[out.rank - 1] = channels_out_;
  } else {
    if (input.shape.rank != 4) return fail("got an input that is not a batch of images");
    height_ = window_extent(input.h, window_.filter_h, window_.stride_h, window_.dilation_h,
                            window_.is_same);
    width_ = window_extent(input.w, window_.filter_w, window_.stride_w, window_.dilation_w,
                           window_.is_same);
    if (height_.size < 1 || width_.size < 1) return fail("got an input smaller than its filter");
    out.dims[1] = height_.size;
    out.dims[2] = width_.size;
    out.dims[3] = channels_out_;
  }
  border_ = {height_.before, width_.before, height_.after, width_.after};
  Value& owner = shared.owner_of_view(input_);
  if (!owner.is_input && !owner.is_output && !owner.is_reshaped && owner.alias_of < 0) {
    owner.border.grow_to(border_);
  }
  pixels_ = int64_t{input.n} * height_.size * width_.size;
  return shape_results(shared, out);
}

template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::prepare_indirection(const Value& input) {
  run_offsets_.clear();
  const bool is_contiguous = packs_rows_ && input.is_contiguous();
  run_length_ = is_contiguous ? window_.filter_w * depth_ : depth_;
  if (is_contiguous && window_.dilation_h == 1 &&
      (packing_.is_one_run || run_length_ % packing_.depth == 0) &&
      input.row_stride == run_length_) {  // whole rows: one run of all of them
    run_length_ *= window_.filter_h;
    run_offsets_.push_back(0);
    return true;
  }
  if (joins_tails_) --run_length_;
  const int64_t last = int64_t{window_.filter_h} * window_.dilation_h * input.row_stride +
                       int64_t{window_.filter_w} * window_.dilation_w * input.pixel_stride;
  if (last > std::numeric_limits<int32_t>::max()) return fail("reaches too far");
  for (int y = 0; y < window_.filter_h; ++y) {
    const int64_t row = int64_t{y} * window_.dilation_h * input.row_stride;
    for (int x = 0; x < (is_contiguous ? 1 : window_.filter_w); ++x) {
      run_offsets_.push_back(
          static_cast<int32_t>(row + int64_t{x} * window_.dilation_w * input.pixel_stride));
    }
  }
  return true;
}

// Whether patches at the edges are better gathered one by one than the whole input copied.
template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::can_gather(const Value& input) const {
  const int run = window_.filter_w * depth_;
  if (!packs_rows_ || !input.is_contiguous() || window_.dilation_h != 1 ||
      (run % packing_.depth != 0 && !joins_tails_) || input.row_stride < run) {
    return false;
  }
  const int64_t edges =
      int64_t{height_.size} * width_.size - inner_rows_.size() * inner_columns_.size();
  return edges * window_.filter_h * run <= int64_t{input.h} * input.w * input.c;
}

template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::prepare_gathering(int threads) {
  const int64_t side_by_side = source_.row_stride / (window_.filter_w * depth_);
  gathered_size_ =
      (kChunk + side_by_side - 1) / side_by_side * window_.filter_h * source_.row_stride;
  return (gathered_size_ <= kMaxBytes / 4 / threads &&
          gathered_.allocate(threads * gathered_size_ * static_cast<int64_t>(sizeof(Element)))) ||
         fail("found no memory for its edges");
}

// Gathers a patch into the `slot`th place of this thread.
template <typename Element, typename Weight, typename Sum>
const Element* Conv<Element, Weight, Sum>::gather(int image, int y, int x, int slot) const {
  const int run = window_.filter_w * depth_;
  const int64_t side_by_side = source_.row_stride / run;
  Element* const patch = gathered_.as<Element>() + ThreadPool::thread_number() * gathered_size_ +
                         slot / side_by_side * window_.filter_h * source_.row_stride +
                         slot % side_by_side * run;
  const Element zero = static_cast<Element>(kIsInt8 ? source_.zero_point : 0);
  const int top = y * window_.stride_h - height_.before,
            left = x * window_.stride_w - width_.before;
  const int first = std::max(0, -left), end = std::min(window_.filter_w, source_.w - left);
  for (int v = 0; v < window_.filter_h; ++v) {
    Element* to = patch + v * source_.row_stride;
    if (top + v < 0 || top + v >= source_.h || first >= end) {
      std::fill_n(to, run, zero);
      continue;
    }
    const Element* from = source_.at<Element>(image, top + v, left + first);
    std::fill_n(to, first * depth_, zero);
    std::copy_n(from, (end - first) * depth_, to + first * depth_);
    std::fill_n(to + end * depth_, (window_.filter_w - end) * depth_, zero);
  }
  return patch;
}

// Whether patches cannot be read where the input lies.
template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::needs_copy(const StepContext& shared) const {
  const Value& input = shared.value(input_);
  if (!input.border.covers(border_) && !can_gather(input)) return true;
  if (packing_.is_one_run || depth_ % packing_.depth == 0) return false;
  if (packs_rows_ && !input.is_contiguous()) return true;
  // What lies behind memory of LiteRT's is not ours to read.
  const int run = packs_rows_ ? window_.filter_w * depth_ : depth_;
  return run % packing_.depth != 0 && !joins_tails_ && shared.is_held_by_litert(input_);
}

template <typename Element, typename Weight, typename Sum>
bool Conv<Element, Weight, Sum>::prepare(const StepContext& shared) {
  const Value& input = shared.value(input_);
  source_ = input;
  inner_rows_ = inner_range(height_, window_.stride_h, window_.filter_h, input.h);
  inner_columns_ = inner_range(width_, window_.stride_w, window_.filter_w, input.w);
  is_copied_ = needs_copy(shared);
  if (is_copied_) {
    source_.border = border_;
    const int64_t bytes = source_.lay_out();
    if (!copy_.allocate(bytes)) return fail("found no memory for its padded input");
    source_.fill_border(copy_.as<char>(), bytes);
    source_.place(copy_.as<char>());
  }
  is_gathering_ = !source_.border.covers(border_);
  if (is_gathering_) {
    if (!prepare_gathering(shared.threads)) return false;
  } else {
    inner_columns_ = {0, width_.size};
  }
  if (packing_.gather_prefixes != nullptr &&
      (prefixes_pitch() > kMaxBytes / 4 / kChunk / shared.threads ||
       !prefixes_.allocate(shared.threads * kChunk * prefixes_pitch() * 4))) {
    return fail("found no memory for its patches");
  }
  return prepare_indirection(source_) &&
         (padding_correction_.prepare(window_, height_, width_, input.h, input.w) ||
          fail("found no memory for its padding"));
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::copy_with_border(const Value& input,
                                                  ThreadPool::Session& session) {
  const size_t bytes = static_cast<size_t>(input.w) * input.c * sizeof(Element);
  const double ns = static_cast<double>(bytes) * input.n * input.h / 10;
  session.run(input.n * input.h, ns, [&](int unit) {
    const int image = unit / input.h, y = unit % input.h;
    for (int x = 0; !input.is_contiguous() && x < input.w; ++x) {
      std::memcpy(source_.at<Element>(image, y, x), input.at<Element>(image, y, x),
                  static_cast<size_t>(input.c) * sizeof(Element));
    }
    if (!input.is_contiguous()) return;
    std::memcpy(source_.at<Element>(image, y, 0), input.at<Element>(image, y, 0), bytes);
  });
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::start(const StepContext& shared, ThreadPool::Session& session) {
  const Value& input = shared.value(input_);
  if (is_copied_) {
    copy_with_border(input, session);
  } else {
    source_.first = input.first;
  }
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::make_row(const StepContext& shared, int image, int y,
                                          float* to) const {
  const int64_t row = (int64_t{image} * height_.size + y) * width_.size;
  for (int x = 0; x < width_.size; x += kChunk) {
    run_chunk(shared, row + x, std::min(kChunk, width_.size - x), 0, panels_.size(),
              to + int64_t{x} * channels_out_);
  }
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::make_sums(const StepContext&, int image, int y, void* to) const {
  alignas(kAlignment) Sum tile_sums[kMaxTilePixels * kPanel];
  const Element* patches[kMaxTilePixels];
  const int pitch = sums_pitch();
  const int64_t patch_to_right = window_.stride_w * source_.pixel_stride;
  const Range in_place = read_in_place(y);
  for (const Panel& panel : panels_) {
    const int most = tile_pixels(panel), tiles = (width_.size + most - 1) / most;
    for (int tile = 0; tile < tiles; ++tile) {
      const int begin = static_cast<int>(begin_of(tile, tiles, width_.size, packing_.pixel_step)),
                end = static_cast<int>(begin_of(tile + 1, tiles, width_.size, packing_.pixel_step));
      const Element* patch = patch_at(image, y, begin);
      for (int x = begin; x < end; ++x, patch += patch_to_right) {
        patches[x - begin] = in_place.has(x) ? patch : gather(image, y, x, x - begin);
      }
      Sum* row = static_cast<Sum*>(to) + int64_t{begin} * pitch + panel.first;
      Sum* sums = pitch == kPanel ? row : tile_sums;
      multiply(args_of(panel, patches, run_offsets_.data(), end - begin, sums));
      for (int i = 0; sums == tile_sums && i < end - begin; ++i) {
        std::memcpy(row + int64_t{i} * pitch, sums + i * kPanel,
                    static_cast<size_t>(round_up(panel.channels, 16)) * sizeof(Sum));
      }
    }
  }
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::run(const StepContext& shared, ThreadPool::Session& session) {
  start(shared, session);
  const double ns = macs_ns(kernels_);
  const int threads = session.threads_for(ns);
  // Few pixels and many channels are shared out by panels, unless groups write into the same words.
  // Chunks of pixels are of one size, so many that each thread has as many units.
  int64_t chunks = (pixels_ + kChunk - 1) / kChunk;
  const bool by_panels = threads > 1 && chunks < 2 * threads && groups_ == 1;
  // Units of several panels read the weights of a large layer as one stream.
  const int64_t panels = static_cast<int64_t>(panels_.size());
  const int64_t parts = by_panels ? std::min<int64_t>(panels, 4 * threads) : 1;
  if (chunks * parts % threads != 0 && parts < 4 * threads) {
    chunks = std::min(pixels_, (chunks + threads - 1) / threads * threads);
  }
  session.run(static_cast<int>(chunks * parts), ns, [&](int unit) {
    const int64_t chunk = unit / parts, part = unit % parts;
    const int64_t first = begin_of(chunk, chunks, pixels_, packing_.pixel_step),
                  end = begin_of(chunk + 1, chunks, pixels_, packing_.pixel_step);
    run_chunk(shared, first, static_cast<int>(end - first), part * panels / parts,
              (part + 1) * panels / parts, nullptr);
  });
}

// With `to` the results go there, one pixel behind the other.
template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::run_chunk(const StepContext& shared, int64_t first, int count,
                                           size_t first_panel, size_t end_panel, float* to) const {
  const Element* patches[kChunk];
  const int32_t* corrections[kChunk];
  Row rows[kChunk];
  RowStep to_right = row_step(shared);
  if (to != nullptr) to_right.floats = channels_out_ * sizeof(float);
  int x = static_cast<int>(first % width_.size);
  int y = static_cast<int>(first / width_.size % height_.size);
  int image = static_cast<int>(first / width_.size / height_.size);
  const int64_t patch_to_right = window_.stride_w * source_.pixel_stride;
  int gathered = 0;
  for (int i = 0; i < count; x = 0) {
    // Pixels of one row of the image.
    const int begin = i, end = std::min(count, i + width_.size - x);
    const PaddingCorrection::RowOfPixels row_corrections = padding_correction_.row(y);
    const Range in_place = read_in_place(y);
    const Element* patch = patch_at(image, y, x);
    Row row{};
    if (to == nullptr) {
      row = row_at(shared, image, y, x);
    } else {
      row.floats = to + int64_t{i} * channels_out_;
    }
    fill_rows(row, to_right, end - begin, rows + begin);
    for (; i < end; ++i, patch += patch_to_right) {
      patches[i] = patch;
      if constexpr (kIsBinary || kIsInt8) corrections[i] = row_corrections.at(x + i - begin);
    }
    for (int column = x; column < x + end - begin; ++column) {
      if (in_place.has(column)) {
        column = in_place.end - 1;
      } else {
        patches[begin + column - x] = gather(image, y, column, gathered++);
      }
    }
    for (int j = begin; groups_ > 1 && row.bits != nullptr && j < end; ++j) {
      std::memset(rows[j].bits, 0, words_of(channels_out_) * sizeof(uint32_t));
    }
    if (++y == height_.size) {
      y = 0;
      ++image;
    }
  }
  if constexpr (kIsBinary) {
    if (packing_.gather_prefixes != nullptr) {
      return run_prefixes(patches, corrections, rows, count, first_panel, end_panel);
    }
  }
  for (size_t i = first_panel; i < end_panel; ++i) {
    run_panel(panels_[i], patches, corrections, rows, count);
  }
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::run_prefixes(const uint32_t* const* patches,
                                              const int32_t* const* corrections, const Row* rows,
                                              int count, size_t first_panel,
                                              size_t end_panel) const {
  const int64_t pitch = prefixes_pitch();
  uint32_t* prefixes = prefixes_.as<uint32_t>() + ThreadPool::thread_number() * kChunk * pitch;
  const uint32_t *of_group[kChunk], *gathered[kChunk];
  for (int i = 0; i < count; ++i) gathered[i] = prefixes + i * pitch;
  for (size_t panel = first_panel; panel < end_panel; ++panel) {
    const int group = panels_[panel].group;
    if (panel == first_panel || group != panels_[panel - 1].group) {
      for (int i = 0; i < count; ++i) of_group[i] = patches[i] + group * depth_;
      packing_.gather_prefixes(
          args_of(panels_[panel], of_group, run_offsets_.data(), count, nullptr), pitch, prefixes);
    }
    run_panel(panels_[panel], gathered, corrections, rows, count);
  }
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::run_panel(const Panel& panel, const Element* const* patches,
                                           const int32_t* const* corrections, const Row* rows,
                                           int count) const {
  alignas(kAlignment) Sum sums[kMaxTilePixels * kPanel];
  const int group_offset = panel.group * depth_;
  std::vector<int32_t> shifted;
  const int32_t* offsets = run_offsets_.data();
  if (group_offset != 0) {
    for (const int32_t run : run_offsets_) shifted.push_back(run + group_offset);
    offsets = shifted.data();
  }
  Epilogue epilogue = epilogue_;
  EpilogueOp ops[kMaxEpilogueOps];
  epilogue_from(panel.first, &epilogue, ops);
  // Tiles of equal size: a last one of a single pixel would take nearly as long as a full one.
  const int most = tile_pixels(panel);
  const int tiles = (count + most - 1) / most;
  const RowStep to_panel = step_to_channel(rows[0], panel.first);
  for (int tile = 0; tile < tiles; ++tile) {
    const int begin = static_cast<int>(begin_of(tile, tiles, count, packing_.pixel_step)),
              pixels =
                  static_cast<int>(begin_of(tile + 1, tiles, count, packing_.pixel_step)) - begin;
    Args args = args_of(panel, patches + begin, offsets, pixels, sums);
    args.rows = rows + begin;
    args.epilogue = &epilogue;
    args.corrections = corrections + begin;
    Row moved[kMaxTilePixels];
    const int32_t* moved_corrections[kMaxTilePixels];
    if (panel.first != 0) {
      for (int i = 0; i < pixels; ++i) moved[i] = args.rows[i] + to_panel;
      args.rows = moved;
      if constexpr (kIsBinary || kIsInt8) {
        for (int i = 0; i < pixels; ++i) {
          const int32_t* correction = args.corrections[i];
          moved_corrections[i] = correction == nullptr ? nullptr : correction + panel.first;
        }
        args.corrections = moved_corrections;
      }
    }
    uint32_t words[kMaxTilePixels][kPanel / 32];
    const bool shifts_bits = panel.first % 32 != 0 && rows[0].bits != nullptr;
    if (shifts_bits) std::memset(words, 0, sizeof words);
    for (int i = 0; shifts_bits && i < pixels; ++i) moved[i].bits = words[i];
    multiply(args);
    for (int i = 0; shifts_bits && i < pixels; ++i) {
      store_shifted_bits(rows[begin + i].bits, panel.first, panel.channels, words[i]);
    }
  }
}

// Groups of a number of channels that is no multiple of 32 share words with their neighbours.
template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::store_shifted_bits(uint32_t* words, int first, int channels,
                                                    const uint32_t* panel_words) const {
  for (int c = 0; c < channels; ++c) {
    words[(first + c) / 32] |= (panel_words[c / 32] >> (c % 32) & 1u) << ((first + c) % 32);
  }
}

template <typename Element, typename Weight, typename Sum>
void Conv<Element, Weight, Sum>::multiply(const Args& args) const {
  if constexpr (kIsBinary) {
    kernels_.binary_gemm(args);
  } else if constexpr (kIsInt8) {
    kernels_.int8_gemm(args);
  } else if constexpr (std::is_same<Weight, int8_t>::value) {
    kernels_.mixed_gemm(args);
  } else {
    kernels_.float_gemm(args);
  }
}

std::vector<float> padded(const float* values, int count) {
  std::vector<float> vector(round_up(count, kPanel), 0.0f);
  if (values != nullptr) std::copy(values, values + count, vector.begin());
  return vector;
}

// Bounds of an activation for integers.
std::pair<int32_t, int32_t> activation_range(abi::Activation activation) {
  constexpr int32_t kMin = std::numeric_limits<int32_t>::min(),
                    kMax = std::numeric_limits<int32_t>::max();
  switch (activation) {
    case abi::kActRelu:
      return {0, kMax};
    case abi::kActReluN1To1:
      return {-1, 1};
    case abi::kActRelu6:
      return {0, 6};
    default:
      return {kMin, kMax};
  }
}

}  // namespace

std::unique_ptr<EpilogueStep> make_binary_conv(const Op& op, int input, const abi::Context& context,
                                               const Kernels& kernels, const float* multiplier,
                                               const float* bias) {
  const abi::Tensor& filter = context.tensors[op.filter];
  const abi::Tensor& output = context.tensors[op.output];
  auto step = std::make_unique<Conv<uint32_t, uint32_t, int32_t>>(op, input, filter, kernels);
  const int channels = filter.dims->data[0];
  const int groups = words_of(op.channels_in) / filter.dims->data[3];
  const auto* weights = static_cast<const uint32_t*>(filter.data);
  const int32_t depth = op.window.filter_h * op.window.filter_w * (op.channels_in / groups);
  if (output.type == abi::kInt32) {
    // Sums are compared doubled, as zero padding counts in halves; a threshold that no sum reaches
    // must not overflow.
    step->threshold_.assign(round_up(channels, kPanel), 0);
    const auto* thresholds = static_cast<const int32_t*>(context.tensors[op.threshold].data);
    for (int i = 0; i < channels; ++i) {
      const int32_t threshold = thresholds[i];
      step->threshold_[i] = threshold >= depth ? std::numeric_limits<int32_t>::max()
                            : threshold < 0    ? -1
                                               : 2 * threshold;
    }
    step->epilogue_.threshold = step->threshold_.data();
  } else {
    // As LCE folds them: sums count differing signs, so that the result is depth - 2 * sum; in
    // double, then rounded.
    const double scale = output.type == abi::kInt8 ? output.scale : 1.0;
    const double zero_point = output.type == abi::kInt8 ? output.zero_point : 0.0;
    step->multiplier_ = padded(nullptr, channels);
    step->bias_ = padded(nullptr, channels);
    for (int i = 0; i < channels; ++i) {
      const double factor = multiplier[i], shift = bias[i];
      step->multiplier_[i] = static_cast<float>(-1 * factor / scale);
      step->bias_[i] =
          static_cast<float>((shift + static_cast<double>(depth) * factor) / scale + zero_point);
    }
    const auto [min, max] = activation_range(op.activation);
    step->epilogue_.has_clamp = op.activation != abi::kActNone;
    step->epilogue_.clamp_min = depth - std::min(max, depth);
    step->epilogue_.clamp_max = depth - std::max(min, -depth);
    step->epilogue_.multiplier = step->multiplier_.data();
    step->epilogue_.bias = step->bias_.data();
  }
  if (!op.pads_with_one) {
    step->correct_padding({weights, channels, filter.dims->data[3], op.channels_in / groups});
  }
  if (!step->pack(weights)) return nullptr;
  return step;
}

template <typename Weight>
std::unique_ptr<EpilogueStep> float_conv(const Op& op, int input, const abi::Tensor& filter,
                                         const Kernels& kernels, const Weight* weights,
                                         const float* scales, const float* bias) {
  auto step = std::make_unique<Conv<float, Weight, float>>(op, input, filter, kernels);
  const int channels = filter.dims->data[0];
  if (scales != nullptr) {
    step->multiplier_ = padded(scales, channels);
    step->epilogue_.multiplier = step->multiplier_.data();
  }
  if (bias != nullptr) {
    step->bias_ = padded(bias, channels);
    step->epilogue_.bias = step->bias_.data();
  }
  step->append_activation(op.activation);
  if (!step->pack(weights)) return nullptr;
  return step;
}

std::unique_ptr<EpilogueStep> make_float_conv(const Op& op, int input, const abi::Context& context,
                                              const Kernels& kernels, const float* weights,
                                              const float* bias) {
  return float_conv(op, input, context.tensors[op.filter], kernels, weights, nullptr, bias);
}

std::unique_ptr<EpilogueStep> make_mixed_conv(const Op& op, int input, const abi::Tensor& weights,
                                              const Kernels& kernels, const float* bias) {
  const std::vector<float> scales = scales_of(weights, weights.dims->data[0]);
  return float_conv(op, input, weights, kernels, static_cast<const int8_t*>(weights.data),
                    scales.data(), bias);
}

std::unique_ptr<EpilogueStep> make_int8_conv(const Op& op, int input, const abi::Context& context,
                                             const Kernels& kernels) {
  const abi::Tensor& filter = context.tensors[op.filter];
  auto step = std::make_unique<Conv<int8_t, int8_t, int32_t>>(op, input, filter, kernels);
  // Sums of products of x + offset have the zero point of x and the offset in them.
  std::vector<int32_t> offsets = sums_of_weights(filter);
  for (int32_t& offset : offsets) {
    offset *= -(context.tensors[op.input].zero_point + kernels.int8_offset);
  }
  step->requantization_ = requantization_of(context, op, offsets);
  step->epilogue_.is_requantized = true;
  step->epilogue_.requantization = step->requantization_.pointers();
  if (!step->pack(static_cast<const int8_t*>(filter.data))) return nullptr;
  return step;
}

}  // namespace bopkit
