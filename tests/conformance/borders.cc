// What crosses the border of a shared library.
#include "check.h"
#include "shared.h"

#include <atomic>
#include <memory>
#include <new>
#include <regex>
#include <thread>

#include <dlfcn.h>

namespace {

PluginCall plugin() {
    void *library = dlopen("./plugin.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) throw std::runtime_error(dlerror());
    return reinterpret_cast<PluginCall>(dlsym(library, "plugin_call"));
}

} // namespace

CHECK("a shared library is initialized before main") { EXPECT(shared_is_initialized()); }

CHECK("an exception from a shared library is caught by its type") {
    try {
        throw_failure();
    } catch (const Failure &failure) {
        EXPECT(failure.code == 42 && failure.what() == std::string("from the library"));
        return;
    }
    EXPECT(false);
}

CHECK("an exception into a shared library is caught by its type") {
    EXPECT(call_and_catch([] { throw Failure("from the program"); }) == 42);
    EXPECT(call_and_catch(throw_failure) == 42 && call_and_catch([] { throw 3; }) == -1);
}

CHECK("dynamic_cast works across a shared library") {
    std::unique_ptr<Base> theirs(make_derived());
    auto *derived = dynamic_cast<Derived *>(theirs.get());
    EXPECT(derived && derived->name() == "derived" && dynamic_cast<Side *>(theirs.get())->side == 7);
    Derived ours;
    Base base;
    EXPECT(is_derived(&ours) && !is_derived(&base));
}

CHECK("thread_local of a shared library is each thread's own") {
    counter_of_thread() = 1;
    std::atomic<int> other{0};
    std::thread([&] { other = ++counter_of_thread(); }).join();
    EXPECT(other == 101 && counter_of_thread() == 1);
}

CHECK("floating-point arguments cross a shared library in registers") {
    Vector vector = scaled({1, 2, 3, 4}, 0.5, 2);
    EXPECT(vector.x == 0.25f && vector.y == 0.5f && vector.z == 0.75f && vector.w == 1.0f);
}

CHECK("exceptions of a library opened later are caught by their types") {
    auto call = plugin();
    std::string caught;
    for (int what = 0; what < 5; ++what) {
        try {
            call(what);
        } catch (const Failure &failure) {
            caught += failure.what() == std::string("plugin 1") ? "failure " : "wrong ";
        } catch (const std::regex_error &) {
            caught += "regex ";
        } catch (const std::runtime_error &error) {
            caught += error.what() == std::string("plugin 0") ? "runtime " : "wrong ";
        } catch (const std::bad_alloc &) {
            caught += "alloc ";
        } catch (int value) {
            caught += std::to_string(value) + " ";
        }
    }
    EXPECT(caught == "runtime failure regex 3 alloc ");
}
