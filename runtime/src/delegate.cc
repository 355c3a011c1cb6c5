// The delegate that LiteRT loads: options, the claim of operators, and the C interface. It is on
// top of all other files: operators.h reads the graph, partition.h runs what was claimed.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "bopkit_runtime.h"
#include "kernels.h"
#include "operators.h"
#include "partition.h"
#include "tflite_abi.h"
#include "threads.h"

namespace bopkit {
namespace {

constexpr const char* kVersion = "0.1.0";
constexpr int kMaxThreads = 256;

struct Options {
  int threads = 0;  // 0: as the interpreter
  const Kernels* kernels = nullptr;
  bool claims_floats = true;
  Profile profile = Profile::kNone;
};

// What LiteRT knows as TfLiteDelegate is the first member.
struct OurDelegate {
  ~OurDelegate() {
    // After a fork the child would wait for ever for workers that only the parent has.
    if (pool != nullptr && !pool->is_of_this_process()) static_cast<void>(pool.release());
  }

  abi::Delegate base{};
  Options options;
  std::mutex mutex;  // of what follows: interpreters on one delegate may be made in several threads
  std::unique_ptr<ThreadPool> pool;
  std::set<Partition*> partitions;
  // Destroyed before the interpreters that it was added to, as Python's garbage collection may.
  bool is_orphaned = false;
  std::map<abi::Context*, Constants> constants;    // of the graphs that are being prepared
  std::map<abi::Context*, std::set<int>> claimed;  // nodes of each graph that has partitions
};

OurDelegate& ours(abi::Delegate* delegate) { return *static_cast<OurDelegate*>(delegate->data); }

void report(abi::Context* context, const std::string& what) {
  context->ReportError(context, "bopkit-runtime: %s", what.c_str());
}

const Kernels* find_kernels(const std::string& name) {
  for (const Kernels* const* kernels = kAllKernels; *kernels != nullptr; ++kernels) {
    if ((*kernels)->is_supported() && (name == "auto" || name == (*kernels)->name)) return *kernels;
  }
  return nullptr;
}

std::string list_isas() {
  std::string names;
  for (const Kernels* const* kernels = kAllKernels; *kernels != nullptr; ++kernels) {
    if ((*kernels)->is_supported()) {
      names += (names.empty() ? "" : ",") + std::string((*kernels)->name);
    }
  }
  return names;
}

// Sets one option; returns what is wrong, or nothing.
std::string set_option(const std::string& key, const std::string& value, Options* options) {
  const auto is_switch = [&](const char* off, const char* on, bool* is_on) {
    *is_on = value == on;
    return value == off || value == on
               ? ""
               : "the option " + key + " is " + off + " or " + on + ", not '" + value + "'";
  };
  if (key == "isa") {
    options->kernels = find_kernels(value);
    return options->kernels != nullptr
               ? ""
               : "no instruction set '" + value + "' on this machine: it has " + list_isas() +
                     ", or use auto";
  }
  if (key == "num_threads") {
    int threads = 0;
    char rest = 0;
    const bool is_number = std::sscanf(value.c_str(), "%d%c", &threads, &rest) == 1;
    options->threads = threads;
    return is_number && threads >= 1 && threads <= kMaxThreads
               ? ""
               : "num_threads is 1 to 256, not '" + value + "'";
  }
  if (key == "claim") return is_switch("binary", "all", &options->claims_floats);
  if (key == "profile") {
    options->profile = value == "1"       ? Profile::kSteps
                       : value == "units" ? Profile::kUnits
                                          : Profile::kNone;
    return value == "0" || value == "1" || value == "units"
               ? ""
               : "the option profile is 0, 1 or units, not '" + value + "'";
  }
  return "no option '" + key + "': there are num_threads, isa, claim and profile";
}

// Looks at a real context before its layout is trusted: that tensors have as many bytes as their
// shapes and types need, and nodes inputs, outputs and codes that can be. Another layout of the
// structs would not pass.
bool layout_is_known(abi::Context* context, const abi::IntArray& plan) {
  if (context->tensors_size == 0 || context->tensors_size > (1u << 24) ||
      context->tensors == nullptr) {
    return false;
  }
  bool has_seen_shape = false;
  for (size_t i = 0; i < context->tensors_size; ++i) {
    const abi::Tensor& tensor = context->tensors[i];
    if (tensor.type < 0 || tensor.type > 64 || tensor.allocation_type < 0 ||
        tensor.allocation_type > 16) {
      return false;
    }
    if (tensor.dims == nullptr) continue;
    if (tensor.dims->size < 0 || tensor.dims->size > 1024) return false;
    const bool is_plain = tensor.type == abi::kFloat32 || tensor.type == abi::kInt32;
    if (!is_plain || tensor.dims->size == 0 || tensor.bytes == 0) continue;
    int64_t bytes = 4;
    for (int d = 0; d < tensor.dims->size && bytes >= 0; ++d) {
      const int size = tensor.dims->data[d];
      bytes = size < 0 || (size > 0 && bytes > kMaxBytes * 4 / size) ? -1 : bytes * size;
    }
    // A constant may hold more than it needs; a computed tensor has what it needs.
    if (bytes >= 0 && tensor.bytes < static_cast<size_t>(bytes)) return false;
    has_seen_shape = true;
  }
  if (!has_seen_shape) return true;  // nothing to tell by, and nothing to run
  for (int i = 0; i < plan.size; ++i) {
    abi::Node* node = nullptr;
    abi::Registration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, plan.data[i], &node, &registration) != abi::kOk) {
      return false;
    }
    if (node == nullptr || registration == nullptr || node->inputs == nullptr ||
        node->outputs == nullptr) {
      return false;
    }
    if (node->inputs->size < 0 || node->inputs->size > 4096 || node->outputs->size < 0 ||
        node->outputs->size > 4096) {
      return false;
    }
    if (registration->builtin_code < 0 || registration->builtin_code > 1024) return false;
  }
  return true;
}

