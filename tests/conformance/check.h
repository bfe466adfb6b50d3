// One check after another: CHECK names what must hold, EXPECT says it.
#pragma once

#include <stdexcept>
#include <string>

struct Check {
    const char *name;
    void (*run)();
    Check *next;
    Check(const char *name, void (*run)());
};

#define CHECK_JOIN(a, b) a##b
#define CHECK_ID(a, b) CHECK_JOIN(a, b)
#define CHECK(name)                                                             \
    static void CHECK_ID(run_, __LINE__)();                                     \
    static Check CHECK_ID(check_, __LINE__)(name, CHECK_ID(run_, __LINE__));    \
    static void CHECK_ID(run_, __LINE__)()

#define EXPECT(condition)                                                                                  \
    do {                                                                                                   \
        if (!(condition)) throw std::logic_error(std::string(#condition " at line ") + std::to_string(__LINE__)); \
    } while (0)
