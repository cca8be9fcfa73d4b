// SPDX-License-Identifier: Apache-2.0
//
// scenario_hashes SECONDS SCENARIO...: prints the hash of each node's event log, to be compared
// with what other compilers' builds print (run.sh).
#include <fmt/format.h>
#include <fmt/ostream.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/fault.h"
#include "base/scratch_folder.h"
#include "policy/registry.h"
#include "sim/run.h"
#include "sim/scenario.h"
#include "telemetry/log_hash.h"
#include "telemetry/recorder.h"

namespace duly {
namespace {

Status PrintHashes(const std::string& file, Duration duration) {
  Faults faults;
  sim::Scenario scenario = sim::ReadScenario(file, faults);
  if (!faults.empty()) return faults.ToStatus();
  scenario.duration = duration;
  const auto run = sim::ScenarioRun::Create(scenario, MakeDispatchPolicy, faults);
  if (run == nullptr) return faults.ToStatus();
  const Result<ScratchFolder> folder = ScratchFolder::Make();
  if (!folder) return folder.error();
  const auto log_of = [&](std::size_t node) { return fmt::format("{}/{}", folder->path(), node); };

  std::vector<std::unique_ptr<Recorder>> recorders;
  for (std::size_t n = 0; n < scenario.nodes.size(); ++n) {
    EventLogHeader header;
    header.config = run->config(n);
    Result<std::unique_ptr<Recorder>> recorder =
        Recorder::Start(log_of(n), header, {.when_full = RecorderOptions::WhenFull::kWait});
    if (!recorder) return recorder.error();
    run->Observe(n, **recorder);
    recorders.push_back(*std::move(recorder));
  }
  run->Advance(Duration::max());
  for (std::size_t n = 0; n < scenario.nodes.size(); ++n) {
    if (const Status closed = recorders[n]->Close(); !closed.ok()) return closed;
    Result<EventLogReader> reader = EventLogReader::Open(log_of(n));
    if (!reader) return reader.error();
    const Result<LogHash> hash = HashLog(*reader);
    if (!hash) return hash.error();
    fmt::print(std::cout, "{:016x} {} {}\n", hash->all, file, scenario.nodes[n].name);
  }
  return Status();
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::chrono::seconds duration(std::atoi(argv[1]));
  for (int i = 2; i < argc; ++i) {
    if (const duly::Status printed = duly::PrintHashes(argv[i], duration); !printed.ok()) {
      std::cerr << printed.message() << '\n';
      return 1;
    }
  }
}
