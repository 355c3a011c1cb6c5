// Instructions of int8 layers of CMSIS-NN: reads layers.bin, as cmsis_nn_peer.py writes it, and prints a line a layer.
#include <stdint.h>
#include <string.h>

#include "arm_nnfunctions.h"
#include "measure.h"
#include "semihosting.h"

enum { CONV, DEPTHWISE, DENSE, MAXPOOL, AVGPOOL, ADD, SOFTMAX };

typedef struct {
  int32_t kind, in_h, in_w, in_c, kernel_h, kernel_w, stride, pad_h, pad_w, out_h, out_w, out_c;
} layer_t;

#define POOL_BYTES (3 << 20)
#define INPUT_ZERO 3  // as most are; without padding and offsets a kernel could do less
#define OUTPUT_ZERO (-5)

static uint8_t pool[POOL_BYTES] __attribute__((aligned(16)));
static uint32_t pool_used, random_state;
static layer_t layer;
static cmsis_nn_context context;
static cmsis_nn_dims input_dims, filter_dims, bias_dims, output_dims;
static int8_t *input, *other, *filter, *output;
static int32_t *bias, *multipliers, *shifts;
static arm_cmsis_nn_status status;

static void *take(int32_t bytes) {
  void *taken = pool + pool_used;
  pool_used += ((uint32_t)(bytes < 0 ? 0 : bytes) + 15u) & ~15u;
  if (pool_used > POOL_BYTES) semihosting_fail("a layer does not fit into the RAM");
  return taken;
}

static uint32_t next_random(void) {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 8;
}

static int8_t *take_random(int32_t bytes) {
  int8_t *data = take(bytes);
  for (int32_t index = 0; index < bytes; index++) data[index] = (int8_t)next_random();
  return data;
}

static const cmsis_nn_activation range = {-128, 127};

static cmsis_nn_conv_params conv_params(void) {
  const cmsis_nn_conv_params params = {
      -INPUT_ZERO, OUTPUT_ZERO, {layer.stride, layer.stride}, {layer.pad_w, layer.pad_h},
      {1, 1},      range};
  return params;
}

static cmsis_nn_dw_conv_params depthwise_params(void) {
  const cmsis_nn_dw_conv_params params = {-INPUT_ZERO,
                                          OUTPUT_ZERO,
                                          layer.out_c / layer.in_c,
                                          {layer.stride, layer.stride},
                                          {layer.pad_w, layer.pad_h},
                                          {1, 1},
                                          range};
  return params;
}

// The functions that are measured: one call each, as a program would make it.

static void run_conv(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  const cmsis_nn_conv_params params = conv_params();
  const cmsis_nn_per_channel_quant_params quantization = {multipliers, shifts};
  status = arm_convolve_wrapper_s8(&context, &params, &quantization, &input_dims, input,
                                   &filter_dims, filter, &bias_dims, bias, &output_dims, output);
}

static void run_depthwise(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  const cmsis_nn_dw_conv_params params = depthwise_params();
  const cmsis_nn_per_channel_quant_params quantization = {multipliers, shifts};
  status =
      arm_depthwise_conv_wrapper_s8(&context, &params, &quantization, &input_dims, input,
                                    &filter_dims, filter, &bias_dims, bias, &output_dims, output);
}

static void run_dense(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  const cmsis_nn_fc_params params = {-INPUT_ZERO, 0, OUTPUT_ZERO, range};
  const cmsis_nn_per_tensor_quant_params quantization = {multipliers[0], shifts[0]};
  status = arm_fully_connected_s8(&context, &params, &quantization, &input_dims, input,
                                  &filter_dims, filter, &bias_dims, bias, &output_dims, output);
}

static void run_maxpool(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  const cmsis_nn_pool_params params = {
      {layer.stride, layer.stride}, {layer.pad_w, layer.pad_h}, range};
  status =
      arm_max_pool_s8(&context, &params, &input_dims, input, &filter_dims, &output_dims, output);
}

static void run_avgpool(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  const cmsis_nn_pool_params params = {
      {layer.stride, layer.stride}, {layer.pad_w, layer.pad_h}, range};
  status =
      arm_avgpool_s8(&context, &params, &input_dims, input, &filter_dims, &output_dims, output);
}

static void run_add(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  status = arm_elementwise_add_s8(input, other, -INPUT_ZERO, 1 << 30, 0, -INPUT_ZERO, 1717986918, 0,
                                  20, output, OUTPUT_ZERO, 1 << 30, -18, range.min, range.max,
                                  layer.in_h * layer.in_w * layer.in_c);
}

