#include "host.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace bopkit::host {
namespace {

// Ints with their number in front, as an IntArray.
class Ints {
 public:
  Ints() : words_(1, 0) {}
  explicit Ints(const std::vector<int32_t>& values) : words_(1, static_cast<int>(values.size())) {
    words_.insert(words_.end(), values.begin(), values.end());
  }
  abi::IntArray* array() { return reinterpret_cast<abi::IntArray*>(words_.data()); }

 private:
  std::vector<int> words_;
};

size_t element_bytes(int type) {
  switch (type) {
    case abi::kFloat32:
    case abi::kInt32:
      return 4;
    case abi::kInt64:
      return 8;
    case abi::kInt16:
    case abi::kFloat16:
      return 2;
    case abi::kInt8:
    case abi::kUInt8:
    case abi::kBool:
      return 1;
    default:
      return 0;
  }
}

// As LiteRT's BytesRequired: false where a size is negative or the product too large.
bool bytes_of(int type, const std::vector<int32_t>& dims, size_t* bytes) {
  size_t count = element_bytes(type);
  for (const int32_t size : dims) {
    if (size < 0 || __builtin_mul_overflow(count, static_cast<size_t>(size), &count)) return false;
  }
  *bytes = count;
  return true;
}

void print_error(const char* message) { std::fprintf(stderr, "%s\n", message); }

}  // namespace

struct Host::OwnTensor {
  Ints dims;
  Ints zero_points;
  std::vector<float> scales;  // the first holds the number, as in a FloatArray
  abi::AffineQuantization affine{};
  // Of exactly as many bytes as the tensor says: AddressSanitizer then sees every byte beyond.
  void* data = nullptr;
};

struct Host::OwnNode {
  abi::Node node{};
  abi::Registration registration{};
  Ints inputs, outputs;
  std::string name;
  Bytes options;
  std::vector<int32_t> parameters;
  bool is_delegated = false;
};

TfLiteDelegate* make_delegate(const std::string& isa, int threads, const std::string& claim) {
  const std::string count = std::to_string(threads);
  const char* keys[] = {"isa", "num_threads", "claim"};
  const char* values[] = {isa.c_str(), count.c_str(), claim.c_str()};
  return tflite_plugin_create_delegate(keys, values, 3, print_error);
}

Host::Host(const Case& from, const Limits& limits)
    : limits_(limits), inputs_(from.inputs), outputs_(from.outputs) {
  own_tensors_.reserve(from.tensors.size());
  for (const TensorSpec& spec : from.tensors) add_tensor(spec);
  for (const NodeSpec& spec : from.nodes) add_node(spec);
  for (size_t i = 0; i < nodes_.size(); ++i) plan_.push_back(static_cast<int>(i));
  context_.tensors = tensors_.data();
  context_.tensors_size = tensors_.size();
  context_.impl = this;
  context_.GetExecutionPlan = get_plan;
  context_.GetNodeAndRegistration = get_node;
  context_.ResizeTensor = resize;
  context_.ReplaceNodeSubsetsWithDelegateKernels = replace;
  context_.ReportError = report;
  context_.recommended_num_threads = -1;
}

Host::~Host() {
  for (OwnNode* each : nodes_) {
    if (each->is_delegated && each->registration.free != nullptr) {
      each->registration.free(&context_, each->node.user_data);
    }
    delete each;
  }
  for (OwnTensor& tensor : own_tensors_) std::free(tensor.data);
}

