// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "base/yaml_reader.h"
#include "cli/device_yaml.h"

namespace duly {
namespace {

using placement::Application;
using placement::Model;
using placement::Node;

constexpr std::uint32_t kMaxNodes = 10'000;
constexpr std::uint32_t kMaxApplications = 100'000;
constexpr double kNever = std::numeric_limits<double>::infinity();

// Names of one list, and the places in it that they stand for.
class Names {
 public:
  explicit Names(std::string_view what) : what_(what) {}

  // A new name, or "" after a fault.
  std::string New(YamlMap& map) {
    const YamlValue value = map.Required("name");
    std::string name = value.AsText().value_or("");
    return name.empty() || Add(value, name) ? name : "";
  }
  bool Add(const YamlValue& value, const std::string& name) {
    if (index_.emplace(name, static_cast<int>(index_.size())).second) return true;
    value.Fail(fmt::format("{} '{}' is given again", what_, name), "each name once");
    return false;
  }
  // "a", or "a-1", "a-2" ... where the map says `count`.
  std::vector<std::string> NewOnes(YamlMap& map, std::size_t most) {
    const YamlValue name = map.Required("name");
    const std::string text = name.AsText().value_or("");
    const YamlValue counted = map["count"];
    constexpr std::uint32_t kMaxCount = 1'000'000'000;
    const std::uint32_t count = counted.AsCount(1, kMaxCount).value_or(1);
    if (index_.size() + count > most) {
      const YamlValue& where = counted.present() ? counted : name;
      if (!is_full_) {
        where.Fail(fmt::format("{} {}s", index_.size() + count, what_),
                   fmt::format("at most {}", most));
      }
      is_full_ = true;
      return {};
    }
    std::vector<std::string> names;
    for (std::uint32_t i = 1; i <= count && !text.empty(); ++i) {
      std::string one = counted.present() ? fmt::format("{}-{}", text, i) : text;
      if (!Add(name, one)) break;
      names.push_back(std::move(one));
    }
    return names;
  }
  // Of a name that must be known.
  std::optional<int> Find(const YamlValue& value, const std::string& name) const {
    if (name.empty()) return std::nullopt;
    if (const auto found = index_.find(name); found != index_.end()) return found->second;
    std::vector<std::string_view> known;
    for (const auto& [one, index] : index_) known.push_back(one);
    value.Fail(fmt::format("there is no {} '{}'", what_, name),
               fmt::format("one of: {}", fmt::join(known, ", ")));
    return std::nullopt;
  }

 private:
  std::string_view what_;
  std::map<std::string, int> index_;
  bool is_full_ = false;
};

class ClusterReader {
 public:
  explicit ClusterReader(PlanInput& input) : input_(input) {}

  // Faults of the catalogue's files go to `inner`.
  void Read(YamlMap& root, Faults& inner) {
    catalogue_ = Catalogue::Read(root["catalogue"], inner);
    for (const YamlValue& value : root.Required("device_types").AsNonEmptyList()) ReadType(value);
    for (const YamlValue& value : root.Required("models").AsNonEmptyList()) ReadModel(value);
    for (const YamlValue& value : root.Required("nodes").AsNonEmptyList()) ReadNode(value);
    if (const YamlValue value = root["limits"]; value.present()) {
      YamlMap map = value.AsMap();
      placement::Limits& limits = input_.limits;
      limits.memory = map["memory"].AsNumber(0.01, 1).value_or(limits.memory);
      limits.utilization = map["utilization"].AsNumber(0.01, 0.99).value_or(limits.utilization);
      limits.headroom = map["headroom"].AsNumber(1, 10).value_or(limits.headroom);
    }
  }

  const Names& models() const { return models_; }
  // The least that an answer of the model takes anywhere.
  double FastestOf(int model) const {
    double fastest_s = kNever;
    for (const Node& node : input_.cluster.nodes) {
      for (const Node::Device& device : node.devices) {
        const auto& on = input_.cluster.models[static_cast<std::size_t>(model)]
                             .on[static_cast<std::size_t>(device.type)];
        if (on) fastest_s = std::min(fastest_s, node.overhead_s + on->service.mean_s);
      }
    }
    return fastest_s;
  }

 private:
  void ReadType(const YamlValue& value) {
    YamlMap map = value.AsMap();
    std::string name = types_.New(map);
    Chip chip;
    queueing::Device device = ReadDeviceKeys(map, catalogue_, chip);
    if (name.empty()) return;
    input_.cluster.types.push_back({std::move(name), std::move(device)});
    chips_.push_back(chip);
  }

