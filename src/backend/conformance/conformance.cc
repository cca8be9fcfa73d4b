// SPDX-License-Identifier: Apache-2.0
#include "backend/conformance/conformance.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "base/random.h"

namespace duly::conformance {
namespace {

constexpr std::uint32_t kMaxRows = 8;
constexpr std::array<DataType, 14> kAllTypes{
    DataType::kBool, DataType::kUint8, DataType::kUint16, DataType::kUint32, DataType::kUint64,
    DataType::kInt8, DataType::kInt16, DataType::kInt32,  DataType::kInt64,  DataType::kFp16,
    DataType::kBf16, DataType::kFp32,  DataType::kFp64,   DataType::kBytes};

ModelSpec IdentityModel(const Subject& subject, DataType type, std::uint32_t max_rows = kMaxRows) {
  ModelSpec model;
  model.name = "identity_" + std::string(ToString(type));
  std::ranges::transform(model.name, model.name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  model.max_rows = max_rows;
  model.inputs = {{"x", type, {-1, -1}}};
  model.outputs = {{"y", type, {-1, -1}}};
  model.variants.resize(1);
  subject.prepare(model);
  return model;
}

ModelSpec PairModel(const Subject& subject) {
  ModelSpec model;
  model.name = "pair";
  model.max_rows = kMaxRows;
  model.inputs = {{"a", DataType::kFp32, {-1, -1}}, {"b", DataType::kInt32, {-1, -1}}};
  model.outputs = {{"p", DataType::kFp32, {-1, -1}}, {"q", DataType::kInt32, {-1, -1}}};
  model.variants.resize(1);
  subject.prepare(model);
  return model;
}

std::unique_ptr<LoadedVariant> Load(Backend& backend, const ModelSpec& model) {
  Result<std::unique_ptr<LoadedVariant>> variant = backend.Load(model, model.variants.front());
  EXPECT_TRUE(variant) << variant.error().ToString();
  return variant ? std::move(*variant) : nullptr;
}

Tensor Zeros(std::string name, DataType type, Shape shape) {
  const auto elements = static_cast<std::size_t>(ElementCount(shape).value());
  const std::size_t element_size = type == DataType::kBytes ? 4 : ElementSize(type);
  const std::vector<std::byte> zeros(elements * element_size);
  return {std::move(name), type, std::move(shape), Buffer::CopyOf(zeros)};
}

// INT64 values as their lower 32 bits with sign.
Buffer Narrowed(const Tensor& tensor) {
  std::vector<std::int64_t> values = ValuesOf<std::int64_t>(tensor);
  for (std::int64_t& value : values) value = static_cast<std::int32_t>(value);
  return Buffer::CopyOf(std::as_bytes(std::span(values)));
}

// What the suite's models make of an input.
void ExpectAnswer(const Subject& subject, const Tensor& output, const std::string& name,
                  const Tensor& input) {
  Tensor expected = subject.computes ? Tensor{name, input.type, input.shape, input.data}
                                     : Zeros(name, input.type, {input.shape.front(), 1});
  if (subject.narrows_int64 && input.type == DataType::kInt64) expected.data = Narrowed(expected);
  EXPECT_EQ(output.name, expected.name);
  EXPECT_EQ(output.type, expected.type);
  EXPECT_EQ(output.shape, expected.shape);
  EXPECT_EQ(BytesOf(output), BytesOf(expected));
}

void ExpectRefused(LoadedVariant& variant, std::span<RunItem> items) {
  // What an earlier run left is not taken for an answer.
  for (RunItem& item : items) item.outputs.resize(1);
  RunTimes times;
  const Status status = variant.Run(items, times);
  EXPECT_EQ(status.code(), StatusCode::kInternal) << status.ToString();
  for (const RunItem& item : items) EXPECT_TRUE(item.outputs.empty());
}

std::size_t CountEntries(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder),
                                                std::filesystem::directory_iterator()));
}

}  // namespace

