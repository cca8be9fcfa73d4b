// SPDX-License-Identifier: Apache-2.0
#include "server/work_thread.h"

#include <pthread.h>

namespace duly {

WorkThread::WorkThread(std::string name)
    : work_(context_.get_executor()), thread_([this, name = std::move(name)] {
        pthread_setname_np(pthread_self(), name.c_str());
        context_.run();
      }) {}

WorkThread::~WorkThread() {
  work_.reset();
  thread_.join();
}

}  // namespace duly
