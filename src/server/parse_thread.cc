// SPDX-License-Identifier: Apache-2.0
#include "server/parse_thread.h"

#include <pthread.h>

namespace duly {

ParseThread::ParseThread()
    : work_(context_.get_executor()), thread_([this] {
        pthread_setname_np(pthread_self(), "duly-parse");
        context_.run();
      }) {}

ParseThread::~ParseThread() {
  work_.reset();
  thread_.join();
}

}  // namespace duly