struct Claimed {
  int node;
  Op op;
};

// DEQUANTIZE is ours only if everything that reads it is, and takes it for a constant: else LiteRT
// has to compute it. What nothing reads may be an output of the graph.
void drop_shared_constants(abi::Context* context, const abi::IntArray& plan,
                           std::vector<Claimed>* claimed) {
  for (bool has_changed = true; has_changed;) {
    std::map<int, const Op*> ours;
    for (const Claimed& each : *claimed) ours[each.node] = &each.op;
    std::set<int> read, shared;
    for (int i = 0; i < plan.size; ++i) {
      abi::Node* node = nullptr;
      abi::Registration* registration = nullptr;
      if (context->GetNodeAndRegistration(context, plan.data[i], &node, &registration) !=
              abi::kOk ||
          node->inputs == nullptr) {
        continue;
      }
      const auto op = ours.find(plan.data[i]);
      for (int k = 0; k < node->inputs->size; ++k) {
        const int tensor = node->inputs->data[k];
        read.insert(tensor);
        if (op == ours.end() || op->second->input == tensor) shared.insert(tensor);
      }
    }
    std::set<int> dropped;
    for (const Claimed& each : *claimed) {
      const int output = each.op.output;
      if (each.op.kind == OpKind::kConstant &&
          (shared.count(output) != 0 || read.count(output) == 0)) {
        dropped.insert(output);
      }
    }
    const auto uses_dropped = [&](const Claimed& each) {
      const Op& op = each.op;
      const bool is_dropped = op.kind == OpKind::kConstant && dropped.count(op.output) != 0;
      return is_dropped || dropped.count(op.filter) != 0 || dropped.count(op.bias) != 0 ||
             dropped.count(op.multiplier) != 0 || dropped.count(op.other) != 0;
    };
    has_changed = !dropped.empty();
    claimed->erase(std::remove_if(claimed->begin(), claimed->end(), uses_dropped), claimed->end());
  }
}

// Reads the operators of `nodes` that are ours; false after a report of one that is broken.
bool read_ops(abi::Context* context, const Options& options, const abi::IntArray& nodes,
              const Constants* constants, const std::set<int>& claimed_before,
              std::vector<Claimed>* claimed) {
  OpReader reader(context, options.claims_floats, options.kernels->has_fast_floats, constants);
  for (int i = 0; i < nodes.size; ++i) {
    abi::Node* node = nullptr;
    abi::Registration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, nodes.data[i], &node, &registration) != abi::kOk) {
      return false;
    }
    Op op;
    const Claim claim =
        reader.read(*node, *registration, claimed_before.count(nodes.data[i]) != 0, &op);
    if (claim == Claim::kBroken) {
      const char* name =
          registration->custom_name != nullptr ? registration->custom_name : "an operator";
      report(context, "operator " + std::to_string(nodes.data[i]) + ", " + name + ", " +
                          reader.error() + ". Convert the model again.");
      return false;
    }
    if (claim == Claim::kYes) claimed->push_back({nodes.data[i], op});
  }
  return true;
}

