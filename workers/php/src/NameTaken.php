<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** Another worker is alive under this name. */
final class NameTaken extends \RuntimeException
{
}
