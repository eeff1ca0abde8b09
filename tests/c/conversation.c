/* A C program that uses include/omrust.h, well and badly. Every misuse must come back as a number.
 *
 *     conversation misuse TOML
 *     conversation push TOML COUNT      messages "0" to "COUNT-1", in transactions of ten */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "omrust.h"

#if OMRUST_VERSION < 1
#error "this program was written for version 1"
#endif
_Static_assert(sizeof(omrust_handle) == 8, "a handle is a number");
_Static_assert(OMRUST_RESULT_OK == 0 && OMRUST_RESULT_LATER == 1 && OMRUST_RESULT_INTERNAL == -9, "numbers stay");

static int failed = 0;

static void expect(const char *what, omrust_result got, omrust_result wanted) {
  if (got != wanted) {
    char text[200];
    omrust_last_error(text, sizeof text);
    printf("%s: %d, not %d (%s)\n", what, (int)got, (int)wanted, text);
    failed = 1;
  }
}

static omrust_handle opened(const char *toml) {
  omrust_handle handle;
  expect("open", omrust_open(toml, strlen(toml), &handle), OMRUST_RESULT_OK);
  return handle;
}

static void *from_another_thread(void *argument) {
  omrust_handle *handle = argument;
  expect("message of another thread", omrust_message(*handle, "thread", 6), OMRUST_RESULT_OK);
  return NULL;
}

