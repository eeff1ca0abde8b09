#!/usr/bin/env php
<?php

// The simplest worker. What it has popped and not yet handled is lost when it is killed: at most one batch.
// Where that matters, use reliable.php.

declare(strict_types=1);

namespace FifoBridge\Workers;

require __DIR__ . '/src/autoload.php';

exit(Program::main(
    'lpop.php',
    "Takes records from the left of a Redis list with LPOP. What was taken and not handled is lost when this worker is killed:\n"
        . 'at most --batch records. reliable.php loses none.',
    [],
    static function (Options $options, Server $server, Stop $stop, Log $log): int {
        $redis = new RedisLink($server, $stop, $log, LpopQueue::LONGEST_WAIT, 2.0);
        $queue = new LpopQueue($redis, new Names($options->key()), $options->whole('batch', 1, 1000, 100));
        $attempt = new Attempt(Program::handler($options), $stop, $log, 10.0);
        return (new LpopWorker($queue, $attempt, $stop, $log))->run($options->has('drain'));
    }
));
