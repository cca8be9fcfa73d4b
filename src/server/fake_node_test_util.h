// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "runtime/node.h"

namespace duly {

// A node without an engine: a test says how requests are answered.
// Threading: as Node; the settings are made before the first request.
class FakeNode : public Node {
 public:
  explicit FakeNode(std::vector<ModelSpec> models);
  ~FakeNode() override;

  // Answers each request before Submit returns; the default is Echo.
  void AnswerWith(std::function<InferResponse(const InferRequest&)> answer);
  // Keeps requests until they are released or cancelled.
  void HoldRequests();
  // Answers the oldest held request with what AnswerWith was given, on the calling thread; false
  // when there is none.
  bool ReleaseOne();
  std::size_t held() const;
  std::size_t cancelled() const;

  // Outputs are the inputs, by place, sharing their memory.
  static InferResponse Echo(const InferRequest& request);

  std::shared_ptr<const ServedModel> FindModel(std::string_view name,
                                               std::int64_t version) const override;
  std::vector<std::shared_ptr<const ServedModel>> Models() const override;
  // Its models are those it was made with.
  Status Load(std::vector<ModelSpec> /*versions*/, LoadOrder /*order*/) override {
    return Status(StatusCode::kUnavailable, "a fake node loads nothing");
  }
  bool Unload(std::string_view /*name*/) override { return false; }
  std::vector<ModelVersion> Leaving() const override { return {}; }
  std::vector<NodeService> Services() const override { return services; }
  Result<ApplicationIndex> AddApplication(const ApplicationSpec& spec) override;
  bool RemoveApplication(const std::string& name, const std::string& model) override;
  RequestId Submit(InferRequest request, ResponseHandle response) override;
  void Cancel(RequestId id) override;
  void Drain() override;
  std::size_t LiveRequests() const override;
  EngineStats Stats() const override { return stats; }
  TimePoint Now() const override { return now; }

  EngineStats stats;                  // what Stats() gives
  std::vector<NodeService> services;  // what Services() gives
  TimePoint now{std::chrono::seconds(100)};

 private:
  struct Held {
    InferRequest request;
    ResponseHandle response;
  };

  std::vector<std::shared_ptr<const ServedModel>> models_;
  std::function<InferResponse(const InferRequest&)> answer_ = Echo;
  mutable Mutex mutex_;
  bool hold_ DULY_GUARDED_BY(mutex_) = false;
  bool draining_ DULY_GUARDED_BY(mutex_) = false;
  std::uint64_t next_sequence_ DULY_GUARDED_BY(mutex_) = 1;
  std::size_t cancelled_ DULY_GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, Held> held_ DULY_GUARDED_BY(mutex_);
};

// A model whose outputs are its inputs: tensor "in<i>" comes back as "out<i>".
ModelSpec EchoModel(std::string name, std::uint32_t max_rows,
                    const std::vector<std::pair<DataType, Shape>>& tensors);
// "variants" (FP32 [-1], no batching): "s" with 90 % and "m" with 93.5 %.
ModelSpec VariantsModel();
// The models that the HTTP tests and their test server share: "copy" (FP32 [-1], no batching), one
// "copy_<TYPE>" per data type, "image" (FP32 [-1,3,2,2], up to 8 rows), "two" (FP32 and INT32, up
// to 8 rows), "large" (FP32 [1,3,224,224]).
std::vector<ModelSpec> TestModels();

}  // namespace duly
