//! Descriptors 0, 1 and 2 belong to nobody in a daemon, and rsyslogd writes to 1 and 2 all the same.

/// Puts /dev/null onto each of the descriptors 0 to 2 that is closed, so that the next socket or file gets a higher one.
///
/// rsyslogd closes 0 in the child that it forks, and 1 and 2 at the end of its start, when this module may be running already: so
/// this is asked again before each connection, whose look-up of a name opens sockets of its own. What this project opens and keeps
/// gets a number above 2 by itself. Three calls when there is nothing to do.
pub fn keep_low_ones_taken() {
    for fd in 0..3 {
        // SAFETY: asks whether a number is open; any number may be asked for.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
            continue;
        }
        // SAFETY: a path that ends with NUL. The result is left open for good on purpose: it is a place holder that nobody reads.
        let placed = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if placed > 2 {
            // Another thread was faster, with what it opened itself.
            // SAFETY: the descriptor was opened two lines above and nobody else knows it.
            unsafe { libc::close(placed) };
        }
    }
}
