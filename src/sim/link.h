// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/random.h"
#include "base/time.h"

namespace duly::sim {

// One direction between clients and a node.
struct LinkSpec {
  Duration latency{0};
  double bytes_per_s = 0;  // 0: no bound
  double loss = 0;         // share of messages that must be sent again; < 1
  Duration retransmit{0};  // from the end of a lost one until it is sent again
};

// Messages go one behind another, as on one connection: what comes behind a lost one waits for it.
class Link {
 public:
  Link(const LinkSpec& spec, RandomStream stream) : spec_(spec), stream_(std::move(stream)) {}

  const LinkSpec& spec() const { return spec_; }

  // When a message arrives that is sent now; calls do not go back in time.
  TimePoint Arrival(TimePoint now, std::uint64_t bytes) {
    if (spec_.bytes_per_s == 0 && spec_.loss == 0) return now + spec_.latency;
    const Duration transfer = spec_.bytes_per_s == 0
                                  ? Duration(0)
                                  : FromSeconds(static_cast<double>(bytes) / spec_.bytes_per_s);
    free_ = std::max(free_, now) + transfer;
    while (spec_.loss > 0 && stream_.Uniform() < spec_.loss) free_ += spec_.retransmit + transfer;
    return free_ + spec_.latency;
  }

 private:
  LinkSpec spec_;
  RandomStream stream_;
  TimePoint free_{};
};

}  // namespace duly::sim
