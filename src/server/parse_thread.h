// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>
#include <utility>

#include "server/infer_json.h"

namespace duly {

// Reads and writes JSON that takes milliseconds, so that other connections' requests do not wait
// for it. Threading: Post from any thread; the decoder on this thread.
class ParseThread {
 public:
  ParseThread();
  // Waits for what was posted.
  ~ParseThread();

  template <typename Work>
  void Post(Work work) {
    boost::asio::post(context_, std::move(work));
  }
  InferDecoder& decoder() { return decoder_; }

 private:
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  InferDecoder decoder_;
  std::jthread thread_;
};

}  // namespace duly
