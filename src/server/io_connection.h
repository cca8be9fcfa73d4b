// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "server/io_thread.h"

namespace duly {

// A client's connection, which belongs to one I/O thread. Threading: on that thread.
class IoConnection {
 public:
  virtual ~IoConnection() = default;

  virtual void Start() = 0;
  // Checks the connection's time limits.
  virtual void Tick(IoThread::Time now) = 0;
  // Closes the connection unless it has something to answer; then it closes after the answer.
  virtual void CloseWhenIdle() = 0;
  // Closes the socket; requests in the node are cancelled.
  virtual void Abort() = 0;
};

}  // namespace duly
