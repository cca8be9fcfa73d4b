// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "placement/incremental.h"
#include "placement/responses.h"

namespace duly::placement {

// Which applications a running cluster bears, and whether it bears one more: asked before one is
// accepted. Applications have names, and so have the models and devices that the cluster has now.
// Those that are accepted may be put on other devices of the cluster when another one comes.
//
// Threading: one owner at a time. A question costs up to kExactChecks predictions.
class Admission {
 public:
  struct Candidate {
    std::string name;
    std::string model;
    double rate_per_s = 0;  // > 0
    Promise slo;
    std::uint64_t memory_bytes = 0;
  };
  struct Place {
    std::string node;
    std::string device;
    friend bool operator==(const Place&, const Place&) = default;
  };
  // How one is off.
  struct Standing {
    Candidate candidate;
    std::optional<Place> place;        // nothing: the cluster has nowhere to run it now
    double utilization = 0;            // of the device
    std::optional<Response> response;  // nothing: nowhere, or the device is overloaded
  };
  struct Decision {
    bool accepted = false;
    Standing standing;  // accepted
    // Refused: what binds on the device where it came furthest. kLatency: whose, maybe its own.
    Verdict verdict;
    std::optional<Place> place;
    std::string application;
  };
  static constexpr int kExactChecks = 64;

  Admission(Cluster cluster, const Limits& limits);
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Models were loaded or unloaded, or service times are known better. Everything stays accepted
  // and where it is; what its device does not run any more goes elsewhere, be it overloaded.
  void SetCluster(Cluster cluster);
  const Limits& limits() const { return limits_; }

  // kAlreadyExists, kNotFound (no such model); a refusal is an answer.
  Result<Decision> Admit(Candidate candidate);
  // Accepts whatever binds, which is the answer.
  Result<Verdict> Declare(Candidate candidate);
  bool Has(std::string_view name) const { return Find(name) != kNowhere; }
  // False: there is none.
  bool Remove(std::string_view name);

  // In the order of their coming, unless others had left.
  std::vector<Standing> Standings() const;
  // Where else in the cluster an accepted one could go at this rate, and everybody's promise holds.
  std::optional<Place> Elsewhere(std::string_view name, double rate_per_s);

 private:
  int Find(std::string_view name) const;
  int ModelOf(std::string_view name) const;
  std::optional<Place> PlaceOf(int device) const;
  Result<int> Enrol(Candidate candidate);
  void Leave(int application);
  // Onto the device where it does least harm.
  void Force(int application);

  const Limits limits_;
  Cluster cluster_;
  // Beside each other. Those without a name have left.
  std::vector<Candidate> candidates_;
  std::vector<Application> applications_;
  std::optional<Placement> placement_;
};

}  // namespace duly::placement
