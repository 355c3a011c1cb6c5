#include <string>
#include <vector>

#include "fuzz.h"
#include "host.h"

namespace bopkit::host {
namespace {

constexpr int32_t kMostThreads = 3;
constexpr size_t kMostRuns = 3;

// Of the memory of one tensor: what is larger takes time and finds nothing else.
constexpr size_t kMostBytes = size_t{1} << 18;

bool is_small(const std::vector<int32_t>& dims) {
  int64_t count = 1;
  for (const int32_t size : dims) {
    count *= size < 0 ? 0 : size;
    if (count > static_cast<int64_t>(kMostBytes)) return false;
  }
  return dims.size() <= 16;
}

[[gnu::noinline]] void run_all(const Case& from, TfLiteDelegate* delegate) {
  Host host(from, {kMostBytes});
  bool is_fine = host.apply(delegate);
  for (size_t i = 0; is_fine && i < from.runs.size() && i < kMostRuns; ++i) {
    is_fine = host.run(from.runs[i]);
  }
  char text[64];
  bopkit_runtime_describe(delegate, text, sizeof text);
}

// The case with the shape of each computed tensor in place of that of the one before.
Case with_moved_shapes(const Case& from) {
  Case moved = from;
  std::vector<int32_t>* last = nullptr;
  for (TensorSpec& tensor : moved.tensors) {
    const bool is_computed = tensor.allocation != 1 && tensor.allocation != 5;
    if (!is_computed) continue;
    if (last != nullptr && last->size() == tensor.dims.size()) *last = tensor.dims;
    last = &tensor.dims;
  }
  return moved;
}

}  // namespace

bool try_case(const uint8_t* data, size_t size) {
  Case from;
  if (!read_case(data, size, &from)) return false;
  constexpr int kCount = sizeof kIsas / sizeof kIsas[0];
  std::string isa = kIsas[static_cast<uint32_t>(from.isa) % kCount];
  if (("," + std::string(bopkit_runtime_isas()) + ",").find("," + isa + ",") == std::string::npos) {
    isa = "auto";
  }
  for (const int32_t input : from.inputs) {
    const bool is_tensor = input >= 0 && static_cast<size_t>(input) < from.tensors.size();
    // LiteRT itself refuses these, or has no memory for them.
    if (!is_tensor || !is_small(from.tensors[input].dims)) return true;
  }
  for (const std::vector<Values>& run : from.runs) {
    for (const Values& each : run) {
      if (!is_small(each.dims)) return true;
    }
  }
  const int threads = 1 + static_cast<int>(static_cast<uint32_t>(from.threads) % kMostThreads);
  TfLiteDelegate* delegate = make_delegate(isa, threads, from.claim % 2 == 0 ? "all" : "binary");
  if (delegate == nullptr) return true;
  run_all(from, delegate);
  // Then another graph in the same place on the same delegate, which must remember nothing of this
  // one.
  run_all(with_moved_shapes(from), delegate);
  tflite_plugin_destroy_delegate(delegate);
  return true;
}

}  // namespace bopkit::host
