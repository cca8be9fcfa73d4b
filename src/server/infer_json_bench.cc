// SPDX-License-Identifier: Apache-2.0
//
// What JSON costs per request, which bounds the rate of clients that send or want large tensors as
// text: one FP32 tensor of 3 x 224 x 224 random numbers (602 kB; 1.6 MB of JSON).
//   Decode  request to tensor
//   Encode  tensor to answer
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "server/fake_node_test_util.h"
#include "server/infer_json.h"
#include "server/json_text.h"

namespace duly {
namespace {

constexpr std::size_t kNumbers = 150528;

struct Bench {
  Bench() {
    RandomStream random(1, "bench/input");
    std::string json = R"({"inputs":[{"name":"in0","datatype":"FP32","shape":[150528],"data":[)";
    for (std::size_t i = 0; i < kNumbers; ++i) {
      if (i > 0) json += ',';
      AppendNumber(json, static_cast<float>(random.Uniform()));
    }
    json += "]}]}";
    auto [buffer, bytes] = Buffer::Allocate(json.size() + InferDecoder::kPadding);
    std::memcpy(bytes.data(), json.data(), json.size());
    std::memset(bytes.data() + json.size(), 0, InferDecoder::kPadding);
    body = buffer.Slice(0, json.size());
  }

  InferCall Decode() {
    Result<InferCall> call = decoder.Decode(node.FindModel("copy", -1), body, body.size());
    if (!call) {
      std::fprintf(stderr, "%s\n", call.error().message().c_str());
      std::exit(1);
    }
    return std::move(*call);
  }

  FakeNode node{TestModels()};
  InferDecoder decoder;
  Buffer body;
};

void Decode(benchmark::State& state) {
  Bench bench;
  for (auto _ : state) benchmark::DoNotOptimize(bench.Decode());
}
BENCHMARK(Decode)->Unit(benchmark::kMillisecond);

void Encode(benchmark::State& state) {
  Bench bench;
  const InferCall call = bench.Decode();
  const InferResponse response = FakeNode::Echo(call.request);
  for (auto _ : state) {
    std::string json;
    std::vector<std::span<const std::byte>> binary;
    if (!EncodeInferReply(call.format, response, json, binary).ok()) {
      state.SkipWithError("the answer cannot be encoded");
      return;
    }
    benchmark::DoNotOptimize(json);
  }
}
BENCHMARK(Encode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace duly

BENCHMARK_MAIN();
