// Makes each kind of step. Their classes are in conv.cc, depthwise.cc, rows_together.cc, pool.cc,
// elementwise.cc and reshape.cc only.
#pragma once

#include <memory>
#include <vector>

#include "epilogue_step.h"
#include "operators.h"

namespace bopkit {

// Steps that write float32 rows.
std::unique_ptr<EpilogueStep> make_binary_conv(const Op& op, int input, const abi::Context& context,
                                               const Kernels& kernels, const float* multiplier,
                                               const float* bias);
std::unique_ptr<EpilogueStep> make_float_conv(const Op& op, int input, const abi::Context& context,
                                              const Kernels& kernels, const float* filter,
                                              const float* bias);
// Of float32 by weights of int8, which stay in memory as they are.
std::unique_ptr<EpilogueStep> make_mixed_conv(const Op& op, int input, const abi::Tensor& weights,
                                              const Kernels& kernels, const float* bias);
// Its sums are int8, or the float32 that these stand for.
std::unique_ptr<EpilogueStep> make_int8_conv(const Op& op, int input, const abi::Context& context,
                                             const Kernels& kernels);
// With `source`, the pool computes its input itself, row by row; the value `input` then has no
// memory.
std::unique_ptr<EpilogueStep> make_pool(const Op& op, int input,
                                        std::unique_ptr<EpilogueStep> source);
// Rows as they are; of int8 and uint8 (x - zero_point) * scale.
std::unique_ptr<EpilogueStep> make_elementwise(int input, float scale = 1, int zero_point = 0);
std::unique_ptr<EpilogueStep> make_depthwise_conv(const Op& op, int input, int channels,
                                                  const float* filter, const float* bias);
std::unique_ptr<EpilogueStep> make_int8_depthwise_conv(const Op& op, int input,
                                                       const abi::Context& context);

// Steps that run rows, of images of the same size, one row of each after the other: what they read
// and write side by side then stays in the cache.
std::unique_ptr<Step> make_rows_together(std::vector<std::unique_ptr<EpilogueStep>> steps);

// Other steps.
std::unique_ptr<Step> make_bit_packed_max_pool(const Op& op, int input, int output);
std::unique_ptr<Step> make_bit_pack_bytes(int input, int output, int zero_point);  // int8, and bool
std::unique_ptr<Step> make_bit_unpack(int input, int output, float scale, int zero_point);
std::unique_ptr<Step> make_mean(const Op& op, int input, int output);
// Values that are views share memory: these two compute shapes only. The channels of `whole` are
// those of `parts`, side by side, with so many before and behind them. Each part must have as many as
// the file declares, by which its place was chosen.
std::unique_ptr<Step> make_join(std::vector<int> parts, std::vector<int> channels, int whole,
                                int before, int after);
// `parts` are so many channels of `whole`, which must have as many as the file declares.
std::unique_ptr<Step> make_cut(int whole, int whole_channels, std::vector<int> parts,
                               std::vector<int> channels);
std::unique_ptr<Step> make_logistic(int input, int output);
std::unique_ptr<Step> make_softmax(int input, int output, float beta);
std::unique_ptr<Step> make_reshape(int input, int output, std::vector<int> shape, bool is_alias);

}  // namespace bopkit
