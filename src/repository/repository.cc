// SPDX-License-Identifier: Apache-2.0
#include "repository/repository.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/random.h"
#include "base/utf8.h"
#include "repository/model_config.h"
#include "repository/serving_file.h"

namespace duly {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDefaultModelFile = "model.onnx";
constexpr std::string_view kWholeFolder = ".";

// Names of the folders in `folder`, sorted; nothing after a fault.
std::optional<std::vector<std::string>> SubfoldersOf(const std::string& folder, Faults& faults) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) names.push_back(entry->path().filename().string());
  }
  if (error) {
    faults.Add({folder, 0, 0, "cannot be read: " + error.message(), "a folder"});
    return std::nullopt;
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::int64_t> ParseVersion(std::string_view name) {
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), version);
  if (error != std::errc() || end != name.data() + name.size() || version < 1 || name[0] == '0') {
    return std::nullopt;
  }
  return version;
}

std::string NameOf(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// Names stand in addresses, metrics and logs.
void CheckName(const std::string& name, const std::string& folder, Faults& faults) {
  if (name == "stats") {
    faults.Add({folder, 0, 0, "a model cannot be called 'stats', which is an address of the server",
                "another name"});
  }
  const bool clean = std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
  if (name.empty() || name == "." || name == ".." || !clean || !IsUtf8(name)) {
    faults.Add({folder, 0, 0, fmt::format("'{}' cannot be the name of a model", name),
                "a name in UTF-8 without control characters"});
  }
}

std::optional<std::string> ReadIfThere(const std::string& file, Faults& faults) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  Result<std::string> text = ReadFile(file);
  if (text) return *std::move(text);
  faults.Add({file, 0, 0, "cannot be read: " + text.error().message(), ""});
  return std::nullopt;
}

std::vector<std::int64_t> ChosenVersions(const VersionPolicy& policy, const std::string& folder,
                                         Faults& faults) {
  std::vector<std::int64_t> versions;
  const std::optional<std::vector<std::string>> names = SubfoldersOf(folder, faults);
  if (!names) return versions;
  for (const std::string& name : *names) {
    if (const std::optional<std::int64_t> version = ParseVersion(name)) {
      versions.push_back(*version);
    }
  }
  std::sort(versions.begin(), versions.end());
  if (versions.empty()) {
    faults.Add({folder, 0, 0, "the model has no version", "a folder such as 1/ with model.onnx"});
    return versions;
  }
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll:
      return versions;
    case VersionPolicy::Kind::kLatest:
      if (versions.size() > policy.latest) {
        versions.erase(versions.begin(), versions.end() - policy.latest);
      }
      return versions;
    case VersionPolicy::Kind::kSpecific:
      break;
  }
  std::vector<std::int64_t> chosen;
  std::vector<std::int64_t> wanted = policy.specific;
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  for (std::int64_t version : wanted) {
    if (std::binary_search(versions.begin(), versions.end(), version)) {
      chosen.push_back(version);
    } else {
      faults.Add(policy.place, fmt::format("there is no version {}", version),
                 fmt::format("one of: {}", fmt::join(versions, ", ")));
    }
  }
  return chosen;
}

// One model's files, before its versions are told apart.
struct ModelFiles {
  std::string folder;
  ModelConfigFile config;
  ServingFile serving;
};

// The variants of the model, with files as written.
void SetVariants(ModelFiles& model, Faults& faults) {
  ModelSpec& spec = model.config.spec;
  const ServingFile& serving = model.serving;
  const std::string& filename = model.config.model_filename;
  if (serving.variants.empty()) {
    VariantSpec variant;
    variant.name = "default";
    // A plug-in may want several files: it finds them in the version's folder.
    const std::string_view otherwise =
        spec.backend == kPlugInBackend ? kWholeFolder : kDefaultModelFile;
    variant.file = filename.empty() ? otherwise : filename;
    spec.variants.push_back(std::move(variant));
    return;
  }
  spec.variants = serving.variants;
  const auto index_of = [&](const auto& matches) {
    return static_cast<std::size_t>(
        std::find_if(spec.variants.begin(), spec.variants.end(), matches) - spec.variants.begin());
  };
  if (!filename.empty()) {
    spec.default_variant =
        index_of([&](const VariantSpec& variant) { return variant.file == filename; });
    if (spec.default_variant == spec.variants.size()) {
      faults.Add(model.config.model_filename_place,
                 fmt::format("default_model_filename is '{}', which is no variant's file in "
                             "duly.yaml",
                             filename),
                 "the file of a variant");
    }
  }
  if (serving.default_variant) {
    spec.default_variant = index_of(
        [&](const VariantSpec& variant) { return variant.name == *serving.default_variant; });
  }
}

