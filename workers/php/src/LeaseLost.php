<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/**
 * This worker's name and records belong to somebody else now: its heartbeat ran out (it was too slow, or stopped by a
 * debugger or a suspended machine) and another worker gave its records back, or Redis lost what it had written.
 */
final class LeaseLost extends Interrupted
{
}
