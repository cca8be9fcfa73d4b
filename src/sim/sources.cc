// SPDX-License-Identifier: Apache-2.0
#include "sim/sources.h"

#include <fmt/format.h>

#include <utility>

namespace duly::sim {
namespace {

class OpenLoopSource final : public RoutedSource {
 public:
  OpenLoopSource(const workload::ApplicationLoad& load, double load_factor, std::uint64_t seed,
                 const SentRequest& like, std::vector<Target> targets)
      : RoutedSource(like, std::move(targets)),
        arrivals_(workload::MakeArrivals(load.arrivals, load.spec.rate_per_s * load_factor, seed,
                                         load.spec.name)),
        next_(arrivals_->Next()),
        cancel_share_(load.cancel_share),
        cancel_after_(load.cancel_after),
        cancel_(seed, fmt::format("cancel/{}", load.spec.name)) {}

  std::optional<Duration> NextTime() override { return next_; }

 private:
  void Fill(SentRequest& request) override {
    request.scheduled = *next_;
    const bool goes = cancel_share_ > 0 && cancel_.Uniform() < cancel_share_;
    request.cancel_after = goes ? cancel_after_ : Duration(-1);
    next_ = arrivals_->Next();
  }

  const std::unique_ptr<workload::ArrivalProcess> arrivals_;
  std::optional<Duration> next_;
  const double cancel_share_;
  const Duration cancel_after_;
  RandomStream cancel_;
};

class ClosedLoopSource final : public RoutedSource {
 public:
  ClosedLoopSource(const workload::ApplicationLoad& load, double load_factor, std::uint64_t seed,
                   const SentRequest& like, std::vector<Target> targets)
      : RoutedSource(like, std::move(targets)),
        loop_(load.arrivals.clients, FromSeconds(ToSeconds(load.arrivals.think) / load_factor),
              seed, load.spec.name) {}

  std::optional<Duration> NextTime() override { return loop_.NextTime(); }
  bool listens() const override { return true; }
  void OnEnded(std::uint32_t client, Duration at) override { loop_.Answered(client, at); }

 private:
  void Fill(SentRequest& request) override {
    request.scheduled = *loop_.NextTime();
    request.client = loop_.Take();
  }

  workload::ClosedLoop loop_;
};

}  // namespace

const SentRequest& RoutedSource::Send(const Served& served) {
  Fill(request_);
  const auto after = [&](std::size_t target) {
    return target + 1 == targets_.size() ? 0 : target + 1;
  };
  std::size_t chosen = next_;
  for (std::size_t tried = 0; tried < targets_.size(); ++tried) {
    const Target& target = targets_[chosen];
    if (served.Has(target.node, target.arrival.generation)) break;
    chosen = after(chosen);
  }
  request_.node = targets_[chosen].node;
  request_.arrival = targets_[chosen].arrival;
  next_ = after(chosen);
  return request_;
}

std::unique_ptr<RoutedSource> MakeSource(const workload::ApplicationLoad& load, double load_factor,
                                         std::uint64_t seed, const SentRequest& like,
                                         std::vector<RoutedSource::Target> targets) {
  if (load.arrivals.kind == workload::ArrivalSpec::Kind::kClosed) {
    return std::make_unique<ClosedLoopSource>(load, load_factor, seed, like, std::move(targets));
  }
  return std::make_unique<OpenLoopSource>(load, load_factor, seed, like, std::move(targets));
}

}  // namespace duly::sim
