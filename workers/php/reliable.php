#!/usr/bin/env php
<?php

// A worker that loses no record when it dies. README.md says how it works and what it asks of a handler.

declare(strict_types=1);

namespace FifoBridge\Workers;

require __DIR__ . '/src/autoload.php';

exit(Program::main(
    'reliable.php',
    'Takes records from the left of a Redis list and loses none when it is killed: a record leaves Redis only after it was handled.',
    [
        'worker=' => 'name of this worker, letters, digits, ".", "_", "-"; unique among the living [HOST-PID]',
        'ttl=' => 'seconds without a sign of life after which a worker is dead and its records go to others, 1 to 3600 [30]',
    ],
    static function (Options $options, Server $server, Stop $stop, Log $log): int {
        $worker = $options->text('worker', preg_replace('/[^A-Za-z0-9._-]/', '-', gethostname() . '-' . getmypid()));
        if (preg_match('/^[A-Za-z0-9._-]{1,128}$/D', $worker) !== 1) {
            throw new BadUsage("--worker is \"$worker\"; it must be 1 to 128 letters, digits, \".\", \"_\" or \"-\"");
        }
        $ttl = (float) $options->whole('ttl', 1, 3600, 30);
        // No pause may be so long that the others take this worker for dead.
        $rarest = min(2.0, $ttl / 4);
        $redis = new RedisLink($server, $stop, $log, ReliableQueue::longestWait($ttl), $rarest);
        $names = new Names($options->key());
        $queue = new ReliableQueue($redis, $names, $stop, $log, $worker, $options->whole('batch', 1, 1000, 100), $ttl);
        $attempt = new Attempt(Program::handler($options), $stop, $log, min(10.0, $ttl / 4));
        return (new ReliableWorker($queue, $attempt, $stop, $log, $ttl))->run($options->has('drain'));
    }
));
