/*
 * A machine full of services: COUNT processes named svc00 to svc49, each with 10 open files, every tenth with 4 more
 * threads, two of them busy for 5 % of a CPU; the others sleep, waking every WAKE seconds (0: never, the default). Prints
 * "ready", runs for SECONDS or until its standard input ends; the services end with it.
 * many COUNT SECONDS [WAKE]
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int wake;
/* Inherited by the services: each writes a byte when it is what it will be. */
enum { settled = 3 };

static void nap(void) {
  if (wake > 0) sleep(wake);
  else pause();
}

static void *idle(void *number) {
  char name[16];
  snprintf(name, sizeof name, "worker-%ld", (long)number);
  prctl(PR_SET_NAME, name);
  for (;;) nap();
  return 0;
}

static void busy(void) {
  for (;;) {
    clock_t start = clock();
    while (clock() - start < CLOCKS_PER_SEC / 200) {
    }
    usleep(95000);
  }
}

/* Runs as the service itself: the program is executed anew so that it has its own argv and a normal address space. */
static int service(int index) {
  static char touched[1 << 20];
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  memset(touched, 1, sizeof touched);
  for (int i = 0; i < 7; i++)
    if (open("/dev/null", O_RDONLY) < 0) return 1;
  if (index % 10 == 0)
    for (long i = 0; i < 4; i++) {
      pthread_t id;
      pthread_attr_t small;
      pthread_attr_init(&small);
      pthread_attr_setstacksize(&small, 65536);
      pthread_create(&id, &small, idle, (void *)i);
    }
  if (write(settled, "", 1) != 1) return 1;
  close(settled);
  if (index < 2) busy();
  for (;;) nap();
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 100;
  int seconds = argc > 2 ? atoi(argv[2]) : 60;
  struct pollfd input = {0, POLLIN, 0};
  if (argc > 4) {
    prctl(PR_SET_NAME, argv[0]);
    wake = atoi(argv[3]);
    return service(atoi(argv[4]));
  }
  signal(SIGCHLD, SIG_IGN);
  int pipes[2];
  if (pipe(pipes) != 0 || dup2(pipes[1], 100) < 0 || dup2(pipes[0], 101) < 0) return 1;
  close(pipes[0]);
  close(pipes[1]);
  if (dup2(100, settled) < 0) return 1;
  close(100);
  fcntl(101, F_SETFD, FD_CLOEXEC);
  for (int i = 0; i < count; i++) {
    pid_t child = vfork();
    if (child < 0) return 1;
    if (child == 0) {
      char name[16], index[12];
      snprintf(name, sizeof name, "svc%02d", i % 50);
      snprintf(index, sizeof index, "%d", i);
      execl("/proc/self/exe", name, "0", "0", argc > 3 ? argv[3] : "0", index, (char *)0);
      _exit(127);
    }
  }
  close(settled);
  char byte;
  for (int i = 0; i < count; i++)
    if (read(101, &byte, 1) != 1) return 1;
  puts("ready");
  fflush(stdout);
  poll(&input, 1, seconds * 1000);
  /* PR_SET_PDEATHSIG takes the services with us. */
  return 0;
}
