// SPDX-License-Identifier: Apache-2.0
#include "server/application_service.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/log.h"
#include "server/repository_json.h"

namespace duly {
namespace {

using placement::Constraint;
using placement::HotSpots;
using placement::Promise;

constexpr double kMillis = 1e3;
constexpr double kDefaultQuantile = 0.95;
constexpr const char* kElsewhere = "another node";

template <typename... Values>
tl::unexpected<Status> BadApplication(fmt::format_string<Values...> format, Values&&... values) {
  return Error(StatusCode::kInvalidArgument, "application: {}",
               fmt::format(format, std::forward<Values>(values)...));
}

Result<double> ReadNumber(const nlohmann::json& value, std::string_view name, double least,
                          double most) {
  const double number =
      value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (number >= least && number <= most) return number;
  return BadApplication("'{}': expected a number from {} to {}", name, least, most);
}

Result<std::string> ReadText(const nlohmann::json& value, std::string_view name) {
  constexpr std::size_t kMost = 256;
  const auto* text = value.get_ptr<const std::string*>();
  if (text != nullptr && !text->empty() && text->size() <= kMost) return *text;
  return BadApplication("'{}': expected a name of 1 to {} bytes", name, kMost);
}

struct Asked {
  ApplicationSpec spec;
  placement::Admission::Candidate candidate;
};

Status ReadField(const std::string& key, const nlohmann::json& value, Asked& asked) {
  constexpr double kLeast = 1e-6;
  constexpr double kMost = 1e9;
  const auto number = [&](double& into, double least, double most) {
    const Result<double> read = ReadNumber(value, key, least, most);
    if (!read) return read.error();
    into = *read;
    return Status();
  };
  const auto text = [&](std::string& into) {
    Result<std::string> read = ReadText(value, key);
    if (!read) return read.error();
    into = *std::move(read);
    return Status();
  };
  if (key == "name") return text(asked.spec.name);
  if (key == "model") return text(asked.spec.model);
  if (key == "rate_per_s") return number(asked.spec.rate_per_s, kLeast, kMost);
  if (key == "slo_ms") {
    double slo_ms = 0;
    if (Status status = number(slo_ms, kLeast, kMost); !status.ok()) return status;
    asked.candidate.slo.bound_s = slo_ms / kMillis;
    asked.spec.slo = FromSeconds(asked.candidate.slo.bound_s);
    return Status();
  }
  if (key == "percentile") {
    if (value == "mean") {
      asked.candidate.slo.quantile = 0;
      return Status();
    }
    const Result<double> read = ReadNumber(value, key, 0.5, 0.9999);
    if (!read) {
      return BadApplication("'percentile': expected \"mean\" or a number from 0.5 to 0.9999")
          .value();
    }
    asked.candidate.slo.quantile = *read;
    return Status();
  }
  if (key == "on_miss") {
    for (const OnMiss on_miss : {OnMiss::kRefuse, OnMiss::kServeLate, OnMiss::kDegrade}) {
      if (value != ToString(on_miss)) continue;
      asked.spec.on_miss = on_miss;
      return Status();
    }
    return BadApplication("'on_miss': expected refuse, serve-late or degrade").value();
  }
  if (key == "weight") return number(asked.spec.weight, kLeast, kMost);
  if (key == "memory_bytes") {
    if (!value.is_number_unsigned()) {
      return BadApplication("'memory_bytes': expected a whole number of bytes").value();
    }
    asked.candidate.memory_bytes = value.get<std::uint64_t>();
    return Status();
  }
  return BadApplication(
             "unknown field '{}': expected name, model, rate_per_s, slo_ms, percentile, on_miss, "
             "weight or memory_bytes",
             key)
      .value();
}

Result<Asked> ReadApplication(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonObject(body));
  Asked asked;
  asked.candidate.slo.quantile = kDefaultQuantile;
  for (const char* required : {"name", "model", "rate_per_s", "slo_ms"}) {
    if (!json.contains(required)) return BadApplication("'{}' is missing", required);
  }
  for (const auto& [key, value] : json.items()) {
    DULY_RETURN_IF_ERROR(ReadField(key, value, asked));
  }
  // A bound of the mean is none of any one answer: what is later than it is served.
  if (asked.candidate.slo.quantile == 0 && !json.contains("on_miss")) {
    asked.spec.on_miss = OnMiss::kServeLate;
  }
  asked.candidate.name = asked.spec.name;
  asked.candidate.model = asked.spec.model;
  asked.candidate.rate_per_s = asked.spec.rate_per_s;
  return asked;
}

// One node with a type for each device.
placement::Cluster ClusterOf(const Node& node, std::uint64_t memory_bytes) {
  placement::Cluster cluster;
  placement::Node& only = cluster.nodes.emplace_back();
  only.name = "node";
  only.memory_bytes =
      memory_bytes > 0 ? memory_bytes : std::numeric_limits<std::uint64_t>::max() / 2;
  const std::vector<NodeService> services = node.Services();
  for (const NodeService& service : services) {
    if (only.devices.empty() || only.devices.back().name != service.device) {
      only.devices.push_back({service.device, static_cast<int>(cluster.types.size())});
      cluster.types.push_back({service.device, {.servers = static_cast<int>(service.instances)}});
    }
    queueing::Device& device = cluster.types.back().device;
    device.servers = std::min(device.servers, static_cast<int>(service.instances));
    device.mechanism =
        device.servers > 1 ? queueing::Mechanism::kServers : queueing::Mechanism::kSerial;
  }
  for (const NodeService& service : services) {
    auto model = std::ranges::find(cluster.models, service.model, &placement::Model::name);
    if (model == cluster.models.end()) {
      cluster.models.push_back({service.model, std::vector<std::optional<placement::ModelOnDevice>>(
                                                   cluster.types.size())});
      model = cluster.models.end() - 1;
    }
    const auto type =
        std::ranges::find(cluster.types, service.device, &placement::DeviceType::name);
    // A curve may say 0 for what is quicker than its clock.
    const double mean_s = std::max(ToSeconds(service.mean), 1e-9);
    model->on[static_cast<std::size_t>(type - cluster.types.begin())] = placement::ModelOnDevice{
        .service = {mean_s, service.cv2}, .memory_bytes = service.memory_bytes};
  }
  return cluster;
}

Promise PromiseOf(const Node& node, const ApplicationSpec& spec) {
  std::optional<Duration> slo = spec.slo;
  if (!slo && !spec.timeout) {
    if (const auto model = node.FindModel(spec.model, -1)) slo = model->spec.slo;
  }
  return {slo ? ToSeconds(*slo) : std::numeric_limits<double>::infinity(), kDefaultQuantile};
}

// "latency: its p95 would be 131 ms of 100 ms"
std::string ReasonOf(const placement::Verdict& verdict, std::string_view application,
                     std::string_view candidate) {
  switch (verdict.constraint) {
    case Constraint::kNone:
    case Constraint::kUnsupported:
      break;
    case Constraint::kMemory:
      return fmt::format("memory: {:.0f} bytes of {:.0f}", verdict.value, verdict.bound);
    case Constraint::kUtilization:
      return fmt::format("utilization: {:.3f} of {:.3f}", verdict.value, verdict.bound);
    case Constraint::kLatency:
      return fmt::format("latency: {} would see {:.4g} ms of {:.4g} ms",
                         application == candidate ? "it" : fmt::format("'{}'", application),
                         verdict.value * kMillis, verdict.bound * kMillis);
  }
  return "no device runs its model";
}

std::uint64_t CountOf(const ApplicationStats& stats, Outcome outcome) {
  return stats.outcomes.at(static_cast<std::size_t>(outcome));
}

// Between two readings of one application's statistics.
class Since {
 public:
  Since(const ApplicationStats& before, const ApplicationStats& now) : before_(before), now_(now) {}

