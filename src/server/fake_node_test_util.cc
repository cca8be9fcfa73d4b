// SPDX-License-Identifier: Apache-2.0
#include "server/fake_node_test_util.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace duly {

FakeNode::FakeNode(std::vector<ModelSpec> models) {
  for (ModelSpec& spec : models) {
    auto model = std::make_shared<ServedModel>();
    model->spec = std::move(spec);
    model->generation = static_cast<GenerationIndex>(models_.size());
    model->applications = {{model->spec.name, model->generation}, {"camera", model->generation}};
    stats.models.emplace_back().variant_requests.resize(model->spec.variants.size());
    stats.applications.emplace_back().name = model->spec.name;
    models_.push_back(std::move(model));
  }
  stats.devices.emplace_back().name = "cpu";
}

Result<ApplicationIndex> FakeNode::AddApplication(const ApplicationSpec& spec) {
  const auto index = static_cast<ApplicationIndex>(stats.applications.size());
  stats.applications.emplace_back().name = spec.name;
  for (auto& model : models_) {
    if (model->spec.name != spec.model) continue;
    auto changed = std::make_shared<ServedModel>(*model);
    changed->applications.emplace_back(spec.name, index);
    model = std::move(changed);
  }
  return index;
}

bool FakeNode::RemoveApplication(const std::string& name, const std::string& model_name) {
  bool found = false;
  for (auto& model : models_) {
    if (model->spec.name != model_name) continue;
    auto changed = std::make_shared<ServedModel>(*model);
    found = std::erase_if(changed->applications,
                          [&](const auto& entry) { return entry.first == name; }) > 0;
    model = std::move(changed);
  }
  return found;
}

FakeNode::~FakeNode() {
  while (ReleaseOne()) {
  }
}

void FakeNode::AnswerWith(std::function<InferResponse(const InferRequest&)> answer) {
  answer_ = std::move(answer);
}

void FakeNode::HoldRequests() {
  const MutexLock lock(mutex_);
  hold_ = true;
}

bool FakeNode::ReleaseOne() {
  Held held;
  {
    const MutexLock lock(mutex_);
    if (held_.empty()) return false;
    held = std::move(held_.begin()->second);
    held_.erase(held_.begin());
  }
  held.response.Finish(answer_(held.request));
  return true;
}

std::size_t FakeNode::held() const {
  const MutexLock lock(mutex_);
  return held_.size();
}

std::size_t FakeNode::cancelled() const {
  const MutexLock lock(mutex_);
  return cancelled_;
}

InferResponse FakeNode::Echo(const InferRequest& request) {
  const ModelSpec& spec = request.model->spec;
  InferResponse response;
  response.outcome = Outcome::kOnTime;
  response.report.variant = spec.variants[0].name;
  response.report.accuracy_pct = spec.variants[0].accuracy_pct;
  response.report.device = "cpu";
  response.report.batch_rows = request.rows;
  response.report.queue = std::chrono::microseconds(7);
  response.report.compute = std::chrono::microseconds(11);
  const bool all = request.wanted_outputs.empty();
  const std::size_t count = all ? spec.outputs.size() : request.wanted_outputs.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t place = all ? i : request.wanted_outputs[i];
    Tensor tensor = request.inputs.at(place);
    tensor.name = spec.outputs[place].name;
    response.outputs.push_back(std::move(tensor));
  }
  return response;
}

std::shared_ptr<const ServedModel> FakeNode::FindModel(std::string_view name,
                                                       std::int64_t version) const {
  for (const auto& model : models_) {
    if (model->spec.name == name && (version < 0 || model->spec.version == version)) return model;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const ServedModel>> FakeNode::Models() const { return models_; }

RequestId FakeNode::Submit(InferRequest request, ResponseHandle response) {
  RequestId id;
  bool refuse = false;
  {
    const MutexLock lock(mutex_);
    id = {0, next_sequence_++};
    refuse = draining_;
    if (!refuse && hold_) {
      held_.emplace(id.sequence, Held{std::move(request), std::move(response)});
      return id;
    }
  }
  if (refuse) {
    InferResponse refusal;
    refusal.outcome = Outcome::kRejected;
    refusal.reason = RejectReason::kShuttingDown;
    response.Finish(std::move(refusal));
  } else {
    response.Finish(answer_(request));
  }
  return id;
}

void FakeNode::Cancel(RequestId id) {
  Held held;
  {
    const MutexLock lock(mutex_);
    const auto found = held_.find(id.sequence);
    if (found == held_.end()) return;
    held = std::move(found->second);
    held_.erase(found);
    ++cancelled_;
  }
  InferResponse response;
  response.outcome = Outcome::kCancelled;
  held.response.Finish(std::move(response));
}

void FakeNode::Drain() {
  const MutexLock lock(mutex_);
  draining_ = true;
}

std::size_t FakeNode::LiveRequests() const { return held(); }

ModelSpec EchoModel(std::string name, std::uint32_t max_rows,
                    const std::vector<std::pair<DataType, Shape>>& tensors) {
  ModelSpec spec;
  spec.name = std::move(name);
  spec.max_rows = max_rows;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [type, shape] = tensors[i];
    spec.inputs.push_back({"in" + std::to_string(i), type, shape, false});
    spec.outputs.push_back({"out" + std::to_string(i), type, shape, false});
  }
  VariantSpec variant;
  variant.name = "default";
  spec.variants.push_back(std::move(variant));
  return spec;
}

ModelSpec VariantsModel() {
  ModelSpec variants = EchoModel("variants", 0, {{DataType::kFp32, {-1}}});
  variants.variants[0].name = "s";
  variants.variants[0].accuracy_pct = 90;
  variants.variants.push_back(variants.variants[0]);
  variants.variants[1].name = "m";
  variants.variants[1].accuracy_pct = 93.5;
  return variants;
}

std::vector<ModelSpec> TestModels() {
  std::vector<ModelSpec> models;
  models.push_back(EchoModel("copy", 0, {{DataType::kFp32, {-1}}}));
  for (int i = 0; i <= static_cast<int>(DataType::kBytes); ++i) {
    const auto type = static_cast<DataType>(i);
    models.push_back(EchoModel("copy_" + std::string(ToString(type)), 0, {{type, {-1}}}));
  }
  models.push_back(EchoModel("image", 8, {{DataType::kFp32, {-1, 3, 2, 2}}}));
  models.push_back(EchoModel("two", 8, {{DataType::kFp32, {-1, 2}}, {DataType::kInt32, {-1, 2}}}));
  models.push_back(EchoModel("large", 0, {{DataType::kFp32, {1, 3, 224, 224}}}));
  return models;
}

}  // namespace duly
