// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_set>

#include "base/time.h"
#include "server/infer_json.h"

namespace duly {

class IoConnection;

// Bound to the type of the executor: nothing is looked up on the way to an event.
using TcpSocket =
    boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;

// One I/O thread with its connections.
// Threading: everything but the constructor, destructor, executor() and RunsHere() on the thread
// itself.
class IoThread {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Counts how often any thread of the server woke up to events, or found some.
  using Turns = std::atomic<std::uint64_t>;

  // tick: how often connections are asked whether their time is up. `turns` outlives the thread.
  IoThread(std::string name, Duration tick, Turns& turns);
  // The thread must have run out of work: see Finish.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  boost::asio::io_context& context() { return context_; }
  bool RunsHere() const { return std::this_thread::get_id() == thread_.get_id(); }

  // A recent time, read once per tick.
  Time now() const { return now_; }
  Duration tick() const { return tick_; }
  InferDecoder& decoder() { return decoder_; }

  void Add(std::shared_ptr<IoConnection> connection);
  void Remove(const std::shared_ptr<IoConnection>& connection);
  // Closes idle connections, now and whenever one becomes idle; calls `drained` once there are
  // none.
  void Drain(std::function<void()> drained);
  // Closes all connections; the thread ends when there are none.
  void Finish();

 private:
  void Run();
  // Looks for events without sleeping, until there are some (true) or it has not paid.
  bool Poll(std::uint64_t turn);
  void Tick();
  void AfterRemoval();

  const Duration tick_;
  Turns& turns_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer timer_;
  bool ticking_ = false;
  bool finishing_ = false;
  Time now_;
  InferDecoder decoder_;
  std::unordered_set<std::shared_ptr<IoConnection>> connections_;
  std::function<void()> drained_;
  std::jthread thread_;
};

}  // namespace duly
