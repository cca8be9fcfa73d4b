// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/run_report.h"

namespace duly {

// A bound asked for with --require, such as "on_time>=99%", "unanswered=0", "detector.p99_ms<50".
// Keys are those of the JSON document: the counts (with %: of sent; correct: of checked), the
// rates, accuracy_pct, on_time_device_s, and mean_ms, p50_ms ... max_ms of the latency. Before it,
// and a dot, the name of an application; otherwise the total is meant.
struct RunBound {
  enum class Relation : std::uint8_t { kLess, kAtMost, kEqual, kAtLeast, kMore };
  std::string text;
  std::string application;  // empty: the total
  std::string key;
  Relation relation = Relation::kEqual;
  double value = 0;
  bool percent = false;
};

// kInvalidArgument, saying what was expected.
Result<RunBound> ParseRunBound(std::string_view text);

// Nothing when the bound holds; otherwise what the figure is, for a person. A figure that does not
// exist holds no bound.
std::optional<std::string> Violation(const RunBound& bound, const RunReport& report);

}  // namespace duly
