// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "telemetry/trace.h"
#include "telemetry/trace_file.h"

namespace duly {

struct TraceLevels {
  bool timestamps = false;
  bool tensors = false;
  bool on() const { return timestamps || tensors; }
  friend bool operator==(const TraceLevels&, const TraceLevels&) = default;
};

struct TraceSettings {
  TraceLevels levels;
  std::uint64_t rate = 1000;   // every so manyth request is traced; >= 1
  std::int64_t count = -1;     // so many more; -1: without end
  std::uint64_t per_file = 0;  // traces of one file; 0: all
  std::string file;            // empty: none
  friend bool operator==(const TraceSettings&, const TraceSettings&) = default;
};

// A setting that a change names, with its new value; without one it is cleared.
template <typename T>
using NewSetting = std::optional<std::optional<T>>;

struct TraceChange {
  NewSetting<TraceLevels> levels;
  NewSetting<std::uint64_t> rate;
  NewSetting<std::int64_t> count;
  NewSetting<std::uint64_t> per_file;
  NewSetting<std::string> file;
};

struct TracerOptions {
  TraceSettings start;
  // Where clients may choose names of files; empty: they may choose none.
  std::string folder;
  // Traces that wait to be written, and the bytes of their tensors.
  std::size_t max_waiting = 4096;
  std::size_t max_waiting_bytes = std::size_t{64} << 20;
};

// Decides which requests are traced, and writes their traces on a thread of its own. What that
// cannot write quickly enough is dropped, and the log says how many: requests never wait for it.
//
// Settings hold for all models, and for one model where it has its own. A cleared setting of a
// model is again that of all; a cleared one of all is again as it was at the start.
//
// Threading: all methods from any thread. Must outlive the handles that it gives.
class Tracer {
 public:
  // Fails as Update does, when the settings at the start cannot hold.
  static Result<std::unique_ptr<Tracer>> Start(TracerOptions options);
  // Writes what waits.
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Whether any request may be traced.
  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }

  // A request on its way to the node. Null: it is not traced.
  TraceHandle Sample(const std::string& model, std::int64_t version, const std::string& request);

  // model: empty: of all. The settings as they are then; all of the change holds or, after a
  // failure, none. kInvalidArgument: there is no file, or it cannot be written; kUnimplemented:
  // clients may not choose this file.
  Result<TraceSettings> Update(const std::string& model, const TraceChange& change);
  TraceSettings SettingsOf(const std::string& model) const;

  // Traces that were not written, so far.
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  friend struct TraceEnd;

  // The settings of all models, or of one.
  struct Rule {
    // Its own ones.
    std::optional<TraceLevels> levels;
    std::optional<std::uint64_t> rate;
    std::optional<std::int64_t> count;
    std::optional<std::uint64_t> per_file;
    std::optional<std::string> file;

    TraceSettings now;  // with those of others in the place of what is not its own
    std::uint64_t seen = 0;
    std::shared_ptr<TraceFile> target;

    bool HasOwn() const { return levels || rate || count || per_file || file; }
  };
  using Rules = std::map<std::string, Rule>;  // by model; "": of all

  explicit Tracer(TracerOptions options);
  Result<std::string> PathOf(const std::string& file, const std::string& current) const;
  static void Settle(Rule& rule, const TraceSettings& others, const TraceChange& change);
  // Opens the file of a rule that traces.
  Status OpenFile(Rule& rule) DULY_REQUIRES(mutex_);
  Status Install(Rules rules) DULY_REQUIRES(mutex_);
  void Enable() DULY_REQUIRES(mutex_);
  void Write(std::unique_ptr<Trace> trace);
  void WriteAll(const std::stop_token& stop);

  const TracerOptions options_;
  std::atomic<bool> enabled_{false};
  std::atomic<std::uint64_t> dropped_{0};

  mutable Mutex mutex_;
  Rules rules_ DULY_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<TraceFile>> files_ DULY_GUARDED_BY(mutex_);
  std::uint64_t last_id_ DULY_GUARDED_BY(mutex_) = 0;

  Mutex queue_mutex_;
  std::condition_variable_any arrived_;
  std::vector<std::unique_ptr<Trace>> waiting_ DULY_GUARDED_BY(queue_mutex_);
  std::size_t waiting_bytes_ DULY_GUARDED_BY(queue_mutex_) = 0;
  std::jthread writer_;  // from the first rule on that traces
};

}  // namespace duly
