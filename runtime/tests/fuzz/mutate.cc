// Changes that keep a case a case: of options, shapes, types, sizes of buffers, quantization, and
// of what is connected to what.
#include <algorithm>
#include <cstring>
#include <limits>

#include "case.h"
#include "fuzz.h"

namespace bopkit::host {
namespace {

// clang-format off
constexpr int32_t kNumbers[] = {-2147483647 - 1, -65536, -129, -128, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7,
                                8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 1000, 4096,
                                16383, 16384, 16385, 65535, 65536, 1 << 24, (1 << 28) + 1, 1 << 30,
                                2147483647};
constexpr float kFloats[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1e-45f, 1e-38f, -1e-38f, 3e38f, 0.003f,
                             std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()};
// clang-format on
constexpr int32_t kTypes[] = {0, 1, 2, 3, 4, 6, 7, 9, 10};
constexpr int32_t kAllocations[] = {0, 1, 2, 3, 4, 5};
constexpr int32_t kCodes[] = {0,  1,  2,  3,  4,  6,  9,  14, 17, 18, 19,  20, 21,
                              22, 25, 32, 34, 40, 41, 49, 53, 54, 55, 101, 114};
constexpr const char* kNames[] = {
    "LceQuantize", "LceDequantize", "LceBconv2d", "LceBMaxPool2d", "LceOther", "Other", ""};
constexpr const char* kOptionNames[] = {"channels_in",
                                        "dilation_height_factor",
                                        "dilation_width_factor",
                                        "fused_activation_function",
                                        "pad_values",
                                        "padding",
                                        "stride_height",
                                        "stride_width",
                                        "filter_height",
                                        "filter_width"};

class Mutator {
 public:
  Mutator(Case* of, uint32_t seed)
      : case_(*of), state_((uint64_t{seed} + 1) * 0x9e3779b97f4a7c15u) {}

  uint32_t below(uint32_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32) % limit;
  }

  template <typename Container>
  auto& pick(Container& from) {
    return from[below(static_cast<uint32_t>(std::size(from)))];
  }

  void change() {
    if (case_.tensors.empty() || case_.nodes.empty()) return;
    TensorSpec& tensor = pick(case_.tensors);
    NodeSpec& node = pick(case_.nodes);
    switch (below(24)) {
      case 0:
      case 1:
        return change_numbers(&tensor.dims, 6);
      case 2:
        return match_dims(&tensor);
      case 3:
        tensor.type = pick(kTypes);
        return;
      case 4:
        tensor.allocation = pick(kAllocations);
        return;
      case 5:
        return change_quantization(&tensor);
      case 6:
        return resize(&tensor.data);
      case 7:
        return flip(&tensor.data);
      case 8:
      case 9:
      case 10:
        return change_options(&node.options);
      case 11:
      case 12:
        return change_numbers(&node.parameters, 12);
      case 13:
      case 14:
        return change_ports(&node.inputs);
      case 15:
        return change_ports(&node.outputs);
      case 16:
        return change_kind(&node);
      case 17:
        return change_ports(below(2) == 0 ? &case_.inputs : &case_.outputs);
      case 18:
        std::swap(node, pick(case_.nodes));
        return;
      case 19:
        return change_nodes();
      case 20:
        case_.isa = below(static_cast<uint32_t>(std::size(kIsas)));
        case_.threads = below(3);
        case_.claim = below(2);
        return;
      case 21:
        return insert_between(&node);
      default:
        return change_runs();
    }
  }

  // Puts another graph beside this one; `change` connects them.
  void join(const Case& other) {
    const auto base = static_cast<int32_t>(case_.tensors.size());
    const auto moved = [base](std::vector<int32_t> tensors) {
      for (int32_t& each : tensors) each += each >= 0 && each < 1000 ? base : 0;
      return tensors;
    };
    if (case_.tensors.size() + other.tensors.size() > 60 ||
        case_.nodes.size() + other.nodes.size() > 30)
      return;
    case_.tensors.insert(case_.tensors.end(), other.tensors.begin(), other.tensors.end());
    for (NodeSpec node : other.nodes) {
      node.inputs = moved(node.inputs);
      node.outputs = moved(node.outputs);
      case_.nodes.push_back(node);
    }
    const std::vector<int32_t> inputs = moved(other.inputs), outputs = moved(other.outputs);
    case_.inputs.insert(case_.inputs.end(), inputs.begin(), inputs.end());
    case_.outputs.insert(case_.outputs.end(), outputs.begin(), outputs.end());
    for (size_t i = 0; i < case_.runs.size() && i < other.runs.size(); ++i) {
      for (Values values : other.runs[i]) {
        values.tensor += values.tensor < 1000 ? base : 0;
        case_.runs[i].push_back(values);
      }
    }
    // What the one graph computes, the other takes.
    if (!outputs.empty() && !case_.nodes.empty() && below(2) == 0) {
      for (int32_t& input : case_.nodes.front().inputs) {
        if (input >= 0 && below(2) == 0) input = pick(outputs);
      }
      std::rotate(case_.nodes.begin(),
                  case_.nodes.end() - static_cast<std::ptrdiff_t>(other.nodes.size()),
                  case_.nodes.end());
    }
  }

