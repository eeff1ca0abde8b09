<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/**
 * A handler throws this for a record that can never succeed (it is malformed, its customer is gone). The record is kept in
 * the list of failed records and the worker goes on. Any other exception means "not now": the same record is tried again.
 */
final class Rejected extends \RuntimeException
{
}
