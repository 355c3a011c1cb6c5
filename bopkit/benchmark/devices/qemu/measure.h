// What a call takes: instructions, exactly, and stack.
#ifndef BOPKIT_MEASURE_H
#define BOPKIT_MEASURE_H

#include <stdint.h>

#define MEASURE_UNKNOWN UINT64_MAX

typedef void (*measured_function)(void *first, void *second, void *third);

// Instructions of a call, from the first of the function to its return. MEASURE_UNKNOWN where the counter starts anew just
// while it is read, which happens to one call of more than 500 million in 75 thousand.
uint64_t measure_instructions(measured_function function, void *first, void *second, void *third);

// Bytes below the caller's stack pointer that a call wrote to.
uint32_t measure_stack(measured_function function, void *first, void *second, void *third);

#endif
