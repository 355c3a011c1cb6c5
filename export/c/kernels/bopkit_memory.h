/* memcpy and memset, also where there is no C library: compilers call them of their own accord anyway.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BOPKIT_MEMORY_H
#define BOPKIT_MEMORY_H

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__
#include <string.h>
#else
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
#endif

#endif
