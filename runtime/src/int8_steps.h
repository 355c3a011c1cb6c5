// Makes each kind of step that computes int8 of int8, bit for bit as LiteRT's reference kernels do.
// Their classes are in int8_arithmetic.cc, int8_pool.cc and int8_reshape.cc only.
#pragma once

#include <memory>
#include <vector>

#include "operators.h"
#include "step.h"

namespace bopkit {

// ADD, SUB and MUL of two values.
std::unique_ptr<Step> make_int8_arithmetic(const Op& op, int input, int other, int output,
                                           const abi::Context& context);
// What makes one number of one: ADD, SUB, MUL and PRELU with a constant, RELU and its kin, QUANTIZE.
std::unique_ptr<Step> make_int8_map(const Op& op, int input, int output,
                                    const abi::Context& context);
std::unique_ptr<Step> make_int8_pool(const Op& op, int input, int output,
                                     const abi::Context& context);
std::unique_ptr<Step> make_int8_mean(const Op& op, int input, int output,
                                     const abi::Context& context);
std::unique_ptr<Step> make_int8_concatenation(std::vector<int> parts, int output);
std::unique_ptr<Step> make_int8_pad(const Op& op, int input, int output,
                                    const abi::Context& context);

}  // namespace bopkit
