/* bopkit-runtime: an external delegate that runs Larq Compute Engine's operators in stock
 * TensorFlow Lite and LiteRT.
 *
 * Link nothing: hand the library's path to TensorFlow Lite
 * (`benchmark_model --external_delegate_path=libbopkit_runtime.so`, `TfLiteExternalDelegateCreate`,
 * Python's `load_delegate`), or create a delegate with the functions below and add it to an
 * interpreter.
 *
 * After a fork the child has none of the parent's threads: a delegate made before runs on one.
 */
#ifndef BOPKIT_RUNTIME_H_
#define BOPKIT_RUNTIME_H_

#include <stddef.h>

#if defined(_WIN32)
#define BOPKIT_EXPORT __declspec(dllexport)
#else
#define BOPKIT_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct TfLiteDelegate;

/* Creates a delegate. Options, as strings:
 *   num_threads  1 to 256; left out: what the interpreter was given.
 *   isa          auto (default), or a name of bopkit_runtime_isas(): the instruction set.
 *   claim        all (default): LCE's operators and the float operators between them;
 *                binary: LCE's only.
 *   profile      0 (default); 1: measure each step; units: also each part of it that threads would
 *                share, run by one thread.
 * Returns NULL after a call of report_error (which may be NULL) for an option or a value that is
 * not known, or an instruction set that this machine does not have. */
BOPKIT_EXPORT struct TfLiteDelegate* tflite_plugin_create_delegate(
    const char* const* keys, const char* const* values, size_t options,
    void (*report_error)(const char* message));

/* Frees a delegate: at once, or with the last of the interpreters that it was added to. */
BOPKIT_EXPORT void tflite_plugin_destroy_delegate(struct TfLiteDelegate* delegate);

/* The version of the library, e.g. "0.1.0". */
BOPKIT_EXPORT const char* bopkit_runtime_version(void);

/* Comma-separated names of the instruction sets that this machine can run, the fastest first;
 * "portable" is the last. */
BOPKIT_EXPORT const char* bopkit_runtime_isas(void);

/* Writes what a delegate runs as JSON: at most `size` bytes with the closing zero; returns the
 * bytes that it needs without it, as snprintf does.
 *   {"version": ..., "isa": ..., "threads": n, "claimed_nodes": n,
 *    "partitions": [{"nodes": n, "steps": [{"name": ..., "runs": n, "total_ns": n, "least_ns": n,
 *                                           "binary_macs": n, "float_macs": n,
 *                                           "int8_macs": n}]}]}
 * Times are zero without the option `profile`. With units a step also has "unit_ns": for each time
 * that it shares work, the least nanoseconds of each unit, in the order in which threads take them.
 * Not while an interpreter runs it. */
BOPKIT_EXPORT size_t bopkit_runtime_describe(const struct TfLiteDelegate* delegate, char* buffer,
                                             size_t size);

#ifdef __cplusplus
}
#endif

#endif
