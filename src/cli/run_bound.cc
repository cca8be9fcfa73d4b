// SPDX-License-Identifier: Apache-2.0
#include "cli/run_bound.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace duly {
namespace {

using Relation = RunBound::Relation;
using Figure = std::optional<double>;

std::size_t Count(const ApplicationReport& report, Outcome outcome) {
  return report.count(outcome);
}

// A figure and, where a share makes sense, what it is a share of.
struct Key {
  std::string_view name;
  Figure (*figure)(const ApplicationReport&);
  std::size_t (*whole)(const ApplicationReport&) = nullptr;
};

std::size_t Sent(const ApplicationReport& report) { return report.sent; }
std::size_t Checked(const ApplicationReport& report) { return report.checked_rows; }

template <Outcome outcome>
Figure CountOf(const ApplicationReport& report) {
  return static_cast<double>(Count(report, outcome));
}
template <auto member>
Figure Member(const ApplicationReport& report) {
  return static_cast<double>(report.*member);
}
template <auto member>
Figure Latency(const ApplicationReport& report) {
  if (!report.latency) return std::nullopt;
  return (*report.latency).*member;
}

constexpr std::array kKeys = {
    Key{"sent", Member<&ApplicationReport::sent>, Sent},
    Key{"on_time", CountOf<Outcome::kOnTime>, Sent},
    Key{"late", CountOf<Outcome::kLate>, Sent},
    Key{"rejected", CountOf<Outcome::kRejected>, Sent},
    Key{"expired", CountOf<Outcome::kExpired>, Sent},
    Key{"cancelled", CountOf<Outcome::kCancelled>, Sent},
    Key{"failed", CountOf<Outcome::kFailed>, Sent},
    Key{"unanswered", Member<&ApplicationReport::unanswered>, Sent},
    Key{"correct", Member<&ApplicationReport::correct_rows>, Checked},
    Key{"checked", Member<&ApplicationReport::checked_rows>},
    Key{"offered_per_s", Member<&ApplicationReport::offered_per_s>},
    Key{"goodput_per_s", Member<&ApplicationReport::goodput_per_s>},
    Key{"on_time_device_s", Member<&ApplicationReport::on_time_device_s>},
    Key{"accuracy_pct", [](const ApplicationReport& report) { return report.accuracy_pct; }},
    Key{"mean_ms", Latency<&LatencySummary::mean_ms>},
    Key{"p50_ms", Latency<&LatencySummary::p50_ms>},
    Key{"p90_ms", Latency<&LatencySummary::p90_ms>},
    Key{"p95_ms", Latency<&LatencySummary::p95_ms>},
    Key{"p99_ms", Latency<&LatencySummary::p99_ms>},
    Key{"max_ms", Latency<&LatencySummary::max_ms>},
};

// Longer ones first.
constexpr std::array<std::pair<std::string_view, Relation>, 6> kRelations{
    {{">=", Relation::kAtLeast},
     {"<=", Relation::kAtMost},
     {"==", Relation::kEqual},
     {"=", Relation::kEqual},
     {">", Relation::kMore},
     {"<", Relation::kLess}}};

const Key* FindKey(std::string_view name) {
  const auto* found =
      std::find_if(kKeys.begin(), kKeys.end(), [name](const Key& key) { return key.name == name; });
  return found == kKeys.end() ? nullptr : found;
}

bool Holds(Relation relation, double figure, double value) {
  switch (relation) {
    case Relation::kLess:
      return figure < value;
    case Relation::kAtMost:
      return figure <= value;
    case Relation::kEqual:
      return figure == value;
    case Relation::kAtLeast:
      return figure >= value;
    case Relation::kMore:
      return figure > value;
  }
  return false;
}

}  // namespace

Result<RunBound> ParseRunBound(std::string_view text) {
  const auto bad = [text](std::string_view expected) {
    return Error(StatusCode::kInvalidArgument, "bound '{}': expected {}", text, expected);
  };
  RunBound bound;
  bound.text = text;
  const std::size_t at = text.find_first_of("<>=");
  if (at == std::string_view::npos) return bad("a relation, as in on_time>=99%");
  std::string_view key = text.substr(0, at);
  std::string_view value = text.substr(at);
  for (const auto& [word, relation] : kRelations) {
    if (!value.starts_with(word)) continue;
    bound.relation = relation;
    value.remove_prefix(word.size());
    break;
  }
  while (key.ends_with(' ')) key.remove_suffix(1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  // Names of applications may have dots, keys have none.
  if (const std::size_t dot = key.rfind('.'); dot != std::string_view::npos) {
    bound.application = key.substr(0, dot);
    key.remove_prefix(dot + 1);
  }
  bound.key = key;
  const Key* known = FindKey(key);
  if (known == nullptr) {
    std::vector<std::string_view> names;
    for (const Key& each : kKeys) names.push_back(each.name);
    return bad(fmt::format("one of {}", fmt::join(names, ", ")));
  }
  if (value.ends_with('%')) {
    if (known->whole == nullptr) return bad("no %: only counts have shares");
    bound.percent = true;
    value.remove_suffix(1);
  }
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), bound.value);
  if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(bound.value)) {
    return bad("a number, with % for a share");
  }
  return bound;
}

std::optional<std::string> Violation(const RunBound& bound, const RunReport& report) {
  const ApplicationReport* about = bound.application.empty() ? &report.total : nullptr;
  for (const ApplicationReport& application : report.applications) {
    if (about == nullptr && application.name == bound.application) about = &application;
  }
  if (about == nullptr) return fmt::format("there is no application '{}'", bound.application);
  const Key* key = FindKey(bound.key);
  Figure figure = key->figure(*about);
  if (figure && bound.percent) {
    const std::size_t whole = key->whole(*about);
    figure = whole == 0 ? Figure() : 100 * *figure / static_cast<double>(whole);
  }
  if (!figure) return "there is no such figure in this run";
  if (Holds(bound.relation, *figure, bound.value)) return std::nullopt;
  return fmt::format("it is {:.6g}{}", *figure, bound.percent ? "%" : "");
}

}  // namespace duly
