/* memcpy and memset, also where there is no C library: compilers call them of their own accord anyway.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BOPKIT_MEMORY_H
#define BOPKIT_MEMORY_H

#if defined(__GNUC__)
/* With -ffreestanding these would be calls, also for four bytes. */
#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#else
#include <string.h>
#endif

#endif
