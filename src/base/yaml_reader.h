// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fault.h"
#include "base/time.h"

namespace duly {

// A strict reader of YAML: every value has a place, every fault is collected instead of ending the
// reading, and a key that nobody asked for is a fault.
//
//   ReadYaml(text, file, faults, [&](YamlMap& root) {
//     spec.name = root.Required("name").AsText().value_or("");
//     spec.slo = root["slo"].AsPositiveDuration();
//     for (const YamlValue& item : root["variants"].AsList()) { ... }
//   });

namespace internal {
struct YamlNode;
struct YamlSource;
}  // namespace internal

class YamlMap;

// One value, or the absence of one. A getter returns nothing, after adding a fault, when the value
// is of another kind or out of range, or when it is absent and was required.
// Valid only during the call of ReadYaml that made it.
class YamlValue {
 public:
  bool present() const { return node_ != nullptr; }
  // For values that may be a word, a list or a map.
  bool is_map() const;
  bool is_list() const;
  // Last part of its path, for messages: "slots", "cores[1]".
  const std::string& name() const { return name_; }
  // Of the value; of the map that should have it when it is absent.
  const Place& place() const { return place_; }
  // Of its key; that of the value where it has none.
  const Place& key_place() const { return key_place_; }
  void Fail(std::string what, std::string expected) const;

  // Not empty, without control characters.
  std::optional<std::string> AsText() const;
  std::optional<std::int64_t> AsInteger(std::int64_t min, std::int64_t max) const;
  // Same, for counts.
  std::optional<std::uint32_t> AsCount(std::uint32_t min, std::uint32_t max) const;
  std::optional<double> AsNumber(double min, double max) const;
  std::optional<double> AsPositiveNumber() const;
  // true or false.
  std::optional<bool> AsBool() const;
  std::optional<Duration> AsDuration() const;
  std::optional<Duration> AsPositiveDuration() const;
  std::optional<std::uint64_t> AsSize() const;
  // Of a clock, in Hz; above 0.
  std::optional<std::uint64_t> AsFrequency() const;
  // Per second.
  std::optional<double> AsRate() const;
  // The path of a file that is there; the YAML gives it relative to itself.
  std::optional<std::string> AsFile() const;
  // The same of what need not be there.
  std::optional<std::string> AsPath() const;
  // One of a few words.
  template <typename T>
  std::optional<T> AsChoice(std::initializer_list<std::pair<std::string_view, T>> choices) const {
    std::vector<std::string_view> words;
    for (const auto& choice : choices) words.push_back(choice.first);
    const std::optional<std::size_t> index = ChoiceIndex(words);
    if (!index) return std::nullopt;
    return (choices.begin() + *index)->second;
  }
  // Empty when there is nothing to read.
  std::vector<YamlValue> AsList() const;
  std::vector<YamlValue> AsNonEmptyList() const;
  // A map without entries when there is nothing to read: reading on is safe, and adds no faults.
  YamlMap AsMap() const;

 private:
  friend class YamlMap;
  friend void ReadYaml(const std::string&, const std::string&, Faults&,
                       const std::function<void(YamlMap&)>&);

  enum class Need { kOptional, kRequired };
  YamlValue(const internal::YamlNode* node, internal::YamlSource* source, std::string name,
            Place place, Need need)
      : node_(node),
        source_(source),
        name_(std::move(name)),
        place_(std::move(place)),
        key_place_(place_),
        need_(need) {}

  // The text of a scalar, or nothing after Mismatch(expected).
  const std::string* Scalar(std::string_view expected) const;
  void Mismatch(std::string_view expected) const;
  std::optional<std::size_t> ChoiceIndex(const std::vector<std::string_view>& words) const;

  const internal::YamlNode* node_;
  internal::YamlSource* source_;
  std::string name_;
  Place place_;
  Place key_place_;
  Need need_;
};

// A map that remembers which keys were asked for. The destructor adds a fault for each other key.
class YamlMap {
 public:
  ~YamlMap();
  YamlMap(const YamlMap&) = delete;
  YamlMap& operator=(const YamlMap&) = delete;

  bool present() const { return node_ != nullptr; }
  const Place& place() const { return place_; }
  // Optional.
  YamlValue operator[](std::string_view key);
  YamlValue Required(std::string_view key);
  // For maps whose keys are names that the writer chose: every entry not asked for yet, in the
  // order of the file.
  std::vector<std::pair<std::string, YamlValue>> Rest();

 private:
  friend class YamlValue;
  YamlMap(const internal::YamlNode* node, internal::YamlSource* source, Place place);
  YamlValue Get(std::string_view key, YamlValue::Need need);
  YamlValue At(std::size_t index);

  const internal::YamlNode* node_;
  internal::YamlSource* source_;
  Place place_;
  std::vector<bool> asked_;         // per entry of the node
  std::vector<std::string> known_;  // keys in the order of asking
};

// Parses one document whose root is a map, and calls `read` with it. Adds all faults, sorted by
// place. A file that is not YAML, is empty, or has several documents adds one, without a call.
void ReadYaml(const std::string& text, const std::string& file, Faults& faults,
              const std::function<void(YamlMap&)>& read);
// The same for a file, which may be missing: one fault.
void LoadYaml(const std::string& file, Faults& faults, const std::function<void(YamlMap&)>& read);

}  // namespace duly
