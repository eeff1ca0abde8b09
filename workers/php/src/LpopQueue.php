<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** A list whose records leave Redis when they are taken. What was taken and not handled dies with the worker. */
final class LpopQueue
{
    /** Seconds that BLPOP waits: SIGTERM is seen at the latest after that. */
    public const LONGEST_WAIT = 1.0;

    private RedisLink $redis;
    private Names $names;
    private int $batch;
    private bool $lpopCounts = true;
    private Script $pop;

    public function __construct(RedisLink $redis, Names $names, int $batch)
    {
        $this->redis = $redis;
        $this->names = $names;
        $this->batch = $batch;
        $this->pop = new Script('pop');
    }

    /** @return string[] what is there, at most a batch */
    public function take(): array
    {
        return $this->pop($this->batch);
    }

    /**
     * Waits a moment for the first record. A reply that gets lost takes its record with it, here as with LPOP.
     *
     * @return string[]
     */
    public function await(): array
    {
        $reply = $this->redis->call('BLPOP', $this->names->list, (string) (int) self::LONGEST_WAIT);
        if (!is_array($reply) || count($reply) !== 2) {
            return [];
        }
        return array_merge([$reply[1]], $this->batch > 1 ? $this->pop($this->batch - 1) : []);
    }

    /** Keeps a record that the handler rejected. */
    public function reject(string $record): void
    {
        $this->redis->call('RPUSH', $this->names->failed(), $record);
    }

    /** @param string[] $records oldest first; they are the next ones that anybody takes */
    public function putBack(array $records): void
    {
        if ($records !== []) {
            $this->redis->call('LPUSH', $this->names->list, ...array_reverse(array_values($records)));
        }
    }

    /** @return string[] */
    private function pop(int $count): array
    {
        $reply = $this->redis->run(function (\Redis $redis) use ($count) {
            if ($this->lpopCounts) {
                try {
                    return RedisLink::command($redis, ['LPOP', $this->names->list, (string) $count]);
                } catch (\RedisException $e) {
                    // Redis before 6.2 knows LPOP without a count only.
                    if (strpos($e->getMessage(), 'ERR wrong number of arguments') !== 0) {
                        throw $e;
                    }
                    $this->lpopCounts = false;
                }
            }
            return $this->pop->run($redis, [$this->names->list], [(string) $count]);
        });
        return is_array($reply) ? $reply : [];
    }
}
