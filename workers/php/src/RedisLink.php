<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/**
 * A connection to Redis that comes back. Whatever goes wrong (refused, cut, timed out, LOADING, OOM, READONLY, wrong
 * password, wrong type of key) is logged once, and the same work is done again after a pause, on a new connection.
 */
final class RedisLink
{
    private Server $server;
    private Stop $stop;
    private Log $log;
    private float $longest;
    private Backoff $backoff;
    private ?\Redis $redis = null;
    private float $connectedAt = 0.0;
    private string $trouble = '';

    /**
     * @param float $longest seconds for which a command may block on purpose
     * @param float $rarest longest pause between two tries, in seconds
     */
    public function __construct(Server $server, Stop $stop, Log $log, float $longest, float $rarest)
    {
        $this->server = $server;
        $this->stop = $stop;
        $this->log = $log;
        $this->longest = $longest;
        $this->backoff = new Backoff(0.05, $rarest);
    }

    /**
     * The command that was cut off may have been executed: $work must stand being done twice.
     *
     * @template T
     * @param callable(\Redis): T $work
     * @return T
     */
    public function run(callable $work)
    {
        for (;;) {
            try {
                $result = $work($this->connected());
                if ($this->trouble !== '') {
                    $this->log->notice("Redis at {$this->server->name} works again");
                    $this->trouble = '';
                    $this->backoff->reset();
                }
                return $result;
            } catch (\RedisException $e) {
                $this->redis = null;
                if ($e->getMessage() !== $this->trouble) {
                    $this->trouble = $e->getMessage();
                    $this->log->warning("Redis at {$this->server->name}: {$this->trouble}; trying again until it works");
                }
                if ($this->stop->asked()) {
                    throw new Unreachable('asked to stop while Redis could not be used');
                }
                $this->backoff->pause();
            }
        }
    }

    /** @return mixed */
    public function call(string ...$arguments)
    {
        return $this->run(static function (\Redis $redis) use ($arguments) {
            return self::command($redis, $arguments);
        });
    }

    /** Seconds since this connection was made; 0 without one. */
    public function connectedFor(): float
    {
        return $this->redis === null ? 0.0 : self::now() - $this->connectedAt;
    }

    /** A clock that is never set. */
    public static function now(): float
    {
        return hrtime(true) / 1e9;
    }

    /**
     * One command as it is. phpredis throws for some error replies and returns false for others: here all of them throw.
     *
     * @param string[] $arguments
     * @return mixed
     * @throws \RedisException
     */
    public static function command(\Redis $redis, array $arguments)
    {
        $redis->clearLastError();
        $reply = $redis->rawCommand(...$arguments);
        $error = $redis->getLastError();
        if ($error !== null) {
            throw new \RedisException($error);
        }
        return $reply;
    }

    private function connected(): \Redis
    {
        if ($this->redis === null) {
            $this->redis = $this->server->connect($this->longest);
            $this->connectedAt = self::now();
        }
        return $this->redis;
    }
}