 private:
  int32_t any_tensor() {
    return static_cast<int32_t>(below(static_cast<uint32_t>(case_.tensors.size()) + 1)) - 1;
  }

  int32_t number(int32_t old) {
    switch (below(4)) {
      case 0:
        return static_cast<int32_t>(static_cast<uint32_t>(old) + 1);
      case 1:
        return static_cast<int32_t>(static_cast<uint32_t>(old) - 1);
      default:
        return pick(kNumbers);
    }
  }

  void change_numbers(std::vector<int32_t>* numbers, size_t most) {
    const uint32_t what = below(8);
    if (what == 0 && numbers->size() < most) {
      numbers->insert(numbers->begin() + below(static_cast<uint32_t>(numbers->size()) + 1),
                      number(1));
    } else if (what == 1 && !numbers->empty()) {
      numbers->erase(numbers->begin() + below(static_cast<uint32_t>(numbers->size())));
    } else if (!numbers->empty()) {
      int32_t& each = pick(*numbers);
      each = number(each);
    }
  }

  void match_dims(TensorSpec* tensor) {
    const TensorSpec& other = pick(case_.tensors);
    tensor->dims = other.dims;
    if (below(2) == 0) tensor->type = other.type;
  }

  void change_quantization(TensorSpec* tensor) {
    switch (below(6)) {
      case 0:
        tensor->scale = pick(kFloats);
        return;
      case 1:
        tensor->zero_point = number(tensor->zero_point);
        return;
      case 2:
        tensor->scales.resize(below(8), pick(kFloats));
        return;
      case 3:
        tensor->zero_points.resize(below(8), number(0));
        return;
      case 4:
        tensor->quantized_dimension = number(tensor->quantized_dimension);
        return;
      default:
        tensor->scales.assign(tensor->dims.empty() ? 1 : static_cast<size_t>(tensor->dims[0] & 255),
                              0.5f);
    }
  }

  void resize(Bytes* data) {
    const uint32_t what = below(4);
    const size_t size = what == 0   ? data->size() / 2
                        : what == 1 ? data->size() * 2
                        : what == 2 ? data->size() + below(9)
                                    : data->size() - below(5);
    if (size < (1u << 14)) data->resize(size, static_cast<uint8_t>(below(256)));
  }

  void flip(Bytes* data) {
    if (!data->empty()) pick(*data) ^= static_cast<uint8_t>(1u << below(8));
  }

  void change_options(Bytes* options) {
    if (options->empty() || below(12) == 0) {
      for (const NodeSpec& other : case_.nodes) {
        if (!other.options.empty() && below(2) == 0) *options = other.options;
      }
      return;
    }
    // The values of a map lie close to its end: aim there half of the time.
    const auto size = static_cast<uint32_t>(options->size());
    const uint32_t place = below(2) == 0 ? below(size) : size - 1 - below(std::min(size, 24u));
    switch (below(7)) {
      case 0:
        (*options)[place] ^= static_cast<uint8_t>(1u << below(8));
        return;
      case 1:
        (*options)[place] = static_cast<uint8_t>(below(256));
        return;
      case 2:
        options->insert(options->begin() + place, static_cast<uint8_t>(below(256)));
        return;
      case 3:
        options->erase(options->begin() + place);
        return;
      case 4:
        options->resize(place);
        return;
      default:
        *options = new_options();
    }
  }