  std::uint64_t Of(Outcome outcome) const {
    return CountOf(now_, outcome) - CountOf(before_, outcome);
  }
  HotSpots::Answers Answers() const {
    HotSpots::Answers answers;
    answers.late = Of(Outcome::kLate);
    answers.answered = Of(Outcome::kOnTime) + answers.late;
    answers.unanswered = Of(Outcome::kRejected) + Of(Outcome::kExpired);
    answers.sum_s = ToSeconds(now_.response_time.total - before_.response_time.total);
    for (std::size_t b = 0; b < Buckets(); ++b) {
      const double middle_s = (LowerOf(b) + UpperOf(b)) / 2;
      answers.squares_s2 += static_cast<double>(In(b)) * middle_s * middle_s;
    }
    return answers;
  }
  // Linear within the bucket.
  double Quantile(double quantile) const {
    std::uint64_t all = 0;
    for (std::size_t b = 0; b < Buckets(); ++b) all += In(b);
    double wanted = quantile * static_cast<double>(all);
    for (std::size_t b = 0; b < Buckets(); ++b) {
      const auto here = static_cast<double>(In(b));
      if (here > 0 && wanted <= here) {
        return LowerOf(b) + (UpperOf(b) - LowerOf(b)) * wanted / here;
      }
      wanted -= here;
    }
    return 0;
  }

