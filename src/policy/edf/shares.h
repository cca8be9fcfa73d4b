// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "policy/interface/view.h"

namespace duly {

// Who is entitled to how much of the node's time, from what was accepted and refused within about
// the last second.
//
// The time that was given out lately belongs to the applications by their weights; what one does
// not want is left to the others (weighted max-min fairness, as fair queueing gives it; Demers,
// Keshav, Shenker 1989). An application wants more than it got if something of it was refused
// lately.
class Shares {
 public:
  void Reserve(const View& view) {
    if (accounts_.size() < view.applications.size()) accounts_.resize(view.applications.size());
  }

  // A request of the application came; `promise` is the time that it leaves to the node.
  void Sent(const View& view, ApplicationIndex application, Duration promise);
  // It was accepted and will run on the device in a batch of this service time.
  void Accepted(ApplicationIndex application, DeviceIndex device, Duration service);
  // It was refused, or sent away later.
  void Refused(const View& view, ApplicationIndex application);

  bool Above(ApplicationIndex application) const { return accounts_[application].above; }
  bool Below(ApplicationIndex application) const { return accounts_[application].below; }

  // The part of the device's time that others will take before a request with this promise: those
  // with shorter promises, and if its application is above its share, all that are not.
  double Overtaking(const View& view, ApplicationIndex application, Duration promise) const;

  // A deadline for a request that has none, so that its application gets no more than its share of
  // the node among those that have promises, however many it sends (Total Bandwidth Server; Spuri
  // and Buttazzo 1994).
  TimePoint ServerDeadline(const View& view, ApplicationIndex application, Duration work);

  // By device: the least promise less its service of what is active there; Duration::max() if
  // nothing is.
  std::span<const Duration> longest_waits() const { return longest_waits_; }

 private:
  struct Account {
    TimePoint last_sent = TimePoint::min();
    TimePoint last_refused = TimePoint::min();
    Duration promise = Duration::max();
    DeviceIndex device = 0;  // of the last that was accepted
    Duration service{0};
    TimePoint server_deadline{};
    // As of the last Refresh.
    double got = 0;       // ns within the last second
    double entitled = 0;  // the same
    bool content = false;
    bool above = false;
    bool below = false;
  };
  void Refresh(const View& view);

  std::vector<Account> accounts_;         // by ApplicationIndex
  std::vector<ApplicationIndex> active_;  // sent something lately
  double active_weight_ = 0;
  std::vector<Duration> longest_waits_;
  TimePoint refreshed_ = TimePoint::min();
};

}  // namespace duly
