<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/**
 * A list whose records are taken into a list of the worker's own, and leave Redis only when they are acknowledged.
 *
 * Every method may be cut off by a lost connection and is then done again; the scripts know what they did already.
 */
final class ReliableQueue
{
    private RedisLink $redis;
    private Names $names;
    private Stop $stop;
    private Log $log;
    private string $worker;
    private int $batch;
    private float $ttl;
    private Script $register;
    private Script $step;
    private Script $giveBack;
    private Script $held;
    private string $token = '';
    private int $acknowledgement = 0;
    private float $signAt = 0.0;
    private bool $canBlock = true;
    private Backoff $poll;

    /** @param float $ttl seconds after which a worker that gave no sign of life is dead to the others */
    public function __construct(RedisLink $redis, Names $names, Stop $stop, Log $log, string $worker, int $batch, float $ttl)
    {
        $this->redis = $redis;
        $this->names = $names;
        $this->stop = $stop;
        $this->log = $log;
        $this->worker = $worker;
        $this->batch = $batch;
        $this->ttl = $ttl;
        $this->register = new Script('register');
        $this->step = new Script('step');
        $this->giveBack = new Script('give-back');
        $this->held = new Script('held');
        $this->poll = new Backoff(0.005, 0.2);
    }

    /** How long a blocking command of a worker with this heartbeat may wait: SIGTERM and the heartbeat are seen in time. */
    public static function longestWait(float $ttl): float
    {
        return min(1.0, $ttl / 4);
    }

    /**
     * A worker that was killed leaves a heartbeat behind. Its successor under the same name waits for that to run out; a
     * heartbeat that is there even then is shown by somebody who lives.
     */
    public function register(): void
    {
        $before = $this->token;
        $this->token = gethostname() . ':' . getmypid() . ':' . bin2hex(random_bytes(8));
        $this->acknowledgement = 0;
        $keys = [$this->names->alive($this->worker), $this->names->owners()];
        $arguments = [$this->worker, $this->token, $this->milliseconds(), $before];
        $deadline = null;
        while (!$this->stop->asked()) {
            $left = $this->script($this->register, $keys, $arguments);
            $now = RedisLink::now();
            if ($left === -1) {
                $this->signAt = $now;
                return;
            }
            if ($deadline === null) {
                $deadline = $now + $left / 1000;
                $this->log->notice("worker {$this->worker} has a heartbeat of an earlier process; waiting for it to run out");
            } elseif ($now > $deadline + 0.5) {
                throw new NameTaken("a worker named {$this->worker} is alive; give each worker a --worker name of its own");
            }
            usleep(50000);
        }
    }

    /**
     * Acknowledges the first $done records of the batch in hand and returns all that this worker has now, oldest first:
     * what is left of the batch, or what an earlier process of this name left, filled up with new records.
     *
     * @return string[]
     */
    public function next(int $done): array
    {
        $records = $this->step($done, '', $this->batch);
        if ($records !== []) {
            $this->poll->reset();
        }
        return $records;
    }

    /** The first $done records of the batch in hand need not come back. A sign of life as well. */
    public function acknowledge(int $done): void
    {
        $this->step($done, '', 0);
    }

    /** Moves the first record of the batch in hand to the failed ones. */
    public function reject(): void
    {
        $this->step(1, 'failed', 0);
    }

    /** True when others could soon take this worker for dead. */
    public function signIsDue(): bool
    {
        return RedisLink::now() - $this->signAt > $this->ttl / 3;
    }

    /** Returns when the list has a record, or a moment later. Takes nothing. */
    public function await(): void
    {
        if (!$this->canBlock) {
            $this->poll->pause();
            return;
        }
        $this->redis->run(function (\Redis $redis): void {
            // From the left of the list to the left of the same list: BLMOVE waits for a record and leaves it where it is.
            // A BLMOVE into the worker's own list could still move a record after the worker was declared dead, when
            // nobody looks into that list any more; and it could not be told to do so only for the owner of the name.
            $wait = sprintf('%.3F', self::longestWait($this->ttl));
            try {
                RedisLink::command($redis, ['BLMOVE', $this->names->list, $this->names->list, 'LEFT', 'LEFT', $wait]);
            } catch (\RedisException $e) {
                if (preg_match('/^(ERR unknown command|NOPERM)/', $e->getMessage()) === 1) {
                    $this->log->notice('no BLMOVE here (Redis before 6.2, or not permitted): looking 5 to 200 times a second instead');
                    $this->canBlock = false;
                } elseif (strpos($e->getMessage(), 'OOM') !== 0) {
                    throw $e;
                }
                // Over maxmemory Redis refuses BLMOVE, but not the step that takes records: keep looking.
                $this->poll->pause();
            }
        });
    }

    /** Gives back what dead workers left. The records are then the next ones that anybody takes. */
    public function giveBackDead(): void
    {
        // After an outage the heartbeats of living workers have run out as well. All of them get the time of a heartbeat
        // to come back before anybody is declared dead.
        if ($this->redis->connectedFor() < $this->ttl) {
            return;
        }
        foreach ($this->others() as $worker) {
            $count = $this->script($this->giveBack, $this->keysOf($worker), [$worker, '']);
            if ($count > 0) {
                $this->log->warning("gave back $count records of worker $worker, which shows no sign of life");
            }
        }
    }

    /** Ends this worker's claim; what it has not acknowledged goes back to the list. */
    public function leave(int $done): void
    {
        if ($done > 0) {
            $this->acknowledge($done);
        }
        $this->script($this->giveBack, $this->keysOf($this->worker), [$this->worker, $this->token]);
    }

    /** True when the list is empty and no other worker, alive or dead, has records in hand. */
    public function nothingLeft(): bool
    {
        $keys = array_map([$this->names, 'processing'], $this->others());
        return $this->script($this->held, array_merge([$this->names->list], $keys), []) === 0;
    }

    /** @return string[] */
    private function step(int $done, string $fate, int $room): array
    {
        if ($done > 0) {
            $this->acknowledgement++;
        }
        $keys = array_merge($this->keysOf($this->worker), [$this->names->failed()]);
        $reply = $this->script($this->step, $keys, [
            $this->worker,
            $this->token,
            $this->milliseconds(),
            (string) $this->acknowledgement,
            (string) $done,
            $fate,
            (string) $room,
        ]);
        if (!is_array($reply)) {
            throw new LeaseLost("the records of worker {$this->worker} were given to others");
        }
        $this->signAt = RedisLink::now();
        return $reply;
    }

    /** @return string[] */
    private function others(): array
    {
        $workers = $this->redis->call('HKEYS', $this->names->owners());
        return array_values(array_diff(is_array($workers) ? $workers : [], [$this->worker]));
    }

    /** @return string[] */
    private function keysOf(string $worker): array
    {
        $names = $this->names;
        return [$names->list, $names->processing($worker), $names->alive($worker), $names->owners()];
    }

    private function milliseconds(): string
    {
        return (string) (int) ($this->ttl * 1000);
    }

    /**
     * @param string[] $keys
     * @param string[] $arguments
     * @return mixed
     */
    private function script(Script $script, array $keys, array $arguments)
    {
        return $this->redis->run(static function (\Redis $redis) use ($script, $keys, $arguments) {
            return $script->run($redis, $keys, $arguments);
        });
    }
}
