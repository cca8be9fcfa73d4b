// SPDX-License-Identifier: Apache-2.0
#include "repository/serving_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "base/yaml_reader.h"

namespace duly {
namespace {

void ReadVariant(const YamlValue& value, ServingFile& serving) {
  VariantSpec variant;
  YamlMap map = value.AsMap();
  const YamlValue name = map.Required("name");
  variant.name = name.AsText().value_or("");
  for (const VariantSpec& other : serving.variants) {
    if (!variant.name.empty() && other.name == variant.name) {
      name.Fail(fmt::format("variant '{}' is given again", variant.name), "each name once");
    }
  }
  const YamlValue file = map.Required("file");
  variant.file = file.AsText().value_or("");
  if (!variant.file.empty() && !StaysInside(variant.file)) {
    file.Fail(fmt::format("file is '{}'", variant.file), "a path inside the version folder");
    variant.file.clear();
  }
  const YamlValue accuracy = map["accuracy"];
  variant.accuracy_pct = accuracy.AsNumber(0, 100);
  // An accuracy without its data set and its origin cannot be compared with another.
  const bool has_accuracy = accuracy.present();
  variant.dataset = (has_accuracy ? map.Required("dataset") : map["dataset"]).AsText().value_or("");
  variant.accuracy_method = std::string(
      (has_accuracy ? map.Required("method") : map["method"])
          .AsChoice<std::string_view>({{"measured", "measured"}, {"published", "published"}})
          .value_or(""));
  variant.accuracy_source = map["source"].AsText().value_or("");
  variant.memory_bytes = map["memory"].AsSize().value_or(0);
  serving.variants.push_back(std::move(variant));
  serving.file_places.push_back(file.place());
}

}  // namespace

bool StaysInside(const std::string& path) {
  const std::filesystem::path p(path);
  return !path.empty() && p.is_relative() &&
         std::none_of(p.begin(), p.end(), [](const auto& part) { return part == ".."; });
}

ServingFile ParseServingFile(const std::string& text, const std::string& file, Faults& faults) {
  ServingFile serving;
  ReadYaml(text, file, faults, [&](YamlMap& root) {
    serving.slo = root["slo"].AsPositiveDuration();
    serving.timeout = root["timeout"].AsPositiveDuration();
    serving.warmup_runs = root["warmup"].AsCount(0, kMaxWarmupRuns);
    const YamlValue variants = root["variants"];
    const std::vector<YamlValue> items = variants.AsNonEmptyList();
    for (const YamlValue& item : items) ReadVariant(item, serving);
    if (items.size() > kMaxVariants) {
      variants.Fail(fmt::format("there are {} variants", items.size()),
                    fmt::format("at most {}", kMaxVariants));
    }
    const YamlValue default_variant = root["default_variant"];
    serving.default_variant = default_variant.AsText();
    serving.default_variant_place = default_variant.place();
    if (!serving.default_variant) return;
    std::vector<std::string> names;
    for (const VariantSpec& variant : serving.variants) names.push_back(variant.name);
    if (names.empty()) names.push_back("default");
    if (std::find(names.begin(), names.end(), *serving.default_variant) == names.end()) {
      default_variant.Fail(fmt::format("default_variant is '{}'", *serving.default_variant),
                           fmt::format("one of: {}", fmt::join(names, ", ")));
    }
  });
  return serving;
}

}  // namespace duly
