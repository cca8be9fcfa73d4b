// SPDX-License-Identifier: Apache-2.0
#include "server/model_control.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pthread.h>

#include <algorithm>
#include <utility>

#include "base/fault.h"
#include "base/log.h"
#include "base/scratch_folder.h"
#include "repository/repository.h"

namespace duly {
namespace {

// Names come from clients and become parts of paths.
bool IsPlainName(std::string_view name) {
  const bool clean =
      std::ranges::all_of(name, [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
  return !name.empty() && clean && !name.starts_with('.') &&
         name.find('/') == std::string_view::npos;
}

Status CheckFileName(std::string_view file) {
  const std::size_t slash = file.find('/');
  const std::string_view version = file.substr(0, slash);
  const bool is_version = !version.empty() && version.front() != '0' &&
                          version.find_first_not_of("0123456789") == std::string_view::npos;
  if (slash != std::string_view::npos && is_version && IsPlainName(file.substr(slash + 1))) {
    return Status();
  }
  return Status(StatusCode::kInvalidArgument,
                fmt::format("parameter 'file:{}': expected file:VERSION/NAME", file));
}

}  // namespace

ModelControl::ModelControl(ModelControlOptions options, Node& node)
    : options_(std::move(options)), node_(node), thread_("duly-control") {
  {
    const MutexLock lock(mutex_);
    for (const auto& model : node_.Models()) {
      records_[model->spec.name].versions.insert(model->spec.version);
    }
  }
  if (options_.mode == ModelControlMode::kPoll) {
    poller_ = std::jthread([this](const std::stop_token& stop) { PollLoop(stop); });
  }
}

ModelControl::~ModelControl() {
  if (!poller_.joinable()) return;
  poller_.request_stop();
  poller_.join();
}

Status ModelControl::LoadForClient(const std::string& name, const LoadParameters& parameters) {
  if (options_.mode != ModelControlMode::kExplicit) {
    return Status(StatusCode::kInvalidArgument,
                  "models are loaded by clients only under --model-control-mode explicit");
  }
  return Load(name, parameters);
}

Status ModelControl::UnloadForClient(const std::string& name) {
  if (options_.mode != ModelControlMode::kExplicit) {
    return Status(StatusCode::kInvalidArgument,
                  "models are unloaded by clients only under --model-control-mode explicit");
  }
  Unload(name);
  return Status();
}

Status ModelControl::Load(const std::string& name, const LoadParameters& parameters) {
  if (!IsPlainName(name)) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("'{}' cannot be the name of a model", name));
  }
  if (!parameters.files.empty()) {
    for (const auto& [file, contents] : parameters.files) {
      if (Status status = CheckFileName(file); !status.ok()) return status;
    }
    // The back end keeps no file open once it is loaded.
    const Result<ScratchFolder> folder = ScratchFolder::Make();
    if (!folder) return folder.error();
    for (const auto& [file, contents] : parameters.files) {
      if (Status status = folder->Write(name + "/" + file, contents); !status.ok()) return status;
    }
    return LoadFrom(name, folder->path() + "/" + name, parameters.config_json);
  }
  Faults faults;
  const std::map<std::string, std::string> folders = FindModels(options_.repositories, faults);
  const auto found = folders.find(name);
  if (found == folders.end()) {
    return Status(StatusCode::kNotFound, fmt::format("model '{}' is not in {}", name,
                                                     fmt::join(options_.repositories, ", ")));
  }
  return LoadFrom(name, found->second, parameters.config_json);
}

Status ModelControl::LoadFrom(const std::string& name, const std::string& folder,
                              const std::optional<std::string>& config_json) {
  const std::uint64_t fingerprint = FolderFingerprint(folder);
  {
    const MutexLock lock(mutex_);
    Record& record = records_[name];
    record.loading = true;
    record.fingerprint = fingerprint;
  }
  Faults faults;
  std::vector<ModelSpec> versions = ReadModel(folder, faults, config_json);
  if (faults.empty()) options_.check(versions, faults);
  std::set<std::int64_t> numbers;
  for (const ModelSpec& version : versions) numbers.insert(version.version);
  Status status = faults.ToStatus();
  if (status.ok()) status = node_.Load(std::move(versions), options_.order);

  const MutexLock lock(mutex_);
  Record& record = records_[name];
  record.loading = false;
  record.reason = status.ok() ? "" : std::string(status.message());
  if (status.ok()) {
    record.versions.merge(numbers);
    spdlog::info("model {} is loaded", name);
  }
  return status;
}

void ModelControl::Unload(const std::string& name) {
  if (node_.Unload(name)) spdlog::info("model {} is out of service", name);
  const MutexLock lock(mutex_);
  if (const auto record = records_.find(name); record != records_.end()) {
    record->second.reason.clear();
  }
}

Status ModelControl::LoadAll() {
  Faults faults;
  std::vector<std::string> failures;
  for (const auto& [name, folder] : FindModels(options_.repositories, faults)) {
    const Status status = LoadFrom(name, folder, std::nullopt);
    if (!status.ok()) failures.emplace_back(status.message());
  }
  if (!faults.empty()) failures.push_back(faults.ToString());
  if (failures.empty()) return Status();
  return Status(StatusCode::kInvalidArgument, fmt::format("{}", fmt::join(failures, "\n")));
}

void ModelControl::Poll() {
  Faults faults;
  const std::map<std::string, std::string> folders = FindModels(options_.repositories, faults);
  for (const auto& [name, folder] : folders) {
    const std::uint64_t fingerprint = FolderFingerprint(folder);
    {
      const MutexLock lock(mutex_);
      const auto record = records_.find(name);
      if (record != records_.end() && record->second.fingerprint == fingerprint) continue;
    }
    if (const Status status = LoadFrom(name, folder, std::nullopt); !status.ok()) {
      spdlog::error("model {} has changed and cannot be loaded: {}", name, status.message());
    }
  }
  if (!faults.empty()) {
    // A repository that cannot be read says nothing about its models.
    spdlog::error("{}", faults.ToString());
    return;
  }
  std::set<std::string> gone;
  for (const auto& model : node_.Models()) {
    if (!folders.contains(model->spec.name)) gone.insert(model->spec.name);
  }
  for (const std::string& name : gone) {
    Unload(name);
    const MutexLock lock(mutex_);
    records_.erase(name);
  }
}

void ModelControl::PollLoop(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "duly-poll");
  for (;;) {
    {
      const MutexLock lock(mutex_);
      stopped_.wait_for(mutex_, stop, options_.poll_every, [] { return false; });
    }
    if (stop.stop_requested()) return;
    Poll();
  }
}

