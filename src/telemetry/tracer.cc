// SPDX-License-Identifier: Apache-2.0
#include "telemetry/tracer.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace duly {
namespace {

// A client that may choose names must not use up the process's file descriptors.
constexpr std::size_t kMaxFiles = 32;
constexpr std::size_t kMaxNameBytes = 128;

// One that stays inside its folder, visible there.
bool IsFileName(std::string_view name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !name.empty() && name.size() <= kMaxNameBytes && !name.starts_with('.') &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

std::size_t TensorBytes(const Trace& trace) {
  std::size_t bytes = 0;
  for (const Tensor& tensor : trace.inputs) bytes += tensor.data.size();
  for (const Tensor& tensor : trace.outputs) bytes += tensor.data.size();
  return bytes;
}

template <typename T>
void Take(const NewSetting<T>& change, std::optional<T>& own) {
  if (change) own = *change;
}

}  // namespace

Tracer::Tracer(TracerOptions options) : options_(std::move(options)) {}

Result<std::unique_ptr<Tracer>> Tracer::Start(TracerOptions options) {
  std::unique_ptr<Tracer> made(new Tracer(std::move(options)));
  Tracer& tracer = *made;
  Rules rules;
  rules[""].now = tracer.options_.start;
  const MutexLock lock(tracer.mutex_);
  DULY_RETURN_IF_ERROR(tracer.Install(std::move(rules)));
  return made;
}

Tracer::~Tracer() {
  if (!writer_.joinable()) return;
  writer_.request_stop();
  writer_.join();
}

TraceHandle Tracer::Sample(const std::string& model, std::int64_t version,
                           const std::string& request) {
  const MutexLock lock(mutex_);
  const auto own = rules_.find(model);
  Rule& rule = own == rules_.end() ? rules_.at("") : own->second;
  TraceSettings& settings = rule.now;
  if (!settings.levels.on() || settings.count == 0 || ++rule.seen % settings.rate != 0) {
    return nullptr;
  }
  if (settings.count > 0 && --settings.count == 0) Enable();
  TraceHandle trace(new Trace, TraceEnd{this});
  trace->id = ++last_id_;
  trace->model = model;
  trace->version = version;
  trace->request = request;
  trace->timestamps = settings.levels.timestamps;
  trace->tensors = settings.levels.tensors;
  trace->file = rule.target;
  trace->per_file = settings.per_file;
  return trace;
}

TraceSettings Tracer::SettingsOf(const std::string& model) const {
  const MutexLock lock(mutex_);
  const auto own = rules_.find(model);
  return (own == rules_.end() ? rules_.at("") : own->second).now;
}

Result<std::string> Tracer::PathOf(const std::string& file, const std::string& current) const {
  // Clients send back what they were told, too.
  if (file == current || file == options_.start.file) return file;
  if (options_.folder.empty()) {
    return Error(StatusCode::kUnimplemented,
                 "trace file location can not be updated through network protocol, unless the "
                 "server is started with --trace-config dir=DIR");
  }
  const std::string folder = options_.folder + "/";
  const std::string name = file.starts_with(folder) ? file.substr(folder.size()) : file;
  if (!IsFileName(name)) {
    return Error(StatusCode::kInvalidArgument,
                 "trace_file '{}': expected the name of a file in {}: letters, digits, '.', '_' "
                 "and '-'",
                 file, options_.folder);
  }
  return folder + name;
}

void Tracer::Settle(Rule& rule, const TraceSettings& others, const TraceChange& change) {
  TraceSettings now;
  now.levels = rule.levels.value_or(others.levels);
  now.rate = rule.rate.value_or(others.rate);
  now.per_file = rule.per_file.value_or(others.per_file);
  now.file = rule.file.value_or(others.file);
  // What is left of the count goes on until somebody sets it.
  now.count = change.count ? rule.count.value_or(others.count) : rule.now.count;
  if (now.rate != rule.now.rate) rule.seen = 0;
  rule.now = std::move(now);
}

Result<TraceSettings> Tracer::Update(const std::string& model, const TraceChange& change) {
  const MutexLock lock(mutex_);
  Rules rules = rules_;
  Rule& all = rules.at("");
  const bool is_new = !rules.contains(model);
  Rule& rule = rules[model];
  if (is_new) rule.now = all.now;
  Take(change.levels, rule.levels);
  Take(change.rate, rule.rate);
  Take(change.count, rule.count);
  Take(change.per_file, rule.per_file);
  Take(change.file, rule.file);
  if (change.file && rule.file) {
    DULY_ASSIGN_OR_RETURN(rule.file, PathOf(*rule.file, rule.now.file));
  }
  if (model.empty()) {
    Settle(all, options_.start, change);
    for (auto& [name, other] : rules) {
      if (name.empty()) continue;
      TraceChange inherited;
      if (change.count && !other.count) inherited.count = change.count;
      Settle(other, all.now, inherited);
    }
  } else {
    Settle(rule, all.now, change);
    if (!rule.HasOwn()) rules.erase(model);
  }
  DULY_RETURN_IF_ERROR(Install(std::move(rules)));
  const auto own = rules_.find(model);
  return (own == rules_.end() ? rules_.at("") : own->second).now;
}

Status Tracer::OpenFile(Rule& rule) {
  const std::string& path = rule.now.file;
  if (path.empty()) {
    return Status(StatusCode::kInvalidArgument,
                  "trace_level: there is no file for the traces: start the server with "
                  "--trace-config file=FILE, or with dir=DIR and name a trace_file");
  }
  std::shared_ptr<TraceFile> file;
  if (const auto found = files_.find(path); found != files_.end()) {
    file = found->second;
  } else if (files_.size() < kMaxFiles) {
    file = std::make_shared<TraceFile>(path);
  } else {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("trace_file '{}': expected one of the {} that were used since the "
                              "server started, which is as many as there may be",
                              path, kMaxFiles));
  }
  if (Status status = file->Open(rule.now.per_file); !status.ok()) return status;
  files_.emplace(path, file);
  rule.target = std::move(file);
  return Status();
}

