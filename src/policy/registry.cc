// SPDX-License-Identifier: Apache-2.0
#include "policy/registry.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <vector>

#include "base/units.h"
#include "policy/edf/edf.h"
#include "policy/fifo/fifo.h"
#include "policy/size_or_timeout/size_or_timeout.h"

namespace duly {
namespace {

Result<double> ParseFraction(const std::string& text) {
  double number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > 1) {
    return Error(StatusCode::kInvalidArgument,
                 "'{}' is not a fraction: expected a number from 0 to 1", text);
  }
  return number;
}

// Takes options one by one and remembers the first fault and what was never taken.
class OptionReader {
 public:
  explicit OptionReader(const PolicyOptions& options) : left_(options) {}

  void Read(const std::string& key, Duration& value) {
    Take(key, [&](const std::string& text) { return Assign(ParseDuration(text), value); });
  }
  void ReadFraction(const std::string& key, double& value) {
    Take(key, [&](const std::string& text) { return Assign(ParseFraction(text), value); });
  }
  Status Done(std::string_view policy) const {
    if (!status_.ok()) return status_;
    if (left_.empty()) return Status();
    return Status(
        StatusCode::kInvalidArgument,
        fmt::format("policy '{}' has no option '{}': expected one of: {}", policy,
                    left_.begin()->first, known_.empty() ? "none, it takes no options" : known_));
  }

 private:
  template <typename T>
  static Status Assign(Result<T> result, T& value) {
    if (!result) return result.error();
    value = *result;
    return Status();
  }
  template <typename Use>
  void Take(const std::string& key, Use use) {
    known_ += (known_.empty() ? "" : ", ") + key;
    const auto found = left_.find(key);
    if (found == left_.end()) return;
    const Status status = use(found->second);
    if (status_.ok()) status_ = status.WithContext(key);
    left_.erase(found);
  }

  PolicyOptions left_;
  std::string known_;
  Status status_;
};

constexpr std::array<PolicyEntry, 3> kEntries{{
    {"edf", "earliest deadline first across models, deadline-safe batches, admission by prediction",
     "best_effort (1s), reserve (1ms), max_fill_wait (0)"},
    {"fifo", "first in, first out, one request at a time", ""},
    {"size-or-timeout", "the usual dynamic batching: a preferred size or a delay",
     "max_queue_delay (models without dynamic_batching do not batch), give_up_after (0)"},
}};

}  // namespace

std::span<const PolicyEntry> DispatchPolicies() { return kEntries; }

Result<std::unique_ptr<DispatchPolicy>> MakeDispatchPolicy(std::string_view name,
                                                           const PolicyOptions& options) {
  OptionReader reader(options);
  if (name == "edf") {
    EdfOptions edf;
    reader.Read("best_effort", edf.best_effort);
    reader.Read("reserve", edf.reserve);
    reader.Read("max_fill_wait", edf.max_fill_wait);
    DULY_RETURN_IF_ERROR(reader.Done(name));
    return std::make_unique<EdfPolicy>(edf);
  }
  if (name == "fifo") {
    DULY_RETURN_IF_ERROR(reader.Done(name));
    return std::make_unique<FifoPolicy>();
  }
  if (name == "size-or-timeout") {
    SizeOrTimeoutOptions usual;
    reader.Read("max_queue_delay", usual.max_queue_delay);
    reader.ReadFraction("give_up_after", usual.give_up_after);
    DULY_RETURN_IF_ERROR(reader.Done(name));
    return std::make_unique<SizeOrTimeoutPolicy>(usual);
  }
  std::vector<std::string_view> names;
  for (const PolicyEntry& entry : kEntries) names.push_back(entry.name);
  return Error(StatusCode::kInvalidArgument, "unknown policy '{}': expected one of: {}", name,
               fmt::join(names, ", "));
}

}  // namespace duly
