// SPDX-License-Identifier: Apache-2.0
#include "cli/profile.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/registry.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/node_setup.h"
#include "model/complete.h"
#include "runtime/measure.h"
#include "runtime/steady_clock.h"

namespace duly {
namespace {

struct ProfileFlags {
  NodeFlags node;
  std::string out = "-";
  std::vector<std::string> only;
  std::uint32_t max_rows = 32;
  std::optional<Duration> time_per_point;
};

// Pages of this process that are in memory.
std::uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

// One line on a terminal that is written over; elsewhere a line a variant.
class Progress {
 public:
  explicit Progress(std::size_t variants)
      : variants_(variants), terminal_(isatty(STDERR_FILENO) != 0) {}

  void Point(const std::string& label, const ProfilePoint& point) {
    if (!terminal_) return;
    constexpr std::size_t kWidth = 24;
    const std::size_t filled = kWidth * done_ / std::max<std::size_t>(variants_, 1);
    fmt::print(stderr, "\r\033[K[{}{}] {}/{} {} rows {}: {:.3f} ms", std::string(filled, '#'),
               std::string(kWidth - filled, '.'), done_ + 1, variants_, label, point.rows,
               ToMillis(point.mean));
    std::fflush(stderr);
  }
  void Done(const std::string& label, const VariantProfile& profile) {
    ++done_;
    const ProfilePoint& one = profile.points.front();
    const ProfilePoint& last = profile.points.back();
    fmt::print(stderr, "{}{}/{} {}: {} row {:.3f} ms, {} rows {:.3f} ms\n",
               terminal_ ? "\r\033[K" : "", done_, variants_, label, one.rows, ToMillis(one.mean),
               last.rows, ToMillis(last.mean));
  }

 private:
  const std::size_t variants_;
  const bool terminal_;
  std::size_t done_ = 0;
};

Result<VariantProfile> ProfileVariant(Backend& backend, const DeviceSpec& device, ModelSpec& model,
                                      const VariantSpec& variant, const ProfileFlags& flags,
                                      Progress& progress, const std::string& label) {
  VariantProfile profile;
  profile.model = model.name;
  profile.variant = variant.name;
  profile.device = device.name;
  profile.threads = device.threads_per_slot;
  const std::uint64_t before = ResidentBytes();
  DULY_ASSIGN_OR_RETURN(std::unique_ptr<LoadedVariant> loaded, backend.Load(model, variant));
  DULY_RETURN_IF_ERROR(CompleteFromFile(model, loaded->inputs(), loaded->outputs()));
  MeasureOptions options;
  options.max_rows = flags.max_rows;
  options.min_runs = 5;
  options.time_per_point = flags.time_per_point.value_or(std::chrono::milliseconds(100));
  options.progress = [&](const ProfilePoint& point) { progress.Point(label, point); };
  DULY_ASSIGN_OR_RETURN(profile.points, Measure(*loaded, model, SteadyClock(), options));
  const std::uint64_t after = ResidentBytes();
  profile.memory_bytes = after > before ? after - before : 0;
  return profile;
}

int Run(const ProfileFlags& flags) {
  Faults faults;
  NodeSetup setup = ReadNodeSetup(flags.node, faults);
  for (const std::string& name : flags.only) {
    if (std::none_of(setup.models.begin(), setup.models.end(),
                     [&](const ModelSpec& model) { return model.name == name; })) {
      faults.Add({"--model", 0, 0, fmt::format("no model '{}'", name), "one of the repository"});
    }
  }
  if (!faults.empty()) {
    fmt::print(stderr, "{}\n", faults.ToString());
    return kExitUsage;
  }

  std::vector<DeviceSpec> devices;
  for (const DeviceSpec& device : setup.config.devices) {
    // What an emulated device takes is said by its profile: there is nothing to measure.
    if (device.kind != DeviceKind::kEmulated) devices.push_back(device);
  }
  std::erase_if(setup.models, [&](const ModelSpec& model) {
    return !flags.only.empty() &&
           std::find(flags.only.begin(), flags.only.end(), model.name) == flags.only.end();
  });
  std::size_t variants = 0;
  for (const ModelSpec& model : setup.models) variants += model.variants.size() * devices.size();

  Profile profile;
  profile.machine = fmt::format("{}, {} cores", CpuName(), std::thread::hardware_concurrency());
  Progress progress(variants);
  for (const DeviceSpec& device : devices) {
    Result<std::unique_ptr<Backend>> backend = MakeBackend(device);
    if (!backend) {
      faults.Add({device.name, 0, 0, backend.error().message(), ""});
      continue;
    }
    profile.runtime = (*backend)->description();
    for (ModelSpec& model : setup.models) {
      for (const VariantSpec& variant : model.variants) {
        const std::string label = fmt::format("{}/{} on {}", model.name, variant.name, device.name);
        Result<VariantProfile> measured =
            ProfileVariant(**backend, device, model, variant, flags, progress, label);
        if (!measured) {
          faults.Add({variant.file, 0, 0, measured.error().message(), ""});
          continue;
        }
        progress.Done(label, *measured);
        profile.variants.push_back(std::move(*measured));
      }
    }
  }

  const std::string yaml = ToYaml(profile);
  if (flags.out == "-") {
    fmt::print("{}", yaml);
  } else {
    std::ofstream file(flags.out);
    file << yaml;
    if (!file.flush()) faults.Add({flags.out, 0, 0, "the profile cannot be written", ""});
  }
  if (!faults.empty()) fmt::print(stderr, "{}\n", faults.ToString());
  return faults.empty() ? kExitDone : kExitFailed;
}

}  // namespace

std::function<int()> AddProfileCommand(CLI::App& parser) {
  auto flags = std::make_shared<ProfileFlags>();
  parser
      .add_option("--model-repository", flags->node.repositories, "Folder of models (repeatable)")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
  parser.add_option("--config", flags->node.config_file, "Node configuration: its CPU devices")
      ->type_name("FILE");
  parser.add_option("--model", flags->only, "Only this model (repeatable)")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  parser.add_option("--out", flags->out, "YAML for `duly serve --profile` (- = stdout)")
      ->type_name("FILE");
  parser.add_option("--max-rows", flags->max_rows, "Largest batch to measure (32)")
      ->type_name("N")
      ->check(CLI::Range(1U, 65536U));
  AddDuration(parser, "--time-per-point", flags->time_per_point,
              "Per batch size, at least five runs (100ms)");
  parser.footer("Example:\n  duly profile --model-repository models/repository --out profile.yaml");
  return [flags] { return Run(*flags); };
}

}  // namespace duly
