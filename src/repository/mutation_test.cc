// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "base/random.h"
#include "repository/model_config.h"
#include "repository/node_config.h"
#include "repository/serving_file.h"

namespace duly {
namespace {

constexpr int kRounds = 400;

// Cuts, doubles and overwrites parts of a good file.
std::string Mutated(const std::string& good, RandomStream& stream) {
  constexpr std::string_view kBytes = "{}[]<>:,\"'\n\t -&*#0919.eE\\\x01\xc3\xff";
  std::string text = good;
  const std::uint64_t changes = 1 + stream.Below(4);
  for (std::uint64_t i = 0; i < changes && !text.empty(); ++i) {
    const std::size_t at = stream.Below(text.size());
    const std::size_t size = std::min<std::size_t>(1 + stream.Below(20), text.size() - at);
    const std::uint64_t kind = stream.Below(4);
    if (kind == 0) {
      text.erase(at, size);
    } else if (kind == 1) {
      text.insert(at, text.substr(at, size));
    } else if (kind == 2) {
      text.resize(at);
    } else {
      text[at] = kBytes[stream.Below(kBytes.size())];
    }
  }
  return text;
}

// Whatever stands in the file, each fault is one line that points into it.
void CheckFaults(const std::string& good,
                 const std::function<void(const std::string&, Faults&)>& read) {
  Faults none;
  read(good, none);
  ASSERT_EQ(none.ToString(), "");
  RandomStream stream(1, "mutations");
  int faulty = 0;
  for (int i = 0; i < kRounds; ++i) {
    const std::string text = Mutated(good, stream);
    Faults faults;
    read(text, faults);
    if (!faults.empty()) ++faulty;
    const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
    for (const Fault& fault : faults.all()) {
      EXPECT_EQ(fault.file, "file") << text;
      EXPECT_LE(fault.line, lines) << fault.ToString() << "\n" << text;
      EXPECT_GE(fault.line, 0) << fault.ToString() << "\n" << text;
      EXPECT_EQ(fault.ToString().find('\n'), std::string::npos);
    }
  }
  EXPECT_GT(faulty, kRounds / 2);
}

TEST(Mutations, OfModelConfigurationsAreFaultsWithAPlace) {
  CheckFaults(
      "name: \"m\"\n"
      "max_batch_size: 8\n"
      "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 3, -1 ] } ]\n"
      "output { name: \"y\" data_type: TYPE_INT64 dims: 1 }\n"
      "instance_group { kind: KIND_CPU count: 2 }\n"
      "version_policy { specific { versions: [ 1, 2 ] } }\n"
      "dynamic_batching {\n"
      "  preferred_batch_size: [ 4, 8 ]\n"
      "  default_queue_policy { max_queue_size: 4 allow_timeout_override: true }\n"
      "}\n"
      "parameters { key: \"a\" value { string_value: \"b\" } }\n"
      "model_warmup { count: 2 }\n",
      [](const std::string& text, Faults& faults) { ParseModelConfig(text, "file", "m", faults); });
}

TEST(Mutations, OfServingFilesAreFaultsWithAPlace) {
  CheckFaults(
      "default_variant: b\n"
      "slo: 50ms\n"
      "variants:\n"
      "  - {name: a, file: a.onnx, accuracy: 88.02, dataset: \"d, e\", method: measured}\n"
      "  - &x\n"
      "    name: b\n"
      "    file: b.onnx\n"
      "    memory: 12MiB\n",
      [](const std::string& text, Faults& faults) { ParseServingFile(text, "file", faults); });
}

TEST(Mutations, OfNodeConfigurationsAreFaultsWithAPlace) {
  CheckFaults(
      "devices:\n"
      "  - {name: cpu, kind: cpu, slots: 2, threads: 1, cores: [0, 1]}\n"
      "applications:\n"
      "  - {name: a, model: m, slo: 100ms, weight: 2, on_miss: degrade, rate: 20/s}\n"
      "placement:\n"
      "  m: [cpu]\n"
      "policy: {name: edf, wait: 5ms}\n"
      "limits: {queue_requests: 1024, body: 64MiB}\n",
      [](const std::string& text, Faults& faults) { ParseNodeConfig(text, "file", faults); });
}

}  // namespace
}  // namespace duly
