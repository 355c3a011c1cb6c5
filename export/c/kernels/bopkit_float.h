/* Arithmetic of float.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef BOPKIT_FLOAT_H
#define BOPKIT_FLOAT_H

static inline float bopkit_float_between(float x, float least, float most) {
    return x < least ? least : x > most ? most : x;
}

#endif
