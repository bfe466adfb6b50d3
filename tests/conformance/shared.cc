#include "shared.h"

static const std::string initialized = std::string("made ") + "early";

Base *make_derived() { return new Derived; }
bool is_derived(Base *object) { return dynamic_cast<Derived *>(object) && dynamic_cast<Side *>(object)->side == 7; }
void throw_failure() { throw Failure("from the library"); }
int call_and_catch(void (*call)()) {
    try {
        call();
    } catch (const Failure &failure) {
        return failure.code;
    } catch (...) {
        return -1;
    }
    return 0;
}
int &counter_of_thread() {
    thread_local int counter = 100;
    return counter;
}
Vector scaled(Vector vector, double factor, int times) {
    for (int i = 0; i < times; ++i) {
        vector.x *= factor, vector.y *= factor, vector.z *= factor, vector.w *= factor;
    }
    return vector;
}
bool shared_is_initialized() { return initialized == "made early"; }
