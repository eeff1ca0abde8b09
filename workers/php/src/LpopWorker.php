<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Pops records in batches and handles them one by one. */
final class LpopWorker
{
    private LpopQueue $queue;
    private Attempt $attempt;
    private Stop $stop;
    private Log $log;
    private int $handled = 0;

    public function __construct(LpopQueue $queue, Attempt $attempt, Stop $stop, Log $log)
    {
        $this->queue = $queue;
        $this->attempt = $attempt;
        $this->stop = $stop;
        $this->log = $log;
    }

    /** @return int how many records were handled */
    public function run(bool $drain): int
    {
        try {
            while (!$this->stop->asked()) {
                $batch = $this->queue->take();
                if ($batch === []) {
                    if ($drain) {
                        break;
                    }
                    $batch = $this->queue->await();
                }
                $this->handle($batch);
            }
        } catch (Unreachable $e) {
            $this->log->warning($e->getMessage());
        }
        return $this->handled;
    }

    /**
     * A stop waits for the end of the batch: its records are in no other place.
     *
     * @param string[] $batch
     */
    private function handle(array $batch): void
    {
        $nothing = static function (): void {
        };
        foreach ($batch as $i => $raw) {
            $outcome = $this->attempt->handle($raw, $nothing);
            if ($outcome === Attempt::GIVEN_UP) {
                $this->putBack(array_slice($batch, $i));
                return;
            }
            $this->handled++;
            if ($outcome === Attempt::REJECTED) {
                $this->reject($raw);
            }
        }
    }

    private function reject(string $record): void
    {
        try {
            $this->queue->reject($record);
        } catch (Unreachable $e) {
            $this->log->error('a rejected record is lost: ' . $e->getMessage());
        }
    }

    /** @param string[] $records */
    private function putBack(array $records): void
    {
        try {
            $this->queue->putBack($records);
        } catch (Unreachable $e) {
            $this->log->error(count($records) . ' records in hand are lost: ' . $e->getMessage());
        }
    }
}
