<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** The keys that belong to one list. All of them live in the list's slot of a Redis Cluster. */
final class Names
{
    public string $list;
    private string $prefix;

    public function __construct(string $list)
    {
        $this->list = $list;
        // A key without a hash tag becomes the tag of its companions: list "rsyslog", companions "{rsyslog}:...".
        $this->prefix = preg_match('/^[^{]*\{[^}]+\}/', $list) === 1 ? $list : '{' . $list . '}';
    }

    /** Records that a worker has taken and not yet acknowledged, oldest first. */
    public function processing(string $worker): string
    {
        return "{$this->prefix}:processing:$worker";
    }

    /** Exists as long as the worker lives. */
    public function alive(string $worker): string
    {
        return "{$this->prefix}:alive:$worker";
    }

    /** Hash: worker => who owns the name. */
    public function owners(): string
    {
        return "{$this->prefix}:workers";
    }

    /** List of the records that a handler rejected. */
    public function failed(): string
    {
        return "{$this->prefix}:failed";
    }
}
