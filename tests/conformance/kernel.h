// C code and C++ code of one program, which two compilers may have compiled.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct planes {
    float low[4], high[4];
};
struct pair {
    double first;
    int64_t second;
};

void multiply_add(size_t count, const float *left, const float *right, float *sum);
struct planes split(const float values[8]);
struct pair swapped(struct pair given, int is_swapped);
long double scaled(long double value, int exponent);
int64_t count_up(int64_t *counter, int64_t by);
int sum_of(int count, ...);
int call_back(int (*function)(int), int value);

#ifdef __cplusplus
}
#endif
