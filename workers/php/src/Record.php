<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/**
 * One element of the Redis list: `~FACILITY|SEVERITY|TIME|MESSAGE`, as rsyslog's template wrote it, without the line feed.
 *
 * All fields are bytes, not text: a message may hold NUL, `|`, `~` and invalid UTF-8. The message keeps the blank that
 * rsyslog's %msg% usually begins with.
 */
final class Record
{
    /** The list element, byte for byte. */
    public string $raw;
    /** False when the element does not have the form above; then the fields are empty and `message` is the whole element. */
    public bool $parsed;
    /** Facility, 0 to 23 (%syslogfacility%), e.g. 19 for local3. */
    public string $facility;
    /** Severity, 0 (emergency) to 7 (debug) (%syslogpriority%). */
    public string $severity;
    /** When the central rsyslog took the message (%timegenerated%), e.g. "Mar  1 12:00:00". */
    public string $time;
    public string $message;

    private function __construct(string $raw, bool $parsed, string $facility, string $severity, string $time, string $message)
    {
        $this->raw = $raw;
        $this->parsed = $parsed;
        $this->facility = $facility;
        $this->severity = $severity;
        $this->time = $time;
        $this->message = $message;
    }

    /** Never fails: what cannot be parsed is a record as well, and somebody wants to see it. */
    public static function parse(string $raw): self
    {
        if ($raw !== '' && $raw[0] === '~') {
            // Only the first three bars separate fields; further ones belong to the message.
            $fields = explode('|', substr($raw, 1), 4);
            if (count($fields) === 4) {
                return new self($raw, true, $fields[0], $fields[1], $fields[2], $fields[3]);
            }
        }
        return new self($raw, false, '', '', '', $raw);
    }
}
