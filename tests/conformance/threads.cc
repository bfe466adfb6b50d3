// Threads, atomics and what hangs on a thread.
#include "check.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cxxabi.h>
#include <future>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include <pthread.h>

namespace {

constexpr int THREADS = 4, ROUNDS = 5000;

template <class Work> void in_threads(Work work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < THREADS; ++i) threads.emplace_back(work, i);
    for (auto &thread : threads) thread.join();
}

std::atomic<int> local_objects;
struct Local {
    int value = 5;
    Local() { ++local_objects; }
    ~Local() { --local_objects; }
};
thread_local Local local;

struct Slow {
    static std::atomic<int> made;
    Slow() {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        ++made;
    }
};
std::atomic<int> Slow::made;

} // namespace

CHECK("a mutex keeps a sum of several threads right") {
    std::mutex mutex;
    long sum = 0;
    in_threads([&](int) {
        for (int i = 0; i < ROUNDS; ++i) {
            std::lock_guard<std::mutex> lock(mutex);
            ++sum;
        }
    });
    EXPECT(sum == THREADS * ROUNDS);
}

CHECK("atomics of 8 to 64 bits count right") {
    std::atomic<std::uint8_t> a{0};
    std::atomic<std::uint16_t> b{0};
    std::atomic<std::uint32_t> c{0};
    std::atomic<std::uint64_t> d{0xFFFFFFF0u};
    in_threads([&](int) {
        for (int i = 0; i < ROUNDS; ++i) ++a, ++b, ++c, ++d;
    });
    EXPECT(a == (THREADS * ROUNDS) % 256 && b == THREADS * ROUNDS && c == THREADS * ROUNDS);
    EXPECT(d == 0xFFFFFFF0u + std::uint64_t(THREADS * ROUNDS) && d.is_lock_free());
}

CHECK("an atomic double adds right") {
    std::atomic<double> sum{0};
    in_threads([&](int) {
        for (int i = 0; i < ROUNDS; ++i) {
            double before = sum;
            while (!sum.compare_exchange_weak(before, before + 0.5)) {
            }
        }
    });
    EXPECT(sum == THREADS * ROUNDS * 0.5);
}

CHECK("an atomic larger than the CPU's goes through libatomic") {
    struct Pair {
        std::uint64_t up, down;
    };
    std::atomic<Pair> pair{Pair{0, 0}};
    in_threads([&](int) {
        for (int i = 0; i < ROUNDS; ++i) {
            Pair before = pair;
            while (!pair.compare_exchange_weak(before, Pair{before.up + 1, before.down - 1})) {
            }
        }
    });
    Pair end = pair;
    EXPECT(end.up == THREADS * ROUNDS && end.up + end.down == 0);
}

CHECK("a condition variable wakes, and gives up in time") {
    std::mutex mutex;
    std::condition_variable changed;
    int turn = 0;
    in_threads([&](int me) {
        for (int i = 0; i < 50; ++i) {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return turn % THREADS == me; });
            ++turn;
            changed.notify_all();
        }
    });
    EXPECT(turn == THREADS * 50);
    std::unique_lock<std::mutex> lock(mutex);
    EXPECT(changed.wait_for(lock, std::chrono::milliseconds(5)) == std::cv_status::timeout);
}

// Without an exception: with one it hangs in glibc on any CPU (https://gcc.gnu.org/PR66146).
CHECK("call_once runs once in several threads") {
    std::once_flag once;
    std::atomic<int> done{0};
    in_threads([&](int) {
        std::call_once(once, [&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            ++done;
        });
        EXPECT(done == 1);
    });
}

CHECK("a static in a function is made once by several threads") {
    in_threads([](int) {
        static Slow slow;
        (void)slow;
    });
    EXPECT(Slow::made == 1);
}

CHECK("thread_local is each thread's own, and destroyed with it") {
    int before = local_objects;
    local.value = 6;
    std::atomic<int> sum{0};
    in_threads([&](int me) {
        local.value += me;
        sum += local.value;
    });
    EXPECT(sum == 5 * THREADS + 6 && local.value == 6 && local_objects <= before + 1);
}

CHECK("an exception travels from thread to thread") {
    auto future = std::async(std::launch::async, []() -> int { throw std::range_error("there"); });
    try {
        future.get();
        EXPECT(false);
    } catch (const std::range_error &error) {
        EXPECT(error.what() == std::string("there"));
    }
    std::promise<int> promise;
    std::thread thread([&] { promise.set_value(9); });
    EXPECT(promise.get_future().get() == 9);
    thread.join();
}

CHECK("shared_ptr counts right in several threads") {
    struct Watched {
        std::atomic<int> &alive;
        explicit Watched(std::atomic<int> &alive) : alive(alive) { ++alive; }
        ~Watched() { --alive; }
    };
    std::atomic<int> alive{0};
    auto shared = std::make_shared<Watched>(alive);
    std::weak_ptr<Watched> weak = shared;
    in_threads([&](int) {
        for (int i = 0; i < ROUNDS; ++i) EXPECT(weak.lock() != nullptr);
    });
    EXPECT(alive == 1 && shared.use_count() == 1);
    shared.reset();
    EXPECT(alive == 0 && weak.expired());
}

CHECK("readers share a lock, writers do not") {
    std::shared_timed_mutex mutex;
    int value = 0;
    in_threads([&](int me) {
        for (int i = 0; i < 500; ++i) {
            if (me == 0) {
                std::unique_lock<std::shared_timed_mutex> lock(mutex);
                ++value;
            } else {
                std::shared_lock<std::shared_timed_mutex> lock(mutex);
                (void)value;
            }
        }
    });
    EXPECT(value == 500);
}

CHECK("pthread_exit unwinds its thread") {
    static std::atomic<int> unwound{0};
    pthread_t thread;
    EXPECT(pthread_create(&thread, nullptr, [](void *) -> void * {
               struct Guard {
                   ~Guard() { unwound += 1; }
               } guard;
               try {
                   pthread_exit(nullptr);
               } catch (abi::__forced_unwind &) {
                   unwound += 10;
                   throw;
               }
               return nullptr;
           }, nullptr) == 0);
    pthread_join(thread, nullptr);
    EXPECT(unwound == 11);
}

CHECK("a cancelled thread unwinds") {
    static std::atomic<int> unwound{0}, waiting{0};
    pthread_t thread;
    EXPECT(pthread_create(&thread, nullptr, [](void *) -> void * {
               struct Guard {
                   ~Guard() { unwound += 1; }
               } guard;
               for (waiting = 1;;) std::this_thread::sleep_for(std::chrono::milliseconds(1));
           }, nullptr) == 0);
    while (!waiting) std::this_thread::yield();
    pthread_cancel(thread);
    pthread_join(thread, nullptr);
    EXPECT(unwound == 1);
}
