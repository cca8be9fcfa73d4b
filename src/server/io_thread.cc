// SPDX-License-Identifier: Apache-2.0
#include "server/io_thread.h"

#include <pthread.h>

#include <string>
#include <utility>
#include <vector>

#include "server/io_connection.h"
#include "server/poll_gate.h"

namespace duly {

IoThread::IoThread(std::string name, Duration tick, Turns& turns)
    : tick_(tick),
      turns_(turns),
      work_(context_.get_executor()),
      timer_(context_),
      now_(std::chrono::steady_clock::now()),
      thread_([this, name = std::move(name)] {
        pthread_setname_np(pthread_self(), name.c_str());
        Run();
      }) {}

IoThread::~IoThread() { thread_.join(); }

void IoThread::Run() {
  PollGate gate;
  std::uint64_t turn = 0;
  for (;;) {
    const Time since = std::chrono::steady_clock::now();
    if (!gate.open() || !Poll(turn)) {
      if (context_.run_one() == 0) return;
    }
    const Duration waited = std::chrono::steady_clock::now() - since;
    turn = turns_.fetch_add(1, std::memory_order_relaxed) + 1;
    gate.OnTurn(turn, waited);
    context_.poll();
  }
}

bool IoThread::Poll(std::uint64_t turn) {
  const Time end = std::chrono::steady_clock::now() + PollGate::kLimit;
  do {
    if (context_.poll_one() > 0) return true;
  } while (turns_.load(std::memory_order_relaxed) == turn &&
           std::chrono::steady_clock::now() < end);
  return false;
}

void IoThread::Add(std::shared_ptr<IoConnection> connection) {
  connections_.insert(std::move(connection));
  if (!ticking_) Tick();
}

void IoThread::Remove(const std::shared_ptr<IoConnection>& connection) {
  connections_.erase(connection);
  AfterRemoval();
}

void IoThread::AfterRemoval() {
  if (!connections_.empty()) return;
  if (drained_) std::exchange(drained_, nullptr)();
  if (finishing_) {
    timer_.cancel();
    work_.reset();
  }
}

void IoThread::Tick() {
  now_ = std::chrono::steady_clock::now();
  ticking_ = !connections_.empty();
  if (!ticking_) return;
  // A connection whose time is up leaves the set.
  const std::vector<std::shared_ptr<IoConnection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->Tick(now_);
  timer_.expires_after(tick_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    ticking_ = false;
    if (!error) Tick();
  });
}

void IoThread::Drain(std::function<void()> drained) {
  drained_ = std::move(drained);
  const std::vector<std::shared_ptr<IoConnection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->CloseWhenIdle();
  AfterRemoval();
}

void IoThread::Finish() {
  finishing_ = true;
  const std::vector<std::shared_ptr<IoConnection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->Abort();
  AfterRemoval();
}

}  // namespace duly
