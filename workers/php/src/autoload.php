<?php

declare(strict_types=1);

// In a project with Composer, map "FifoBridge\\Workers\\" to this folder there and leave this file out.
spl_autoload_register(static function (string $class): void {
    $prefix = 'FifoBridge\\Workers\\';
    if (strpos($class, $prefix) === 0) {
        require __DIR__ . '/' . substr($class, strlen($prefix)) . '.php';
    }
});
