<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** The handler that is used without --handler: appends each record to a file. */
final class Output
{
    /** @var resource */
    private $stream;
    private bool $json;
    private bool $torn = false;

    public function __construct(Options $options)
    {
        $this->json = $options->oneOf('format', ['lines', 'json'], 'lines') === 'json';
        $path = $options->text('out', 'php://stdout');
        $stream = @fopen($path, 'ab');
        if ($stream === false) {
            throw new BadUsage("--out: cannot append to $path: " . self::lastError());
        }
        $this->stream = $stream;
    }

    public function __invoke(Record $record): void
    {
        $line = ($this->json ? self::json($record) : $record->raw) . "\n";
        // After a write that was cut short (disk full) the rest of that line must not be glued to this one.
        $bytes = $this->torn ? "\n" . $line : $line;
        $written = @fwrite($this->stream, $bytes);
        if ($written !== strlen($bytes)) {
            $this->torn = $this->torn || (int) $written > 0;
            throw new \RuntimeException('cannot write the output: ' . self::lastError());
        }
        $this->torn = false;
    }

    /** JSON is text: bytes that are not UTF-8 are replaced in the fields, and the whole record is added in base64. */
    private static function json(Record $record): string
    {
        $object = [
            'parsed' => $record->parsed,
            'facility' => $record->facility,
            'severity' => $record->severity,
            'time' => $record->time,
            'message' => $record->message,
        ];
        if (preg_match('//u', $record->raw) !== 1) {
            $object['raw_base64'] = base64_encode($record->raw);
        }
        $flags = JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR;
        return json_encode($object, $flags);
    }

    private static function lastError(): string
    {
        return error_get_last()['message'] ?? 'no reason given';
    }
}
