/* Makes a mounted file system forget what was not forced to its disk, and refuse everything from then on: FS_IOC_SHUTDOWN without a flush
   of the log. Usage: cut-power FOLDER */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

int main(int argc, char **argv) {
    unsigned flags = 2; /* FS_SHUTDOWN_FLAGS_NOLOGFLUSH */
    int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    if (fd < 0 || ioctl(fd, _IOR('X', 125, unsigned), &flags) < 0) {
        perror("cut-power");
        return 1;
    }
    return 0;
}
