// A disk on which no file grows beyond some bytes: while this lives, a longer write fails as it does on a full disk.
#pragma once

#include <signal.h>
#include <sys/resource.h>

namespace gradus::run {

class DiskLimit {
 public:
  explicit DiskLimit(rlim_t bytes) {
    action_ = ::signal(SIGXFSZ, SIG_IGN);  // the write fails with EFBIG and the process lives
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limited{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  DiskLimit(const DiskLimit&) = delete;
  DiskLimit& operator=(const DiskLimit&) = delete;
  ~DiskLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, action_);
  }

 private:
  rlimit before_{};
  void (*action_)(int) = nullptr;
};

}  // namespace gradus::run