void Host::add_tensor(const TensorSpec& spec) {
  own_tensors_.emplace_back();
  OwnTensor& own = own_tensors_.back();
  own.dims = Ints(spec.dims);
  own.zero_points = Ints(spec.zero_points);
  abi::Tensor tensor{};
  tensor.type = static_cast<abi::Type>(spec.type);
  tensor.dims = own.dims.array();
  tensor.scale = spec.scale;
  tensor.zero_point = spec.zero_point;
  tensor.allocation_type = static_cast<abi::Allocation>(spec.allocation);
  if (!spec.scales.empty()) {
    float count;
    const int size = static_cast<int>(spec.scales.size());
    std::memcpy(&count, &size, sizeof count);
    own.scales.push_back(count);
    own.scales.insert(own.scales.end(), spec.scales.begin(), spec.scales.end());
    own.affine = {reinterpret_cast<abi::FloatArray*>(own.scales.data()), own.zero_points.array(),
                  spec.quantized_dimension};
    tensor.quantization_type = 1;
    tensor.quantization = &own.affine;
  }
  if (spec.allocation == abi::kMmapRo || spec.allocation == abi::kPersistentRo) {
    tensor.bytes = spec.data.size();
    if (tensor.bytes > 0) {
      own.data = std::malloc(tensor.bytes);
      std::memcpy(own.data, spec.data.data(), tensor.bytes);
    }
    tensor.data = own.data;
  } else if (!bytes_of(spec.type, spec.dims, &tensor.bytes)) {
    tensor.bytes = 0;
  }
  tensors_.push_back(tensor);
}

void Host::add_node(const NodeSpec& spec) {
  auto* own = new OwnNode;
  nodes_.push_back(own);
  own->inputs = Ints(spec.inputs);
  own->outputs = Ints(spec.outputs);
  own->name.assign(spec.name.begin(), spec.name.end());
  own->options = spec.options;
  own->parameters = spec.parameters;
  own->parameters.resize(std::max<size_t>(own->parameters.size(), 16));  // more than any struct has
  own->registration.builtin_code = spec.code;
  own->node.inputs = own->inputs.array();
  own->node.outputs = own->outputs.array();
  if (spec.code == abi::kCustom) {
    own->registration.custom_name = own->name.c_str();
    own->node.custom_initial_data = own->options.data();
    own->node.custom_initial_data_size = static_cast<int>(own->options.size());
  } else if (!spec.parameters.empty()) {
    // Bools are bytes, and either 0 or 1.
    if (spec.code == abi::kMean) own->parameters[0] &= 1;
    if (spec.code == abi::kFullyConnected) own->parameters[2] &= 1;
    own->node.builtin_data = own->parameters.data();
  }
}

void Host::report(abi::Context* context, const char* format, ...) {
  char text[512];
  va_list values;
  va_start(values, format);
  std::vsnprintf(text, sizeof text, format, values);
  va_end(values);
  static_cast<Host*>(context->impl)->error_ = text;
}

int Host::index_of(const abi::Tensor* tensor) const {
  const auto index = tensor - tensors_.data();
  return index >= 0 && static_cast<size_t>(index) < tensors_.size() ? static_cast<int>(index) : -1;
}

bool Host::set_dims(int tensor, const std::vector<int32_t>& dims) {
  size_t bytes = 0;
  abi::Tensor& to = tensors_[tensor];
  if (to.allocation_type == abi::kMmapRo || to.allocation_type == abi::kPersistentRo) return false;
  if (!bytes_of(to.type, dims, &bytes) || bytes > limits_.tensor_bytes) return false;
  own_tensors_[tensor].dims = Ints(dims);
  to.dims = own_tensors_[tensor].dims.array();
  to.bytes = bytes;
  return true;
}

abi::Status Host::get_plan(abi::Context* context, abi::IntArray** plan) {
  Host& host = *static_cast<Host*>(context->impl);
  if (!host.is_applying_) return abi::kError;
  host.plan_copy_.assign(1, static_cast<int>(host.plan_.size()));
  host.plan_copy_.insert(host.plan_copy_.end(), host.plan_.begin(), host.plan_.end());
  *plan = reinterpret_cast<abi::IntArray*>(host.plan_copy_.data());
  return abi::kOk;
}

