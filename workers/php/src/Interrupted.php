<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Work on the batch in hand must end here. The cause is in the worker or in Redis, not in the record. */
abstract class Interrupted extends \RuntimeException
{
}
