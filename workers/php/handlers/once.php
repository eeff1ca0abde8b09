<?php

// An example of a handler that may be given the same record twice and still does its job once.
//
// The message carries an id that the sending program chose ("id=..."). The job writes the id down together with what it
// does, in one step; a repeat finds it there. Here the job is a list in Redis, and the one step is a script. With a
// database it is a transaction with a unique key:
//
//     INSERT INTO jobs (id, message) VALUES (?, ?) ON CONFLICT (id) DO NOTHING
//
// ONCE_SERVER is the socket of Redis.

declare(strict_types=1);

use FifoBridge\Workers\Record;
use FifoBridge\Workers\RedisLink;
use FifoBridge\Workers\Rejected;

// Ids are kept for as long as a repeat can still come: a worker's --ttl, and the longest time that all workers may be down.
const KEEP_IDS_FOR_SECONDS = 86400;

$redis = null;

return static function (Record $record) use (&$redis): void {
    if (!$record->parsed) {
        throw new Rejected('not in the form ~FACILITY|SEVERITY|TIME|MESSAGE');
    }
    if (preg_match('/\bid=([0-9A-Za-z-]{1,64})\b/', $record->message, $found) !== 1) {
        throw new Rejected('no id in the message');
    }
    if ($redis === null) {
        $redis = new Redis();
        $redis->connect((string) getenv('ONCE_SERVER'), 0, 2.0, null, 0, 5.0);
    }
    try {
        RedisLink::command($redis, [
            'EVAL',
            "if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then redis.call('RPUSH', KEYS[2], ARGV[2]) end",
            '2',
            '{jobs}:seen:' . $found[1],
            '{jobs}',
            (string) KEEP_IDS_FOR_SECONDS,
            $record->message,
        ]);
    } catch (RedisException $e) {
        // The worker tries this record again, with a new connection.
        $redis = null;
        throw $e;
    }
};
