/* Runs a model once through TensorFlow Lite's C API, with bopkit-runtime's delegate.
 *
 *   cc -std=c11 -I../include run_model.c -ldl -o run_model
 *   ./run_model libtensorflowlite_c.so libbopkit_runtime.so model.tflite image.bin 4
 *
 * image.bin holds the bytes of the first input, e.g. 224 * 224 * 3 floats; the first output is
 * printed, one number a line, if it holds floats. Both libraries are opened while running, and the
 * few functions of TensorFlow Lite's c_api.h that it needs are declared here, so that it compiles
 * without TensorFlow's headers. A program that has them includes tensorflow/lite/c/c_api.h and
 * links instead.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bopkit_runtime.h"

typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteInterpreterOptions TfLiteInterpreterOptions;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteTensor TfLiteTensor;
typedef struct TfLiteDelegate TfLiteDelegate;
enum { kTfLiteOk = 0, kTfLiteFloat32 = 1 };

static TfLiteModel* (*TfLiteModelCreateFromFile)(const char* path);
static void (*TfLiteModelDelete)(TfLiteModel*);
static TfLiteInterpreterOptions* (*TfLiteInterpreterOptionsCreate)(void);
static void (*TfLiteInterpreterOptionsSetNumThreads)(TfLiteInterpreterOptions*, int32_t threads);
static void (*TfLiteInterpreterOptionsAddDelegate)(TfLiteInterpreterOptions*, TfLiteDelegate*);
static void (*TfLiteInterpreterOptionsDelete)(TfLiteInterpreterOptions*);
static TfLiteInterpreter* (*TfLiteInterpreterCreate)(const TfLiteModel*,
                                                     const TfLiteInterpreterOptions*);
static void (*TfLiteInterpreterDelete)(TfLiteInterpreter*);
static int (*TfLiteInterpreterAllocateTensors)(TfLiteInterpreter*);
static int (*TfLiteInterpreterInvoke)(TfLiteInterpreter*);
static TfLiteTensor* (*TfLiteInterpreterGetInputTensor)(const TfLiteInterpreter*, int32_t index);
static const TfLiteTensor* (*TfLiteInterpreterGetOutputTensor)(const TfLiteInterpreter*,
                                                               int32_t index);
static int (*TfLiteTensorType)(const TfLiteTensor*);
static size_t (*TfLiteTensorByteSize)(const TfLiteTensor*);
static int (*TfLiteTensorCopyFromBuffer)(TfLiteTensor*, const void*, size_t bytes);
static int (*TfLiteTensorCopyToBuffer)(const TfLiteTensor*, void*, size_t bytes);

static TfLiteDelegate* (*create_delegate)(const char* const*, const char* const*, size_t,
                                          void (*)(const char*));
static void (*destroy_delegate)(TfLiteDelegate*);

static void fail(const char* what, const char* detail) {
  fprintf(stderr, "Error: %s%s\n", what, detail);
  exit(1);
}

static void print_error(const char* message) { fprintf(stderr, "%s\n", message); }

static void* open_library(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) fail("no library: ", dlerror());
  return library;
}

static void* find(void* library, const char* name) {
  void* address = dlsym(library, name);
  if (address == NULL) fail("the library lacks ", name);
  return address;
}

/* POSIX asks for this form: ISO C does not turn an object's address into a function's. */
#define FIND(library, name) (*(void**)(&name) = find(library, #name))

static void find_functions(void* tflite, void* runtime) {
  FIND(tflite, TfLiteModelCreateFromFile);
  FIND(tflite, TfLiteModelDelete);
  FIND(tflite, TfLiteInterpreterOptionsCreate);
  FIND(tflite, TfLiteInterpreterOptionsSetNumThreads);
  FIND(tflite, TfLiteInterpreterOptionsAddDelegate);
  FIND(tflite, TfLiteInterpreterOptionsDelete);
  FIND(tflite, TfLiteInterpreterCreate);
  FIND(tflite, TfLiteInterpreterDelete);
  FIND(tflite, TfLiteInterpreterAllocateTensors);
  FIND(tflite, TfLiteInterpreterInvoke);
  FIND(tflite, TfLiteInterpreterGetInputTensor);
  FIND(tflite, TfLiteInterpreterGetOutputTensor);
  FIND(tflite, TfLiteTensorType);
  FIND(tflite, TfLiteTensorByteSize);
  FIND(tflite, TfLiteTensorCopyFromBuffer);
  FIND(tflite, TfLiteTensorCopyToBuffer);
  *(void**)(&create_delegate) = find(runtime, "tflite_plugin_create_delegate");
  *(void**)(&destroy_delegate) = find(runtime, "tflite_plugin_destroy_delegate");
}

static void fill(TfLiteTensor* input, const char* path) {
  const size_t bytes = TfLiteTensorByteSize(input);
  void* buffer = malloc(bytes);
  FILE* file = fopen(path, "rb");
  if (file == NULL) fail("cannot open ", path);
  if (buffer == NULL || fread(buffer, 1, bytes, file) != bytes) {
    fail("too short for the model's input: ", path);
  }
  fclose(file);
  if (TfLiteTensorCopyFromBuffer(input, buffer, bytes) != kTfLiteOk) {
    fail("cannot fill the input", "");
  }
  free(buffer);
}

static void print_floats(const TfLiteTensor* output) {
  const size_t bytes = TfLiteTensorByteSize(output);
  float* values = malloc(bytes);
  if (TfLiteTensorType(output) != kTfLiteFloat32) fail("the output holds no floats", "");
  if (values == NULL || TfLiteTensorCopyToBuffer(output, values, bytes) != kTfLiteOk) {
    fail("cannot read the output", "");
  }
  for (size_t i = 0; i < bytes / sizeof(float); ++i) printf("%g\n", values[i]);
  free(values);
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fail("type ./run_model LIBTENSORFLOWLITE_C LIBBOPKIT_RUNTIME MODEL INPUT THREADS", "");
  }
  find_functions(open_library(argv[1]), open_library(argv[2]));

  TfLiteModel* model = TfLiteModelCreateFromFile(argv[3]);
  if (model == NULL) fail("no model: ", argv[3]);
  const char* const keys[] = {"num_threads"};
  const char* const values[] = {argv[5]};
  TfLiteDelegate* delegate = create_delegate(keys, values, 1, print_error);
  if (delegate == NULL) return 1;
  TfLiteInterpreterOptions* options = TfLiteInterpreterOptionsCreate();
  TfLiteInterpreterOptionsSetNumThreads(options, atoi(argv[5]));
  TfLiteInterpreterOptionsAddDelegate(options, delegate);

  TfLiteInterpreter* interpreter = TfLiteInterpreterCreate(model, options);
  if (interpreter == NULL || TfLiteInterpreterAllocateTensors(interpreter) != kTfLiteOk) {
    fail("cannot run ", argv[3]);
  }
  fill(TfLiteInterpreterGetInputTensor(interpreter, 0), argv[4]);
  if (TfLiteInterpreterInvoke(interpreter) != kTfLiteOk) fail("cannot run ", argv[3]);
  print_floats(TfLiteInterpreterGetOutputTensor(interpreter, 0));

  TfLiteInterpreterDelete(interpreter); /* before its delegate */
  destroy_delegate(delegate);
  TfLiteInterpreterOptionsDelete(options);
  TfLiteModelDelete(model);
  return 0;
}