Tensor MakeTensor(std::string name, DataType type, Shape shape, std::uint64_t seed) {
  RandomStream random(seed, "conformance/" + name);
  const auto elements = static_cast<std::size_t>(ElementCount(shape).value());
  std::vector<std::byte> bytes;
  if (type == DataType::kBytes) {
    for (std::size_t i = 0; i < elements; ++i) {
      const auto length = static_cast<std::uint32_t>(random.Below(21));
      const auto* const first = reinterpret_cast<const std::byte*>(&length);
      bytes.insert(bytes.end(), first, first + sizeof(length));
      for (std::uint32_t k = 0; k < length; ++k) bytes.push_back(std::byte(random.Below(4)));
    }
  } else {
    bytes.resize(elements * ElementSize(type));
    const std::uint64_t bound = type == DataType::kBool ? 2 : 256;
    for (std::byte& b : bytes) b = std::byte(random.Below(bound));
  }
  return {std::move(name), type, std::move(shape), Buffer::CopyOf(bytes)};
}

std::vector<std::byte> BytesOf(const Tensor& tensor) {
  const std::span<const std::byte> data = tensor.data.data();
  return {data.begin(), data.end()};
}

std::vector<Tensor> RunAlone(LoadedVariant& variant, const std::vector<Tensor>& inputs,
                             std::uint32_t rows, const std::vector<std::uint32_t>& wanted) {
  RunItem item{.inputs = inputs, .rows = rows, .wanted_outputs = wanted, .outputs = {}};
  RunTimes times;
  const Status status = variant.Run(std::span(&item, 1), times);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return std::move(item.outputs);
}

TEST_P(BackendConformance, SpecsAreThoseOfTheConfiguration) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  const ModelSpec model = PairModel(GetParam());
  const std::unique_ptr<LoadedVariant> variant = Load(*backend, model);
  ASSERT_NE(variant, nullptr);
  EXPECT_EQ(variant->inputs(), model.inputs);
  EXPECT_EQ(variant->outputs(), model.outputs);
  EXPECT_FALSE(backend->description().empty());
}

TEST_P(BackendConformance, RunsEveryDataType) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  for (const DataType type : kAllTypes) {
    SCOPED_TRACE(ToString(type));
    const std::unique_ptr<LoadedVariant> variant = Load(*backend, IdentityModel(GetParam(), type));
    ASSERT_NE(variant, nullptr);
    const std::vector<Tensor> inputs = {MakeTensor("x", type, {2, 5}, 1)};
    const std::vector<Tensor> outputs = RunAlone(*variant, inputs, 2);
    ASSERT_EQ(outputs.size(), 1U);
    ExpectAnswer(GetParam(), outputs[0], "y", inputs[0]);
  }
}

TEST_P(BackendConformance, BatchEqualsRunsAlone) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  for (const DataType type : kAllTypes) {
    SCOPED_TRACE(ToString(type));
    const std::unique_ptr<LoadedVariant> variant = Load(*backend, IdentityModel(GetParam(), type));
    ASSERT_NE(variant, nullptr);
    const std::array<std::uint32_t, 4> rows{1, 3, 2, 2};
    std::array<std::vector<Tensor>, 4> inputs;
    std::array<RunItem, 4> items;
    for (std::size_t i = 0; i < items.size(); ++i) {
      inputs[i] = {MakeTensor("x", type, {rows[i], 3}, i)};
      items[i].inputs = inputs[i];
      items[i].rows = rows[i];
    }
    RunTimes times;
    const Status status = variant->Run(items, times);
    ASSERT_TRUE(status.ok()) << status.ToString();
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::vector<Tensor> alone = RunAlone(*variant, inputs[i], rows[i]);
      ASSERT_EQ(items[i].outputs.size(), 1U);
      ASSERT_EQ(alone.size(), 1U);
      EXPECT_EQ(items[i].outputs[0].shape, alone[0].shape);
      EXPECT_EQ(BytesOf(items[i].outputs[0]), BytesOf(alone[0]));
      ExpectAnswer(GetParam(), items[i].outputs[0], "y", inputs[i][0]);
    }
  }
}