 private:
  static std::size_t Buckets() { return Histogram::kBounds.size() + 1; }
  static double LowerOf(std::size_t bucket) {
    return bucket == 0 ? 0 : ToSeconds(Duration(Histogram::kBounds.at(bucket - 1)));
  }
  static double UpperOf(std::size_t bucket) {
    return bucket < Histogram::kBounds.size() ? ToSeconds(Duration(Histogram::kBounds.at(bucket)))
                                              : 2 * LowerOf(bucket);
  }
  std::uint64_t In(std::size_t bucket) const {
    return now_.response_time.counts.at(bucket) - before_.response_time.counts.at(bucket);
  }

  const ApplicationStats& before_;
  const ApplicationStats& now_;
};

}  // namespace

ApplicationService::ApplicationService(Node& node, const ApplicationServiceOptions& options)
    : node_(node),
      memory_bytes_(options.memory_bytes),
      spot_options_(options.hot_spots),
      admission_(ClusterOf(node, options.memory_bytes), options.limits) {
  {
    const EngineStats stats = node_.Stats();
    const MutexLock lock(mutex_);
    for (std::size_t i = 0; i < options.declared.size(); ++i) {
      const ApplicationSpec& spec = options.declared[i];
      if (spec.rate_per_s <= 0) continue;
      const Promise slo = PromiseOf(node_, spec);
      const Result<placement::Verdict> verdict =
          admission_.Declare({spec.name, spec.model, spec.rate_per_s, slo});
      if (!verdict) {
        spdlog::warn("application '{}' does not count as accepted: {}", spec.name,
                     verdict.error().message());
        continue;
      }
      if (!verdict->ok()) {
        spdlog::warn("application '{}' is declared but does not fit: {}", spec.name,
                     ReasonOf(*verdict, "an application", ""));
      }
      Watch(static_cast<ApplicationIndex>(i), spec, slo, stats, true);
    }
  }
  if (options.look_every > Duration(0)) {
    looker_ = std::jthread(
        [this, every = options.look_every](const std::stop_token& stop) { LookLoop(stop, every); });
  }
}

ApplicationService::~ApplicationService() {
  if (!looker_.joinable()) return;
  looker_.request_stop();
  looker_.join();
}

void ApplicationService::LookLoop(const std::stop_token& stop, Duration every) {
  pthread_setname_np(pthread_self(), "duly-look");
  for (;;) {
    {
      const MutexLock lock(mutex_);
      stopped_.wait_for(mutex_, stop, every, [] { return false; });
    }
    if (stop.stop_requested()) return;
    Look();
  }
}

void ApplicationService::Watch(ApplicationIndex index, const ApplicationSpec& spec,
                               placement::Promise slo, const EngineStats& stats, bool is_declared) {
  const ApplicationStats now =
      index < stats.applications.size() ? stats.applications[index] : ApplicationStats();
  watched_.push_back({.name = spec.name,
                      .index = index,
                      .is_declared = is_declared,
                      .spec = spec,
                      .slo = slo,
                      .spots = HotSpots({slo}, spot_options_),
                      .seen = now,
                      .begin = now,
                      .begin_at = node_.Now(),
                      .measured = std::nullopt,
                      .proposal = {}});
}

