/* The smallest program that omprog can talk to: answers, and throws everything away. The ceiling of the transport.
 *
 *     omprog-sink COUNT FILE      makes FILE at the first commit behind COUNT messages or more */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 18];

static int is(const char *line, size_t length, const char *mark) {
  return length == strlen(mark) && memcmp(line, mark, length) == 0;
}

int main(int argc, char **argv) {
  long wanted = argc > 1 ? atol(argv[1]) : 0, count = 0;
  size_t have = 0;
  if (write(1, "OK\n", 3) < 0) return 1;
  for (;;) {
    ssize_t got = read(0, buffer + have, sizeof buffer - have);
    if (got <= 0) return 0;
    have += (size_t)got;
    char *line = buffer, *end = buffer + have, *feed;
    while ((feed = memchr(line, '\n', (size_t)(end - line))) != NULL) {
      size_t length = (size_t)(feed - line);
      const char *answer = "OK\n";
      if (is(line, length, "COMMIT TRANSACTION")) {
        if (count >= wanted && argc > 2) close(open(argv[2], O_CREAT | O_WRONLY, 0600));
      } else if (!is(line, length, "BEGIN TRANSACTION")) {
        count++;
        answer = "DEFER_COMMIT\n";
      }
      if (write(1, answer, strlen(answer)) < 0) return 1;
      line = feed + 1;
    }
    have = (size_t)(end - line);
    memmove(buffer, line, have);
  }
}
