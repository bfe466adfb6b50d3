#include "shared.h"

#include <new>
#include <regex>
#include <sstream>

// Everything that it uses of the library is in it; nothing but this name comes out.
extern "C" __attribute__((visibility("default"))) void plugin_call(int what) {
    std::ostringstream text;
    text << "plugin " << what;
    switch (what) {
    case 0: throw std::runtime_error(text.str());
    case 1: throw Failure(text.str());
    case 2: std::regex("(");
    case 3: throw what;
    default: throw std::bad_alloc();
    }
}