inference::RepositoryIndexResponse ModelControl::Index(bool ready_only) const {
  struct Entry {
    std::string state;
    std::string reason;
  };
  std::map<std::string, std::map<std::int64_t, Entry>> models;
  Faults ignored;  // said at the start
  for (const auto& [name, folder] : FindModels(options_.repositories, ignored)) models[name];
  const std::vector<ModelVersion> leaving = node_.Leaving();
  const auto served = node_.Models();
  const MutexLock lock(mutex_);
  for (const auto& [name, record] : records_) {
    for (const std::int64_t version : record.versions) {
      models[name][version] = {"UNAVAILABLE", "unloaded"};
    }
  }
  for (const auto& [name, version] : leaving) models[name][version] = {"UNLOADING", ""};
  for (const auto& model : served) models[model->spec.name][model->spec.version] = {"READY", ""};

  inference::RepositoryIndexResponse response;
  const auto add = [&](const std::string& name, const std::string& version, const Entry& entry) {
    if (ready_only && entry.state != "READY") return;
    auto& message = *response.add_models();
    message.set_name(name);
    message.set_version(version);
    message.set_state(entry.state);
    message.set_reason(entry.reason);
  };
  for (auto& [name, versions] : models) {
    const auto record = records_.find(name);
    const bool loading = record != records_.end() && record->second.loading;
    const std::string reason = record == records_.end() ? "" : record->second.reason;
    if (versions.empty()) {
      add(name, "", {loading ? "LOADING" : reason.empty() ? "" : "UNAVAILABLE", reason});
    }
    for (auto& [version, entry] : versions) {
      if (entry.state == "UNAVAILABLE" && loading) entry = {"LOADING", ""};
      if (!reason.empty()) entry.reason = "the last load failed: " + reason;
      add(name, std::to_string(version), entry);
    }
  }
  return response;
}

Status ModelControl::WhyAbsent(const std::string& name) const {
  const MutexLock lock(mutex_);
  const auto record = records_.find(name);
  if (record == records_.end()) {
    return Status(StatusCode::kNotFound, fmt::format("unknown model '{}'", name));
  }
  if (record->second.loading) {
    return Status(StatusCode::kUnavailable, fmt::format("model '{}' is being loaded", name));
  }
  const std::string& reason = record->second.reason;
  return Status(StatusCode::kNotFound,
                reason.empty() ? fmt::format("model '{}' is not loaded", name)
                               : fmt::format("model '{}' could not be loaded: {}", name, reason));
}

}  // namespace duly
