// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/shares.h"

#include <algorithm>

namespace duly {
namespace {

// Within it no sum changes by much.
constexpr Duration kRefreshPeriod = RecentSum::kWindow / 100;

bool Lately(TimePoint now, TimePoint then) {
  return then != TimePoint::min() && now - then <= RecentSum::kWindow;
}

}  // namespace

void Shares::Sent(const View& view, ApplicationIndex application, Duration promise) {
  Account& account = accounts_[application];
  account.promise = promise;
  const bool is_new = !Lately(view.now, account.last_sent);
  account.last_sent = view.now;
  if (is_new || refreshed_ == TimePoint::min() || view.now - refreshed_ >= kRefreshPeriod) {
    Refresh(view);
  }
}

void Shares::Accepted(ApplicationIndex application, DeviceIndex device, Duration service) {
  accounts_[application].device = device;
  accounts_[application].service = service;
}

void Shares::Refused(const View& view, ApplicationIndex application) {
  accounts_[application].last_refused = view.now;
}

void Shares::Refresh(const View& view) {
  refreshed_ = view.now;
  active_.clear();
  active_weight_ = 0;
  longest_waits_.assign(view.devices.size(), Duration::max());
  double given = 0;
  bool anyone_wants = false;
  for (ApplicationIndex a = 0; a < accounts_.size(); ++a) {
    Account& account = accounts_[a];
    account.above = account.below = account.content = false;
    if (!Lately(view.now, account.last_sent)) continue;
    active_.push_back(a);
    Duration& longest_wait = longest_waits_[account.device];
    longest_wait = std::min(longest_wait, account.promise - account.service);
    active_weight_ += view.applications[a].weight;
    account.got = static_cast<double>(view.applications[a].on_time.Value(view.now).count());
    account.entitled = account.got;
    given += account.got;
    anyone_wants = anyone_wants || Lately(view.now, account.last_refused);
  }

  // Those that want no more than an equal share by weight keep what they got; what they leave is
  // shared by the others, which may content another one.
  double weight = active_weight_;
  for (bool settled = true; settled;) {
    settled = false;
    for (const ApplicationIndex a : active_) {
      Account& account = accounts_[a];
      const double own_weight = view.applications[a].weight;
      if (account.content || Lately(view.now, account.last_refused) ||
          (anyone_wants && account.got * weight > given * own_weight)) {
        continue;
      }
      account.content = settled = true;
      given -= account.got;
      weight -= own_weight;
    }
  }
  for (const ApplicationIndex a : active_) {
    Account& account = accounts_[a];
    if (account.content) continue;
    account.entitled = given * view.applications[a].weight / weight;
    account.above = account.got > account.entitled;
    account.below = account.got < account.entitled / 2;
  }
}

double Shares::Overtaking(const View& view, ApplicationIndex application, Duration promise) const {
  const Account& own = accounts_[application];
  double overtaking = 0;
  for (const ApplicationIndex a : active_) {
    const Account& other = accounts_[a];
    if (a == application || other.device != own.device) continue;
    if (other.promise < promise || (own.above && !other.above)) overtaking += other.entitled;
  }
  // Who got less than its share need not leave as much to others.
  if (own.got < own.entitled) overtaking *= own.got / own.entitled;
  const auto capacity = static_cast<double>(RecentSum::kWindow.count()) *
                        static_cast<double>(view.devices[own.device].slots.size());
  const double own_share = view.applications[application].weight / active_weight_;
  return std::min(overtaking / capacity, 1 - own_share);
}

TimePoint Shares::ServerDeadline(const View& view, ApplicationIndex application, Duration work) {
  std::size_t slots = 0;
  for (const Device& device : view.devices) slots += device.slots.size();
  const double rate =
      view.applications[application].weight / active_weight_ * static_cast<double>(slots);
  TimePoint& deadline = accounts_[application].server_deadline;
  deadline = std::max(deadline, view.now) +
             Duration(static_cast<std::int64_t>(static_cast<double>(work.count()) / rate));
  return deadline;
}

}  // namespace duly
