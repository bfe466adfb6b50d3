// Runs every check: one line each, then a count; exit status 1 if one failed.
#include "check.h"

#include <cstdio>
#include <exception>

static Check *first;

Check::Check(const char *name, void (*run)()) : name(name), run(run), next(nullptr) {
    Check **end = &first;
    while (*end) end = &(*end)->next;
    *end = this;
}

int main() {
    int passed = 0, failed = 0;
    for (Check *check = first; check; check = check->next) {
        try {
            check->run();
            ++passed;
            std::printf("ok %s\n", check->name);
        } catch (const std::exception &error) {
            ++failed;
            std::printf("FAILED %s: %s\n", check->name, error.what());
        } catch (...) {
            ++failed;
            std::printf("FAILED %s: an exception of unknown type\n", check->name);
        }
        std::fflush(stdout);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
