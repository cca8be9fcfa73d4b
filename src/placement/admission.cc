// SPDX-License-Identifier: Apache-2.0
#include "placement/admission.h"

#include <algorithm>
#include <utility>

namespace duly::placement {
namespace {

// Of others, from one device to another of the cluster.
constexpr int kMostMoves = 2;

}  // namespace

Admission::Admission(Cluster cluster, const Limits& limits) : limits_(limits) {
  SetCluster(std::move(cluster));
}

int Admission::Find(std::string_view name) const {
  for (std::size_t a = 0; a < candidates_.size(); ++a) {
    if (!name.empty() && candidates_[a].name == name) return static_cast<int>(a);
  }
  return kNowhere;
}

int Admission::ModelOf(std::string_view name) const {
  const auto found = std::ranges::find(cluster_.models, name, &Model::name);
  return found == cluster_.models.end() ? kNowhere
                                        : static_cast<int>(found - cluster_.models.begin());
}

std::optional<Admission::Place> Admission::PlaceOf(int device) const {
  if (device == kNowhere) return std::nullopt;
  const Placement::Site& site = placement_->site(device);
  const Node& node = cluster_.nodes[static_cast<std::size_t>(site.node)];
  return Place{node.name, node.devices[static_cast<std::size_t>(site.index)].name};
}

void Admission::SetCluster(Cluster cluster) {
  std::vector<std::optional<Place>> before(candidates_.size());
  for (std::size_t a = 0; a < before.size(); ++a) {
    before[a] = PlaceOf(placement_->device_of(static_cast<int>(a)));
  }
  placement_.reset();
  cluster_ = std::move(cluster);
  for (std::size_t a = 0; a < candidates_.size(); ++a) {
    applications_[a].model = ModelOf(candidates_[a].model);
  }
  placement_.emplace(cluster_, applications_, Rules{.limits = limits_});
  placement_->ConfirmExactly(kExactChecks);
  for (int a = 0; a < static_cast<int>(before.size()); ++a) {
    if (applications_[static_cast<std::size_t>(a)].model == kNowhere) continue;
    for (int d = 0; d < placement_->devices() && before[static_cast<std::size_t>(a)]; ++d) {
      if (PlaceOf(d) != before[static_cast<std::size_t>(a)] || !placement_->Needs(a, d)) continue;
      placement_->Add(a, d);
      break;
    }
  }
  for (int a = 0; a < static_cast<int>(before.size()); ++a) {
    if (applications_[static_cast<std::size_t>(a)].model == kNowhere) continue;
    if (placement_->device_of(a) != kNowhere) continue;
    if (!placement::Admit(*placement_, a, kMostMoves).done) Force(a);
  }
}

void Admission::Force(int application) {
  int best = kNowhere;
  double least = 0;
  for (int d = 0; d < placement_->devices(); ++d) {
    if (placement_->Needs(application, d) == nullptr) continue;
    placement_->Add(application, d);
    const double utilization = placement_->utilization(d);
    placement_->Remove(application);
    if (best != kNowhere && utilization >= least) continue;
    best = d;
    least = utilization;
  }
  if (best != kNowhere) placement_->Add(application, best);
}

Result<int> Admission::Enrol(Candidate candidate) {
  if (Has(candidate.name)) {
    return Error(StatusCode::kAlreadyExists, "there is an application '{}'", candidate.name);
  }
  const int model = ModelOf(candidate.model);
  if (model == kNowhere) {
    return Error(StatusCode::kNotFound, "no model named '{}' is served", candidate.model);
  }
  const auto free = std::ranges::find(candidates_, "", &Candidate::name);
  const auto at = static_cast<std::size_t>(free - candidates_.begin());
  if (free == candidates_.end()) {
    candidates_.emplace_back();
    applications_.emplace_back();
  }
  applications_[at] = {candidate.name, model, candidate.rate_per_s, candidate.slo,
                       candidate.memory_bytes};
  candidates_[at] = std::move(candidate);
  placement_->SetApplications(applications_);
  placement_->ConfirmExactly(kExactChecks);
  return static_cast<int>(at);
}

void Admission::Leave(int application) {
  if (placement_->device_of(application) != kNowhere) placement_->Remove(application);
  candidates_[static_cast<std::size_t>(application)] = {};
  applications_[static_cast<std::size_t>(application)] = {};
}

Result<Admission::Decision> Admission::Admit(Candidate candidate) {
  DULY_ASSIGN_OR_RETURN(const int application, Enrol(std::move(candidate)));
  Decision decision;
  Change change = placement::Admit(*placement_, application, kMostMoves);
  decision.accepted = change.done;
  if (change.done) {
    const int device = placement_->device_of(application);
    Responses responses(*placement_, Responses::By::kPrediction);
    Standing& standing = decision.standing;
    standing.candidate = candidates_[static_cast<std::size_t>(application)];
    standing.place = PlaceOf(device);
    if (responses.Enter(device)) standing.response = responses.Of(application);
    standing.utilization = responses.utilization();
    return decision;
  }
  decision.verdict = change.refusal.verdict;
  decision.place = PlaceOf(change.refusal.device);
  if (const int whose = decision.verdict.application; whose != kNowhere) {
    decision.application = candidates_[static_cast<std::size_t>(whose)].name;
  }
  Leave(application);
  return decision;
}

Result<Verdict> Admission::Declare(Candidate candidate) {
  DULY_ASSIGN_OR_RETURN(const int application, Enrol(std::move(candidate)));
  Change change = placement::Admit(*placement_, application, kMostMoves);
  if (!change.done) Force(application);
  return change.refusal.verdict;
}

bool Admission::Remove(std::string_view name) {
  const int application = Find(name);
  if (application == kNowhere) return false;
  Leave(application);
  return true;
}

std::vector<Admission::Standing> Admission::Standings() const {
  std::vector<Standing> all(candidates_.size());
  for (std::size_t a = 0; a < all.size(); ++a) all[a].candidate = candidates_[a];
  Responses responses(*placement_, Responses::By::kPrediction);
  for (int d = 0; d < placement_->devices(); ++d) {
    const bool is_stable = responses.Enter(d);
    for (const int a : placement_->on(d)) {
      Standing& standing = all[static_cast<std::size_t>(a)];
      standing.place = PlaceOf(d);
      standing.utilization = responses.utilization();
      if (is_stable) standing.response = responses.Of(a);
    }
  }
  std::erase_if(all, [](const Standing& standing) { return standing.candidate.name.empty(); });
  return all;
}

std::optional<Admission::Place> Admission::Elsewhere(std::string_view name, double rate_per_s) {
  const int application = Find(name);
  if (application == kNowhere) return std::nullopt;
  Application& changed = applications_[static_cast<std::size_t>(application)];
  if (changed.model == kNowhere) return std::nullopt;
  const int from = placement_->device_of(application);
  if (from != kNowhere) placement_->Remove(application);
  placement_->ConfirmExactly(kExactChecks);
  const double declared = std::exchange(changed.rate_per_s, rate_per_s);
  const int to = Gentlest(*placement_, application, from);
  changed.rate_per_s = declared;
  if (from != kNowhere) placement_->Add(application, from);
  return PlaceOf(to);
}

}  // namespace duly::placement
