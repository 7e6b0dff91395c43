/*
 * Runs COUNT processes one after another, each of which executes this program anew and burns MS milliseconds of CPU by
 * its own clock; prints the sum of what they measured of themselves, in nanoseconds, as "cpu SUM ran COUNT".
 * churn COUNT MS [NAME] [THREADS]; NAME (at most 15 bytes) is the command name of the short processes.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long share;

static void *burn(void *unused) {
  volatile unsigned long sink = 0;
  (void)unused;
  while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < share)
    for (int i = 0; i < 2000; i++) sink += i;
  return 0;
}

static int burner(long ms, const char *name, int threads, int report) {
  pthread_t ids[64];
  long used;
  if (threads > 64) threads = 64;
  prctl(PR_SET_NAME, name);
  share = ms * 1000000L / threads;
  for (int i = 1; i < threads; i++) pthread_create(&ids[i], 0, burn, 0);
  burn(0);
  for (int i = 1; i < threads; i++) pthread_join(ids[i], 0);
  used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  return write(report, &used, sizeof used) == sizeof used ? 7 : 1;
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 100;
  const char *ms = argc > 2 ? argv[2] : "10";
  const char *name = argc > 3 ? argv[3] : "churned";
  const char *threads = argc > 4 ? argv[4] : "1";
  int ends[2];
  volatile int ran = 0;
  volatile long sum = 0;
  long used;
  if (argc > 5 && !strcmp(argv[1], "burn")) return burner(atol(ms), name, atoi(threads), atoi(argv[5]));
  if (pipe(ends)) return 1;
  for (int i = 0; i < count; i++) {
    pid_t child = vfork();
    if (child < 0) return 1;
    if (child == 0) {
      char fd[12];
      snprintf(fd, sizeof fd, "%d", ends[1]);
      execl("/proc/self/exe", argv[0], "burn", ms, name, threads, fd, (char *)0);
      _exit(127);
    }
    waitpid(child, 0, 0);
    if (read(ends[0], &used, sizeof used) != sizeof used) return 1;
    sum += used;
    ran++;
  }
  printf("cpu %ld ran %d\n", sum, ran);
  return 0;
}
