<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Remembers that SIGTERM or SIGINT came, so that a worker ends between two records and not inside one. */
final class Stop
{
    private bool $asked = false;
    private bool $listens = false;

    /** @return bool false when this PHP has no pcntl: then a signal ends the worker at once */
    public function listen(): bool
    {
        if (!function_exists('pcntl_async_signals')) {
            return false;
        }
        pcntl_async_signals(true);
        $remember = function (): void {
            $this->asked = true;
        };
        pcntl_signal(SIGTERM, $remember);
        pcntl_signal(SIGINT, $remember);
        $this->listens = true;
        return true;
    }

    public function asked(): bool
    {
        if ($this->listens) {
            // One that PHP has noted and not handled yet would wait for the next one.
            pcntl_signal_dispatch();
        }
        return $this->asked;
    }
}
