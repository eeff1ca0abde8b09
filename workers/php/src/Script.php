<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** A Lua script of ../lua, called by its hash and sent whole only when Redis does not know it (any more). */
final class Script
{
    private string $source;
    private string $hash;

    public function __construct(string $name)
    {
        $source = file_get_contents(dirname(__DIR__) . "/lua/$name.lua");
        if ($source === false) {
            throw new BadUsage("lua/$name.lua is missing beside the worker; copy the whole folder");
        }
        $this->source = $source;
        $this->hash = sha1($source);
    }

    /**
     * @param string[] $keys
     * @param string[] $arguments
     * @return mixed
     * @throws \RedisException
     */
    public function run(\Redis $redis, array $keys, array $arguments)
    {
        $rest = array_merge([(string) count($keys)], $keys, $arguments);
        try {
            return RedisLink::command($redis, array_merge(['EVALSHA', $this->hash], $rest));
        } catch (\RedisException $e) {
            if (strpos($e->getMessage(), 'NOSCRIPT') !== 0) {
                throw $e;
            }
            return RedisLink::command($redis, array_merge(['EVAL', $this->source], $rest));
        }
    }
}
