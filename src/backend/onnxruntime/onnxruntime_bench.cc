// SPDX-License-Identifier: Apache-2.0
//
// What a run costs beyond ONNX Runtime's own Run, which is paid for every batch of every model:
//   LibraryAlone    Ort::Session::Run of a trivial model, one row, tensors made anew each time
//   OneRow          the same through the back end
//   Gather/ITEMS    as many items of 150 528 floats each (an image of 224x224x3), gathered into one
//                   batch of an identity model, and PlainCopy/ITEMS: memcpy of as many bytes twice
//                   (gathering, and the model's own copy)
//   Strings/ITEMS   as many items of 100 strings of 16 bytes
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backend/onnxruntime/onnxruntime_backend.h"
#include "backend/onnxruntime/runtime_library.h"
#include "model/tensor.h"

namespace duly {
namespace {

constexpr std::int64_t kImage = 150528;

std::string TestFile(const std::string& name) {
  return std::string(DULY_TESTDATA) + "/" + name + ".onnx";
}

std::unique_ptr<LoadedVariant> Load(Backend& backend, const std::string& name) {
  ModelSpec model;
  model.name = name;
  model.max_rows = 64;
  model.variants.resize(1);
  model.variants[0].file = TestFile(name);
  auto variant = backend.Load(model, model.variants[0]);
  if (!variant) {
    std::fprintf(stderr, "%s\n", variant.error().message().c_str());
    std::exit(1);
  }
  return std::move(*variant);
}

Tensor Floats(std::int64_t columns) {
  auto [buffer, bytes] = Buffer::Allocate(static_cast<std::size_t>(columns) * sizeof(float));
  std::memset(bytes.data(), 0, bytes.size());
  return {"x", DataType::kFp32, {1, columns}, std::move(buffer)};
}

void RunItems(benchmark::State& state, const std::string& model, const Tensor& input,
              std::size_t count) {
  const std::unique_ptr<Backend> backend = MakeOnnxRuntimeBackend(DeviceSpec()).value();
  const std::unique_ptr<LoadedVariant> variant = Load(*backend, model);
  const std::vector<Tensor> inputs = {input};
  std::vector<RunItem> items(count);
  for (RunItem& item : items) item.inputs = inputs;
  RunTimes sum;
  for (auto _ : state) {
    RunTimes times;
    if (const Status status = variant->Run(items, times); !status.ok()) {
      state.SkipWithError(status.message().c_str());
      return;
    }
    sum.input += times.input;
    sum.output += times.output;
  }
  const auto per_run_us = [&](Duration total) {
    return benchmark::Counter(ToMicros(total), benchmark::Counter::kAvgIterations);
  };
  state.counters["input_us"] = per_run_us(sum.input);
  state.counters["output_us"] = per_run_us(sum.output);
}

void LibraryAlone(benchmark::State& state) {
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  if (const auto runtime = onnx::LoadOnnxRuntime(); !runtime) {
    return state.SkipWithError(runtime.error().message().c_str());
  }
  const Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "bench");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.DisableMemPattern();
  Ort::Session session(env, TestFile("identity_fp32").c_str(), options);
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
  float data[4] = {};
  const std::int64_t shape[2] = {1, 4};
  const char* const input_name = "x";
  const char* const output_name = "y";
  for (auto _ : state) {
    const Ort::Value input = Ort::Value::CreateTensor<float>(memory, data, 4, shape, 2);
    Ort::Value output(nullptr);
    session.Run(Ort::RunOptions(nullptr), &input_name, &input, 1, &output_name, &output, 1);
    benchmark::DoNotOptimize(output);
  }
}
BENCHMARK(LibraryAlone);

void OneRow(benchmark::State& state) { RunItems(state, "identity_fp32", Floats(4), 1); }
BENCHMARK(OneRow);

void Gather(benchmark::State& state) {
  RunItems(state, "identity_fp32", Floats(kImage), static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(Gather)->Arg(1)->Arg(2)->Arg(8)->Arg(32)->Unit(benchmark::kMicrosecond);

void PlainCopy(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const std::vector<float> from(kImage);
  std::vector<float> gathered(kImage * count);
  std::vector<float> answer(kImage * count);
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(gathered.data() + i * kImage, from.data(), kImage * sizeof(float));
    }
    std::memcpy(answer.data(), gathered.data(), gathered.size() * sizeof(float));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(PlainCopy)->Arg(1)->Arg(2)->Arg(8)->Arg(32)->Unit(benchmark::kMicrosecond);

void Strings(benchmark::State& state) {
  constexpr std::uint32_t kStrings = 100;
  constexpr std::uint32_t kLength = 16;
  std::vector<std::byte> bytes;
  for (std::uint32_t i = 0; i < kStrings; ++i) {
    const auto* const length = reinterpret_cast<const std::byte*>(&kLength);
    bytes.insert(bytes.end(), length, length + sizeof(kLength));
    bytes.insert(bytes.end(), kLength, std::byte{'a'});
  }
  RunItems(state, "identity_bytes", {"x", DataType::kBytes, {1, kStrings}, Buffer::CopyOf(bytes)},
           static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(Strings)->Arg(1)->Arg(8)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace duly

BENCHMARK_MAIN();
