#include "clock.h"

__attribute__((visibility("hidden")))
int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    struct timespec real;

    return realtime(clock, until, &real) ? EINVAL : pthread_cond_timedwait(condition, mutex, &real);
}
