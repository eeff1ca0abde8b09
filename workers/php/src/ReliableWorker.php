<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Takes records into a list of its own, handles them, acknowledges them; gives back what dead workers left. */
final class ReliableWorker
{
    private ReliableQueue $queue;
    private Attempt $attempt;
    private Stop $stop;
    private Log $log;
    private float $ttl;
    private int $handled = 0;
    /** Records at the head of the batch in hand that are handled and not yet acknowledged. */
    private int $done = 0;
    private float $lookedForDeadAt = -INF;

    public function __construct(ReliableQueue $queue, Attempt $attempt, Stop $stop, Log $log, float $ttl)
    {
        $this->queue = $queue;
        $this->attempt = $attempt;
        $this->stop = $stop;
        $this->log = $log;
        $this->ttl = $ttl;
    }

    /** @return int how many records were handled */
    public function run(bool $drain): int
    {
        try {
            $this->queue->register();
            while (!$this->stop->asked()) {
                try {
                    if ($this->turn($drain)) {
                        break;
                    }
                } catch (LeaseLost $e) {
                    // Whoever has the records now handles them; going on here would only make more repeats.
                    $this->log->warning($e->getMessage() . '; starting again');
                    $this->done = 0;
                    $this->queue->register();
                }
            }
            $this->queue->leave($this->done);
        } catch (Interrupted $e) {
            $this->log->warning($e->getMessage() . '; records in hand stay in Redis and will come again');
        }
        return $this->handled;
    }

    /** @return bool true when there is nothing left and none is to be waited for */
    private function turn(bool $drain): bool
    {
        $this->lookForDead();
        $batch = $this->queue->next($this->done);
        $this->done = 0;
        if ($batch !== []) {
            $this->handle($batch);
        } elseif ($drain) {
            if ($this->queue->nothingLeft()) {
                return true;
            }
            // Others have records in hand: they finish them, or die and leave them to us.
            usleep(20000);
        } else {
            $this->queue->await();
        }
        return false;
    }

    /** @param string[] $batch */
    private function handle(array $batch): void
    {
        foreach ($batch as $raw) {
            if ($this->stop->asked()) {
                return;
            }
            $outcome = $this->attempt->handle($raw, function (): void {
                $this->stillHere();
            });
            if ($outcome === Attempt::GIVEN_UP) {
                return;
            }
            $this->handled++;
            if ($outcome === Attempt::REJECTED) {
                $this->acknowledge();
                $this->queue->reject();
            } else {
                $this->done++;
                $this->stillHere();
            }
        }
    }

    private function stillHere(): void
    {
        if ($this->queue->signIsDue()) {
            $this->acknowledge();
        }
    }

    private function acknowledge(): void
    {
        $this->queue->acknowledge($this->done);
        $this->done = 0;
    }

    private function lookForDead(): void
    {
        $now = RedisLink::now();
        if ($now - $this->lookedForDeadAt > $this->ttl / 4) {
            $this->lookedForDeadAt = $now;
            $this->queue->giveBackDead();
        }
    }
}