TEST_P(BackendConformance, AnswersWantedOutputsInTheirOrder) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  const std::unique_ptr<LoadedVariant> variant = Load(*backend, PairModel(GetParam()));
  ASSERT_NE(variant, nullptr);
  const auto inputs_of = [](std::uint64_t seed) {
    return std::vector<Tensor>{MakeTensor("a", DataType::kFp32, {1, 4}, seed),
                               MakeTensor("b", DataType::kInt32, {1, 2}, seed)};
  };
  const std::vector<std::vector<std::uint32_t>> wanted = {{1}, {1, 0}, {0, 0, 1}, {}};
  std::vector<std::vector<Tensor>> inputs;
  for (std::size_t i = 0; i < wanted.size(); ++i) inputs.push_back(inputs_of(i));

  // Each alone, then all in one batch.
  std::vector<std::vector<Tensor>> answers;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    answers.push_back(RunAlone(*variant, inputs[i], 1, wanted[i]));
  }
  std::vector<RunItem> items(wanted.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i].inputs = inputs[i];
    items[i].wanted_outputs = wanted[i];
  }
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  for (const RunItem& item : items) answers.push_back(item.outputs);

  for (std::size_t i = 0; i < answers.size(); ++i) {
    SCOPED_TRACE(i);
    std::vector<std::uint32_t> expected = wanted[i % wanted.size()];
    if (expected.empty()) expected = {0, 1};
    ASSERT_EQ(answers[i].size(), expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k) {
      ExpectAnswer(GetParam(), answers[i][k], expected[k] == 0 ? "p" : "q",
                   inputs[i % wanted.size()][expected[k]]);
    }
  }
}

TEST_P(BackendConformance, TakesEmptyTensors) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  for (const DataType type : {DataType::kFp32, DataType::kBytes}) {
    SCOPED_TRACE(ToString(type));
    const std::unique_ptr<LoadedVariant> variant = Load(*backend, IdentityModel(GetParam(), type));
    ASSERT_NE(variant, nullptr);
    const std::vector<Tensor> inputs = {{"x", type, {2, 0}, Buffer()}};
    std::array<RunItem, 2> items;
    for (RunItem& item : items) {
      item.inputs = inputs;
      item.rows = 2;
    }
    RunTimes times;
    const Status status = variant->Run(items, times);
    ASSERT_TRUE(status.ok()) << status.ToString();
    for (const RunItem& item : items) ExpectAnswer(GetParam(), item.outputs.at(0), "y", inputs[0]);
    const std::vector<Tensor> outputs = RunAlone(*variant, inputs, 2);
    ASSERT_EQ(outputs.size(), 1U);
    ExpectAnswer(GetParam(), outputs[0], "y", inputs[0]);
  }
}

TEST_P(BackendConformance, TakesTensorsThatBeginAnywhere) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  const std::unique_ptr<LoadedVariant> variant =
      Load(*backend, IdentityModel(GetParam(), DataType::kFp64));
  ASSERT_NE(variant, nullptr);
  const Tensor aligned = MakeTensor("x", DataType::kFp64, {3, 7}, 1);
  std::vector<std::byte> message(1 + aligned.data.size());
  std::memcpy(message.data() + 1, aligned.data.data().data(), aligned.data.size());
  const Buffer received = Buffer::CopyOf(message);
  const std::vector<Tensor> inputs = {
      {"x", DataType::kFp64, {3, 7}, received.Slice(1, aligned.data.size())}};
  const std::vector<Tensor> outputs = RunAlone(*variant, inputs, 3);
  ASSERT_EQ(outputs.size(), 1U);
  ExpectAnswer(GetParam(), outputs[0], "y", aligned);
}

