// The part of TensorFlow Lite's C interface that a delegate meets, declared by hand.
//
// No wheel of LiteRT brings headers and none exports a symbol, so the structs below repeat the
// layout of tensorflow/lite/core/c/common.h and builtin_op_data.h, as they stand unchanged in
// tflite-runtime 2.14 to ai-edge-litert 2.3. Only fields that are used are named; trailing words
// are left zeroed where a struct grew over time and is handed over by value. `layout_is_known` in
// delegate.cc looks at a real context before any of it is trusted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bopkit::abi {

enum Status : int { kOk = 0, kError = 1 };

enum Type : int {
  kNoType = 0,
  kFloat32 = 1,
  kInt32 = 2,
  kUInt8 = 3,
  kInt64 = 4,
  kBool = 6,
  kInt16 = 7,
  kInt8 = 9,
  kFloat16 = 10
};

enum Allocation : int {
  kMemNone = 0,
  kMmapRo = 1,
  kArenaRw = 2,
  kArenaRwPersistent = 3,
  kDynamic = 4,
  kPersistentRo = 5
};

enum BuiltinCode : int {
  kAdd = 0,
  kAveragePool2d = 1,
  kConcatenation = 2,
  kConv2d = 3,
  kDepthwiseConv2d = 4,
  kDequantize = 6,
  kFullyConnected = 9,
  kLogistic = 14,
  kMaxPool2d = 17,
  kMul = 18,
  kRelu = 19,
  kReluN1To1 = 20,
  kRelu6 = 21,
  kReshape = 22,
  kSoftmax = 25,
  kCustom = 32,
  kPad = 34,
  kMean = 40,
  kSub = 41,
  kSplit = 49,
  kDelegate = 51,
  kCast = 53,
  kPrelu = 54,
  kMaximum = 55,
  kQuantize = 114,
};

enum Padding : int { kPaddingUnknown = 0, kPaddingSame = 1, kPaddingValid = 2 };

// Of kernels' options in memory, and of the schema that LCE's options number by.
enum Activation : int { kActNone = 0, kActRelu = 1, kActReluN1To1 = 2, kActRelu6 = 3 };

struct IntArray {
  int size;
  int data[1];  // `size` of them
};

struct FloatArray {
  int size;
  float data[1];
};

struct AffineQuantization {
  FloatArray* scale;
  IntArray* zero_point;
  int32_t quantized_dimension;
};

struct Tensor {
  Type type;
  void* data;
  IntArray* dims;
  float scale;
  int32_t zero_point;
  Allocation allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  int quantization_type;  // 1 where `quantization` is an AffineQuantization
  void* quantization;
  void* sparsity;
  const IntArray* dims_signature;
};

struct Node {
  IntArray* inputs;
  IntArray* outputs;
  IntArray* intermediates;
  IntArray* temporaries;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
  void* delegate;
  bool might_have_side_effect;
};

struct Context;

struct Registration {
  void* (*init)(Context*, const char* buffer, size_t length);
  void (*free)(Context*, void* user_data);
  Status (*prepare)(Context*, Node*);
  Status (*invoke)(Context*, Node*);
  const char* (*profiling_string)(const Context*, const Node*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* later_fields[12];  // the struct is passed by value and grew twice: the unknown stays zero
};

struct Delegate;

struct DelegateParams {
  Delegate* delegate;
  IntArray* nodes_to_replace;
  IntArray* input_tensors;
  IntArray* output_tensors;
};

struct Context {
  size_t tensors_size;
  Status (*GetExecutionPlan)(Context*, IntArray** plan);
  Tensor* tensors;
  void* impl;
  Status (*ResizeTensor)(Context*, Tensor*, IntArray* new_size);  // frees `new_size` with free()
  void (*ReportError)(Context*, const char* format, ...);
  Status (*AddTensors)(Context*, int count, int* first_index);
  Status (*GetNodeAndRegistration)(Context*, int node_index, Node**, Registration**);
  Status (*ReplaceNodeSubsetsWithDelegateKernels)(Context*, Registration, const IntArray* nodes,
                                                  Delegate*);
  int recommended_num_threads;
};

struct Delegate {
  void* data;
  Status (*Prepare)(Context*, Delegate*);
  Status (*CopyFromBufferHandle)(Context*, Delegate*, int, Tensor*);
  Status (*CopyToBufferHandle)(Context*, Delegate*, int, Tensor*);
  void (*FreeBufferHandle)(Context*, Delegate*, int*);
  int64_t flags;
  void* later_fields[8];
};

// Tensors whose shape is only known while running; with any other flag TensorFlow Lite prepares the
// custom operators before it asks the delegate, and fails.
inline constexpr int64_t kAllowDynamicTensors = 1;

struct ConvParams {
  Padding padding;
  int stride_width, stride_height;
  Activation activation;
  int dilation_width_factor, dilation_height_factor;
};

struct DepthwiseConvParams {
  Padding padding;
  int stride_width, stride_height;
  int depth_multiplier;
  Activation activation;
  int dilation_width_factor, dilation_height_factor;
};

struct PoolParams {
  Padding padding;
  int stride_width, stride_height, filter_width, filter_height;
  Activation activation;
};

struct ArithmeticParams {  // of ADD, SUB and MUL
  Activation activation;
};

struct ConcatenationParams {
  int axis;
  Activation activation;
};

struct SoftmaxParams {
  float beta;
};

struct FullyConnectedParams {
  Activation activation;
  int weights_format;  // 0: rows of inputs
  bool keep_num_dims;
};

struct ReducerParams {
  bool keep_dims;
};

#if UINTPTR_MAX == UINT64_MAX
static_assert(sizeof(Tensor) == 112, "TfLiteTensor has 112 bytes on LP64");
static_assert(sizeof(Node) == 80, "TfLiteNode has 80 bytes on LP64");
static_assert(offsetof(Tensor, quantization_type) == 80 && offsetof(Tensor, dims_signature) == 104);
static_assert(offsetof(Registration, builtin_code) == 40 &&
              offsetof(Context, recommended_num_threads) == 72);
#endif

}  // namespace bopkit::abi
