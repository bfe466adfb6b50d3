// What crosses the border between the program and a shared library. Each side holds its own copy of libstdc++.
#pragma once

#include <stdexcept>
#include <string>

struct Base {
    virtual ~Base() = default;
    virtual std::string name() const { return "base"; }
};
struct Side {
    virtual ~Side() = default;
    int side = 7;
};
struct Derived : Base, virtual Side {
    std::string name() const override { return "derived"; }
};
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
    int code = 42;
};
struct Vector {
    float x, y, z, w;
};

// shared.cc, linked with the program
Base *make_derived();
bool is_derived(Base *object);
void throw_failure();
int call_and_catch(void (*call)());
int &counter_of_thread();
Vector scaled(Vector vector, double factor, int times);
bool shared_is_initialized();

// plugin.cc, opened by dlopen
using PluginCall = void (*)(int);
