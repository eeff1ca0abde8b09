<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Who reads a stream, and what of an entry. */
final class Group
{
    public string $name;
    public string $worker;
    public string $field;

    public function __construct(string $name, string $worker, string $field)
    {
        if ($name === '' || $field === '') {
            throw new BadUsage('--group and --field must not be empty');
        }
        [$this->name, $this->worker, $this->field] = [$name, $worker, $field];
    }
}
