<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Lines on standard error; standard output belongs to the records. */
final class Log
{
    private const LEVELS = ['error' => 3, 'warning' => 4, 'notice' => 5];

    private string $program;
    private bool $forJournal;

    public function __construct(string $program)
    {
        $this->program = $program;
        $this->forJournal = getenv('JOURNAL_STREAM') !== false;
    }

    public function error(string $text): void
    {
        $this->line('error', $text);
    }

    public function warning(string $text): void
    {
        $this->line('warning', $text);
    }

    public function notice(string $text): void
    {
        $this->line('notice', $text);
    }

    private function line(string $level, string $text): void
    {
        // Under systemd the level is the number in front; elsewhere a word is easier to read.
        $head = $this->forJournal ? '<' . self::LEVELS[$level] . '>' : '';
        $tail = $this->forJournal ? '' : $level . ': ';
        fwrite(STDERR, $head . $this->program . ': ' . $tail . strtr($text, "\r\n", '  ') . "\n");
    }
}