Result<ApplicationService::Answer> ApplicationService::Admit(std::string_view body) {
  DULY_ASSIGN_OR_RETURN(Asked asked, ReadApplication(body));
  const MutexLock lock(mutex_);
  Answer answer;
  nlohmann::ordered_json& json = answer.json;
  const auto refuse = [&](std::string_view constraint, std::string reason) {
    json = {{"accepted", false},
            {"name", asked.spec.name},
            {"error", fmt::format("application '{}' is refused: {}", asked.spec.name, reason)},
            {"constraint", constraint}};
  };
  for (const auto& model : node_.Models()) {
    if (model->FindApplication(asked.spec.name) == kNoIndex) continue;
    refuse("name", fmt::format("model '{}' has an application of this name", model->spec.name));
    return answer;
  }
  admission_.SetCluster(ClusterOf(node_, memory_bytes_));
  Result<placement::Admission::Decision> decision = admission_.Admit(asked.candidate);
  if (!decision) {
    if (decision.error().code() != StatusCode::kAlreadyExists) return Error(decision.error());
    refuse("name", decision.error().message());
    return answer;
  }
  if (!decision->accepted) {
    const placement::Verdict& verdict = decision->verdict;
    refuse(placement::ToString(verdict.constraint),
           ReasonOf(verdict, decision->application, asked.spec.name));
    if (decision->place) json["device"] = decision->place->device;
    if (verdict.constraint == Constraint::kLatency) {
      json["application"] = decision->application;
      json["value_ms"] = verdict.value * kMillis;
      json["bound_ms"] = verdict.bound * kMillis;
    } else if (verdict.constraint != Constraint::kUnsupported) {
      json["value"] = verdict.value;
      json["bound"] = verdict.bound;
    }
    return answer;
  }
  const Result<ApplicationIndex> index = node_.AddApplication(asked.spec);
  if (!index) {
    admission_.Remove(asked.spec.name);
    return Error(index.error());
  }
  Watch(*index, asked.spec, asked.candidate.slo, node_.Stats(), false);
  answer.accepted = true;
  json = {{"accepted", true}};
  json.update(Describe(decision->standing));
  spdlog::info("application '{}' of model '{}' is accepted", asked.spec.name, asked.spec.model);
  return answer;
}

Status ApplicationService::Remove(const std::string& name) {
  const MutexLock lock(mutex_);
  const auto found = std::ranges::find(watched_, name, &Watched::name);
  if (found == watched_.end()) {
    return Status(StatusCode::kNotFound, fmt::format("no application '{}' is accepted", name));
  }
  if (found->is_declared) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("application '{}' is declared in the node's configuration: expected "
                              "one that was accepted since",
                              name));
  }
  node_.RemoveApplication(name, found->spec.model);
  admission_.Remove(name);
  watched_.erase(found);
  spdlog::info("application '{}' has left", name);
  return Status();
}

nlohmann::ordered_json ApplicationService::Describe(
    const placement::Admission::Standing& standing) const {
  const placement::Admission::Candidate& candidate = standing.candidate;
  nlohmann::ordered_json json = {
      {"name", candidate.name}, {"model", candidate.model}, {"rate_per_s", candidate.rate_per_s}};
  const bool is_promised = std::isfinite(candidate.slo.bound_s);
  if (is_promised) {
    json["slo_ms"] = candidate.slo.bound_s * kMillis;
    json["slo_of"] = NameOf(candidate.slo);
  }
  if (standing.place) {
    json["device"] = standing.place->device;
    json["utilization"] = standing.utilization;
  }
  if (const auto& response = standing.response) {
    json["predicted"] = {{"mean_ms", response->mean_s * kMillis},
                         {"p95_ms", response->p95_s * kMillis},
                         {"p99_ms", response->p99_s * kMillis},
                         {"promised_ms", response->promised_s * kMillis}};
  }
  const auto watched = std::ranges::find(watched_, candidate.name, &Watched::name);
  if (watched == watched_.end()) return json;
  json["declared"] = watched->is_declared;
  json["state"] = watched->is_hot ? "hot" : standing.place ? "ok" : "nowhere";
  if (watched->is_hot) json["proposal"] = watched->proposal;
  if (const auto& measured = watched->measured) {
    json["measured"] = {{"rate_per_s", measured->rate_per_s},
                        {"answers", measured->answered},
                        {"late_share", measured->late_share},
                        {"promised_ms", measured->promised_s * kMillis}};
  }
  return json;
}

