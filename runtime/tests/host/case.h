// A graph as LiteRT would hand it to a delegate, inputs for it, and what it should compute: read
// from a file, so that the runtime is tested where there is no Python and no LiteRT.
//
// All numbers are little-endian 32-bit words; a list is its length and its items; a blob is its
// length and so many bytes, filled up to whole words. In order: "BOPC"; instruction set (0 auto,
// then as in kIsas), threads, what to claim (0 all, 1 binary); tolerance (float32, relative to the
// largest value; 0: the same bits); list of tensors: type, allocation type, list of dimensions,
// scale, zero point, list of scales, list of zero points, quantized dimension, blob of values; list
// of nodes: builtin code, blob of a custom name, blob of options, list of parameters, list of
// inputs, list of outputs; list of inputs; list of outputs; list of runs, each a list of tensors'
// values: tensor, list of dimensions, blob.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bopkit::host {

using Bytes = std::vector<uint8_t>;

struct TensorSpec {
  int type = 0, allocation = 0;
  std::vector<int32_t> dims;
  float scale = 0;
  int32_t zero_point = 0;
  std::vector<float> scales;  // of each channel; with it the tensor is quantized
  std::vector<int32_t> zero_points;
  int32_t quantized_dimension = 0;
  Bytes data;  // of a constant
};

struct NodeSpec {
  int32_t code = 0;
  Bytes name;                       // of a custom operator
  Bytes options;                    // of a custom operator
  std::vector<int32_t> parameters;  // of a builtin operator: its struct, a word a field
  std::vector<int32_t> inputs, outputs;
};

// What a tensor holds in one run. Of the graph's inputs it is given; of others it is what they
// should hold. An operator that the delegate leaves to LiteRT is not computed: its outputs are
// taken from here.
struct Values {
  int32_t tensor = 0;
  std::vector<int32_t> dims;
  Bytes data;
};

struct Case {
  std::string name;  // not in the file's body
  int32_t isa = 0, threads = 1, claim = 0;
  float tolerance = 0;
  std::vector<TensorSpec> tensors;
  std::vector<NodeSpec> nodes;
  std::vector<int32_t> inputs, outputs;
  std::vector<std::vector<Values>> runs;
};

inline constexpr const char* kIsas[] = {"auto", "portable", "avx2",     "avx512",
                                        "neon", "neon_dot", "neon_i8mm"};

// False where the bytes are no case.
bool read_case(const uint8_t* data, size_t size, Case* to);
Bytes write_case(const Case& from);

// A file of cases: for each its name and its body, both blobs.
bool read_cases(const char* path, std::vector<Case>* to);

}  // namespace bopkit::host
