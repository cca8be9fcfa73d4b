// SPDX-License-Identifier: Apache-2.0
#include "cli/load_answer.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "model/tensor.h"
#include "workload/inputs.h"

namespace duly {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(HttpResponseReader::kPadding >= simdjson::SIMDJSON_PADDING);

void ReadFloat(ondemand::value value, float& target) {
  double number = 0;
  if (value.get_double().get(number) == simdjson::SUCCESS) target = static_cast<float>(number);
}

// The numbers of arrays within arrays, in order; false for anything else.
bool ReadNumbers(ondemand::value value, std::vector<double>& numbers, int depth = 8) {
  ondemand::json_type type{};
  if (value.type().get(type) != simdjson::SUCCESS) return false;
  if (type != ondemand::json_type::array) {
    return value.get_double().get(numbers.emplace_back()) == simdjson::SUCCESS;
  }
  ondemand::array array;
  if (depth == 0 || value.get_array().get(array) != simdjson::SUCCESS) return false;
  for (simdjson::simdjson_result<ondemand::value> item : array) {
    ondemand::value inner;
    if (std::move(item).get(inner) != simdjson::SUCCESS ||
        !ReadNumbers(inner, numbers, depth - 1)) {
      return false;
    }
  }
  return true;
}

// Calls read(key, value) for each field; false when the JSON is broken or `read` returns false.
template <typename Read>
bool ForEachField(ondemand::object object, Read read) {
  for (simdjson::simdjson_result<ondemand::field> entry : object) {
    ondemand::field field;
    std::string_view key;
    if (std::move(entry).get(field) != simdjson::SUCCESS ||
        field.unescaped_key().get(key) != simdjson::SUCCESS || !read(key, field.value())) {
      return false;
    }
  }
  return true;
}

// One entry of "outputs".
struct Output {
  std::string_view name;
  std::string_view datatype;
  std::optional<std::size_t> binary_size;
  std::vector<double> numbers;  // of "data"
};

bool ReadOutput(ondemand::object object, Output& output) {
  return ForEachField(object, [&output](std::string_view key, ondemand::value value) {
    if (key == "name") return value.get_string().get(output.name) == simdjson::SUCCESS;
    if (key == "datatype") return value.get_string().get(output.datatype) == simdjson::SUCCESS;
    if (key == "data") {
      // Strings cannot be checked, but they are no fault.
      if (!ReadNumbers(value, output.numbers)) output.numbers.clear();
      return true;
    }
    ondemand::object parameters;
    if (key != "parameters" || value.get_object().get(parameters) != simdjson::SUCCESS) return true;
    return ForEachField(parameters, [&output](std::string_view name, ondemand::value size) {
      std::uint64_t bytes = 0;
      if (name == "binary_data_size" && size.get_uint64().get(bytes) == simdjson::SUCCESS) {
        output.binary_size = bytes;
      }
      return true;
    });
  });
}

bool ReadReport(ondemand::object parameters, Answer& answer) {
  return ForEachField(parameters, [&](std::string_view key, ondemand::value value) {
    AnswerNumbers& numbers = answer.numbers;
    if (key == "queue_us") {
      ReadFloat(value, numbers.queue_us);
    } else if (key == "compute_us") {
      ReadFloat(value, numbers.compute_us);
    } else if (key == "predicted_us") {
      ReadFloat(value, numbers.predicted_us);
    } else if (key == "accuracy") {
      ReadFloat(value, numbers.accuracy_pct);
    } else if (key == "batch_rows") {
      std::uint64_t rows = 0;
      constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
      if (value.get_uint64().get(rows) == simdjson::SUCCESS) {
        numbers.batch_rows = static_cast<std::uint32_t>(std::min(rows, kMax));
      }
    } else if (key == "variant" || key == "device") {
      std::string_view& target = key == "variant" ? answer.variant : answer.device;
      if (value.get_string().get(target) != simdjson::SUCCESS) target = {};
    }
    return true;
  });
}

// Compares the expected output; `binary` is what follows the JSON.
bool CheckOutputs(ondemand::array outputs, const LoadTarget& target, std::uint32_t sequence,
                  std::string_view binary, AnswerNumbers& numbers) {
  const workload::ExpectedAnswers& expected = *target.expected;
  for (simdjson::simdjson_result<ondemand::value> item : outputs) {
    ondemand::object object;
    Output output;
    if (std::move(item).get_object().get(object) != simdjson::SUCCESS ||
        !ReadOutput(object, output)) {
      return false;
    }
    std::optional<DataType> type = ParseDataType(output.datatype);
    std::span<const std::byte> data;
    if (output.binary_size) {
      if (*output.binary_size > binary.size()) return false;
      data = std::as_bytes(std::span(binary.substr(0, *output.binary_size)));
      binary.remove_prefix(*output.binary_size);
    } else {
      data = std::as_bytes(std::span(output.numbers));
      type = DataType::kFp64;
    }
    if (output.name != expected.output || !type) continue;
    numbers.correct_rows = static_cast<std::uint32_t>(workload::CountCorrect(
        expected, target.FirstRow(sequence), target.rows, target.expected_rows, *type, data));
  }
  return true;
}

}  // namespace

class AnswerReader::Parser {
 public:
  // The root object of the first `size` bytes of a body.
  bool Parse(const HttpResponseReader& response, std::size_t size, ondemand::object& root) {
    const std::string_view body = response.body();
    return size > 0 && size <= body.size() &&
           json_.iterate(body.data(), size, size + HttpResponseReader::kPadding).get(document_) ==
               simdjson::SUCCESS &&
           document_.get_object().get(root) == simdjson::SUCCESS;
  }

 private:
  ondemand::parser json_;
  ondemand::document document_;
};

AnswerReader::AnswerReader() : parser_(std::make_unique<Parser>()) {}
AnswerReader::~AnswerReader() = default;

std::optional<Answer> AnswerReader::Read(const HttpResponseReader& response,
                                         const LoadTarget& target, std::uint32_t sequence) {
  Answer answer;
  if (!target.wants_report && !target.expected) return answer;
  const std::size_t json_size = response.json_size().value_or(response.body().size());
  ondemand::object root;
  if (!parser_->Parse(response, json_size, root)) return std::nullopt;
  if (target.expected) answer.numbers.checked_rows = target.rows;
  const bool valid = ForEachField(root, [&](std::string_view key, ondemand::value value) {
    if (key == "parameters" && target.wants_report) {
      ondemand::object parameters;
      return value.get_object().get(parameters) == simdjson::SUCCESS &&
             ReadReport(parameters, answer);
    }
    if (key == "outputs" && target.expected) {
      ondemand::array outputs;
      return value.get_array().get(outputs) == simdjson::SUCCESS &&
             CheckOutputs(outputs, target, sequence, response.body().substr(json_size),
                          answer.numbers);
    }
    return true;
  });
  if (!valid) return std::nullopt;
  return answer;
}

std::string AnswerReader::ReadReason(const HttpResponseReader& response) {
  std::string_view reason;
  std::string_view error;
  ondemand::object root;
  if (parser_->Parse(response, response.body().size(), root)) {
    ForEachField(root, [&](std::string_view key, ondemand::value value) {
      if (key != "reason" && key != "error") return true;
      std::string_view& target = key == "reason" ? reason : error;
      if (value.get_string().get(target) != simdjson::SUCCESS) target = {};
      return true;
    });
  }
  if (!reason.empty()) return std::string(reason);
  return fmt::format("HTTP {}{}{}", response.status(), error.empty() ? "" : ": ", error);
}

}  // namespace duly