static void misuse(const char *toml) {
  omrust_handle handle, none = {0}, wild = {~(uint64_t)0};
  omrust_status status = {.size = sizeof status};
  char small[4];
  expect("null text", omrust_open(NULL, 10, &handle), OMRUST_RESULT_ARGUMENT);
  expect("null handle", omrust_open(toml, strlen(toml), NULL), OMRUST_RESULT_ARGUMENT);
  expect("no UTF-8", omrust_open("\xff", 1, &handle), OMRUST_RESULT_ARGUMENT);
  expect("huge text", omrust_open(toml, SIZE_MAX, &handle), OMRUST_RESULT_TOO_LARGE);
  expect("unknown key", omrust_open("[queue]\nx = 1\n", 14, &handle), OMRUST_RESULT_SETTINGS);
  expect("a handle of nothing", omrust_begin(handle), OMRUST_RESULT_HANDLE);
  expect("null path", omrust_open_file(NULL, &handle), OMRUST_RESULT_ARGUMENT);
  expect("no file", omrust_open_file("/nonexistent/omrust.toml", &handle), OMRUST_RESULT_SETTINGS);
  if (omrust_last_error(small, sizeof small) < 4 || strlen(small) != 3) failed = 1, puts("last error");
  if (omrust_last_error(NULL, 0) < 4 || omrust_last_error(NULL, 9) < 4) failed = 1, puts("last error of nothing");
  expect("begin nothing", omrust_begin(none), OMRUST_RESULT_HANDLE);
  expect("begin anything", omrust_begin(wild), OMRUST_RESULT_HANDLE);
  expect("message nothing", omrust_message(none, "x", 1), OMRUST_RESULT_HANDLE);
  expect("commit nothing", omrust_commit(none, 0), OMRUST_RESULT_HANDLE);
  expect("status of nothing", omrust_get_status(none, &status), OMRUST_RESULT_HANDLE);
  expect("close nothing", omrust_close(none, 0), OMRUST_RESULT_HANDLE);

  handle = opened(toml);
  expect("message before begin", omrust_message(handle, "x", 1), OMRUST_RESULT_ORDER);
  expect("commit before begin", omrust_commit(handle, 1000), OMRUST_RESULT_ORDER);
  expect("begin", omrust_begin(handle), OMRUST_RESULT_OK);
  expect("begin twice", omrust_begin(handle), OMRUST_RESULT_ORDER);
  expect("null message", omrust_message(handle, NULL, 5), OMRUST_RESULT_ARGUMENT);
  expect("huge message", omrust_message(handle, "x", SIZE_MAX), OMRUST_RESULT_TOO_LARGE);
  char *long_one = calloc(1, 70 << 20);
  expect("long message", omrust_message(handle, long_one, 70 << 20), OMRUST_RESULT_TOO_LARGE);
  free(long_one);
  expect("empty message", omrust_message(handle, NULL, 0), OMRUST_RESULT_OK);
  expect("any bytes", omrust_message(handle, "a\0b\n\xff", 5), OMRUST_RESULT_OK);
  pthread_t thread;
  if (pthread_create(&thread, NULL, from_another_thread, &handle) == 0) pthread_join(thread, NULL);
  expect("null status", omrust_get_status(handle, NULL), OMRUST_RESULT_ARGUMENT);
  status.size = 4;
  expect("small status", omrust_get_status(handle, &status), OMRUST_RESULT_ARGUMENT);
  status.size = sizeof status;
  expect("status", omrust_get_status(handle, &status), OMRUST_RESULT_OK);
  if (status.held != 3 || status.received != 3) failed = 1, puts("status: not what was handed in");
  expect("commit", omrust_commit(handle, 5000), OMRUST_RESULT_OK);
  expect("commit twice", omrust_commit(handle, 5000), OMRUST_RESULT_ORDER);
  pid_t child = fork();
  if (child == 0) {
    expect("begin in a child", omrust_begin(handle), OMRUST_RESULT_FORKED);
    expect("close in a child", omrust_close(handle, 0), OMRUST_RESULT_FORKED);
    fflush(stdout);
    /* Not _exit: what the parent's other threads hold on their stacks is nobody's in a child, which valgrind would call a leak. */
    const char *result = failed ? "false" : "true";
    execlp(result, result, (char *)NULL);
    _exit(3);
  }
  int ended = -1;
  if (waitpid(child, &ended, 0) != child || ended != 0) failed = 1, puts("the child failed");
  expect("begin after the fork", omrust_begin(handle), OMRUST_RESULT_OK);
  expect("close in a transaction", omrust_close(handle, 5000), OMRUST_RESULT_OK);
  expect("close twice", omrust_close(handle, 0), OMRUST_RESULT_HANDLE);
  expect("commit behind it", omrust_commit(handle, 0), OMRUST_RESULT_HANDLE);

  const char *away = "[redis]\nserver = \"/nonexistent.sock\"\n";
  char *apart = malloc(strlen(toml) + 200);
  sprintf(apart, "%s%s", away, strstr(toml, "[prog]"));
  handle = opened(apart);
  free(apart);
  expect("begin", omrust_begin(handle), OMRUST_RESULT_OK);
  expect("message", omrust_message(handle, "late", 4), OMRUST_RESULT_OK);
  expect("commit without redis", omrust_commit(handle, 50), OMRUST_RESULT_LATER);
  expect("begin while it waits", omrust_begin(handle), OMRUST_RESULT_ORDER);
  expect("message while it waits", omrust_message(handle, "x", 1), OMRUST_RESULT_ORDER);
  expect("commit again", omrust_commit(handle, 0), OMRUST_RESULT_LATER);
  expect("close without redis", omrust_close(handle, 50), OMRUST_RESULT_LATER);
  expect("close twice", omrust_close(handle, 50), OMRUST_RESULT_HANDLE);
  /* The next one brings it away. */
  handle = opened(toml);
  expect("begin", omrust_begin(handle), OMRUST_RESULT_OK);
  expect("commit", omrust_commit(handle, 5000), OMRUST_RESULT_OK);
  expect("close", omrust_close(handle, 0), OMRUST_RESULT_OK);
}

static void push(const char *toml, int count) {
  omrust_handle handle = opened(toml);
  for (int n = 0; n < count; n++) {
    char text[20];
    int length = snprintf(text, sizeof text, "%d", n);
    if (n % 10 == 0) expect("begin", omrust_begin(handle), OMRUST_RESULT_OK);
    expect("message", omrust_message(handle, text, (size_t)length), OMRUST_RESULT_OK);
    if (n % 10 == 9 || n == count - 1) {
      while (omrust_commit(handle, 1000) == OMRUST_RESULT_LATER) {
      }
    }
  }
  expect("close", omrust_close(handle, 5000), OMRUST_RESULT_OK);
}

int main(int argc, char **argv) {
  if (argc < 3 || omrust_version() < OMRUST_VERSION) return 2;
  if (strcmp(argv[1], "misuse") == 0) misuse(argv[2]);
  else if (argc > 3) push(argv[2], atoi(argv[3]));
  if (!failed) puts("good");
  return failed;
}