  void ReadModel(const YamlValue& value) {
    YamlMap map = value.AsMap();
    Model model;
    model.name = models_.New(map);
    model.on.resize(input_.cluster.types.size());
    YamlMap on = map.Required("on").AsMap();
    for (const auto& [name, figures] : on.Rest()) {
      const std::optional<int> type = types_.Find(figures, name);
      YamlMap keys = figures.AsMap();
      const Chip chip = type ? chips_[static_cast<std::size_t>(*type)] : Chip();
      const ServiceKeys service = ReadServiceKeys(keys, chip);
      CheckFits(chip, service.on_chip, service.on_chip_bytes);
      if (type) {
        model.on[static_cast<std::size_t>(*type)] = {
            service.service, service.swap_s, service.after_s, service.memory_bytes.value_or(0)};
      }
    }
    if (!model.name.empty()) input_.cluster.models.push_back(std::move(model));
  }

  void ReadNode(const YamlValue& value) {
    YamlMap map = value.AsMap();
    const std::vector<std::string> names = nodes_.NewOnes(map, kMaxNodes);
    Node node;
    node.memory_bytes = map.Required("memory").AsSize().value_or(0);
    node.overhead_s = ToSeconds(map["overhead"].AsDuration().value_or(Duration(0)));
    std::map<int, int> seen;
    for (const YamlValue& item : map.Required("devices").AsNonEmptyList()) {
      const std::optional<int> type = types_.Find(item, item.AsText().value_or(""));
      if (!type) continue;
      const std::string& name = input_.cluster.types[static_cast<std::size_t>(*type)].name;
      const int number = ++seen[*type];
      node.devices.push_back({number == 1 ? name : fmt::format("{}-{}", name, number), *type});
    }
    for (const std::string& name : names) {
      node.name = name;
      input_.cluster.nodes.push_back(node);
    }
  }

  PlanInput& input_;
  Catalogue catalogue_;
  Names types_{"device type"};
  Names models_{"model"};
  Names nodes_{"node"};
  std::vector<Chip> chips_;  // by type
};

class ApplicationsReader {
 public:
  ApplicationsReader(PlanInput& input, const ClusterReader& cluster)
      : input_(input), cluster_(cluster) {
    for (int m = 0; m < static_cast<int>(input.cluster.models.size()); ++m) {
      fastest_s_.push_back(cluster.FastestOf(m));
    }
  }

  void Read(YamlMap& root) {
    for (const YamlValue& value : root.Required("applications").AsNonEmptyList()) ReadOne(value);
  }

 private:
  void ReadOne(const YamlValue& value) {
    YamlMap map = value.AsMap();
    const std::vector<std::string> names = names_.NewOnes(map, kMaxApplications);
    Application application;
    const YamlValue model = map.Required("model");
    const std::optional<int> index = cluster_.models().Find(model, model.AsText().value_or(""));
    application.rate_per_s = ReadRateKey(map);
    const YamlValue slo = map.Required("slo");
    application.slo.bound_s = ToSeconds(slo.AsPositiveDuration().value_or(Duration::max()));
    application.slo.quantile = ReadPercentile(map["percentile"]);
    application.memory_bytes = map["memory"].AsSize().value_or(0);
    application.own_weights = map["own_weights"].AsBool().value_or(false);
    if (!index) return;
    application.model = *index;
    const double fastest_s = fastest_s_[static_cast<std::size_t>(*index)];
    if (fastest_s < kNever && application.slo.bound_s <= fastest_s) {
      slo.Fail(
          fmt::format("slo {:.4g} ms is not above what '{}' takes alone",
                      application.slo.bound_s * 1e3,
                      input_.cluster.models[static_cast<std::size_t>(*index)].name),
          fmt::format("more than {:.4g} ms, on the device where it is fastest", fastest_s * 1e3));
    }
    for (const std::string& name : names) {
      application.name = name;
      input_.applications.push_back(application);
    }
  }

  static double ReadPercentile(const YamlValue& value) {
    constexpr double kDefault = 0.95;
    if (!value.present()) return kDefault;
    const std::optional<std::string> text = value.AsText();
    if (text == "mean") return 0;
    const std::optional<double> number = text ? value.AsNumber(0.5, 0.9999) : std::nullopt;
    return number.value_or(kDefault);
  }

  PlanInput& input_;
  const ClusterReader& cluster_;
  std::vector<double> fastest_s_;  // by model
  Names names_{"application"};
};

}  // namespace

PlanInput ReadPlanInput(const std::string& cluster_file, const std::string& applications_file,
                        Faults& faults) {
  PlanInput input;
  ClusterReader cluster(input);
  Faults inner;
  LoadYaml(cluster_file, faults, [&](YamlMap& root) { cluster.Read(root, inner); });
  faults.Append(std::move(inner));
  ApplicationsReader applications(input, cluster);
  LoadYaml(applications_file, faults, [&](YamlMap& root) { applications.Read(root); });
  return input;
}

}  // namespace duly
