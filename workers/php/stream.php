#!/usr/bin/env php
<?php

// A worker for a stream (mode = "stream"). It loses no record when it dies. README.md says what it asks of a handler.

declare(strict_types=1);

namespace FifoBridge\Workers;

require __DIR__ . '/src/autoload.php';

exit(Program::main(
    'stream.php',
    "Reads a Redis stream in a consumer group and loses none of it when it is killed: an entry is taken out only after it was handled.\n"
        . 'Needs Redis 6.2 or later.',
    [
        'group=' => 'the consumer group; it is made if it is missing, and begins at the first entry [workers]',
        'worker=' => 'name of this worker, letters, digits, ".", "_", "-"; unique in the group [HOST-PID]',
        'field=' => 'the field of an entry that holds the record [msg]',
        'ttl=' => 'seconds without a sign of life after which entries in hand go to others, 1 to 3600 [30]',
        'keep' => 'acknowledge entries and leave them in the stream, for other groups or for stream.maxlen',
    ],
    static function (Options $options, Server $server, Stop $stop, Log $log): int {
        $worker = $options->text('worker', preg_replace('/[^A-Za-z0-9._-]/', '-', gethostname() . '-' . getmypid()));
        if (preg_match('/^[A-Za-z0-9._-]{1,128}$/D', $worker) !== 1) {
            throw new BadUsage("--worker is \"$worker\"; it must be 1 to 128 letters, digits, \".\", \"_\" or \"-\"");
        }
        $ttl = (float) $options->whole('ttl', 1, 3600, 30);
        $redis = new RedisLink($server, $stop, $log, StreamQueue::LONGEST_WAIT, min(2.0, $ttl / 4));
        $group = new Group($options->text('group', 'workers'), $worker, $options->text('field', 'msg'));
        $batch = $options->whole('batch', 1, 1000, 100);
        $queue = new StreamQueue($redis, new Names($options->key()), $group, $batch, $ttl, $options->has('keep'));
        $attempt = new Attempt(Program::handler($options), $stop, $log, min(10.0, $ttl / 4));
        return (new StreamWorker($queue, $attempt, $stop, $log))->run($options->has('drain'));
    }
));
