/*
 * Burns CPU on a number of threads, half of them started late, each in a chain of functions of known names and each for
 * SECONDS of its own CPU time. threads THREADS SECONDS LATE_MS; prints "ready" when the first ones run.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long sink;
static double share;

static double used(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

__attribute__((noinline)) void spin_leaf(void) {
  /* Asking for the frame makes the compiler set one up, which it leaves out of leaf functions otherwise. */
  sink += (unsigned long)__builtin_frame_address(0) & 1;
  for (int i = 0; i < 200000; i++) sink += i * 7;
}

__attribute__((noinline)) void spin_middle(void) {
  spin_leaf();
  sink++;
}

__attribute__((noinline)) void *spin_root(void *late) {
  (void)late;
  while (used() < share) spin_middle();
  return 0;
}

__attribute__((noinline)) void *late_root(void *late) {
  spin_root(late);
  sink++;
  return 0;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 2;
  int late_ms = argc > 3 ? atoi(argv[3]) : 300;
  pthread_t ids[256];
  int n = 0;
  if (threads > 256) threads = 256;
  share = argc > 2 ? atof(argv[2]) : 1;
  for (; n < threads / 2; n++) pthread_create(&ids[n], 0, spin_root, 0);
  puts("ready");
  fflush(stdout);
  usleep(late_ms * 1000);
  for (; n < threads; n++) pthread_create(&ids[n], 0, late_root, 0);
  for (int i = 0; i < n; i++) pthread_join(ids[i], 0);
  return 0;
}
