// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace duly {

// `duly serve` of this very program as a process of its own, on free ports of the loopback
// interface. It ends with its owner, whatever happens to that.
class ServerProcess {
 public:
  // Returns once it is ready. stop_fd becomes readable when waiting shall end (kCancelled).
  // kUnavailable: it ended (its stderr, which is ours, says why), or was not ready in time.
  static Result<std::unique_ptr<ServerProcess>> Start(std::span<const std::string> repositories,
                                                      int stop_fd, Duration timeout);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& url() const { return url_; }
  // Ends it as an operator would. kInternal: it did not shut down cleanly.
  Status Stop();

 private:
  explicit ServerProcess(pid_t pid) : pid_(pid) {}
  // Whether it has ended; then status_ says how.
  bool Ended();

  pid_t pid_;  // -1: ended
  int status_ = 0;
  std::string url_;
};

}  // namespace duly