abi::Status Host::get_node(abi::Context* context, int index, abi::Node** node,
                           abi::Registration** registration) {
  Host& host = *static_cast<Host*>(context->impl);
  if (!host.is_applying_ || index < 0 || static_cast<size_t>(index) >= host.nodes_.size()) {
    return abi::kError;
  }
  *node = &host.nodes_[index]->node;
  *registration = &host.nodes_[index]->registration;
  return abi::kOk;
}

abi::Status Host::resize(abi::Context* context, abi::Tensor* tensor, abi::IntArray* size) {
  Host& host = *static_cast<Host*>(context->impl);
  const int index = host.index_of(tensor);
  const bool is_done = index >= 0 && host.set_dims(index, {size->data, size->data + size->size});
  std::free(size);
  return is_done ? abi::kOk : abi::kError;
}

// As PartitionGraphIntoIndependentNodeSubsets: nodes run in epochs, each of one kind; an epoch
// takes every node whose inputs are ready. Nodes that wait for each other are never ready.
abi::Status Host::replace(abi::Context* context, abi::Registration registration,
                          const abi::IntArray* replaced, abi::Delegate* delegate) {
  Host& host = *static_cast<Host*>(context->impl);
  constexpr int kNotReady = -1, kAlwaysReady = -2;
  const std::set<int> ours(replaced->data, replaced->data + replaced->size);
  const auto is_tensor = [&](int index) {
    return index >= 0 && static_cast<size_t>(index) < host.tensors_.size();
  };
  std::vector<int> tensor_epoch(host.tensors_.size(), kAlwaysReady),
      node_epoch(host.nodes_.size(), kNotReady);
  const auto for_ports = [&](int node, bool outputs, const auto& function) {
    const abi::IntArray& ports =
        *(outputs ? host.nodes_[node]->node.outputs : host.nodes_[node]->node.inputs);
    for (int i = 0; i < ports.size; ++i) {
      if (is_tensor(ports.data[i])) function(ports.data[i]);
    }
  };
  for (const int node : host.plan_) {
    for_ports(node, true, [&](int tensor) { tensor_epoch[tensor] = kNotReady; });
  }
  struct Subset {
    bool is_ours;
    std::vector<int32_t> nodes;
    std::set<int32_t> inputs, outputs;
  };
  std::vector<Subset> subsets;
  for (bool is_done = false; !is_done;) {
    is_done = true;
    const int epoch = static_cast<int>(subsets.size());
    Subset subset{};
    for (bool has_changed = true; has_changed;) {
      has_changed = false;
      for (const int node : host.plan_) {
        bool is_ready = node_epoch[node] == kNotReady;
        for_ports(node, false,
                  [&](int tensor) { is_ready = is_ready && tensor_epoch[tensor] != kNotReady; });
        if (!is_ready || (!subset.nodes.empty() && subset.is_ours != (ours.count(node) != 0))) {
          continue;
        }
        subset.is_ours = ours.count(node) != 0;
        subset.nodes.push_back(node);
        node_epoch[node] = epoch;
        for_ports(node, true, [&](int tensor) { tensor_epoch[tensor] = epoch; });
        has_changed = true;
      }
    }
    if (!subset.nodes.empty()) {
      subsets.push_back(subset);
      is_done = false;
    }
  }
  for (size_t epoch = 0; epoch < subsets.size(); ++epoch) {
    for (const int node : subsets[epoch].nodes) {
      for_ports(node, false, [&](int tensor) {
        if (tensor_epoch[tensor] == static_cast<int>(epoch)) return;
        subsets[epoch].inputs.insert(tensor);
        if (tensor_epoch[tensor] >= 0) subsets[tensor_epoch[tensor]].outputs.insert(tensor);
      });
    }
  }
  for (const int32_t output : host.outputs_) {
    if (is_tensor(output) && tensor_epoch[output] >= 0) {
      subsets[tensor_epoch[output]].outputs.insert(output);
    }
  }
  host.plan_.clear();
  for (const Subset& subset : subsets) {
    if (!subset.is_ours) {
      host.plan_.insert(host.plan_.end(), subset.nodes.begin(), subset.nodes.end());
      continue;
    }
    auto* own = new OwnNode;
    own->is_delegated = true;
    own->inputs = Ints({subset.inputs.begin(), subset.inputs.end()});
    own->outputs = Ints({subset.outputs.begin(), subset.outputs.end()});
    own->registration = registration;
    own->node.inputs = own->inputs.array();
    own->node.outputs = own->outputs.array();
    own->node.delegate = delegate;
    Ints nodes(subset.nodes);
    abi::DelegateParams params = {delegate, nodes.array(), own->inputs.array(),
                                  own->outputs.array()};
    if (registration.init != nullptr) {
      own->node.user_data = registration.init(context, reinterpret_cast<const char*>(&params), 0);
    }
    host.plan_.push_back(static_cast<int>(host.nodes_.size()));
    host.nodes_.push_back(own);
    host.delegated_nodes_ += static_cast<int>(subset.nodes.size());
  }
  return abi::kOk;
}

