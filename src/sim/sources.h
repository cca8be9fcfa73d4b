// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/random.h"
#include "sim/simulator.h"
#include "workload/closed_loop.h"
#include "workload/mix.h"

namespace duly::sim {

// Sends to its targets in turn, passing over those that do not serve its model just now.
class RoutedSource : public Source {
 public:
  struct Target {
    std::uint32_t node = 0;
    Arrival arrival;
  };
  // targets: not empty. like: what all of its requests are.
  RoutedSource(const SentRequest& like, std::vector<Target> targets)
      : targets_(std::move(targets)), request_(like) {}

  // From now on to this one alone.
  void SendTo(const Target& target) {
    targets_ = {target};
    next_ = 0;
  }

  const SentRequest& Send(const Served& served) final;

 protected:
  // Fills in all but where it goes.
  virtual void Fill(SentRequest& request) = 0;

 private:
  std::vector<Target> targets_;
  std::size_t next_ = 0;
  SentRequest request_;
};

// By the arrival process of its load, or by clients that wait for their answers.
std::unique_ptr<RoutedSource> MakeSource(const workload::ApplicationLoad& load, double load_factor,
                                         std::uint64_t seed, const SentRequest& like,
                                         std::vector<RoutedSource::Target> targets);

}  // namespace duly::sim
