// SPDX-License-Identifier: Apache-2.0
#include "repository/model_config.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using std::chrono::microseconds;

std::string FaultsOf(const std::string& text) {
  Faults faults;
  ParseModelConfig(text, "config.pbtxt", "m", faults);
  return faults.ToString();
}

ModelConfigFile Parsed(const std::string& text) {
  Faults faults;
  ModelConfigFile file = ParseModelConfig(text, "config.pbtxt", "m", faults);
  EXPECT_EQ(faults.ToString(), "");
  return file;
}

TEST(ModelConfig, LoadsEverythingThatHasAnEqual) {
  const TempFolder folder;
  folder.Write("m/labels.txt", "cat\r\n\na dog: big\n");
  folder.Write("m/warmup/image.bin", std::string(12, 'x'));
  Faults faults;
  const ModelConfigFile config = ParseModelConfig(R"(
name: "m"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 8
input [
  { name: "image" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 224, -1 ] },
  { name: "text" data_type: TYPE_STRING dims: 1 optional: true }
]
output { name: "logits" data_type: TYPE_FP16 dims: [ 10 ] label_filename: "labels.txt" }
instance_group [ { kind: KIND_CPU count: 2 }, { name: "b" count: 1 } ]
default_model_filename: "net.onnx"
version_policy: { specific: { versions: [ 3, 1 ] } }
dynamic_batching {
  preferred_batch_size: [ 8, 4, 4 ]
  max_queue_delay_microseconds: 500
  default_queue_policy {
    timeout_action: REJECT
    default_timeout_microseconds: 20000
    allow_timeout_override: false
    max_queue_size: 64
  }
  priority_levels: 3
  default_priority_level: 2
  priority_queue_policy { key: 3 value { timeout_action: DELAY default_timeout_microseconds: 7 } }
}
parameters { key: "b" value { string_value: "2" } }
parameters { key: "a" value { string_value: "1" } }
model_warmup { name: "w" batch_size: 1 count: 3 inputs { key: "image" value { data_type: TYPE_FP32 dims: [3] zero_data: true } } }
model_warmup { name: "x" }
model_warmup { name: "y" batch_size: 2
  inputs { key: "size" value { data_type: TYPE_INT64 random_data: true } }
  inputs { key: "image" value { data_type: TYPE_FP32 dims: [3] input_data_file: "image.bin" } } }
response_cache { enable: true }
model_transaction_policy { decoupled: false }
)",
                                                  folder.At("m/config.pbtxt"), "m", faults);
  EXPECT_EQ(faults.ToString(), "");
  const ModelSpec& spec = config.spec;
  EXPECT_EQ(spec.max_rows, 8u);
  EXPECT_FALSE(spec.rows_from_file);
  ASSERT_EQ(spec.inputs.size(), 2u);
  EXPECT_EQ(spec.inputs[0],
            (TensorSpec{"image", DataType::kFp32, {-1, 3, 224, -1}, /*optional=*/false}));
  EXPECT_EQ(spec.inputs[1], (TensorSpec{"text", DataType::kBytes, {-1, 1}, /*optional=*/true}));
  ASSERT_EQ(spec.outputs.size(), 1u);
  EXPECT_EQ(spec.outputs[0], (TensorSpec{"logits", DataType::kFp16, {-1, 10}, false}));
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(spec.formats, (Pairs{{"image", "FORMAT_NCHW"}}));
  EXPECT_EQ(spec.label_files, (Pairs{{"logits", "labels.txt"}}));
  ASSERT_EQ(spec.labels.size(), 1u);
  EXPECT_EQ(spec.labels[0].first, "logits");
  EXPECT_EQ(spec.labels[0].second, (std::vector<std::string>{"cat", "", "a dog: big"}));
  EXPECT_EQ(spec.parameters, (Pairs{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(spec.instances, 3u);
  EXPECT_EQ(spec.warmup_runs, 1u);
  ASSERT_EQ(spec.warmup_samples.size(), 2u);
  const WarmUpSample& sample = spec.warmup_samples[0];
  EXPECT_EQ(sample.name, "w");
  EXPECT_EQ(sample.rows, 1u);
  EXPECT_EQ(sample.runs, 3u);
  ASSERT_EQ(sample.inputs.size(), 1u);
  EXPECT_EQ(sample.inputs[0].name, "image");
  EXPECT_EQ(sample.inputs[0].dims, Shape{3});
  EXPECT_EQ(sample.inputs[0].data, WarmUpInput::Data::kZeros);
  const WarmUpSample& other = spec.warmup_samples[1];
  EXPECT_EQ(other.rows, 2u);
  EXPECT_EQ(other.runs, 1u);
  EXPECT_EQ(other.inputs.at(0).data, WarmUpInput::Data::kFile);
  EXPECT_EQ(other.inputs.at(0).file, folder.At("m/warmup/image.bin"));
  EXPECT_EQ(other.inputs.at(1).data, WarmUpInput::Data::kRandom);
  EXPECT_EQ(other.inputs.at(1).type, DataType::kInt64);
  EXPECT_FALSE(spec.timeout.has_value());  // each level has its own
  EXPECT_EQ(spec.config_file, folder.At("m/config.pbtxt"));
  ASSERT_TRUE(spec.dynamic_batching.has_value());
  EXPECT_EQ(spec.dynamic_batching->preferred_rows, (std::vector<std::uint32_t>{4, 8}));
  EXPECT_EQ(spec.dynamic_batching->max_queue_delay, microseconds(500));
  EXPECT_EQ(spec.dynamic_batching->queue.max_requests, 64u);
  EXPECT_EQ(spec.dynamic_batching->queue.default_timeout, microseconds(20000));
  EXPECT_FALSE(spec.dynamic_batching->queue.allow_timeout_override);
  EXPECT_EQ(spec.dynamic_batching->default_level, 2u);
  ASSERT_EQ(spec.dynamic_batching->levels.size(), 3u);
  for (const std::size_t level : {0u, 1u}) {
    EXPECT_EQ(spec.dynamic_batching->levels[level].max_requests, 64u);
    EXPECT_EQ(spec.dynamic_batching->levels[level].default_timeout, microseconds(20000));
    EXPECT_EQ(spec.dynamic_batching->levels[level].on_timeout, OnTimeout::kReject);
  }
  EXPECT_EQ(spec.dynamic_batching->levels[2].max_requests, 0u);
  EXPECT_EQ(spec.dynamic_batching->levels[2].default_timeout, microseconds(7));
  EXPECT_TRUE(spec.dynamic_batching->levels[2].allow_timeout_override);
  EXPECT_EQ(spec.dynamic_batching->levels[2].on_timeout, OnTimeout::kDelay);
  EXPECT_EQ(config.versions.kind, VersionPolicy::Kind::kSpecific);
  EXPECT_EQ(config.versions.specific, (std::vector<std::int64_t>{3, 1}));
  EXPECT_EQ(config.model_filename, "net.onnx");
  EXPECT_TRUE(spec.response_cache);
}

TEST(ModelConfig, MapsEveryDataType) {
  const std::vector<std::pair<std::string, DataType>> types{
      {"TYPE_BOOL", DataType::kBool},     {"TYPE_UINT8", DataType::kUint8},
      {"TYPE_UINT16", DataType::kUint16}, {"TYPE_UINT32", DataType::kUint32},
      {"TYPE_UINT64", DataType::kUint64}, {"TYPE_INT8", DataType::kInt8},
      {"TYPE_INT16", DataType::kInt16},   {"TYPE_INT32", DataType::kInt32},
      {"TYPE_INT64", DataType::kInt64},   {"TYPE_FP16", DataType::kFp16},
      {"TYPE_BF16", DataType::kBf16},     {"TYPE_FP32", DataType::kFp32},
      {"TYPE_FP64", DataType::kFp64},     {"TYPE_STRING", DataType::kBytes}};
  for (const auto& [name, type] : types) {
    const ModelConfigFile config = Parsed("input { name: 'x' dims: 1 data_type: " + name + " }");
    EXPECT_EQ(config.spec.inputs.at(0).type, type) << name;
  }
}

TEST(ModelConfig, OmittedSettingsHaveTheirDefaults) {
  const ModelConfigFile empty = Parsed("");
  EXPECT_TRUE(empty.spec.rows_from_file);
  EXPECT_EQ(empty.versions.kind, VersionPolicy::Kind::kLatest);
  EXPECT_EQ(empty.versions.latest, 1u);
  EXPECT_EQ(empty.spec.instances, 0u);
  EXPECT_EQ(empty.spec.warmup_runs, 1u);
  EXPECT_FALSE(empty.spec.dynamic_batching.has_value());
  EXPECT_FALSE(empty.spec.timeout.has_value());

  EXPECT_FALSE(Parsed("max_batch_size: 0").spec.rows_from_file);
  const ModelConfigFile batching = Parsed("dynamic_batching { preferred_batch_size: 64 }");
  EXPECT_TRUE(batching.spec.rows_from_file);
  EXPECT_TRUE(batching.spec.dynamic_batching->queue.allow_timeout_override);
  const ModelConfigFile scalar = Parsed("input { name: 'x' data_type: TYPE_INT64 }");
  EXPECT_FALSE(scalar.spec.rows_from_file);
  EXPECT_EQ(scalar.spec.max_rows, 0u);
  EXPECT_TRUE(scalar.spec.inputs[0].shape.empty());

  EXPECT_EQ(Parsed("version_policy { latest {} }").versions.latest, 1u);
  EXPECT_EQ(Parsed("version_policy { latest { num_versions: 3 } }").versions.latest, 3u);
  EXPECT_EQ(Parsed("version_policy { all {} }").versions.kind, VersionPolicy::Kind::kAll);
}

struct BadConfig {
  std::string text;
  std::string faults;
};

class ModelConfigRefuses : public testing::TestWithParam<BadConfig> {};

TEST_P(ModelConfigRefuses, WithItsPlaceAndWhatIsExpected) {
  EXPECT_EQ(FaultsOf(GetParam().text), GetParam().faults) << GetParam().text;
}

const BadConfig kUnknown[] = {
    {"max_batchsize: 8",
     "config.pbtxt:1:1: unknown field 'max_batchsize' (did you mean 'max_batch_size'?): expected "
     "one of: name, platform, version_policy, max_batch_size, input, output, instance_group, "
     "default_model_filename, cc_model_filenames, metric_tags, dynamic_batching, "
     "sequence_batching, ensemble_scheduling, optimization, parameters, model_warmup, backend, "
     "model_operations, model_transaction_policy, batch_input, batch_output, "
     "model_repository_agents, response_cache, runtime, model_metrics"},
    {"version_policy {\n  latest {\n    number   :\n 2 } }",
     "config.pbtxt:3:5: unknown field 'number': expected one of: num_versions"},
    {"input { name: 'x' dims: 1 data_type: TYPE_FP31 }",
     "config.pbtxt:1:38: unknown data_type 'TYPE_FP31' (did you mean 'TYPE_FP32'?): expected one "
     "of: TYPE_BOOL, TYPE_UINT8, TYPE_UINT16, TYPE_UINT32, TYPE_UINT64, TYPE_INT8, TYPE_INT16, "
     "TYPE_INT32, TYPE_INT64, TYPE_FP16, TYPE_FP32, TYPE_FP64, TYPE_STRING, TYPE_BF16"},
    {"instance_group { kind: CPU }",
     "config.pbtxt:1:24: unknown kind 'CPU': expected one of: KIND_AUTO, KIND_GPU, KIND_CPU, "
     "KIND_MODEL"},
};
INSTANTIATE_TEST_SUITE_P(UnknownNames, ModelConfigRefuses, testing::ValuesIn(kUnknown));

const BadConfig kSyntax[] = {
    {"input [\n  { name: 'x'\n", "config.pbtxt:3:1: Expected identifier, got: the end of the file"},
    {"max_batch_size: 'eight'", "config.pbtxt:1:17: Expected integer, got: 'eight'"},
    {"max_batch_size: 99999999999", "config.pbtxt:1:17: Integer out of range (99999999999)"},
    {"name: \"a\n\"",
     "config.pbtxt:1:9: String literals cannot cross line boundaries\n"
     "config.pbtxt:2:2: Unexpected end of string"},
    {"dynamic_batching {}\nsequence_batching {}",
     "config.pbtxt:2:19: Field \"sequence_batching\" is specified along with field "
     "\"dynamic_batching\", another member of oneof \"scheduling_choice\""},
};
INSTANTIATE_TEST_SUITE_P(Syntax, ModelConfigRefuses, testing::ValuesIn(kSyntax));

const BadConfig kNoText[] = {
    {"backend: 'copy'\ninput { name: '\xE9n0' data_type: TYPE_FP32 dims: 1 }",
     "config.pbtxt:2:9: name is no text: expected UTF-8"},
    {"parameters [{key: 'a' value {string_value: '\\351'}}]",
     "config.pbtxt:1:30: string_value is no text: expected UTF-8"},
};
INSTANTIATE_TEST_SUITE_P(NoText, ModelConfigRefuses, testing::ValuesIn(kNoText));

const BadConfig kNotServed[] = {
    {"platform: 'tensorrt_plan'",
     "config.pbtxt:1:1: platform 'tensorrt_plan' is not served: expected onnxruntime_onnx"},
    {"\nbackend: 'python'",
     "config.pbtxt:2:1: backend 'python' is not served: expected onnxruntime, copy or plug-in"},
    {"sequence_batching { max_sequence_idle_microseconds: 5 direct {} }",
     "config.pbtxt:1:1: sequence_batching is not served: expected a model whose state travels in "
     "its tensors"},
    {"ensemble_scheduling { step [ { model_name: 'a' model_version: -1 } ] }",
     "config.pbtxt:1:1: ensemble_scheduling is not served: expected one request for each model"},
    {"optimization { graph { level: 1 } }",
     "config.pbtxt:1:1: optimization is not served: expected no such field: graphs are optimised, "
     "threads are set for each device"},
    {"model_transaction_policy {\n  decoupled: true\n}",
     "config.pbtxt:2:3: decoupled is not served: expected decoupled: false: one answer for each "
     "request"},
    {"instance_group [\n  { kind: KIND_CPU },\n  { count: 1 kind: KIND_GPU gpus: [ 0 ] }\n]",
     "config.pbtxt:3:14: kind KIND_GPU is not served: expected KIND_CPU or KIND_AUTO\n"
     "config.pbtxt:3:29: gpus is not served: expected KIND_CPU: this build has no GPU"},
    {"instance_group { rate_limiter { priority: 1 } host_policy: 'h' }",
     "config.pbtxt:1:18: rate_limiter is not served: expected applications with weights in the "
     "node's configuration\n"
     "config.pbtxt:1:47: host_policy is not served: expected cores of a device in the node's "
     "configuration"},
    {"input { name: 'x' data_type: TYPE_FP32 dims: 1 reshape { shape: [] } "
     "allow_ragged_batch: true }",
     "config.pbtxt:1:48: reshape is not served: expected dims as the model file has them\n"
     "config.pbtxt:1:70: allow_ragged_batch is not served: expected requests of one shape"},
    {"max_batch_size: 4\ndynamic_batching { priority_levels: 2 default_priority_level: 1 "
     "preserve_ordering: true }",
     "config.pbtxt:2:65: preserve_ordering is not served: expected no such field: each request is "
     "answered when it is done"},
    {"dynamic_batching { priority_levels: 2 }",
     "config.pbtxt:1:1: default_priority_level is 0: expected from 1 to priority_levels, which is "
     "2"},
    {"dynamic_batching { default_priority_level: 1 }",
     "config.pbtxt:1:20: default_priority_level is 1: expected from 0 to priority_levels, which is "
     "0"},
    {"dynamic_batching { priority_levels: 18446744073709551615 default_priority_level: 1 }",
     "config.pbtxt:1:20: priority_levels is 18446744073709551615: expected at most 1000"},
    {"dynamic_batching { priority_levels: 1 default_priority_level: 1 priority_queue_policy { key: "
     "2 value { max_queue_size: 1 } } }",
     "config.pbtxt:1:65: priority_queue_policy of level 2: expected levels up to priority_levels, "
     "which is 1"},
    {"model_warmup { inputs { key: 'x' value { input_data_file: 'f' } } }",
     "config.pbtxt:1:16: warm-up input 'x' has no data type: expected data_type: TYPE_FP32 or "
     "another\n"
     "config.pbtxt:1:16: input_data_file of warm-up input 'x' is 'f': expected a file in the "
     "folder "
     "warmup of the model's folder"},
    {"model_warmup { inputs { key: 'x' value { data_type: TYPE_FP32 dims: [ 2, -1 ] } } }",
     "config.pbtxt:1:16: a dimension of warm-up input 'x' is -1: expected a size from 1\n"
     "config.pbtxt:1:16: warm-up input 'x' has no data: expected zero_data, random_data or "
     "input_data_file"},
    {"cc_model_filenames { key: '8.0' value: 'a' } runtime: 'r' metric_tags { key: 'a' value: 'b' "
     "}",
     "config.pbtxt:1:1: cc_model_filenames is not served: expected default_model_filename\n"
     "config.pbtxt:1:46: runtime is not served: expected no such field: ONNX Runtime runs every "
     "model\n"
     "config.pbtxt:1:59: metric_tags is not served: expected no such field: metrics are labelled "
     "by "
     "model and version"},
};
INSTANTIATE_TEST_SUITE_P(NotServed, ModelConfigRefuses, testing::ValuesIn(kNotServed));

const BadConfig kWrong[] = {
    {"name: 'other'",
     "config.pbtxt:1:1: name is 'other': expected 'm', as the folder is called, or no name"},
    {"max_batch_size: -1",
     "config.pbtxt:1:1: max_batch_size is -1: expected a number of rows up to 1000000, or 0 for a "
     "model that does not batch"},
    {"max_batch_size: 2147483647",
     "config.pbtxt:1:1: max_batch_size is 2147483647: expected a number of rows up to 1000000, or "
     "0 for a model that does not batch"},
    {"input [\n  { name: 'x' data_type: TYPE_FP32 },\n  { name: 'x' }\n]",
     "config.pbtxt:3:5: input 'x' is given again: expected each name once\n"
     "config.pbtxt:3:5: input 'x' has no data type: expected data_type: TYPE_FP32 or another"},
    {"output { data_type: 99 dims: 1 }",
     "config.pbtxt:1:1: an output has no name: expected name: \"...\"\n"
     "config.pbtxt:1:10: output '' has no data type: expected data_type: TYPE_FP32 or another"},
    {"input { name: 'x' data_type: TYPE_FP32 dims: 0 dims: -2 }",
     "config.pbtxt:1:40: a dimension of input 'x' is 0: expected a size from 1, or -1 for any\n"
     "config.pbtxt:1:48: a dimension of input 'x' is -2: expected a size from 1, or -1 for any"},
    {"output { name: 'x' data_type: TYPE_FP32 label_filename: '../../etc/passwd' }",
     "config.pbtxt:1:41: label_filename is '../../etc/passwd': expected a file in the model's "
     "folder"},
    {"output {\n  name: 'x' data_type: TYPE_FP32\n  label_filename: 'missing.txt' }",
     "config.pbtxt:3:3: label_filename is 'missing.txt': expected a file in the model's folder"},
    {"instance_group { count: -1 }",
     "config.pbtxt:1:18: count is -1: expected a number from 0 to 1024"},
    {"version_policy { latest { num_versions: 0 } }",
     "config.pbtxt:1:27: num_versions is 0: expected at least 1"},
    {"version_policy { specific {} }",
     "config.pbtxt:1:18: version_policy names no version: expected versions: [1, 2]"},
    {"default_model_filename: '/etc/model.onnx'",
     "config.pbtxt:1:1: default_model_filename is '/etc/model.onnx': expected a path inside the "
     "version folder"},
    {"max_batch_size: 4\ndynamic_batching { preferred_batch_size: [ 2, 8 ] }",
     "config.pbtxt:2:20: a preferred_batch_size is 8: expected from 1 to max_batch_size, which is "
     "4"},
    {"dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }",
     "config.pbtxt:1:20: max_queue_delay_microseconds is 18446744073709551615: expected at most "
     "86400000000 (a day)"},
    {"model_warmup { count: 4000000000 }",
     "config.pbtxt:1:1: model_warmup asks for 4000000000 runs: expected at most 1000"},
};
INSTANTIATE_TEST_SUITE_P(WrongValues, ModelConfigRefuses, testing::ValuesIn(kWrong));

TEST(ModelConfig, ListsTheFaultsOfOneFileInItsOrder) {
  EXPECT_EQ(
      FaultsOf("backend: 'python'\nbatching: 1\nruntime: 'r'\nname: 'n'\n").substr(0, 89),
      "config.pbtxt:1:1: backend 'python' is not served: expected onnxruntime, copy or plug-in\nc");
  std::size_t lines = 0;
  Faults faults;
  ParseModelConfig("backend: 'python'\nbatching: 1\nruntime: 'r'\nname: 'n'\n", "f", "m", faults);
  for (const Fault& fault : faults.all()) EXPECT_EQ(fault.line, static_cast<int>(++lines));
  EXPECT_EQ(lines, 4u);
}

TEST(ModelConfig, HostileTextIsAFaultNotACrash) {
  EXPECT_NE(FaultsOf(std::string("\0\xff\x01", 3)), "");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "optimization {";
  EXPECT_NE(FaultsOf(deep), "");
  std::string deep_list = "x: ";
  for (int i = 0; i < 1'000'000; ++i) deep_list += "[";
  EXPECT_NE(FaultsOf(deep_list), "");
  std::string deep_unknown;
  for (int i = 0; i < 100'000; ++i) deep_unknown += "x <";
  EXPECT_NE(FaultsOf(deep_unknown), "");
  EXPECT_NE(FaultsOf("name: \"" + std::string(100'000, 'x') + "\""), "");
}

}  // namespace
}  // namespace duly
