/* omrust.h: records into redis lists, each one once and in order. For C programs; link with omrust.so.
 *
 *     omrust_handle handle;
 *     if (omrust_open_file("/etc/omrust/omrust.toml", &handle) != OMRUST_RESULT_OK) ...
 *     omrust_begin(handle);
 *     omrust_message(handle, "text", 4);
 *     while (omrust_commit(handle, 1000) == OMRUST_RESULT_LATER) ...
 *     omrust_close(handle, 1000);
 *
 * No call panics, prints, exits, or changes how signals are handled. Threads of the library block all signals.
 * Made from omrust/src/abi/c_api.rs: UPDATE=1 cargo test -p omrust --test header */

#ifndef OMRUST_H
#define OMRUST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// The version of this interface. A number grows when something is added; nothing is ever taken away or given another meaning.
#define OMRUST_VERSION 1

// What a call has come to. Numbers are never reused.
enum omrust_result
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  OMRUST_RESULT_OK = 0,
  // Not now. Nothing is lost and nothing has to be handed in again: call omrust_commit() again.
  OMRUST_RESULT_LATER = 1,
  // An argument: a null pointer, or a text that is not UTF-8.
  OMRUST_RESULT_ARGUMENT = -1,
  // No such handle, or it was closed.
  OMRUST_RESULT_HANDLE = -2,
  // The settings; omrust_last_error() names the key.
  OMRUST_RESULT_SETTINGS = -3,
  // Not now: begin, message and commit follow each other.
  OMRUST_RESULT_ORDER = -4,
  // The message is longer than prog.record-max. It was not accepted.
  OMRUST_RESULT_TOO_LARGE = -5,
  // Another thread is in a call with this handle.
  OMRUST_RESULT_BUSY = -6,
  // The process was forked since the handle was opened.
  OMRUST_RESULT_FORKED = -7,
  // The system refused something.
  OMRUST_RESULT_SYSTEM = -8,
  // An error of the library's own. The handle is of no more use.
  OMRUST_RESULT_INTERNAL = -9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum omrust_result omrust_result;
#else
typedef int32_t omrust_result;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A conversation. The caller owns it from omrust_open() to omrust_close(); copies are the same one. {0} is none.
typedef struct {
  // Not for callers.
  uint64_t id;
} omrust_handle;

// Numbers of one moment.
typedef struct {
  // Set by the caller to sizeof(omrust_status). Later versions have more behind what is here.
  uint32_t size;
  // 1 while redis takes messages.
  uint32_t connected;
  // Messages that were accepted and are not known to be safe.
  uint64_t held;
  // Messages, those told apart included.
  uint64_t received;
  // Messages that redis has confirmed.
  uint64_t pushed;
  // Messages that came again and were told apart.
  uint64_t duplicates_suppressed;
  // Messages that were set aside.
  uint64_t dead_letters;
  // Messages that went through the spool.
  uint64_t spooled;
  // Bytes of the spool.
  uint64_t spool_bytes;
} omrust_status;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library that is loaded: compare it with OMRUST_VERSION.
uint32_t omrust_version(void);

// Opens a conversation with settings as in omrust.toml(5), in `length` bytes of text. Does not wait for redis.
//
// What an earlier conversation with the same prog.state-directory has left is brought away with the first commit. The handle may be used by any
// thread, by one at a time; several handles may be used at the same time. A handle does not go over a fork.
omrust_result omrust_open(const char *toml,
                          size_t length,
                          omrust_handle *handle);

// The same with the settings in a file.
omrust_result omrust_open_file(const char *path, omrust_handle *handle);

// Begins a transaction.
omrust_result omrust_begin(omrust_handle handle);

// A message of the open transaction: any bytes, also none. OMRUST_RESULT_OK: it is kept, and survives a kill of the process, but is not in redis yet.
// There is no rollback.
omrust_result omrust_message(omrust_handle handle,
                             const void *message,
                             size_t length);

// Commits the open transaction, waiting `wait_ms` milliseconds at most. OMRUST_RESULT_OK: all of it is in redis, or synced in the spool, each message
// once. OMRUST_RESULT_LATER: call it again; nothing else may be called for this handle but omrust_get_status() and omrust_close().
//
// A process that was killed hands its last transaction in again after omrust_open(), whole or message by message, if it does
// not know of an OMRUST_RESULT_OK: what is there already is told apart.
omrust_result omrust_commit(omrust_handle handle,
                            uint32_t wait_ms);

// Numbers of now. The caller sets status->size.
omrust_result omrust_get_status(omrust_handle handle, omrust_status *status);

// Why the last call of this thread that failed did so. Writes at most `size` bytes, NUL included, and returns the length of the whole
// text without NUL. `text` may be null if `size` is 0.
size_t omrust_last_error(char *text,
                         size_t size);

// Ends the conversation and gives up the handle. What is held is brought away within `wait_ms` milliseconds. OMRUST_RESULT_LATER: something is left
// for the next conversation with the same prog.state-directory; the handle is closed all the same.
omrust_result omrust_close(omrust_handle handle,
                           uint32_t wait_ms);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OMRUST_H */
