// SPDX-License-Identifier: Apache-2.0
#include "server/generate_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"

namespace duly {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 100;

// Of `count` elements in one row, or an empty one when they do not fit.
Shape ShapeFor(const ModelSpec& model, const TensorSpec& spec, std::int64_t count) {
  Shape shape = spec.shape;
  if (model.max_rows > 0 && !shape.empty()) shape[0] = 1;
  std::int64_t* open = nullptr;
  for (std::int64_t& dimension : shape) {
    if (dimension >= 0) continue;
    dimension = 1;
    if (open == nullptr) open = &dimension;
  }
  const std::int64_t fixed = ElementCount(shape).value_or(0);
  if (open != nullptr && fixed > 0 && count % fixed == 0) *open = count / fixed;
  return shape;
}

class Reader {
 public:
  explicit Reader(const ModelSpec& model) : model_(model) { request_["inputs"] = Json::array(); }

  Status Take(const std::string& name, Json value) {
    const auto spec = std::ranges::find(model_.inputs, name, &TensorSpec::name);
    if (spec == model_.inputs.end()) {
      request_["parameters"][name] = std::move(value);
      return Status();
    }
    Json data = value.is_array() ? std::move(value) : Json::array({std::move(value)});
    const Shape shape = ShapeFor(model_, *spec, static_cast<std::int64_t>(data.size()));
    if (ElementCount(shape) != static_cast<std::int64_t>(data.size())) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("'{}' has {} values: expected an array that fits {}", name,
                                data.size(), ToString(spec->shape)));
    }
    request_["inputs"].push_back(Json{{"name", name},
                                      {"datatype", ToString(spec->type)},
                                      {"shape", shape},
                                      {"data", std::move(data)}});
    return Status();
  }
  void SetId(Json id) { request_["id"] = std::move(id); }

  std::string Text() const { return request_.dump(-1, ' ', false, Json::error_handler_t::replace); }

 private:
  const ModelSpec& model_;
  Json request_;
};

}  // namespace

Result<std::string> InferJsonOf(const ModelSpec& model, std::string_view generate) {
  bool too_deep = false;
  const auto bound = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json body = Json::parse(generate, bound, false);
  if (too_deep || !body.is_object()) {
    return Error(StatusCode::kInvalidArgument, "the body is not a JSON object of at most {} levels",
                 kMaxDepth);
  }
  Reader reader(model);
  for (auto& [name, value] : body.items()) {
    if (name == "id") {
      reader.SetId(std::move(value));
    } else if (name == "parameters" && value.is_object()) {
      for (auto& [inner, parameter] : value.items()) {
        DULY_RETURN_IF_ERROR(reader.Take(inner, std::move(parameter)));
      }
    } else {
      DULY_RETURN_IF_ERROR(reader.Take(name, std::move(value)));
    }
  }
  return reader.Text();
}

std::string GenerateJsonOf(std::string_view infer) {
  Json answer = Json::parse(infer, nullptr, false);
  DULY_CHECK(answer.is_object());
  Json outputs = std::move(answer["outputs"]);
  answer.erase("outputs");
  for (Json& output : outputs) {
    Json& data = output["data"];
    answer[output["name"].get<std::string>()] =
        data.size() == 1 ? Json(std::move(data.front())) : std::move(data);
  }
  return answer.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace duly
