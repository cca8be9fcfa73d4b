// SPDX-License-Identifier: Apache-2.0
//
// What is kept of a traced request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "model/tensor.h"

namespace duly {

class TraceFile;
class Tracer;

// In the order in which they come.
enum class TracePoint : std::uint8_t {
  kHttpReceiveStart,  // its first bytes were there
  kHttpReceiveEnd,    // its last ones
  kGrpcReadStart,     // the server began to wait for its message
  kGrpcReadEnd,
  kRequestStart,  // decoded, on its way to the node
  kQueueStart,    // its arrival, as the engine knows it
  kComputeStart,  // the engine's start of its batch
  kComputeInputEnd,
  kComputeOutputStart,
  kComputeEnd,  // the engine's end of its batch
  kRequestEnd,  // the server has the answer
  kHttpSendStart,
  kHttpSendEnd,  // the system has all of it
  kGrpcSendStart,
  kGrpcSendEnd,
};
inline constexpr std::size_t kTracePointCount = 15;

// "HTTP_RECV_START", as Triton's tools know them.
std::string_view ToString(TracePoint point);

struct Trace {
  void Mark(TracePoint point, TimePoint time) { times[static_cast<std::size_t>(point)] = time; }

  std::uint64_t id = 0;  // from 1 on
  std::string model;
  std::int64_t version = 1;
  std::string request;  // its id, as the client gave it
  bool timestamps = false;
  bool tensors = false;
  std::array<TimePoint, kTracePointCount> times{};  // TimePoint(): not reached
  std::vector<Tensor> inputs;                       // with `tensors`
  std::vector<Tensor> outputs;                      // likewise; empty when it was not answered
  std::shared_ptr<TraceFile> file;
  std::uint64_t per_file = 0;  // traces of one file; 0: all
};

// Appends the trace as elements of a JSON array, without a comma behind the last.
void AppendTrace(const Trace& trace, std::string& text);

// Hands the trace to its tracer for writing.
struct TraceEnd {
  Tracer* tracer = nullptr;
  void operator()(Trace* trace) const;
};
// A traced request, to be written when this is destroyed; null: it is not traced.
using TraceHandle = std::unique_ptr<Trace, TraceEnd>;

}  // namespace duly
