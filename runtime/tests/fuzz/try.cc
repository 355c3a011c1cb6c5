#include <string>

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

}  // namespace

bool try_case(const uint8_t* data, size_t size) {
  Case from;
  if (!read_case(data, size, &from)) return false;
  constexpr int kCount = sizeof kIsas / sizeof kIsas[0];
  std::string isa = kIsas[static_cast<uint32_t>(from.isa) % kCount];
  if (("," + std::string(bopkit_runtime_isas()) + ",").find("," + isa + ",") == std::string::npos) isa = "auto";
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
  {
    Host host(from, {kMostBytes});
    bool is_fine = host.apply(delegate);
    for (size_t i = 0; is_fine && i < from.runs.size() && i < kMostRuns; ++i) is_fine = host.run(from.runs[i]);
    char text[64];
    bopkit_runtime_describe(delegate, text, sizeof text);
  }
  tflite_plugin_destroy_delegate(delegate);
  return true;
}

}  // namespace bopkit::host