ModelSpec SpecOfVersion(const ModelFiles& model, std::int64_t version, Faults& faults) {
  ModelSpec spec = model.config.spec;
  spec.version = version;
  const fs::path version_folder = fs::path(model.folder) / std::to_string(version);
  for (std::size_t i = 0; i < spec.variants.size(); ++i) {
    VariantSpec& variant = spec.variants[i];
    if (spec.backend == kCopyBackend) {
      variant.file.clear();
      continue;
    }
    const std::string written = variant.file;
    variant.file = (version_folder / written).string();
    if (spec.backend == kPlugInBackend && written == kWholeFolder) {
      variant.file = version_folder.string();
      continue;
    }
    // An empty name was refused where it stands.
    if (written.empty() || IsFile(variant.file)) continue;
    if (model.serving.variants.empty() && model.config.model_filename.empty()) {
      faults.Add({version_folder.string(), 0, 0, fmt::format("there is no {}", written),
                  "an ONNX model of this name"});
    } else {
      faults.Add(model.serving.variants.empty() ? model.config.model_filename_place
                                                : model.serving.file_places[i],
                 fmt::format("there is no '{}' in {}", written, version_folder.string()),
                 "a file in every served version's folder");
    }
  }
  return spec;
}

}  // namespace

std::vector<ModelSpec> ReadModel(const std::string& folder, Faults& all_faults,
                                 const std::optional<std::string>& config_json) {
  Faults faults;
  ModelFiles model;
  model.folder = folder;
  const std::string name = NameOf(folder);
  CheckName(name, folder, faults);

  const std::string config_file = (fs::path(folder) / "config.pbtxt").string();
  if (config_json) {
    model.config = ParseModelConfigJson(*config_json, "parameter 'config'", name, faults);
  } else if (const std::optional<std::string> text = ReadIfThere(config_file, faults)) {
    model.config = ParseModelConfig(*text, config_file, name, faults);
  } else {
    model.config.spec.rows_from_file = true;
  }
  const std::string serving_file = (fs::path(folder) / "duly.yaml").string();
  if (const std::optional<std::string> text = ReadIfThere(serving_file, faults)) {
    model.serving = ParseServingFile(*text, serving_file, faults);
  }

  ModelSpec& spec = model.config.spec;
  spec.name = name;
  spec.folder = folder;
  if (model.serving.slo) spec.slo = model.serving.slo;
  if (model.serving.timeout) spec.timeout = model.serving.timeout;
  if (model.serving.warmup_runs) spec.warmup_runs = *model.serving.warmup_runs;
  SetVariants(model, faults);

  std::vector<ModelSpec> specs;
  for (std::int64_t version : ChosenVersions(model.config.versions, folder, faults)) {
    specs.push_back(SpecOfVersion(model, version, faults));
  }
  if (!faults.empty()) specs.clear();
  all_faults.Append(std::move(faults));
  return specs;
}

std::map<std::string, std::string> FindModels(std::span<const std::string> folders,
                                              Faults& faults) {
  std::map<std::string, std::string> models;
  for (const std::string& folder : folders) {
    const std::optional<std::vector<std::string>> names = SubfoldersOf(folder, faults);
    if (!names) continue;
    for (const std::string& name : *names) {
      if (name.starts_with('.')) continue;
      const std::string model_folder = (fs::path(folder) / name).string();
      const auto [other, is_new] = models.emplace(name, model_folder);
      if (is_new) continue;
      faults.Add({model_folder, 0, 0, fmt::format("model '{}' is in {} too", name, other->second),
                  "each model in one repository"});
    }
  }
  return models;
}

std::vector<ModelSpec> ReadRepositories(std::span<const std::string> folders, Faults& all_faults) {
  Faults faults;
  std::vector<ModelSpec> all;
  for (const auto& [name, folder] : FindModels(folders, faults)) {
    std::ranges::move(ReadModel(folder, faults), std::back_inserter(all));
  }
  faults.Sort();
  all_faults.Append(std::move(faults));
  return all;
}

std::uint64_t FolderFingerprint(const std::string& folder) {
  // The order in which a folder lists its files means nothing.
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    const auto written = fs::last_write_time(entry->path(), ignored).time_since_epoch().count();
    const std::uintmax_t size = entry->is_regular_file(ignored) ? entry->file_size(ignored) : 0;
    files.push_back(fmt::format("{}|{}|{}", entry->path().string(), size, written));
  }
  std::ranges::sort(files);
  return StableHash(fmt::format("{}", fmt::join(files, "\n")));
}

}  // namespace duly
