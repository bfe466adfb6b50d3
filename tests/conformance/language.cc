// Exceptions, run-time types, initialization, arithmetic: what the compiler asks of libgcc and libsupc++.
#include "check.h"

#include <any>
#include <cfenv>
#include <cfloat>
#include <cmath>
#include <complex>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <thread>
#include <typeinfo>
#include <variant>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

std::string trace;
struct Mark {
    char name;
    ~Mark() { trace += name; }
};

// How a child process ends that runs this.
int status_of(void (*run)()) {
    pid_t child = fork();
    if (child == 0) {
        run();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

[[gnu::noinline]] double opaque(double value) {
    asm volatile("" : "+w"(value));
    return value;
}

[[gnu::noinline]] void throw_after_using_vfp(int depth) {
    double a = opaque(depth + 0.5), b = opaque(depth * 2.0), c = opaque(depth - 1.0), d = opaque(depth / 3.0);
    if (depth == 0) throw 17;
    throw_after_using_vfp(depth - 1);
    opaque(a + b + c + d);
}

} // namespace

CHECK("an exception is caught by its base class") {
    try {
        throw std::out_of_range("far");
    } catch (const std::logic_error &error) {
        EXPECT(error.what() == std::string("far"));
        return;
    }
    EXPECT(false);
}

CHECK("destructors run in reverse while an exception passes") {
    trace.clear();
    try {
        Mark a{'a'};
        Mark b{'b'};
        try {
            Mark c{'c'};
            throw 1;
        } catch (const char *) {
            trace += "wrong";
        }
    } catch (int) {
        trace += '!';
    }
    EXPECT(trace == "cba!");
}

CHECK("a nested exception keeps its cause") {
    try {
        try {
            throw std::runtime_error("cause");
        } catch (...) {
            std::throw_with_nested(std::logic_error("effect"));
        }
    } catch (const std::logic_error &effect) {
        try {
            std::rethrow_if_nested(effect);
        } catch (const std::runtime_error &cause) {
            EXPECT(cause.what() == std::string("cause"));
            return;
        }
    }
    EXPECT(false);
}

CHECK("unwinding restores the VFP registers of a caller") {
    double a = opaque(1.25), b = opaque(2.5), c = opaque(5.0), d = opaque(10.0), e = opaque(20.0), f = opaque(40.0);
    try {
        throw_after_using_vfp(200);
    } catch (int value) {
        EXPECT(value == 17);
    }
    EXPECT(opaque(a) + opaque(b) + opaque(c) + opaque(d) + opaque(e) + opaque(f) == 78.75);
}

CHECK("an exception passes through a C library function") {
    int numbers[] = {3, 1, 2};
    try {
        std::qsort(numbers, 3, sizeof(int), [](const void *, const void *) -> int { throw std::string("compare"); });
    } catch (const std::string &text) {
        EXPECT(text == "compare");
        return;
    }
    EXPECT(false);
}

CHECK("an exception that leaves noexcept terminates") {
    EXPECT(status_of([] {
               std::set_terminate([] { _exit(33); });
               []() noexcept { throw_after_using_vfp(1); }();
           }) == 33);
}

CHECK("an exception that nobody catches terminates with its type at hand") {
    EXPECT(status_of([] {
               std::set_terminate([] {
                   try {
                       throw;
                   } catch (const std::domain_error &) {
                       _exit(34);
                   }
               });
               std::thread([] { throw std::domain_error("nobody"); }).join();
           }) == 34);
}

CHECK("abort ends a process with SIGABRT") {
    EXPECT(status_of([] { std::abort(); }) == 128 + SIGABRT);
}

CHECK("memory that is not there is bad_alloc") {
    volatile std::size_t huge = std::numeric_limits<std::size_t>::max() - 64;
    int caught = 0;
    try {
        delete[] new char[huge];
    } catch (const std::bad_alloc &) {
        ++caught;
    }
    try {
        delete[] new double[huge];
    } catch (const std::bad_array_new_length &) {
        ++caught;
    }
    EXPECT(caught == 2 && !new (std::nothrow) char[huge]);
}

CHECK("memory comes as aligned as its type asks") {
    struct alignas(64) Line {
        char bytes[64];
    };
    for (int i = 0; i < 8; ++i) EXPECT(reinterpret_cast<std::uintptr_t>(std::make_unique<Line>().get()) % 64 == 0);
}

CHECK("dynamic_cast goes up, down and across virtual bases") {
    struct Root {
        virtual ~Root() = default;
    };
    struct Left : virtual Root {};
    struct Right : virtual Root {};
    struct Bottom : Left, Right {};
    Bottom bottom;
    Root *root = &bottom;
    Left *left = dynamic_cast<Left *>(root);
    EXPECT(left && dynamic_cast<Right *>(left) == static_cast<Right *>(&bottom));
    EXPECT(dynamic_cast<void *>(left) == &bottom && typeid(*root) == typeid(Bottom));
    Right other;
    EXPECT(!dynamic_cast<Left *>(static_cast<Root *>(&other)));
    try {
        dynamic_cast<Left &>(static_cast<Root &>(other));
        EXPECT(false);
    } catch (const std::bad_cast &) {
    }
}

CHECK("variant and any tell what they hold") {
    std::variant<int, std::string> either = std::string("text");
    EXPECT(std::visit([](const auto &value) { return sizeof value == sizeof(std::string); }, either));
    std::any any = 2.5;
    EXPECT(std::any_cast<double>(any) == 2.5);
    try {
        std::any_cast<int>(any);
        EXPECT(false);
    } catch (const std::bad_any_cast &) {
    }
}

CHECK("64-bit integers divide, shift and convert") {
    volatile std::int64_t a = -1234567890123456789, b = 987654321;
    volatile std::uint64_t c = 0xFEDCBA9876543210u;
    volatile int by = 13;
    EXPECT(a / b == -1249999988 && a % b == -725308641);
    EXPECT(c / 1000000007u == 18364758415 && c % 1000000007u == 939755815);
    EXPECT(c >> by == 0x7F6E5D4C3B2A1u && a >> by == -150704088149837 && c << by == 0x97530ECA86420000u);
    volatile double big = 1.8e19;
    volatile float less = 9.0e18f;
    EXPECT(static_cast<std::uint64_t>(big) == 18000000000000000000u);
    EXPECT(static_cast<std::int64_t>(less) == 9000000202358128640);
    EXPECT(static_cast<double>(c) == 18364758544493064192.0 && static_cast<float>(a) == -1234567939550609408.0f);
    EXPECT(__builtin_popcountll(c) == 32 && __builtin_clzll(c >> by) == 13 && __builtin_ctzll(c) == 4);
}

CHECK("floating point follows IEEE 754") {
    volatile double tiny = DBL_MIN, zero = 0.0, three = 3.0;
    volatile float small = FLT_MIN;
    EXPECT(tiny / 4 * 4 == DBL_MIN && small / 8 * 8 == FLT_MIN);
    EXPECT(std::isnan(zero / zero) && std::isinf(1 / zero) && std::signbit(-zero));
    EXPECT(1 / three != std::nextafter(1 / three, 1.0));
    std::fesetround(FE_UPWARD);
    volatile double up = 1 / three;
    std::fesetround(FE_DOWNWARD);
    volatile double down = 1 / three;
    std::fesetround(FE_TONEAREST);
    EXPECT(std::nextafter(down, 1.0) == up);
    EXPECT(std::fma(three, 1 / three, -1.0) == -0x1p-54 && std::abs(std::sin(three) - 0.1411200080598672) < 1e-16);
}

CHECK("complex numbers multiply and divide") {
    std::complex<double> a(opaque(3), opaque(-4)), b(opaque(-2), opaque(5));
    EXPECT(a * b == std::complex<double>(14, 23) && std::abs(a * b / b - a) < 1e-15 && std::abs(a) == 5);
    std::complex<float> c(std::numeric_limits<float>::infinity(), 1);
    EXPECT(std::isinf(std::abs(c * c)));
}

CHECK("numbers at odd addresses are read and written") {
    alignas(8) unsigned char bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    std::uint32_t word;
    double number = 0.1;
    std::memcpy(&word, bytes + 1, sizeof word);
    std::memcpy(bytes + 3, &number, sizeof number);
    double again;
    std::memcpy(&again, bytes + 3, sizeof again);
    EXPECT(word == 0x04030201 && again == 0.1);
    struct __attribute__((packed)) Packed {
        char c;
        std::uint64_t value;
        std::uint16_t half;
    };
    Packed packed{'c', 0x1122334455667788u, 0x99AA};
    Packed *volatile pointer = &packed;
    EXPECT(pointer->value >> 32 == 0x11223344 && pointer->half == 0x99AA);
}

CHECK("a signal handler may jump out") {
    static sigjmp_buf back;
    struct sigaction action = {}, before;
    action.sa_handler = [](int) { siglongjmp(back, 1); };
    sigaction(SIGUSR1, &action, &before);
    volatile bool raised = false;
    if (sigsetjmp(back, 1) == 0) {
        raised = true;
        raise(SIGUSR1);
        raised = false;
    }
    sigaction(SIGUSR1, &before, nullptr);
    EXPECT(raised);
}
