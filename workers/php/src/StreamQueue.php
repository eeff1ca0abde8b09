<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/**
 * The stream as one worker of a group sees it. What it was given stays in its name until it is acknowledged; every command may be sent
 * twice, so a lost reply costs nothing.
 */
final class StreamQueue
{
    /** Seconds that XREADGROUP waits: SIGTERM is seen at the latest after that. */
    public const LONGEST_WAIT = 1.0;

    private RedisLink $redis;
    private Names $names;
    private Group $group;
    private int $batch;
    private float $ttl;
    private bool $keep;
    /** The connection over which everything in this worker's name was seen. */
    private ?\Redis $seen = null;
    private float $lookedForDeadAt = -INF;
    private float $signAt = -INF;

    public function __construct(RedisLink $redis, Names $names, Group $group, int $batch, float $ttl, bool $keep)
    {
        $this->redis = $redis;
        $this->names = $names;
        $this->group = $group;
        $this->batch = $batch;
        $this->ttl = $ttl;
        $this->keep = $keep;
    }

    /**
     * The next entries, oldest first; nothing if there are none.
     *
     * @param bool $wait for the first one, a moment
     * @return array<string, string> ID => record
     */
    public function take(bool $wait): array
    {
        return $this->redis->run(function (\Redis $redis) use ($wait): array {
            try {
                // Over a new connection: a reply that was lost has left entries in our name, and so has an earlier life.
                if ($redis !== $this->seen) {
                    $own = $this->read($redis, '0', false);
                    if ($own !== []) {
                        return $own;
                    }
                    $this->seen = $redis;
                }
                $entries = $this->ofTheDead($redis);
                return $entries !== [] ? $entries : $this->read($redis, '>', $wait);
            } catch (\RedisException $e) {
                if (strpos($e->getMessage(), 'NOGROUP') !== 0) {
                    throw $e;
                }
                // A new stream, or a Redis that was emptied.
                RedisLink::command($redis, ['XGROUP', 'CREATE', $this->names->list, $this->group->name, '0', 'MKSTREAM']);
                return [];
            }
        });
    }

    /**
     * These are handled. An entry is deleted before it is acknowledged: killed in between, its ID comes again and its record does not.
     *
     * @param string[] $ids
     */
    public function done(array $ids): void
    {
        if ($ids === []) {
            return;
        }
        if (!$this->keep) {
            $this->redis->call('XDEL', $this->names->list, ...$ids);
        }
        $this->redis->call('XACK', $this->names->list, $this->group->name, ...$ids);
    }

    /** Keeps a record that the handler rejected. */
    public function reject(string $record): void
    {
        $this->redis->call('RPUSH', $this->names->failed(), $record);
    }

    /**
     * This worker lives: what it has in hand stays in its name.
     *
     * @param string[] $ids
     */
    public function stillHere(array $ids): void
    {
        $now = RedisLink::now();
        if ($ids !== [] && $now - $this->signAt > $this->ttl / 4) {
            $this->signAt = $now;
            $words = ['XCLAIM', $this->names->list, $this->group->name, $this->group->worker, '0'];
            $this->unlessGone(array_merge($words, $ids, ['JUSTID']));
        }
    }

    /** @return bool true if no entry is new, and none is in anybody's hands */
    public function nothingLeft(): bool
    {
        $pending = $this->unlessGone(['XPENDING', $this->names->list, $this->group->name]);
        return is_array($pending) && (int) $pending[0] === 0;
    }

    /**
     * @param string[] $words
     * @return mixed null if the group is gone: the next look at the stream makes it again
     */
    private function unlessGone(array $words)
    {
        return $this->redis->run(static function (\Redis $redis) use ($words) {
            try {
                return RedisLink::command($redis, $words);
            } catch (\RedisException $e) {
                if (strpos($e->getMessage(), 'NOGROUP') !== 0) {
                    throw $e;
                }
                return null;
            }
        });
    }

    /** @return array<string, string> */
    private function read(\Redis $redis, string $from, bool $wait): array
    {
        $words = ['XREADGROUP', 'GROUP', $this->group->name, $this->group->worker, 'COUNT', (string) $this->batch];
        if ($wait) {
            array_push($words, 'BLOCK', (string) (int) (self::LONGEST_WAIT * 1000));
        }
        for (;;) {
            $reply = RedisLink::command($redis, array_merge($words, ['STREAMS', $this->names->list, $from]));
            $entries = is_array($reply) && isset($reply[0][1]) ? $reply[0][1] : [];
            $records = $this->records($redis, $entries);
            if ($records !== [] || $entries === []) {
                $this->signAt = RedisLink::now();
                return $records;
            }
        }
    }

    /**
     * What workers have had in hand for too long.
     *
     * @return array<string, string>
     */
    private function ofTheDead(\Redis $redis): array
    {
        $now = RedisLink::now();
        if ($now - $this->lookedForDeadAt < $this->ttl / 4) {
            return [];
        }
        $idle = (string) (int) ($this->ttl * 1000);
        $words = ['XAUTOCLAIM', $this->names->list, $this->group->name, $this->group->worker, $idle, '0-0', 'COUNT', (string) $this->batch];
        $reply = RedisLink::command($redis, $words);
        $entries = $this->records($redis, is_array($reply) && is_array($reply[1]) ? $reply[1] : []);
        // There may be more of them.
        $this->lookedForDeadAt = $entries === [] ? $now : -INF;
        $this->signAt = $now;
        return $entries;
    }

    /**
     * Entries that are gone, deleted or trimmed away, are acknowledged at once: nobody can handle them.
     *
     * @param array<mixed> $entries
     * @return array<string, string>
     */
    private function records(\Redis $redis, array $entries): array
    {
        [$records, $gone] = [[], []];
        foreach ($entries as $entry) {
            // phpredis makes an empty array of the nil in their place; an entry has a field at least.
            if (!is_array($entry) || !is_array($entry[1]) || $entry[1] === []) {
                $gone[] = is_array($entry) ? $entry[0] : null;
                continue;
            }
            $field = array_search($this->group->field, array_filter($entry[1], static fn ($i) => $i % 2 === 0, ARRAY_FILTER_USE_KEY), true);
            $records[$entry[0]] = $field === false ? '' : $entry[1][$field + 1];
        }
        $gone = array_filter($gone);
        if ($gone !== []) {
            RedisLink::command($redis, array_merge(['XACK', $this->names->list, $this->group->name], $gone));
        }
        return $records;
    }
}