bool Host::apply(TfLiteDelegate* delegate) {
  auto* base = reinterpret_cast<abi::Delegate*>(delegate);
  is_applying_ = true;
  const abi::Status status = base->Prepare(&context_, base);
  is_applying_ = false;
  return status == abi::kOk;
}

bool Host::prepare() {
  for (const int index : plan_) {
    OwnNode& each = *nodes_[index];
    if (each.is_delegated && each.registration.prepare(&context_, &each.node) != abi::kOk) {
      return false;
    }
  }
  return allocate();
}

// Memory for what LiteRT sees: inputs, outputs, and what goes between nodes. Filled with bytes that
// no result relies on.
bool Host::allocate() {
  std::set<int32_t> seen(inputs_.begin(), inputs_.end());
  seen.insert(outputs_.begin(), outputs_.end());
  for (const int index : plan_) {
    const abi::Node& node = nodes_[index]->node;
    seen.insert(node.inputs->data, node.inputs->data + node.inputs->size);
    seen.insert(node.outputs->data, node.outputs->data + node.outputs->size);
  }
  for (const int32_t index : seen) {
    if (index < 0 || static_cast<size_t>(index) >= tensors_.size()) continue;
    abi::Tensor& tensor = tensors_[index];
    if (tensor.allocation_type == abi::kMmapRo || tensor.allocation_type == abi::kPersistentRo) {
      continue;
    }
    OwnTensor& own = own_tensors_[index];
    std::free(own.data);
    own.data = tensor.data = nullptr;
    if (tensor.bytes > limits_.tensor_bytes) return false;
    if (tensor.bytes == 0) continue;
    own.data = tensor.data = std::malloc(tensor.bytes);
    if (own.data == nullptr) return false;
    std::memset(own.data, 0xa5, tensor.bytes);
    if (tensor.type == abi::kBool) std::memset(own.data, 1, tensor.bytes);  // C++ knows two
  }
  is_prepared_ = true;
  return true;
}