nlohmann::ordered_json ApplicationService::List() {
  const MutexLock lock(mutex_);
  admission_.SetCluster(ClusterOf(node_, memory_bytes_));
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const placement::Admission::Standing& standing : admission_.Standings()) {
    list.push_back(Describe(standing));
  }
  return {{"applications", std::move(list)},
          {"limits",
           {{"memory", admission_.limits().memory},
            {"utilization", admission_.limits().utilization},
            {"headroom", admission_.limits().headroom}}}};
}

void ApplicationService::Look() {
  const EngineStats stats = node_.Stats();
  const MutexLock lock(mutex_);
  const TimePoint now = node_.Now();
  for (Watched& watched : watched_) LookAt(watched, stats, now);
}

void ApplicationService::LookAt(Watched& watched, const EngineStats& stats, TimePoint now) {
  if (watched.index >= stats.applications.size()) return;
  const ApplicationStats& latest = stats.applications[watched.index];
  if (std::isfinite(watched.slo.bound_s)) {
    watched.spots.Add(0, now, Since(watched.seen, latest).Answers());
  }
  watched.seen = latest;
  const Duration passed = now - watched.begin_at;
  if (passed >= spot_options_.window) {
    const Since window(watched.begin, latest);
    const HotSpots::Answers answers = window.Answers();
    const auto all = static_cast<double>(answers.answered + answers.unanswered);
    watched.measured.reset();
    if (all > 0) {
      watched.measured = {
          .rate_per_s = all / ToSeconds(passed),
          .answered = answers.answered,
          .late_share = static_cast<double>(answers.late + answers.unanswered) / all,
          .promised_s = watched.slo.quantile > 0 ? window.Quantile(watched.slo.quantile)
                        : answers.answered > 0
                            ? answers.sum_s / static_cast<double>(answers.answered)
                            : 0};
    }
    watched.begin = latest;
    watched.begin_at = now;
  }
  Judge(watched);
}

void ApplicationService::Judge(Watched& watched) {
  const bool was_hot = std::exchange(watched.is_hot, watched.spots.is_hot(0));
  if (!watched.is_hot) {
    if (was_hot) spdlog::info("application '{}' keeps its SLO again", watched.name);
    watched.proposal.clear();
    return;
  }
  if (!was_hot) ++watched.times_hot;
  const double rate_per_s =
      watched.measured ? watched.measured->rate_per_s : watched.spec.rate_per_s;
  const std::optional<placement::Admission::Place> place =
      admission_.Elsewhere(watched.name, rate_per_s);
  std::string proposal = place ? place->device : kElsewhere;
  if (was_hot && proposal == watched.proposal) return;
  watched.proposal = std::move(proposal);
  spdlog::warn(
      "application '{}' has left its SLO ({} within {:.4g} ms): {:.1f} % late at {:.4g}/s; "
      "proposed: {}",
      watched.name, NameOf(watched.slo), watched.slo.bound_s * kMillis,
      watched.measured ? watched.measured->late_share * 100 : 0.0, rate_per_s, watched.proposal);
}

std::vector<ApplicationHeat> ApplicationService::Heats() const {
  const MutexLock lock(mutex_);
  std::vector<ApplicationHeat> heats;
  for (const Watched& watched : watched_) {
    heats.push_back({watched.name, watched.is_hot, watched.times_hot});
  }
  return heats;
}

}  // namespace duly
