// Constants that a file stores as float16 or int8.
#pragma once

#include <vector>

#include "tflite_abi.h"

namespace bopkit {

// The real values of such a constant, which `OpReader` has found sound.
std::vector<float> dequantize(const abi::Tensor& tensor);

}  // namespace bopkit