static void run_softmax(void *first, void *second, void *third) {
  (void)first, (void)second, (void)third;
  arm_softmax_s8(input, layer.in_h * layer.in_w, layer.in_c, 1717986918, 23, -248,
                 output);  // inputs in steps of 0.1
  status = ARM_CMSIS_NN_SUCCESS;
}

static const measured_function functions[] = {run_conv,    run_depthwise, run_dense,  run_maxpool,
                                              run_avgpool, run_add,       run_softmax};

// Weights, buffers, and what a program would compute once; returns how many products an output sums up.
static int32_t prepare(void) {
  const int32_t window = layer.kernel_h * layer.kernel_w;
  const cmsis_nn_conv_params conv = conv_params();
  const cmsis_nn_dw_conv_params depthwise = depthwise_params();
  int32_t products = 1, weights = 0;
  input_dims = (cmsis_nn_dims){1, layer.in_h, layer.in_w, layer.in_c};
  output_dims = (cmsis_nn_dims){1, layer.out_h, layer.out_w, layer.out_c};
  filter_dims = (cmsis_nn_dims){layer.out_c, layer.kernel_h, layer.kernel_w, layer.in_c};
  bias_dims = (cmsis_nn_dims){1, 1, 1, layer.out_c};
  context = (cmsis_nn_context){0, 0};
  switch (layer.kind) {
    case CONV:
      products = window * layer.in_c;
      weights = products * layer.out_c;
      context.size =
          arm_convolve_wrapper_s8_get_buffer_size(&conv, &input_dims, &filter_dims, &output_dims);
      break;
    case DEPTHWISE:
      products = window;
      weights = window * layer.out_c;
      filter_dims.n = 1;
      filter_dims.c = layer.out_c;
      context.size = arm_depthwise_conv_wrapper_s8_get_buffer_size(&depthwise, &input_dims,
                                                                   &filter_dims, &output_dims);
      break;
    case DENSE:
      products = layer.in_h * layer.in_w * layer.in_c;
      weights = products * layer.out_c;
      filter_dims = (cmsis_nn_dims){products, 1, 1, layer.out_c};
      context.size = arm_fully_connected_s8_get_buffer_size(&filter_dims);
      break;
    case AVGPOOL:
      context.size = arm_avgpool_s8_get_buffer_size(layer.out_w, layer.in_c);
      break;
    default:
      break;
  }
  context.buf = take(context.size);
  input = take_random(layer.in_h * layer.in_w * layer.in_c);
  other = take_random(layer.in_h * layer.in_w * layer.in_c);
  filter = take_random(weights);
  output = take(layer.out_h * layer.out_w * layer.out_c);
  bias = take(4 * layer.out_c);
  multipliers = take(4 * layer.out_c);
  shifts = take(4 * layer.out_c);
  int32_t shift = -5;  // most outputs are within the range
  for (int32_t rest = products; rest > 1; rest >>= 2) shift--;
  for (int32_t channel = 0; channel < layer.out_c; channel++) {
    bias[channel] = (int32_t)(next_random() & 2047) - 1024;
    multipliers[channel] = (1 << 30) + (int32_t)next_random();
    shifts[channel] = shift;
  }
#ifdef ARM_MATH_MVEI
  if (layer.kind == DENSE)
    arm_vector_sum_s8(context.buf, products, layer.out_c, filter, -INPUT_ZERO, 0, bias);
#endif
  return products;
}

int main(void) {
  const int32_t file = semihosting_open("layers.bin", SEMIHOSTING_READ);
  if (file < 0) semihosting_fail("layers.bin cannot be read");
  while (semihosting_read(file, &layer, sizeof layer) == sizeof layer) {
    pool_used = 0;
    random_state = 1;
    prepare();
    const uint64_t instructions = measure_instructions(functions[layer.kind], 0, 0, 0);
    if (instructions == MEASURE_UNKNOWN)
      semihosting_fail("the counter started anew while it was read");
    if (status != ARM_CMSIS_NN_SUCCESS) semihosting_fail("CMSIS-NN refused a layer");
    uint32_t checksum = 0;
    for (int32_t index = 0; index < layer.out_h * layer.out_w * layer.out_c; index++) {
      checksum = checksum * 31 + (uint8_t)output[index];
    }
    semihosting_print("layer ");
    semihosting_print_number(instructions);
    semihosting_print(" ");
    semihosting_print_number((uint32_t)context.size);
    semihosting_print_line("", checksum);
  }
  return 0;
}
