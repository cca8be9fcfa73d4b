// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <string>
#include <thread>
#include <utility>

namespace duly {

// Does what takes longer than others may wait for, one thing after the other.
// Threading: Post from any thread.
class WorkThread {
 public:
  explicit WorkThread(std::string name);
  // Waits for what was posted.
  ~WorkThread();

  // work may be moved only.
  template <typename Work>
  void Post(Work work) {
    boost::asio::post(context_, std::move(work));
  }

 protected:
  boost::asio::io_context& context() { return context_; }

 private:
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::jthread thread_;
};

}  // namespace duly