TEST_P(BackendConformance, ModelThatDoesNotBatchRunsOneItem) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  const std::unique_ptr<LoadedVariant> variant =
      Load(*backend, IdentityModel(GetParam(), DataType::kInt64, 0));
  ASSERT_NE(variant, nullptr);
  const std::vector<Tensor> inputs = {MakeTensor("x", DataType::kInt64, {20, 1}, 1)};
  const std::vector<Tensor> outputs = RunAlone(*variant, inputs, 1);
  ASSERT_EQ(outputs.size(), 1U);
  if (GetParam().computes) {
    ExpectAnswer(GetParam(), outputs[0], "y", inputs[0]);
  } else {
    EXPECT_EQ(outputs[0].shape, (Shape{1, 1}));
  }
  std::array<RunItem, 2> items;
  for (RunItem& item : items) item.inputs = inputs;
  ExpectRefused(*variant, items);
}

TEST_P(BackendConformance, RefusesBatchesThatMustNotBe) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  const std::unique_ptr<LoadedVariant> variant = Load(*backend, PairModel(GetParam()));
  ASSERT_NE(variant, nullptr);
  const auto pair = [](std::int64_t rows, std::int64_t columns) {
    return std::vector<Tensor>{MakeTensor("a", DataType::kFp32, {rows, columns}, 1),
                               MakeTensor("b", DataType::kInt32, {rows, 2}, 1)};
  };
  const std::vector<Tensor> narrow = pair(1, 3);
  const std::vector<Tensor> wide = pair(1, 4);
  const std::vector<Tensor> tall = pair(kMaxRows, 3);
  std::vector<Tensor> incomplete = pair(1, 3);
  incomplete.pop_back();
  std::vector<Tensor> short_of_data = pair(1, 3);
  short_of_data[0].data = short_of_data[0].data.Slice(0, 8);
  std::vector<Tensor> of_other_type = pair(1, 3);
  of_other_type[1].type = DataType::kUint32;
  const std::vector<std::uint32_t> third = {2};

  const auto item = [](const std::vector<Tensor>& inputs, std::uint32_t rows) {
    return RunItem{.inputs = inputs, .rows = rows, .wanted_outputs = {}, .outputs = {}};
  };
  std::vector<std::vector<RunItem>> batches;
  batches.push_back({});
  batches.push_back({item(narrow, 1), item(wide, 1)});
  batches.push_back({item(narrow, 1), item(tall, kMaxRows)});
  batches.push_back({item(narrow, 2)});
  batches.push_back({item(incomplete, 1)});
  batches.push_back({item(narrow, 1), item(incomplete, 1)});
  batches.push_back({item(short_of_data, 1)});
  batches.push_back({item(of_other_type, 1)});
  batches.push_back({item(narrow, 1)});
  batches.back()[0].wanted_outputs = third;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    SCOPED_TRACE(i);
    ExpectRefused(*variant, batches[i]);
  }
  // None of which broke anything.
  const std::vector<Tensor> outputs = RunAlone(*variant, narrow, 1);
  ASSERT_EQ(outputs.size(), 2U);
  ExpectAnswer(GetParam(), outputs[1], "q", narrow[1]);
}

TEST_P(BackendConformance, RunsFromSeveralThreadsDoNotMix) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kRuns = 20;
  const std::unique_ptr<Backend> backend = GetParam().make();
  const std::unique_ptr<LoadedVariant> variant = Load(*backend, PairModel(GetParam()));
  ASSERT_NE(variant, nullptr);
  std::vector<std::jthread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t run = 0; run < kRuns; ++run) {
        std::array<std::vector<Tensor>, 2> inputs;
        std::array<RunItem, 2> items;
        for (std::size_t i = 0; i < items.size(); ++i) {
          const std::uint64_t seed = (t * kRuns + run) * items.size() + i;
          inputs[i] = {MakeTensor("a", DataType::kFp32, {2, 8}, seed),
                       MakeTensor("b", DataType::kInt32, {2, 8}, seed)};
          items[i].inputs = inputs[i];
          items[i].rows = 2;
        }
        RunTimes times;
        const Status status = variant->Run(items, times);
        ASSERT_TRUE(status.ok()) << status.ToString();
        for (std::size_t i = 0; i < items.size(); ++i) {
          ExpectAnswer(GetParam(), items[i].outputs.at(0), "p", inputs[i][0]);
          ExpectAnswer(GetParam(), items[i].outputs.at(1), "q", inputs[i][1]);
        }
      }
    });
  }
}