Status Tracer::Install(Rules rules) {
  for (auto& [model, rule] : rules) {
    if (!rule.now.levels.on()) continue;
    if (Status status = OpenFile(rule); !status.ok()) return status;
  }
  rules_ = std::move(rules);
  Enable();
  if (enabled() && !writer_.joinable()) {
    writer_ = std::jthread([this](const std::stop_token& stop) { WriteAll(stop); });
  }
  return Status();
}

void Tracer::Enable() {
  const bool any = std::ranges::any_of(rules_, [](const auto& entry) {
    const TraceSettings& settings = entry.second.now;
    return settings.levels.on() && settings.count != 0;
  });
  enabled_.store(any, std::memory_order_relaxed);
}

void Tracer::Write(std::unique_ptr<Trace> trace) {
  const std::size_t bytes = TensorBytes(*trace);
  {
    const MutexLock lock(queue_mutex_);
    if (waiting_.size() < options_.max_waiting &&
        waiting_bytes_ + bytes <= options_.max_waiting_bytes) {
      waiting_.push_back(std::move(trace));
      waiting_bytes_ += bytes;
    }
  }
  if (trace != nullptr) dropped_.fetch_add(1, std::memory_order_relaxed);
  arrived_.notify_one();
}

void Tracer::WriteAll(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "duly-trace");
  std::uint64_t said = 0;
  std::string last_failure;
  std::string text;
  for (bool last = false; !last;) {
    std::vector<std::unique_ptr<Trace>> traces;
    {
      const MutexLock lock(queue_mutex_);
      last = !arrived_.wait(queue_mutex_, stop,
                            [this]() DULY_REQUIRES(queue_mutex_) { return !waiting_.empty(); });
      traces.swap(waiting_);
      waiting_bytes_ = 0;
    }
    for (std::unique_ptr<Trace>& trace : traces) {
      text.clear();
      AppendTrace(*trace, text);
      const Status status = trace->file->Append(text, trace->per_file);
      trace.reset();
      if (status.ok()) {
        last_failure.clear();
        continue;
      }
      dropped_.fetch_add(1, std::memory_order_relaxed);
      // Once, however many traces meet it.
      if (status.message() != last_failure) spdlog::error("{}", status.message());
      last_failure = status.message();
    }
    const std::uint64_t lost = dropped();
    if (lost > said) spdlog::warn("{} traces were dropped, {} since the start", lost - said, lost);
    said = lost;
  }
}

}  // namespace duly
