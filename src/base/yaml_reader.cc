// SPDX-License-Identifier: Apache-2.0
#include "base/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

#include "base/closest_name.h"
#include "base/file.h"
#include "base/units.h"

namespace duly {
namespace internal {

struct YamlNode {
  enum class Kind { kNothing, kScalar, kList, kMap };
  struct Entry {
    std::string key;
    Place key_place;
    std::shared_ptr<const YamlNode> value;
  };

  Kind kind = Kind::kNothing;
  Place place;
  std::string scalar;
  std::vector<std::shared_ptr<const YamlNode>> items;
  std::vector<Entry> entries;
  std::map<std::string, std::size_t, std::less<>> entry_of_key;
};

struct YamlSource {
  std::string file;
  Faults faults;
};

}  // namespace internal

namespace {

using internal::YamlNode;
using internal::YamlSource;

// As much of it as a message bears.
std::string Quoted(std::string_view text) {
  constexpr std::size_t kMaxShown = 60;
  return fmt::format("'{}{}'", text.substr(0, kMaxShown), text.size() > kMaxShown ? "..." : "");
}

// Own tree instead of YAML::Node: keys and values keep their places, duplicate keys are seen, and
// no later access can throw.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(YamlSource& source) : source_(source) {}

  std::shared_ptr<const YamlNode> root;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Complete(Make(mark, YamlNode::Kind::kNothing), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found != anchors_.end()) return Complete(found->second, 0);
    source_.faults.Add(At(mark), "an alias stands inside what it names", "a finished value");
    Complete(Make(mark, YamlNode::Kind::kNothing), 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    std::shared_ptr<YamlNode> node = Make(mark, YamlNode::Kind::kScalar);
    node->scalar = value;
    Complete(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back({Make(mark, YamlNode::Kind::kList), anchor, nullptr});
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back({Make(mark, YamlNode::Kind::kMap), anchor, nullptr});
  }
  void OnMapEnd() override { Close(); }

  Place At(const YAML::Mark& mark) const { return {source_.file, mark.line + 1, mark.column + 1}; }

 private:
  struct Open {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor;
    std::shared_ptr<const YamlNode> key;  // of a map, between key and value
  };

  std::shared_ptr<YamlNode> Make(const YAML::Mark& mark, YamlNode::Kind kind) const {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->place = At(mark);
    return node;
  }

  void Close() {
    const Open open = std::move(open_.back());
    open_.pop_back();
    Complete(open.node, open.anchor);
  }

  void Complete(std::shared_ptr<const YamlNode> node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root = std::move(node);
      return;
    }
    Open& open = open_.back();
    if (open.node->kind == YamlNode::Kind::kList) {
      open.node->items.push_back(std::move(node));
    } else if (open.key == nullptr) {
      open.key = std::move(node);
    } else {
      AddEntry(*open.node, *std::exchange(open.key, nullptr), std::move(node));
    }
  }

  void AddEntry(YamlNode& map, const YamlNode& key, std::shared_ptr<const YamlNode> value) {
    if (key.kind != YamlNode::Kind::kScalar) {
      source_.faults.Add(key.place, "a key is not a word", "'key: value'");
      return;
    }
    const auto [entry, is_new] = map.entry_of_key.emplace(key.scalar, map.entries.size());
    if (!is_new) {
      source_.faults.Add(key.place,
                         fmt::format("key {} is given again, after line {}", Quoted(key.scalar),
                                     map.entries[entry->second].key_place.line),
                         "each key once");
      return;
    }
    map.entries.push_back({key.scalar, key.place, std::move(value)});
  }

  YamlSource& source_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, std::shared_ptr<const YamlNode>> anchors_;
};

// The root of the only document, or nothing after a fault.
std::shared_ptr<const YamlNode> Parse(const std::string& text, YamlSource& source) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    TreeBuilder builder(source);
    if (!parser.HandleNextDocument(builder) || builder.root == nullptr ||
        builder.root->kind == YamlNode::Kind::kNothing) {
      source.faults.Add({source.file, 0, 0, "the file is empty", "'key: value' lines"});
      return nullptr;
    }
    TreeBuilder second(source);
    if (parser.HandleNextDocument(second)) {
      source.faults.Add(second.root == nullptr ? Place{source.file, 0, 0} : second.root->place,
                        "a second document", "one document per file");
      return nullptr;
    }
    if (builder.root->kind != YamlNode::Kind::kMap) {
      source.faults.Add(builder.root->place, "the file is not a map", "'key: value' lines");
      return nullptr;
    }
    return builder.root;
  } catch (const YAML::Exception& error) {
    Place place{source.file, 0, 0};
    if (!error.mark.is_null()) {
      place.line = error.mark.line + 1;
      place.column = error.mark.column + 1;
    }
    source.faults.Add(place, "not YAML: " + error.msg, "");
  } catch (const std::exception& error) {
    source.faults.Add({source.file, 0, 0, fmt::format("not YAML: {}", error.what()), ""});
  }
  return nullptr;
}

template <typename T>
std::optional<T> ParseNumber(const std::string& text) {
  T number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

constexpr std::string_view kDurationExpected = "a duration, such as 250us, 20ms or 1.5s";

}  // namespace

