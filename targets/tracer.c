/* Traces a process as a debugger does, until standard input ends: `tracer PID` seizes it and leaves it running,
 * `tracer PID stop` also keeps its main thread stopped. Says "ready" when it holds it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  pid_t pid = (pid_t)atoi(argv[1]);
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) {
    perror("PTRACE_SEIZE");
    return 1;
  }
  if (argc > 2 && strcmp(argv[2], "stop") == 0) {
    int status;
    if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0 || waitpid(pid, &status, __WALL) != pid) return 1;
  }
  puts("ready");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  /* The end of a tracer that has seized lets its tracees run on. */
  return 0;
}
