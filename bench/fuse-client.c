/*
 * Operations per second of one file system operation, from one thread: fuse-client MODE PATH SECONDS.
 * cat: open, read to the end, close; pread: 4 KiB at offset 0 of a file kept open; readdir: a whole folder.
 * Prints operations, seconds and bytes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[131072];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static long once(const char *mode, const char *path, int kept) {
  long bytes = 0, n;
  if (!strcmp(mode, "pread")) return pread(kept, buffer, 4096, 0);
  if (!strcmp(mode, "readdir")) {
    DIR *folder = opendir(path);
    if (!folder) return -1;
    while (readdir(folder)) bytes++;
    closedir(folder);
    return bytes;
  }
  int fd = open(path, O_RDONLY);
  if (fd < 0) return -1;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) bytes += n;
  close(fd);
  return n < 0 ? -1 : bytes;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int kept = open(argv[2], O_RDONLY);
  double start = now(), end = start + atof(argv[3]);
  long operations = 0, bytes = 0;
  while (now() < end) {
    long n = once(argv[1], argv[2], kept);
    if (n <= 0) {
      perror(argv[2]);
      return 1;
    }
    bytes += n;
    operations++;
  }
  printf("%ld %f %ld\n", operations, now() - start, bytes);
  return 0;
}
