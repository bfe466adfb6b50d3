#include "clock.h"

__attribute__((visibility("hidden")))
int pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t clock, const struct timespec *until)
{
    struct timespec real;

    return realtime(clock, until, &real) ? EINVAL : pthread_rwlock_timedrdlock(lock, &real);
}