bool Host::run(const std::vector<Values>& values) {
  const auto values_of = [&](int tensor) -> const Values* {
    for (const Values& each : values) {
      if (each.tensor == tensor) return &each;
    }
    return nullptr;
  };
  const auto fill = [&](int tensor) {
    const Values* given = values_of(tensor);
    abi::Tensor& to = tensors_[tensor];
    if (given != nullptr && to.data != nullptr && !given->data.empty()) {
      std::memcpy(to.data, given->data.data(), std::min(to.bytes, given->data.size()));
    }
    if (to.type == abi::kBool && to.data != nullptr) {
      for (size_t i = 0; i < to.bytes; ++i) static_cast<uint8_t*>(to.data)[i] &= 1;
    }
  };
  const auto is_given = [&](int tensor) {  // from outside of the delegate
    return tensor >= 0 && static_cast<size_t>(tensor) < tensors_.size() &&
           tensors_[tensor].allocation_type != abi::kMmapRo &&
           tensors_[tensor].allocation_type != abi::kPersistentRo;
  };
  // Shapes: of the inputs, and of what LiteRT's own operators would compute.
  std::vector<int> given(inputs_.begin(), inputs_.end());
  for (const int index : plan_) {
    const OwnNode& each = *nodes_[index];
    if (!each.is_delegated) {
      given.insert(given.end(), each.node.outputs->data,
                   each.node.outputs->data + each.node.outputs->size);
    }
  }
  given.erase(
      std::remove_if(given.begin(), given.end(), [&](int tensor) { return !is_given(tensor); }),
      given.end());
  for (const int tensor : given) {
    const Values* mine = values_of(tensor);
    if (mine == nullptr) continue;
    const abi::IntArray& dims = *tensors_[tensor].dims;
    if (std::vector<int32_t>(dims.data, dims.data + dims.size) == mine->dims) continue;
    if (!set_dims(tensor, mine->dims)) return false;
    is_prepared_ = false;
  }
  if (!is_prepared_ && !prepare()) return false;
  for (const int tensor : given) fill(tensor);
  for (const int index : plan_) {
    OwnNode& each = *nodes_[index];
    if (each.is_delegated && each.registration.invoke(&context_, &each.node) != abi::kOk) {
      return false;
    }
  }
  return true;
}

bool Host::compare(const std::vector<Values>& values, float tolerance,
                   std::string* difference) const {
  const auto fail = [&](int tensor, const std::string& what) {
    *difference = "tensor " + std::to_string(tensor) + " " + what;
    return false;
  };
  std::set<int32_t> computed;
  for (const int index : plan_) {
    const OwnNode& each = *nodes_[index];
    if (each.is_delegated) {
      computed.insert(each.node.outputs->data, each.node.outputs->data + each.node.outputs->size);
    }
  }
  for (const int32_t output : outputs_) {
    const bool is_known = std::any_of(values.begin(), values.end(),
                                      [&](const Values& each) { return each.tensor == output; });
    if (!is_known) return fail(output, "is an output of which the case knows nothing");
  }
  for (const Values& want : values) {
    if (computed.count(want.tensor) == 0) continue;
    const abi::Tensor& got = tensors_[want.tensor];
    if (std::vector<int32_t>(got.dims->data, got.dims->data + got.dims->size) != want.dims ||
        got.bytes != want.data.size()) {
      return fail(want.tensor, "has another shape");
    }
    if (got.type != abi::kFloat32) {
      const auto* mine = static_cast<const uint8_t*>(got.data);
      for (size_t i = 0; i < got.bytes; ++i) {
        if (mine[i] != want.data[i]) {
          return fail(want.tensor,
                      "differs at byte " + std::to_string(i) + " of " + std::to_string(got.bytes));
        }
      }
      continue;
    }
    const size_t count = got.bytes / sizeof(float);
    std::vector<float> wanted(count);
    std::memcpy(wanted.data(), want.data.data(), got.bytes);
    const auto* mine = static_cast<const float*>(got.data);
    float most = 0;
    for (const float each : wanted) most = std::max(most, std::fabs(each));
    for (size_t i = 0; i < count; ++i) {
      // The greatest of 0.0 and -0.0 may be either; a NaN is the same by its bits.
      const bool is_same =
          mine[i] == wanted[i] || std::memcmp(mine + i, &wanted[i], sizeof(float)) == 0;
      if (!is_same && !(tolerance > 0 && std::fabs(mine[i] - wanted[i]) <= tolerance * most)) {
        return fail(want.tensor, "is " + std::to_string(mine[i]) + " at " + std::to_string(i) +
                                     ", not " + std::to_string(wanted[i]));
      }
    }
  }
  return true;
}

}  // namespace bopkit::host
