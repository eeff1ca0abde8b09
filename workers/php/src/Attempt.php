<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Gives one record to the handler until it is done with it. */
final class Attempt
{
    public const DONE = 1;
    public const REJECTED = 2;
    /** A stop was asked for while the handler kept failing. */
    public const GIVEN_UP = 3;

    /** @var callable(Record, callable): void */
    private $handler;
    private Stop $stop;
    private Log $log;
    private float $rarest;

    /**
     * @param callable(Record, callable): void $handler
     * @param float $rarest longest pause between two tries, in seconds
     */
    public function __construct(callable $handler, Stop $stop, Log $log, float $rarest)
    {
        $this->handler = $handler;
        $this->stop = $stop;
        $this->log = $log;
        $this->rarest = $rarest;
    }

    /** @param callable(): void $stillHere to be called now and then by whoever takes long */
    public function handle(string $raw, callable $stillHere): int
    {
        $record = Record::parse($raw);
        $backoff = null;
        for (;;) {
            try {
                ($this->handler)($record, $stillHere);
                if ($backoff !== null) {
                    $this->log->notice('the handler works again');
                }
                return self::DONE;
            } catch (Interrupted $e) {
                throw $e;
            } catch (Rejected $e) {
                $this->log->error('record rejected: ' . $e->getMessage());
                return self::REJECTED;
            } catch (\Throwable $e) {
                if ($backoff === null) {
                    $where = $e->getFile() . ':' . $e->getLine();
                    $this->log->error("the handler failed: {$e->getMessage()} ($where); trying this record again until it works");
                    $backoff = new Backoff(0.1, $this->rarest);
                }
            }
            if ($this->stop->asked()) {
                return self::GIVEN_UP;
            }
            $backoff->pause();
            $stillHere();
        }
    }
}
