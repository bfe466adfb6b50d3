// What kernels in C do, and how C passes values to C++: vectors, structures, atomic operations, long double.
#include "kernel.h"

#include <stdarg.h>

void multiply_add(size_t count, const float *left, const float *right, float *sum) {
    for (size_t i = 0; i < count; ++i) sum[i] += left[i] * right[i];
}

struct planes split(const float values[8]) {
    struct planes made;
    for (int i = 0; i < 4; ++i) made.low[i] = values[i], made.high[i] = values[i + 4];
    return made;
}

struct pair swapped(struct pair given, int is_swapped) {
    struct pair made = {(double)given.second, (int64_t)given.first};
    return is_swapped ? made : given;
}

long double scaled(long double value, int exponent) {
    for (; exponent > 0; --exponent) value *= 2;
    return value / 3;
}

int64_t count_up(int64_t *counter, int64_t by) { return __atomic_add_fetch(counter, by, __ATOMIC_SEQ_CST); }

int sum_of(int count, ...) {
    int sum = 0;
    va_list values;
    va_start(values, count);
    while (count-- > 0) sum += va_arg(values, int);
    va_end(values);
    return sum;
}

int call_back(int (*function)(int), int value) { return function(value) + 1; }
