// SPDX-License-Identifier: Apache-2.0
//
// Inference requests over HTTP: JSON, with and without binary tensors behind it, and raw ones. What
// is accepted is answered by a node that copies; the answer is JSON, and its values, sent again,
// are the same tensors.
#include "server/infer_json.h"

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/check.h"
#include "server/fake_node_test_util.h"
#include "server/infer_fuzz_test_util.h"
#include "server/shared_memory.h"

namespace duly {
namespace {

using nlohmann::json;

std::vector<ModelSpec> Models() {
  std::vector<ModelSpec> models = TestModels();
  models.push_back(VariantsModel());
  return models;
}

struct World {
  FakeNode node{Models()};
  std::vector<std::shared_ptr<const ServedModel>> models = node.Models();
  SharedMemoryRegistry memory{std::size_t{1} << 20};
  InferDecoder decoder;
};

Buffer PaddedCopy(std::string_view text) {
  auto [buffer, bytes] = Buffer::Allocate(text.size() + InferDecoder::kPadding);
  std::memcpy(bytes.data(), text.data(), text.size());
  // What follows must never matter.
  std::memset(bytes.data() + text.size(), '1', InferDecoder::kPadding);
  return buffer.Slice(0, text.size());
}

bool HasValues(const json& answer) {
  for (const json& output : answer.at("outputs")) {
    if (!output.contains("data")) return false;
  }
  return true;
}

void Replace(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
  }
}

void CheckSameTensors(World& world, const InferCall& call, std::string text) {
  // Within texts quotes are escaped.
  Replace(text, R"("outputs":[)", R"("inputs":[)");
  Replace(text, R"({"name":"out)", R"({"name":"in)");
  const Result<InferCall> read =
      world.decoder.Decode(call.request.model, PaddedCopy(text), text.size());
  DULY_CHECK(read.has_value());
  for (std::size_t i = 0; i < call.request.inputs.size(); ++i) {
    const Tensor& sent = call.request.inputs[i];
    const Tensor& came = read->request.inputs[i];
    DULY_CHECK(sent.shape == came.shape && sent.data.size() == came.data.size());
    DULY_CHECK(sent.data.size() == 0 ||
               std::memcmp(sent.data.data().data(), came.data.data().data(), sent.data.size()) ==
                   0);
  }
}

void Read(World& world, const std::shared_ptr<const ServedModel>& model, std::string_view text,
          std::size_t json_size) {
  const Result<InferCall> call =
      world.decoder.Decode(model, PaddedCopy(text), json_size, &world.memory);
  if (!call) return CheckRefused(call.error());
  CheckAccepted(*call);
  DULY_CHECK(call->format.binary.size() == (call->request.wanted_outputs.empty()
                                                ? model->spec.outputs.size()
                                                : call->request.wanted_outputs.size()));
  InferResponse response = FakeNode::Echo(call->request);
  std::string head;
  std::vector<std::span<const std::byte>> binary;
  if (!Conclude(call->format, response).ok() ||
      !EncodeInferReply(call->format, response, head, binary).ok()) {
    return;
  }
  const json answer = json::parse(head, nullptr, false);
  DULY_CHECK(!answer.is_discarded());
  const bool whole = answer.at("outputs").size() == call->request.inputs.size();
  bool classified = false;
  for (std::size_t i = 0; i < response.outputs.size(); ++i) {
    classified = classified || call->format.ClassCount(i) > 0;
  }
  if (whole && !classified && HasValues(answer)) CheckSameTensors(world, *call, head);
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static duly::World& world = *new duly::World;
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // 'A': the first model.
  const auto& model = world.models[static_cast<std::uint8_t>(input[0] - 'A') % world.models.size()];
  const std::string_view body = input.substr(2);
  switch (input[1] % 4) {
    case 0:  // '0': JSON
      duly::Read(world, model, body, body.size());
      break;
    case 1: {  // '1': JSON up to the first zero, and tensors behind it
      const std::size_t end = std::min(body.find('\0'), body.size());
      std::string text(body.substr(0, end));
      if (end < body.size()) text += body.substr(end + 1);
      duly::Read(world, model, text, end);
      break;
    }
    case 2:  // '2': a tensor alone
      duly::Read(world, model, body, 0);
      break;
    default:  // '3': less than was said
      duly::Read(world, model, body, body.size() + 1);
  }
  return 0;
}
