// Plays LiteRT for the delegate: a context with tensors and nodes, partitions as LiteRT makes them,
// memory as LiteRT gives it.
#pragma once

#include <string>
#include <vector>

#include "bopkit_runtime.h"
#include "case.h"
#include "tflite_abi.h"

namespace bopkit::host {

struct Limits {
  size_t tensor_bytes = size_t{1} << 31;  // of one tensor's memory
};

// Makes a delegate; null after a message to stderr.
TfLiteDelegate* make_delegate(const std::string& isa, int threads, const std::string& claim);

// An interpreter of one case. Its delegate must outlive it.
class Host {
 public:
  explicit Host(const Case& from, const Limits& limits = {});
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Lets the delegate take its part of the graph; false where it refuses.
  bool apply(TfLiteDelegate* delegate);
  // Gives the inputs of one run, prepares where a shape changed, and computes; false where anything
  // fails.
  bool run(const std::vector<Values>& values);
  // Compares everything that the delegate computed and LiteRT can see with `values`; says where the
  // first difference is.
  bool compare(const std::vector<Values>& values, float tolerance, std::string* difference) const;

  int delegated_nodes() const { return delegated_nodes_; }
  const std::string& error() const { return error_; }  // what the delegate reported last

 private:
  struct Context;
  struct OwnNode;
  struct OwnTensor;

  static abi::Status get_plan(abi::Context*, abi::IntArray**);
  static abi::Status get_node(abi::Context*, int index, abi::Node**, abi::Registration**);
  static abi::Status resize(abi::Context*, abi::Tensor*, abi::IntArray*);
  static abi::Status replace(abi::Context*, abi::Registration, const abi::IntArray*,
                             abi::Delegate*);
  static void report(abi::Context*, const char* format, ...);

  void add_tensor(const TensorSpec& spec);
  void add_node(const NodeSpec& spec);
  bool set_dims(int tensor, const std::vector<int32_t>& dims);
  bool prepare();
  bool allocate();
  int index_of(const abi::Tensor* tensor) const;

  const Limits limits_;
  std::vector<abi::Tensor> tensors_;
  std::vector<OwnTensor> own_tensors_;
  std::vector<OwnNode*> nodes_;
  std::vector<int> plan_;
  std::vector<int> plan_copy_;  // what GetExecutionPlan handed out
  std::vector<int32_t> inputs_, outputs_;
  abi::Context context_{};
  bool is_applying_ = false, is_prepared_ = false;
  int delegated_nodes_ = 0;
  std::string error_;
};

}  // namespace bopkit::host
