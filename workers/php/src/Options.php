<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** The command line of a worker, checked. */
final class Options
{
    /** Name of an option => what --help says about it; a name that ends in "=" takes a value. */
    private const COMMON = [
        'server=' => 'Redis: host, host:port, [v6]:port or /path/of/socket [127.0.0.1:6379]',
        'user=' => 'ACL user [none]',
        'password=' => 'password; others can see it in the process list, so prefer --password-file',
        'password-file=' => 'file with the password; read at every connect [$CREDENTIALS_DIRECTORY/redis-password]',
        'db=' => 'database number [0]',
        'key=' => 'the list, or the stream [rsyslog]',
        'batch=' => 'records taken at once, 1 to 1000 [100]',
        'drain' => 'exit when there is nothing left, instead of waiting for more',
        'handler=' => 'PHP file that returns a function(Record $record): void; without it records are written to --out',
        'out=' => 'append records to this file [standard output]',
        'format=' => 'of --out: "lines" (the record and a line feed) or "json" (one object a line) [lines]',
        'help' => 'show this text',
    ];

    /** @var array<string, string> */
    private array $given;

    /** @param array<string, string> $given */
    private function __construct(array $given)
    {
        $this->given = $given;
    }

    /**
     * PHP's getopt() passes over options that it does not know, so a typing error would run with the defaults.
     *
     * @param string[] $arguments without the program's name
     * @param array<string, string> $more options of this worker, in the form of COMMON
     */
    public static function parse(array $arguments, array $more): self
    {
        $known = self::COMMON + $more;
        $given = [];
        while ($arguments !== []) {
            $argument = (string) array_shift($arguments);
            $parts = explode('=', $argument, 2);
            $name = substr($parts[0], 2);
            if (strpos($argument, '--') !== 0 || $name === '') {
                throw new BadUsage("unexpected argument \"$argument\"; see --help");
            }
            if (isset($known[$name]) && count($parts) === 1) {
                $given[$name] = '';
            } elseif (isset($known[$name . '='])) {
                if (count($parts) === 1 && $arguments === []) {
                    throw new BadUsage("--$name needs a value; see --help");
                }
                $given[$name] = count($parts) === 2 ? $parts[1] : (string) array_shift($arguments);
            } else {
                throw new BadUsage("unknown option \"$argument\"; see --help");
            }
        }
        return new self($given);
    }

    /** @param array<string, string> $more */
    public static function help(string $program, string $purpose, array $more): string
    {
        $text = "Usage: php $program [options]\n\n$purpose\n\nOptions:\n";
        foreach (self::COMMON + $more as $name => $what) {
            $form = '--' . (substr($name, -1) === '=' ? substr($name, 0, -1) . ' VALUE' : $name);
            $text .= sprintf("  %-22s %s\n", $form, $what);
        }
        return $text . "\nExit: 0 stopped or drained, 75 the worker's name is in use, 78 bad options or PHP lacks something.\n";
    }

    public function has(string $name): bool
    {
        return isset($this->given[$name]);
    }

    public function text(string $name, string $default): string
    {
        return $this->given[$name] ?? $default;
    }

    /** @param string[] $allowed */
    public function oneOf(string $name, array $allowed, string $default): string
    {
        $value = $this->text($name, $default);
        if (!in_array($value, $allowed, true)) {
            throw new BadUsage("--$name is \"$value\"; it must be one of: " . implode(', ', $allowed));
        }
        return $value;
    }

    public function whole(string $name, int $least, int $most, int $default): int
    {
        $value = filter_var($this->text($name, (string) $default), FILTER_VALIDATE_INT);
        if ($value === false || $value < $least || $value > $most) {
            throw new BadUsage("--$name is \"{$this->given[$name]}\"; it must be a whole number from $least to $most");
        }
        return $value;
    }

    public function key(): string
    {
        $key = $this->text('key', 'rsyslog');
        if ($key === '') {
            throw new BadUsage('--key must not be empty');
        }
        return $key;
    }
}
