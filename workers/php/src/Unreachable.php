<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** A stop was asked for while Redis could not be used. */
final class Unreachable extends Interrupted
{
}
