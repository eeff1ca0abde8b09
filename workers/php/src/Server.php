<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Where Redis is and how to log in. */
final class Server
{
    /** For log lines; without the password. */
    public string $name;

    private string $host;
    private int $port;
    private int $db;
    private string $user;
    private string $password;
    private string $passwordFile;

    public function __construct(Options $options)
    {
        $this->name = $options->text('server', '127.0.0.1');
        if ($this->name !== '' && $this->name[0] === '/') {
            // phpredis takes a host that begins with "/" for a unix socket, and wants no port then.
            [$this->host, $this->port] = [$this->name, 0];
        } elseif (preg_match('/^(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\/]+))(?::([0-9]{1,5}))?$/D', $this->name, $part) === 1) {
            // phpredis puts the brackets around a v6 address by itself.
            $this->host = $part[1] !== '' ? $part[1] : $part[2];
            $this->port = (int) ($part[3] ?? '6379');
        } else {
            throw new BadUsage("--server is \"{$this->name}\"; it must be host, host:port, [v6]:port or /path/of/socket");
        }
        $this->db = $options->whole('db', 0, 1000000, 0);
        $this->user = $options->text('user', '');
        $this->password = $options->text('password', '');
        $credentials = getenv('CREDENTIALS_DIRECTORY');
        $offered = $credentials === false ? '' : $credentials . '/redis-password';
        $this->passwordFile = $options->text('password-file', is_readable($offered) ? $offered : '');
        if ($this->user !== '' && $this->password === '' && $this->passwordFile === '') {
            throw new BadUsage('--user needs --password-file or --password');
        }
    }

    /**
     * @param float $longest seconds for which a command may block on purpose
     * @throws \RedisException
     */
    public function connect(float $longest): \Redis
    {
        $redis = new \Redis();
        // The read timeout must be longer than any blocking command. If it is not, phpredis gives up ("read error on
        // connection") while Redis still serves the command, and a record that BLPOP takes at that moment is gone.
        $patience = $longest + 5.0;
        // Warnings of the resolver say the same as the exception.
        if (!@$redis->connect($this->host, $this->port, 2.0, null, 0, $patience)) {
            throw new \RedisException('connection refused');
        }
        $redis->setOption(\Redis::OPT_READ_TIMEOUT, (string) $patience);
        if (defined('Redis::OPT_MAX_RETRIES')) {
            // A connection that phpredis opens again by itself would hide the outage from the worker.
            $redis->setOption(\Redis::OPT_MAX_RETRIES, '0');
        }
        $this->logIn($redis);
        if ($this->db !== 0) {
            RedisLink::command($redis, ['SELECT', (string) $this->db]);
        }
        return $redis;
    }

    private function logIn(\Redis $redis): void
    {
        $password = $this->password;
        if ($password === '' && $this->passwordFile !== '') {
            // Read anew each time, so that a changed password needs no restart.
            $content = @file_get_contents($this->passwordFile);
            if ($content === false) {
                throw new \RedisException("cannot read the password file {$this->passwordFile}");
            }
            $password = rtrim($content, "\r\n");
        }
        if ($password !== '') {
            RedisLink::command($redis, $this->user === '' ? ['AUTH', $password] : ['AUTH', $this->user, $password]);
        }
    }
}
