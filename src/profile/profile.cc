// SPDX-License-Identifier: Apache-2.0
#include "profile/profile.h"

#include <fmt/format.h>
#include <yaml-cpp/emitter.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/yaml_reader.h"

namespace duly {
namespace {

// With these, no product of rows and time overflows.
constexpr std::uint32_t kMaxRows = 65536;
constexpr Duration kMaxTime = std::chrono::hours(1);
constexpr std::uint32_t kMaxThreads = 1024;
constexpr std::uint32_t kMaxRuns = 1'000'000'000;

Duration ReadTime(const YamlValue& value, Duration otherwise) {
  const std::optional<Duration> time = value.AsPositiveDuration();
  if (time && *time > kMaxTime) value.Fail(value.name() + " is above an hour", "at most 1h");
  return time.value_or(otherwise);
}

void ReadPoint(const YamlValue& value, std::vector<ProfilePoint>& points) {
  YamlMap map = value.AsMap();
  const YamlValue rows = map.Required("rows");
  const YamlValue p99 = map["p99"];
  ProfilePoint point;
  point.rows = rows.AsCount(1, kMaxRows).value_or(0);
  point.mean = ReadTime(map.Required("mean"), Duration(0));
  point.p95 = ReadTime(map["p95"], point.mean);
  point.p99 = ReadTime(p99, std::max(point.mean, point.p95));
  point.runs = map["runs"].AsCount(0, kMaxRuns).value_or(0);
  if (point.p99 < point.p95) p99.Fail("p99 is below p95", "p95 or more");
  if (point.rows == 0) return;
  if (!points.empty() && point.rows <= points.back().rows) {
    rows.Fail(fmt::format("rows {} after rows {}", point.rows, points.back().rows),
              "ascending rows");
  }
  points.push_back(point);
}

void ReadVariant(const YamlValue& value, Profile& profile) {
  YamlMap map = value.AsMap();
  VariantProfile variant;
  variant.model = map.Required("model").AsText().value_or("");
  variant.variant = map.Required("variant").AsText().value_or("");
  variant.device = map.Required("device").AsText().value_or("");
  variant.threads = map["threads"].AsCount(1, kMaxThreads).value_or(1);
  variant.memory_bytes = map["memory"].AsSize().value_or(0);
  const std::vector<YamlValue> points = map.Required("points").AsNonEmptyList();
  for (const YamlValue& point : points) ReadPoint(point, variant.points);
  for (const VariantProfile& other : profile.variants) {
    if (variant.model.empty() || other.model != variant.model || other.variant != variant.variant ||
        other.device != variant.device) {
      continue;
    }
    value.Fail(fmt::format("'{}' of '{}' on '{}' is given again", variant.variant, variant.model,
                           variant.device),
               "each variant once for a device");
  }
  profile.variants.push_back(std::move(variant));
}

Result<Profile> Checked(Profile profile, Faults faults, Faults& all_faults) {
  Status status = faults.ToStatus();
  all_faults.Append(std::move(faults));
  if (!status.ok()) return Error(std::move(status));
  return profile;
}

// Exact, where FormatDuration() rounds for people.
std::string Exact(Duration d) {
  const std::int64_t ns = d.count();
  if (ns % 1000 == 0) return fmt::format("{}us", ns / 1000);
  return fmt::format("{}.{:03}us", ns / 1000, ns % 1000);
}

}  // namespace

const VariantProfile* Profile::Find(std::string_view model, std::string_view variant,
                                    std::string_view device) const {
  const VariantProfile* of_any_device = nullptr;
  for (const VariantProfile& entry : variants) {
    if (entry.model != model || entry.variant != variant) continue;
    if (entry.device == device) return &entry;
    if (entry.device == "*") of_any_device = &entry;
  }
  return of_any_device;
}

void ReadProfile(YamlMap& root, Profile& profile) {
  profile.machine = root["machine"].AsText().value_or("");
  profile.runtime = root["runtime"].AsText().value_or("");
  const std::vector<YamlValue> variants = root.Required("variants").AsList();
  for (const YamlValue& variant : variants) ReadVariant(variant, profile);
}

Result<Profile> ParseProfile(const std::string& text, const std::string& file, Faults& all_faults) {
  Profile profile;
  Faults faults;
  ReadYaml(text, file, faults, [&](YamlMap& root) { ReadProfile(root, profile); });
  return Checked(std::move(profile), std::move(faults), all_faults);
}

Result<Profile> LoadProfile(const std::string& file, Faults& all_faults) {
  Profile profile;
  Faults faults;
  LoadYaml(file, faults, [&](YamlMap& root) { ReadProfile(root, profile); });
  return Checked(std::move(profile), std::move(faults), all_faults);
}

std::string ToYaml(const Profile& profile) {
  YAML::Emitter out;
  const auto put_text = [&out](const char* key, const std::string& text) {
    if (!text.empty()) out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << text;
  };
  out << YAML::BeginMap;
  put_text("machine", profile.machine);
  put_text("runtime", profile.runtime);
  out << YAML::Key << "variants" << YAML::Value << YAML::BeginSeq;
  for (const VariantProfile& variant : profile.variants) {
    out << YAML::BeginMap;
    put_text("model", variant.model);
    put_text("variant", variant.variant);
    put_text("device", variant.device);
    out << YAML::Key << "threads" << YAML::Value << variant.threads;
    if (variant.memory_bytes != 0) {
      out << YAML::Key << "memory" << YAML::Value << fmt::format("{}B", variant.memory_bytes);
    }
    out << YAML::Key << "points" << YAML::Value << YAML::BeginSeq;
    for (const ProfilePoint& point : variant.points) {
      out << YAML::Flow << YAML::BeginMap;
      out << YAML::Key << "rows" << YAML::Value << point.rows;
      out << YAML::Key << "mean" << YAML::Value << Exact(point.mean);
      out << YAML::Key << "p95" << YAML::Value << Exact(point.p95);
      out << YAML::Key << "p99" << YAML::Value << Exact(point.p99);
      out << YAML::Key << "runs" << YAML::Value << point.runs;
      out << YAML::EndMap;
    }
    out << YAML::EndSeq << YAML::EndMap;
  }
  out << YAML::EndSeq << YAML::EndMap;
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace duly