bool YamlValue::is_map() const { return node_ != nullptr && node_->kind == YamlNode::Kind::kMap; }

bool YamlValue::is_list() const { return node_ != nullptr && node_->kind == YamlNode::Kind::kList; }

void YamlValue::Fail(std::string what, std::string expected) const {
  source_->faults.Add(place_, std::move(what), std::move(expected));
}

void YamlValue::Mismatch(std::string_view expected) const {
  if (node_ == nullptr) {
    if (need_ == Need::kRequired) {
      Fail(fmt::format("'{}' is missing", name_), std::string(expected));
    }
    return;
  }
  switch (node_->kind) {
    case YamlNode::Kind::kNothing:
      return Fail(fmt::format("'{}' has no value", name_), std::string(expected));
    case YamlNode::Kind::kScalar:
      return Fail(fmt::format("{} is {}", name_, Quoted(node_->scalar)), std::string(expected));
    case YamlNode::Kind::kList:
      return Fail(fmt::format("{} is a list", name_), std::string(expected));
    case YamlNode::Kind::kMap:
      return Fail(fmt::format("{} is a map", name_), std::string(expected));
  }
}

const std::string* YamlValue::Scalar(std::string_view expected) const {
  if (node_ != nullptr && node_->kind == YamlNode::Kind::kScalar) return &node_->scalar;
  Mismatch(expected);
  return nullptr;
}

