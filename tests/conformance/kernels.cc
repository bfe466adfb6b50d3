// C++ that uses kernel.c. The toolchain's compiler for C may be another one than that for C++.
#include "check.h"
#include "kernel.h"

#include <vector>

CHECK("a loop over floats in C is right for every length") {
    for (size_t count = 0; count < 40; ++count) {
        std::vector<float> left(count, 1.5f), right(count), sum(count + 1, 2.0f);
        for (size_t i = 0; i < count; ++i) right[i] = float(i);
        multiply_add(count, left.data(), right.data(), sum.data());
        for (size_t i = 0; i < count; ++i) EXPECT(sum[i] == 2.0f + 1.5f * float(i));
        EXPECT(sum[count] == 2.0f);
    }
}

CHECK("C and C++ pass structures alike") {
    const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    planes made = split(values);
    for (int i = 0; i < 4; ++i) EXPECT(made.low[i] == i + 1 && made.high[i] == i + 5);
    pair given = {2.5, 1LL << 40};
    EXPECT(swapped(given, 0).first == 2.5 && swapped(given, 0).second == 1LL << 40);
    EXPECT(swapped(given, 1).first == double(1LL << 40) && swapped(given, 1).second == 2);
}

CHECK("C and C++ pass long double and variable arguments alike") {
    EXPECT(scaled(3.0L, 70) == 1180591620717411303424.0L);
    EXPECT(sum_of(0) == 0 && sum_of(9, 1, 2, 3, 4, 5, 6, 7, 8, 9) == 45);
}

CHECK("an atomic operation in C is the one of C++") {
    int64_t counter = (1LL << 32) - 1;
    EXPECT(count_up(&counter, 2) == (1LL << 32) + 1);
    EXPECT(__atomic_sub_fetch(&counter, 1, __ATOMIC_SEQ_CST) == 1LL << 32);
}

static int thrown(int value) {
    if (value < 0) throw value;
    return value * 2;
}

CHECK("C calls C++, and an exception passes through C") {
    EXPECT(call_back(thrown, 20) == 41);
    int caught = 0;
    try {
        call_back(thrown, -7);
    } catch (int value) {
        caught = value;
    }
    EXPECT(caught == -7);
}