TEST_P(BackendConformance, OutputsOutliveVariantAndBackend) {
  std::unique_ptr<Backend> backend = GetParam().make();
  std::unique_ptr<LoadedVariant> variant =
      Load(*backend, IdentityModel(GetParam(), DataType::kFp32));
  ASSERT_NE(variant, nullptr);
  std::array<std::vector<Tensor>, 2> inputs = {
      std::vector<Tensor>{MakeTensor("x", DataType::kFp32, {1, 1000}, 1)},
      std::vector<Tensor>{MakeTensor("x", DataType::kFp32, {1, 1000}, 2)}};
  std::array<RunItem, 2> items;
  for (std::size_t i = 0; i < items.size(); ++i) items[i].inputs = inputs[i];
  RunTimes times;
  ASSERT_TRUE(variant->Run(items, times).ok());
  variant.reset();
  backend.reset();
  items[0].outputs.clear();
  ExpectAnswer(GetParam(), items[1].outputs.at(0), "y", inputs[1][0]);
}

TEST_P(BackendConformance, SaysWhereTheTimeWent) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  const std::unique_ptr<LoadedVariant> variant = Load(*backend, PairModel(GetParam()));
  ASSERT_NE(variant, nullptr);
  const std::vector<Tensor> inputs = {MakeTensor("a", DataType::kFp32, {1, 4}, 1),
                                      MakeTensor("b", DataType::kInt32, {1, 2}, 1)};
  RunItem item{.inputs = inputs, .rows = 1, .wanted_outputs = {}, .outputs = {}};
  RunTimes times;
  ASSERT_TRUE(variant->Run(std::span(&item, 1), times).ok());
  EXPECT_GE(times.input, Duration(0));
  EXPECT_GT(times.infer, Duration(0));
  EXPECT_GE(times.output, Duration(0));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BackendFileConformance);

TEST_P(BackendFileConformance, FailedLoadNamesTheFileAndLeavesNothingBehind) {
  const std::unique_ptr<Backend> backend = GetParam().make();
  ModelSpec model = IdentityModel(GetParam(), DataType::kFp32);
  // Whatever is made once is there from now on.
  ASSERT_NE(Load(*backend, model), nullptr);
  const std::size_t files_before = CountEntries("/proc/self/fd");
  const std::size_t threads_before = CountEntries("/proc/self/task");

  const std::string good = model.variants[0].file;
  std::ifstream whole(good, std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(whole), {});
  whole.close();
  // Of this process: tests run side by side.
  const std::filesystem::path folder = testing::TempDir() + fmt::format("duly-{}", ::getpid());
  std::filesystem::create_directory(folder);
  const auto write = [&](const char* name, std::string_view text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return (folder / name).string();
  };
  const std::vector<std::pair<std::string, StatusCode>> wrong = {
      {folder / "missing.onnx", StatusCode::kNotFound},
      {folder, StatusCode::kInvalidArgument},
      {write("text.onnx", "not a model"), StatusCode::kInvalidArgument},
      {write("empty.onnx", ""), StatusCode::kInvalidArgument},
      {write("cut.onnx", std::string_view(content).substr(0, content.size() / 2)),
       StatusCode::kInvalidArgument}};
  for (const auto& [file, code] : wrong) {
    SCOPED_TRACE(file);
    model.variants[0].file = file;
    const auto variant = backend->Load(model, model.variants[0]);
    ASSERT_FALSE(variant);
    EXPECT_EQ(variant.error().code(), code) << variant.error().ToString();
    EXPECT_THAT(variant.error().message(), testing::HasSubstr(file));
  }
  std::filesystem::remove_all(folder);
  EXPECT_EQ(CountEntries("/proc/self/fd"), files_before);
  EXPECT_EQ(CountEntries("/proc/self/task"), threads_before);
  model.variants[0].file = good;
  EXPECT_NE(Load(*backend, model), nullptr);
}

}  // namespace duly::conformance
