<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Pauses that double up to a limit, shortened at random so that many workers do not come back in step. */
final class Backoff
{
    private float $first;
    private float $limit;
    private float $next;

    public function __construct(float $firstSeconds, float $limitSeconds)
    {
        $this->first = min($firstSeconds, $limitSeconds);
        $this->limit = $limitSeconds;
        $this->next = $this->first;
    }

    public function reset(): void
    {
        $this->next = $this->first;
    }

    /** A signal cuts the pause short. */
    public function pause(): void
    {
        usleep((int) ($this->next * random_int(500000, 1000000)));
        $this->next = min($this->next * 2, $this->limit);
    }
}