  // A map with all names, as LCE's converter writes it: with values of one byte, or of four for
  // large ones.
  Bytes new_options() {
    Bytes bytes;
    std::vector<size_t> keys;
    for (const char* name : kOptionNames) {
      keys.push_back(bytes.size());
      bytes.insert(bytes.end(), name, name + std::strlen(name) + 1);
    }
    const bool is_wide = below(3) == 0;
    const size_t width = is_wide ? 4 : 1;
    const auto put = [&](uint32_t value, size_t bytes_of) {
      for (size_t i = 0; i < bytes_of; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
    };
    // Keys must be sorted; the names above nearly are.
    put(static_cast<uint32_t>(keys.size()), 1);
    const size_t vector = bytes.size();
    for (const size_t key : keys) put(static_cast<uint32_t>(bytes.size() - key), 1);
    put(static_cast<uint32_t>(bytes.size() - vector), width);
    put(1, width);
    put(static_cast<uint32_t>(keys.size()), width);
    const size_t values = bytes.size();
    for (size_t i = 0; i < keys.size(); ++i) {
      const int32_t sensible = i == 0 ? static_cast<int32_t>(pick(case_.tensors).dims.size() * 32)
                                      : static_cast<int32_t>(below(3));
      const uint32_t odd = below(6);
      put(static_cast<uint32_t>(odd == 0   ? pick(kNumbers)
                                : odd == 1 ? static_cast<int32_t>(below(130))
                                           : sensible),
          width);
    }
    for (size_t i = 0; i < keys.size(); ++i)
      bytes.push_back(static_cast<uint8_t>(1 << 2 | (is_wide ? 2 : 0)));
    const size_t root = bytes.size();
    put(static_cast<uint32_t>(root - values), 1);
    bytes.push_back(static_cast<uint8_t>(9 << 2 | (is_wide ? 2 : 0)));
    bytes.push_back(1);
    return bytes;
  }

  void change_ports(std::vector<int32_t>* ports) {
    const uint32_t what = below(6);
    if (what == 0 && ports->size() < 8) {
      ports->push_back(any_tensor());
    } else if (what == 1 && !ports->empty()) {
      ports->pop_back();
    } else if (what == 2 && !ports->empty()) {
      pick(*ports) = number(0);
    } else if (!ports->empty()) {
      pick(*ports) = any_tensor();
    }
  }

  void change_kind(NodeSpec* node) {
    const uint32_t what = below(3);
    if (what == 0) node->code = pick(kCodes);
    if (what == 1) {
      const char* name = pick(kNames);
      node->name.assign(name, name + std::strlen(name));
      node->code = 32;
    }
    if (what == 2) {
      const NodeSpec& other = pick(case_.nodes);
      node->code = other.code;
      node->name = other.name;
      node->options = other.options;
      node->parameters = other.parameters;
    }
  }

  void change_nodes() {
    const NodeSpec node = pick(case_.nodes);
    if (below(2) == 0 && case_.nodes.size() > 1) {
      case_.nodes.erase(case_.nodes.begin() + below(static_cast<uint32_t>(case_.nodes.size())));
    } else if (case_.nodes.size() < 30) {
      case_.nodes.insert(case_.nodes.begin() + below(static_cast<uint32_t>(case_.nodes.size()) + 1),
                         node);
    }
  }

  // An operator between `node` and what it reads, of a kind that is there or of plain arithmetic.
  void insert_between(NodeSpec* node) {
    if (node->inputs.empty() || node->inputs[0] < 0 ||
        static_cast<size_t>(node->inputs[0]) >= case_.tensors.size())
      return;
    if (case_.nodes.size() >= 30) return;
    const auto fresh = static_cast<int32_t>(case_.tensors.size());
    TensorSpec between = case_.tensors[node->inputs[0]];
    between.data.clear();
    between.allocation = 2;
    NodeSpec added;
    added.code = pick(kCodes);
    added.parameters = {static_cast<int32_t>(below(4)), 1, 1, 1, 1, 0};
    added.inputs = {node->inputs[0], below(2) == 0 ? node->inputs[0] : any_tensor()};
    if (added.code == 19) added.inputs.pop_back();
    added.outputs = {fresh};
    node->inputs[0] = fresh;
    case_.tensors.push_back(between);
    case_.nodes.insert(case_.nodes.begin() + (node - case_.nodes.data()), added);
  }

  void change_runs() {
    if (case_.runs.empty()) return;
    if (below(3) == 0 && case_.runs.size() < 3) {
      const std::vector<Values> run = pick(case_.runs);
      case_.runs.push_back(run);
    }
    std::vector<Values>& run = pick(case_.runs);
    if (run.empty()) return;
    Values& values = pick(run);
    if (below(4) == 0) values.tensor = any_tensor();
    change_numbers(&values.dims, 6);
  }

  Case& case_;
  uint64_t state_;
};

}  // namespace

size_t mutate(uint8_t* data, size_t size, size_t most, uint32_t seed, const uint8_t* other,
              size_t other_size) {
  Case changed, joined;
  if (!read_case(data, size, &changed)) return size;
  Mutator mutator(&changed, seed);
  if (mutator.below(4) == 0 && read_case(other, other_size, &joined)) mutator.join(joined);
  for (uint32_t left = 1 + mutator.below(4); left > 0; --left) mutator.change();
  const Bytes bytes = write_case(changed);
  if (bytes.size() > most) return size;
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

}  // namespace bopkit::host
