// What long work shows, when the reader of stdout may go away: the work is then asked to save and stop.
#pragma once

#include <exception>

#include "apps/gradus/command.h"
#include "apps/gradus/output.h"
#include "gradus/core/error.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

class OutputWatch {
 public:
  // Ctrl-C, or an output that can no longer be written. The interrupt handlers must be installed.
  bool should_stop() const { return lost_ != nullptr || runtime::interrupt_requested(); }

  // show(), unless nothing can be written any more.
  template <class Show>
  void show(const Show& show) {
    if (lost_) return;
    try {
      show();
    } catch (...) {
      lost_ = std::current_exception();
    }
  }

  // Runs work(), which shows its own end and throws interrupted when it was asked to stop; returns the exit code. When
  // it failed, end_line() ends the line of progress, so that the error begins a line. A stop for want of a reader is
  // quiet, one for another error of the output throws that.
  template <class Work, class EndLine>
  int run(const Work& work, const EndLine& end_line) {
    try {
      work();
      return kDone;
    } catch (const Error& e) {
      if (lost_ && e.code() == ErrorCode::interrupted) {
        try {
          std::rethrow_exception(lost_);
        } catch (const OutputClosed&) {
          return kInterrupted;
        }
      }
      show(end_line);
      throw;
    }
  }

 private:
  std::exception_ptr lost_;
};

}  // namespace gradus::app