std::optional<std::string> YamlValue::AsText() const {
  constexpr std::string_view kExpected = "text of one line";
  const std::string* text = Scalar(kExpected);
  if (text == nullptr) return std::nullopt;
  const bool clean = std::all_of(text->begin(), text->end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
  if (!text->empty() && clean) return *text;
  Mismatch(kExpected);
  return std::nullopt;
}

std::optional<std::int64_t> YamlValue::AsInteger(std::int64_t min, std::int64_t max) const {
  const std::string expected = fmt::format("an integer from {} to {}", min, max);
  const std::string* text = Scalar(expected);
  if (text == nullptr) return std::nullopt;
  const std::optional<std::int64_t> number = ParseNumber<std::int64_t>(*text);
  if (number && *number >= min && *number <= max) return number;
  Mismatch(expected);
  return std::nullopt;
}

std::optional<std::uint32_t> YamlValue::AsCount(std::uint32_t min, std::uint32_t max) const {
  const std::optional<std::int64_t> number = AsInteger(min, max);
  if (!number) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

std::optional<double> YamlValue::AsNumber(double min, double max) const {
  const std::string expected = fmt::format("a number from {} to {}", min, max);
  const std::string* text = Scalar(expected);
  if (text == nullptr) return std::nullopt;
  const std::optional<double> number = ParseNumber<double>(*text);
  if (number && *number >= min && *number <= max) return number;
  Mismatch(expected);
  return std::nullopt;
}

std::optional<double> YamlValue::AsPositiveNumber() const {
  constexpr std::string_view kExpected = "a number above 0";
  const std::string* text = Scalar(kExpected);
  if (text == nullptr) return std::nullopt;
  const std::optional<double> number = ParseNumber<double>(*text);
  if (number && *number > 0 && std::isfinite(*number)) return number;
  Mismatch(kExpected);
  return std::nullopt;
}

std::optional<bool> YamlValue::AsBool() const {
  return AsChoice<bool>({{"true", true}, {"false", false}});
}

std::optional<Duration> YamlValue::AsDuration() const {
  const std::string* text = Scalar(kDurationExpected);
  if (text == nullptr) return std::nullopt;
  if (const Result<Duration> duration = ParseDuration(*text)) return *duration;
  Mismatch(kDurationExpected);
  return std::nullopt;
}

std::optional<Duration> YamlValue::AsPositiveDuration() const {
  const std::optional<Duration> duration = AsDuration();
  if (!duration || *duration > Duration(0)) return duration;
  Mismatch("a duration above 0, such as 250us, 20ms or 1.5s");
  return std::nullopt;
}

std::optional<std::uint64_t> YamlValue::AsSize() const {
  constexpr std::string_view kExpected = "a size in bytes, such as 512, 64kB or 8MiB";
  const std::string* text = Scalar(kExpected);
  if (text == nullptr) return std::nullopt;
  if (const Result<std::uint64_t> size = ParseSize(*text)) return *size;
  Mismatch(kExpected);
  return std::nullopt;
}

std::optional<std::uint64_t> YamlValue::AsFrequency() const {
  constexpr std::string_view kExpected = "a frequency above 0, such as 921.6MHz or 1.5GHz";
  const std::string* text = Scalar(kExpected);
  if (text == nullptr) return std::nullopt;
  if (const Result<std::uint64_t> hz = ParseFrequency(*text); hz && *hz > 0) return *hz;
  Mismatch(kExpected);
  return std::nullopt;
}

std::optional<double> YamlValue::AsRate() const {
  constexpr std::string_view kExpected = "a rate per second, such as 100 or 100/s";
  const std::string* text = Scalar(kExpected);
  if (text == nullptr) return std::nullopt;
  if (const Result<double> rate = ParseRate(*text)) return *rate;
  Mismatch(kExpected);
  return std::nullopt;
}

std::optional<std::string> YamlValue::AsFile() const {
  std::optional<std::string> path = AsPath();
  if (!path || IsFile(*path)) return path;
  Mismatch("a file that is there, by its path from this one");
  return std::nullopt;
}

std::optional<std::string> YamlValue::AsPath() const {
  const std::optional<std::string> text = AsText();
  return text ? std::optional(RelativeToFile(*text, source_->file)) : std::nullopt;
}

std::optional<std::size_t> YamlValue::ChoiceIndex(
    const std::vector<std::string_view>& words) const {
  const std::string expected = fmt::format("one of: {}", fmt::join(words, ", "));
  const std::string* text = Scalar(expected);
  if (text == nullptr) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  Mismatch(expected);
  return std::nullopt;
}

std::vector<YamlValue> YamlValue::AsList() const {
  std::vector<YamlValue> items;
  if (node_ == nullptr || node_->kind != YamlNode::Kind::kList) {
    Mismatch("a list");
    return items;
  }
  for (std::size_t i = 0; i < node_->items.size(); ++i) {
    const YamlNode* item = node_->items[i].get();
    items.push_back(
        YamlValue(item, source_, fmt::format("{}[{}]", name_, i), item->place, Need::kRequired));
  }
  return items;
}

std::vector<YamlValue> YamlValue::AsNonEmptyList() const {
  std::vector<YamlValue> items = AsList();
  if (items.empty() && node_ != nullptr && node_->kind == YamlNode::Kind::kList) {
    Fail(fmt::format("{} is empty", name_), "at least one element");
  }
  return items;
}

YamlMap YamlValue::AsMap() const {
  if (is_map()) {
    return YamlMap(node_, source_, place_);
  }
  Mismatch("a map");
  return YamlMap(nullptr, source_, place_);
}

YamlMap::YamlMap(const YamlNode* node, YamlSource* source, Place place)
    : node_(node),
      source_(source),
      place_(std::move(place)),
      asked_(node == nullptr ? 0 : node->entries.size(), false) {}

YamlMap::~YamlMap() {
  if (node_ == nullptr) return;
  const std::vector<std::string_view> known(known_.begin(), known_.end());
  for (std::size_t i = 0; i < asked_.size(); ++i) {
    if (asked_[i]) continue;
    const YamlNode::Entry& entry = node_->entries[i];
    std::string what = "unknown key " + Quoted(entry.key);
    const std::string_view closest = ClosestName(entry.key, known);
    if (!closest.empty()) what += fmt::format(" (did you mean '{}'?)", closest);
    source_->faults.Add(entry.key_place, std::move(what),
                        fmt::format("one of: {}", fmt::join(known, ", ")));
  }
}

YamlValue YamlMap::operator[](std::string_view key) { return Get(key, YamlValue::Need::kOptional); }

YamlValue YamlMap::Required(std::string_view key) { return Get(key, YamlValue::Need::kRequired); }

YamlValue YamlMap::Get(std::string_view key, YamlValue::Need need) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  // What is missing in a map that is not there was reported with the map.
  if (node_ == nullptr)
    return YamlValue(nullptr, source_, std::string(key), place_, YamlValue::Need::kOptional);
  const auto found = node_->entry_of_key.find(key);
  if (found != node_->entry_of_key.end()) return At(found->second);
  return YamlValue(nullptr, source_, std::string(key), place_, need);
}

YamlValue YamlMap::At(std::size_t index) {
  asked_[index] = true;
  const YamlNode::Entry& entry = node_->entries[index];
  // The parser places a value that is not written behind the next token.
  const bool nothing = entry.value->kind == YamlNode::Kind::kNothing;
  YamlValue value(entry.value.get(), source_, entry.key,
                  nothing ? entry.key_place : entry.value->place, YamlValue::Need::kRequired);
  value.key_place_ = entry.key_place;
  return value;
}

std::vector<std::pair<std::string, YamlValue>> YamlMap::Rest() {
  std::vector<std::pair<std::string, YamlValue>> rest;
  for (std::size_t i = 0; i < asked_.size(); ++i) {
    if (asked_[i]) continue;
    rest.emplace_back(node_->entries[i].key, At(i));
  }
  return rest;
}

void ReadYaml(const std::string& text, const std::string& file, Faults& faults,
              const std::function<void(YamlMap&)>& read) {
  YamlSource source{file, {}};
  if (const std::shared_ptr<const YamlNode> root = Parse(text, source)) {
    YamlMap map =
        YamlValue(root.get(), &source, "", root->place, YamlValue::Need::kRequired).AsMap();
    read(map);
  }
  source.faults.Sort();
  faults.Append(std::move(source.faults));
}

void LoadYaml(const std::string& file, Faults& faults, const std::function<void(YamlMap&)>& read) {
  const Result<std::string> text = ReadFile(file);
  if (!text) {
    faults.Add({file, 0, 0, "cannot be read: " + text.error().message(), ""});
    return;
  }
  ReadYaml(*text, file, faults, read);
}

}  // namespace duly
