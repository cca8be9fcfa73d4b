// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <inference.pb.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "runtime/node.h"
#include "server/work_thread.h"

namespace duly {

// Who decides which models of the repositories are served, as Triton names it.
enum class ModelControlMode : std::uint8_t {
  kNone,      // all of them, as they are at the start
  kPoll,      // all of them, as they are now
  kExplicit,  // those that clients ask for
};

struct ModelControlOptions {
  std::vector<std::string> repositories;
  ModelControlMode mode = ModelControlMode::kNone;
  LoadOrder order = LoadOrder::kLoadFirst;
  Duration poll_every = std::chrono::seconds(15);  // kPoll
  // Adds what is wrong with versions that were read, beside what the node is configured to do.
  std::function<void(std::span<const ModelSpec>, Faults&)> check = [](auto, auto&) {};
};

// What a client may give along with a model's name.
struct LoadParameters {
  std::optional<std::string> config_json;  // in the place of config.pbtxt
  std::map<std::string, std::string>
      files;  // "1/model.onnx" -> contents, in the place of all files
};

// The models of the repositories: which are served, and what became of the others.
// Threading: all methods from any thread; loads and unloads are taken one after another.
class ModelControl {
 public:
  // Borrows the node. What the node serves is taken as loaded from the repositories.
  ModelControl(ModelControlOptions options, Node& node);
  // Waits for what was posted.
  ~ModelControl();

  // For clients: kInvalidArgument unless the mode is kExplicit.
  Status LoadForClient(const std::string& name, const LoadParameters& parameters);
  Status UnloadForClient(const std::string& name);

  // Reads the model's folder and serves what it says, in the place of what is served under this
  // name. kNotFound: it is in none of the repositories; kInvalidArgument lists every fault.
  Status Load(const std::string& name, const LoadParameters& parameters = {});
  // Loads every model; each is served or logged, the failures are listed.
  Status LoadAll();
  // kPoll: looks at the repositories once: loads what is new or has changed since it was looked at
  // last, unloads what is gone. A model that cannot be loaded stays as it was.
  void Poll();

  // All models and versions that are, were or could be served; or the served ones only.
  inference::RepositoryIndexResponse Index(bool ready_only) const;
  // Why no version of the model is served: kUnavailable while it is being loaded, else kNotFound.
  Status WhyAbsent(const std::string& name) const;

  // Where to do what takes as long as a load.
  WorkThread& thread() { return thread_; }

 private:
  struct Record {
    std::string reason;               // why the last load failed
    std::set<std::int64_t> versions;  // that were served once
    bool loading = false;
    std::uint64_t fingerprint = 0;  // of its folder, when it was looked at last
  };

  Status LoadFrom(const std::string& name, const std::string& folder,
                  const std::optional<std::string>& config_json);
  void Unload(const std::string& name);
  void PollLoop(const std::stop_token& stop);

  const ModelControlOptions options_;
  Node& node_;
  mutable Mutex mutex_;
  std::map<std::string, Record> records_ DULY_GUARDED_BY(mutex_);
  std::condition_variable_any stopped_;
  WorkThread thread_;
  std::jthread poller_;
};

}  // namespace duly
