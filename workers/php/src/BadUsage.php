<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** The command line or this PHP cannot be worked with; the message says what to change. */
final class BadUsage extends \RuntimeException
{
}
