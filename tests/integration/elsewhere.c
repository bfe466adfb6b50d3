/* What differs on another machine, for the programs of a build: the clock is more than a year ahead, and folders are
 * read in another order, the last name first. Preloaded by elsewhere.py. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static const time_t ahead_s = 34567890; /* 400 days and 2 hours */

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead_s;
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *to) {
  struct timespec exact;
  if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
  if (to) *to = exact.tv_sec;
  return exact.tv_sec;
}

struct listing {
  DIR *folder;
  struct dirent **entries;
  size_t count, next;
  struct listing *rest;
};

static struct listing *listings;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int later_first(const void *one, const void *other) {
  return strcmp((*(struct dirent *const *)other)->d_name, (*(struct dirent *const *)one)->d_name);
}

static void forget(DIR *folder) {
  pthread_mutex_lock(&mutex);
  for (struct listing **at = &listings; *at; at = &(*at)->rest) {
    if ((*at)->folder != folder) continue;
    struct listing *old = *at;
    *at = old->rest;
    while (old->count) free(old->entries[--old->count]);
    free(old->entries);
    free(old);
    break;
  }
  pthread_mutex_unlock(&mutex);
}

static struct listing *listed(DIR *folder) {
  static struct dirent *(*real)(DIR *);
  if (!real) real = dlsym(RTLD_NEXT, "readdir");
  for (struct listing *at = listings; at; at = at->rest)
    if (at->folder == folder) return at;
  struct listing *listing = calloc(1, sizeof *listing);
  struct dirent *entry;
  while ((entry = real(folder))) {
    listing->entries = realloc(listing->entries, (listing->count + 1) * sizeof entry);
    listing->entries[listing->count] = malloc(entry->d_reclen < sizeof *entry ? sizeof *entry : entry->d_reclen);
    memcpy(listing->entries[listing->count++], entry, entry->d_reclen);
  }
  qsort(listing->entries, listing->count, sizeof *listing->entries, later_first);
  listing->folder = folder;
  listing->rest = listings;
  return listings = listing;
}

struct dirent *readdir(DIR *folder) {
  pthread_mutex_lock(&mutex);
  struct listing *listing = listed(folder);
  struct dirent *entry = listing->next < listing->count ? listing->entries[listing->next++] : NULL;
  pthread_mutex_unlock(&mutex);
  return entry;
}

/* On 64-bit machines both have the same structure. */
struct dirent64 *readdir64(DIR *folder) { return (struct dirent64 *)readdir(folder); }

int closedir(DIR *folder) {
  static int (*real)(DIR *);
  if (!real) real = dlsym(RTLD_NEXT, "closedir");
  forget(folder);
  return real(folder);
}

void rewinddir(DIR *folder) {
  static void (*real)(DIR *);
  if (!real) real = dlsym(RTLD_NEXT, "rewinddir");
  forget(folder);
  real(folder);
}
