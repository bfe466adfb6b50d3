#include "clock.h"

__attribute__((visibility("hidden")))
int pthread_mutex_clocklock(pthread_mutex_t *lock, clockid_t clock, const struct timespec *until)
{
    struct timespec real;

    return realtime(clock, until, &real) ? EINVAL : pthread_mutex_timedlock(lock, &real);
}