// What LiteRT keeps of a partition.
struct Kernel {
  OurDelegate* delegate;
  Partition* partition;
};

void* kernel_init(abi::Context* context, const char* buffer, size_t) {
  const auto* params = reinterpret_cast<const abi::DelegateParams*>(buffer);
  OurDelegate& delegate = ours(params->delegate);
  std::lock_guard<std::mutex> lock(delegate.mutex);
  const Constants& constants = delegate.constants[context];
  std::vector<Claimed> claimed;
  if (!read_ops(context, delegate.options, *params->nodes_to_replace, &constants,
                delegate.claimed[context], &claimed)) {
    return nullptr;
  }
  if (static_cast<int>(claimed.size()) != params->nodes_to_replace->size) {
    report(context, "an operator is another than it was.");
    return nullptr;
  }
  std::vector<Op> ops;
  for (const Claimed& each : claimed) ops.push_back(each.op);
  auto partition = std::make_unique<Partition>(*delegate.options.kernels, *delegate.pool,
                                               delegate.options.profile);
  if (!partition->build(context, ops, *params, constants)) {
    report(context, partition->error());
    return nullptr;
  }
  delegate.partitions.insert(partition.get());
  return new (std::nothrow) Kernel{&delegate, partition.release()};
}

void kernel_free(abi::Context* context, void* user_data) {
  auto* kernel = static_cast<Kernel*>(user_data);
  if (kernel == nullptr) return;
  bool is_last;
  {
    std::lock_guard<std::mutex> lock(kernel->delegate->mutex);
    kernel->delegate->partitions.erase(kernel->partition);
    kernel->delegate->claimed.erase(context);  // its graph is about to go, or to be prepared anew
    is_last = kernel->delegate->is_orphaned && kernel->delegate->partitions.empty();
  }
  delete kernel->partition;
  if (is_last) delete kernel->delegate;
  delete kernel;
}

abi::Status call(abi::Context* context, abi::Node* node, bool (Partition::*method)(abi::Context*)) {
  const auto* kernel = static_cast<const Kernel*>(node->user_data);
  if (kernel == nullptr) return abi::kError;  // said so when it was made
  if ((kernel->partition->*method)(context)) return abi::kOk;
  report(context, kernel->partition->error());
  return abi::kError;
}

abi::Status kernel_prepare(abi::Context* context, abi::Node* node) {
  return call(context, node, &Partition::prepare);
}

abi::Status kernel_invoke(abi::Context* context, abi::Node* node) {
  return call(context, node, &Partition::run);
}

abi::Status prepare(abi::Context* context, abi::Delegate* base) {
  OurDelegate& delegate = ours(base);
  abi::IntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != abi::kOk || plan == nullptr) return abi::kError;
  // The plan belongs to LiteRT, and the next question for it makes it invalid.
  std::vector<int> plan_copy(1 + static_cast<size_t>(plan->size));
  std::memcpy(plan_copy.data(), plan, sizeof(int) * plan_copy.size());
  const auto& nodes = *reinterpret_cast<const abi::IntArray*>(plan_copy.data());
  if (!layout_is_known(context, nodes)) {
    report(context,
           "this version of LiteRT lays its tensors out in a way that is not known; use one from "
           "tflite-runtime 2.14 to ai-edge-litert 2.3.");
    return abi::kError;
  }
  std::set<int> claimed_before;
  {
    std::lock_guard<std::mutex> lock(delegate.mutex);
    claimed_before = delegate.claimed[context];
  }
  std::vector<Claimed> claimed;
  if (!read_ops(context, delegate.options, nodes, nullptr, claimed_before, &claimed)) {
    return abi::kError;
  }
  drop_shared_constants(context, nodes, &claimed);
  const auto is_binary = [](const Claimed& each) {
    return each.op.kind <= OpKind::kBitPackedMaxPool;
  };
  // Without a binary operator there is nothing to fuse, and LiteRT runs the network well by itself.
  if (std::none_of(claimed.begin(), claimed.end(), is_binary)) return abi::kOk;
  {
    std::lock_guard<std::mutex> lock(delegate.mutex);
    const int wished =
        delegate.options.threads > 0 ? delegate.options.threads : context->recommended_num_threads;
    for (const Claimed& each : claimed) {
      delegate.claimed[context].insert(each.node);
      if (each.op.kind == OpKind::kConstant) {
        delegate.constants[context][each.op.output] = each.op.input;
      }
    }
    if (delegate.pool == nullptr) {
      delegate.pool = std::make_unique<ThreadPool>(std::clamp(wished, 1, kMaxThreads));
    }
  }
  std::vector<int> replaced(1, static_cast<int>(claimed.size()));
  for (const Claimed& each : claimed) replaced.push_back(each.node);
  abi::Registration registration{};
  registration.init = kernel_init;
  registration.free = kernel_free;
  registration.prepare = kernel_prepare;
  registration.invoke = kernel_invoke;
  registration.builtin_code = abi::kDelegate;
  registration.custom_name = "BopkitRuntime";
  registration.version = 1;
  const auto* nodes_to_replace = reinterpret_cast<const abi::IntArray*>(replaced.data());
  const abi::Status status =
      context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, nodes_to_replace, base);
  std::lock_guard<std::mutex> lock(delegate.mutex);
  delegate.constants.erase(context);
  return status;
}

}  // namespace
}  // namespace bopkit

