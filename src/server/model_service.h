// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <inference.pb.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/infer.h"
#include "runtime/node.h"
#include "server/infer_call.h"
#include "server/model_control.h"
#include "server/shared_memory_service.h"
#include "telemetry/tracer.h"

namespace duly {

class ApplicationService;

// What a node's servers say about it and its models, in the messages of the Open Inference Protocol
// and of Triton's extensions: gRPC sends them as they are, HTTP prints them as JSON. All that is
// asked by name or version fails with kNotFound when there is none.
// Threading: all methods from any thread.
class ModelService {
 public:
  // Borrows all of them. Without a registry no shared memory is allowed; without control the node's
  // models stay as they are; without a tracer nothing is traced; without applications none is
  // accepted beside those that the node has.
  explicit ModelService(Node& node, SharedMemoryRegistry* shared_memory = nullptr,
                        ModelControl* control = nullptr, Tracer* tracer = nullptr,
                        ApplicationService* applications = nullptr)
      : node_(node),
        shared_memory_(shared_memory),
        control_(control),
        tracer_(tracer),
        applications_(applications) {}

  Node& node() const { return node_; }
  const SharedMemoryService& shared_memory() const { return shared_memory_; }
  ApplicationService* applications() const { return applications_; }

  // Whether new requests should be sent here.
  bool ready() const { return ready_.load(std::memory_order_relaxed); }
  void SetReady(bool ready) { ready_.store(ready, std::memory_order_relaxed); }

  // version: decimal digits; empty: the highest.
  Result<std::shared_ptr<const ServedModel>> FindModel(std::string_view name,
                                                       std::string_view version) const;

  inference::ServerMetadataResponse ServerMetadata() const;
  // Each once, sorted.
  std::vector<std::string> ModelNames() const;
  Result<inference::ModelMetadataResponse> ModelMetadata(std::string_view name,
                                                         std::string_view version) const;
  // As far as the specification fills it.
  Result<inference::ModelConfig> ModelConfig(std::string_view name, std::string_view version) const;
  Result<inference::ModelStatisticsResponse> ModelStatistics(std::string_view name,
                                                             std::string_view version) const;
  inference::ModelStatisticsResponse AllStatistics() const;

  Result<inference::RepositoryIndexResponse> RepositoryIndex(
      const inference::RepositoryIndexRequest& request) const;
  // Both may take as long as a load takes.
  Status LoadModel(const inference::RepositoryModelLoadRequest& request) const;
  Status UnloadModel(const inference::RepositoryModelUnloadRequest& request) const;
  // Where they are called; null without control, when they fail at once.
  WorkThread* control_thread() const;

  // See UpdateTraceSettings.
  Result<inference::TraceSettingResponse> TraceSetting(
      const inference::TraceSettingRequest& request) const;
  // Whether any request may be traced.
  bool tracing() const { return tracer_ != nullptr && tracer_->enabled(); }
  // Nothing: there is no tracer.
  std::optional<std::uint64_t> dropped_traces() const {
    return tracer_ == nullptr ? std::nullopt : std::optional(tracer_->dropped());
  }
  // For a request on its way to the node, while tracing(); null: it is not traced.
  TraceHandle StartTrace(const InferCall& call) const;

 private:
  Status CheckControl(std::string_view repository) const;

  Node& node_;
  const SharedMemoryService shared_memory_;
  ModelControl* const control_;
  Tracer* const tracer_;
  ApplicationService* const applications_;
  std::atomic<bool> ready_{false};
};

}  // namespace duly
