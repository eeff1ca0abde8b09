/* A preloaded library: each fsync and fdatasync takes SLOW_SYNC_US microseconds longer, as on a slower disk. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int slow(long result)
{
	int kept = errno;
	const char *text = getenv("SLOW_SYNC_US");
	long us = text != NULL ? atol(text) : 0;
	struct timespec left = { us / 1000000, us % 1000000 * 1000 };
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
	errno = kept;
	return (int)result;
}

int fsync(int fd)
{
	return slow(syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
	return slow(syscall(SYS_fdatasync, fd));
}