using bopkit::OurDelegate;

extern "C" {

BOPKIT_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys,
                                                            const char* const* values,
                                                            size_t options,
                                                            void (*report_error)(const char*)) {
  // A Python caller hands the number over as a C int: its upper half may hold anything.
  const auto count = static_cast<uint32_t>(options);
  auto delegate = std::make_unique<OurDelegate>();
  delegate->options.kernels = bopkit::find_kernels("auto");
  for (uint32_t i = 0; i < count; ++i) {
    const std::string error = bopkit::set_option(keys[i], values[i], &delegate->options);
    if (error.empty()) continue;
    if (report_error != nullptr) report_error(("bopkit-runtime: " + error + ".").c_str());
    return nullptr;
  }
  delegate->base.data = delegate.get();
  delegate->base.Prepare = bopkit::prepare;
  delegate->base.flags = bopkit::abi::kAllowDynamicTensors;
  return reinterpret_cast<TfLiteDelegate*>(&delegate.release()->base);
}

BOPKIT_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate == nullptr) return;
  OurDelegate& ours = bopkit::ours(reinterpret_cast<bopkit::abi::Delegate*>(delegate));
  {
    std::lock_guard<std::mutex> lock(ours.mutex);
    ours.is_orphaned = true;
    if (!ours.partitions.empty()) return;  // the last of them frees it
  }
  delete &ours;
}

BOPKIT_EXPORT const char* bopkit_runtime_version(void) { return bopkit::kVersion; }

BOPKIT_EXPORT const char* bopkit_runtime_isas(void) {
  static const std::string names = bopkit::list_isas();
  return names.c_str();
}

BOPKIT_EXPORT size_t bopkit_runtime_describe(const TfLiteDelegate* delegate, char* buffer,
                                             size_t size) {
  auto& ours =
      bopkit::ours(reinterpret_cast<bopkit::abi::Delegate*>(const_cast<TfLiteDelegate*>(delegate)));
  std::lock_guard<std::mutex> lock(ours.mutex);
  std::string text = std::string("{\"version\": \"") + bopkit::kVersion + "\", \"isa\": \"" +
                     ours.options.kernels->name + "\", \"threads\": ";
  int claimed_nodes = 0;
  for (const bopkit::Partition* partition : ours.partitions) claimed_nodes += partition->nodes();
  text += std::to_string(ours.pool == nullptr ? 0 : ours.pool->threads()) +
          ", \"claimed_nodes\": " + std::to_string(claimed_nodes);
  text += ", \"partitions\": [";
  bool is_first = true;
  for (const bopkit::Partition* partition : ours.partitions) {
    text += (is_first ? "" : ", ") + partition->describe();
    is_first = false;
  }
  text += "]}";
  if (size > 0) {
    const size_t copied = std::min(size - 1, text.size());
    std::memcpy(buffer, text.data(), copied);
    buffer[copied] = 0;
  }
  return text.size();
}

}  // extern "C"
