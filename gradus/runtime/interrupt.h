// Ctrl-C as a flag: long work asks `interrupt_requested()` at points where its state is whole, saves, and leaves.
// The flag belongs to the process, because signals do. A library user who has own handlers does not install these.
#pragma once

namespace gradus::runtime {

// From now on SIGINT, SIGTERM and, unless it was ignored (nohup), SIGHUP set the flag. The second such signal also
// restores the system's default, so that a third one ends a program that does not get to its next safe point.
void install_interrupt_handlers();

// True from the first signal, or request_interrupt(), until clear_interrupt(). Any thread.
bool interrupt_requested();

// What the first signal does, without a signal. Any thread.
void request_interrupt();

// Forgets the signals seen so far; the handlers stay as they are.
void clear_interrupt();

// Throws Error{interrupted, "WHAT: interrupted"} if an interrupt was requested.
void throw_if_interrupted(const char* what);

// Ignores SIGPIPE and SIGXFSZ: writing to a pipe that nobody reads, or beyond the limit of a file's size (ulimit -f),
// then fails with an error and does not end the process.
void ignore_write_signals();

}  // namespace gradus::runtime
