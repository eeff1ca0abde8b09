<?php

declare(strict_types=1);

namespace FifoBridge\Workers;

/** What the two programs have in common: checks, help, exit codes. */
final class Program
{
    private const TEMPORARY_FAILURE = 75; // EX_TEMPFAIL
    private const BAD_CONFIGURATION = 78; // EX_CONFIG, so that systemd's RestartPreventExitStatus=78 works

    /**
     * @param array<string, string> $more options of this program alone
     * @param callable(Options, Server, Stop, Log): int $work returns how many records were handled
     */
    public static function main(string $name, string $purpose, array $more, callable $work): int
    {
        $log = new Log($name);
        try {
            $options = Options::parse(array_slice($_SERVER['argv'], 1), $more);
            if ($options->has('help')) {
                fwrite(STDOUT, Options::help($name, $purpose, $more));
                return 0;
            }
            if (!extension_loaded('redis')) {
                throw new BadUsage('PHP has no redis extension; install php-redis (Debian, Ubuntu) or "pecl install redis"');
            }
            $stop = new Stop();
            if (!$stop->listen()) {
                $log->warning('PHP has no pcntl extension: SIGTERM ends this worker at once, also in the middle of a batch');
            }
            $handled = $work($options, new Server($options), $stop, $log);
            $log->notice(($stop->asked() ? 'stopped' : 'drained') . " after $handled records");
            return 0;
        } catch (BadUsage $e) {
            $log->error($e->getMessage());
            return self::BAD_CONFIGURATION;
        } catch (NameTaken $e) {
            $log->error($e->getMessage());
            return self::TEMPORARY_FAILURE;
        }
    }

    /** @return callable(Record, callable): void */
    public static function handler(Options $options): callable
    {
        $file = $options->text('handler', '');
        if ($file === '') {
            return new Output($options);
        }
        if ($options->has('out') || $options->has('format')) {
            throw new BadUsage('--handler and --out do not go together: the handler decides where records go');
        }
        if (!is_file($file)) {
            throw new BadUsage("--handler: there is no file $file");
        }
        $handler = require $file;
        if (!is_callable($handler)) {
            throw new BadUsage("--handler: $file must return a function(Record \$record): void");
        }
        return $handler;
    }
}
