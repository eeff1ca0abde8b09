<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Reads entries in batches, handles them one by one, and takes out of the stream what is handled. */
final class StreamWorker
{
    private StreamQueue $queue;
    private Attempt $attempt;
    private Stop $stop;
    private Log $log;
    private int $handled = 0;

    public function __construct(StreamQueue $queue, Attempt $attempt, Stop $stop, Log $log)
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
                $batch = $this->queue->take(!$drain);
                if ($batch !== []) {
                    $this->handle($batch);
                } elseif ($drain) {
                    // The first look at a new stream only makes the group.
                    $batch = $this->queue->take(false);
                    if ($batch === [] && $this->queue->nothingLeft()) {
                        break;
                    }
                    $this->handle($batch);
                    // Others have entries in hand: they finish them, or die and leave them to us.
                    usleep(20000);
                }
            }
        } catch (Unreachable $e) {
            $this->log->warning($e->getMessage() . '; entries in hand stay in Redis and will come again');
        }
        return $this->handled;
    }

    /** @param array<string, string> $batch */
    private function handle(array $batch): void
    {
        // PHP makes numbers of keys that look like numbers; an ID never does.
        $ids = array_keys($batch);
        $done = 0;
        foreach ($ids as $i => $id) {
            $rest = array_slice($ids, $done);
            $outcome = $this->attempt->handle($batch[$id], function () use ($rest): void {
                $this->queue->stillHere($rest);
            });
            if ($outcome === Attempt::GIVEN_UP) {
                break;
            }
            if ($outcome === Attempt::REJECTED) {
                $this->queue->reject($batch[$id]);
            }
            $this->handled++;
            $done = $i + 1;
            $this->queue->stillHere(array_slice($ids, $done));
            if ($this->stop->asked()) {
                break;
            }
        }
        $this->queue->done(array_slice($ids, 0, $done));
    }
}
