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
        if (!function_exists('pcntl_signal_dispatch')) {
            return false;
        }
        // Not pcntl_async_signals(true): a signal that comes while an exception is thrown would be taken off PHP's queue without
        // a call of its handler. asked() looks at the queue where nothing is being thrown.
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
            pcntl_signal_dispatch();
        }
        return $this->asked;
    }
}
