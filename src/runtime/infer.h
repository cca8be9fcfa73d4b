// SPDX-License-Identifier: Apache-2.0
//
// A request as the servers hand it to a node, and the answer as they get it back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "base/time.h"
#include "engine/event.h"
#include "model/model_spec.h"
#include "model/outcome.h"
#include "model/tensor.h"

namespace duly {

// One loaded version of a model as clients see it. Immutable, shared by its requests; applications
// that come or go make another one of the same generation.
struct ServedModel {
  ModelSpec spec;
  GenerationIndex generation = 0;
  // The generation is freed once it is out of service and nobody refers to this.
  std::shared_ptr<const void> use;
  // Who may send to it: the default application, and those declared for it.
  std::vector<std::pair<std::string, ApplicationIndex>> applications;

  // kNoIndex when there is none of this name.
  ApplicationIndex FindApplication(std::string_view name) const {
    for (const auto& [known, index] : applications) {
      if (known == name) return index;
    }
    return kNoIndex;
  }
};

// Where and how an answer came about; asked for with the request parameter "duly_report".
struct InferReport {
  std::string_view variant;  // lives as long as the request's model
  std::string_view device;   // lives as long as the node
  std::optional<double> accuracy_pct;
  std::uint32_t batch_rows = 0;
  bool cached = false;  // an earlier answer to the same request, which the above are of
  Duration queue{0};
  Duration compute{0};
  // Within `compute`, as the executor measured: the computation, and what came behind it.
  Duration infer{0};
  Duration output{0};
  Duration predicted{0};  // response time, predicted at admission; 0: none was made
  TimePoint ended{};      // by the engine; it arrived `queue` and `compute` before
};

struct InferResponse {
  Outcome outcome = Outcome::kFailed;
  RejectReason reason = RejectReason::kNone;  // kRejected
  Status status;                              // kFailed: what the back end said
  Duration retry_after{0};                    // kRejected
  InferReport report;
  std::vector<Tensor> outputs;  // kOnTime, kLate: the wanted ones, in the wanted order
};

// Receives the answer of one request.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // Called exactly once, without locks, on an executor's, the timer's, or the submitting thread
  // (also before Node::Submit returns). Must be short and must not block.
  virtual void OnResponse(InferResponse response) = 0;
};

// The right and duty to answer a request exactly once. Destroyed unanswered, it answers kFailed:
// that is a bug, which a client sees as an internal error instead of as silence.
class ResponseHandle {
 public:
  ResponseHandle() = default;
  explicit ResponseHandle(std::shared_ptr<ResponseSink> sink) : sink_(std::move(sink)) {}
  ResponseHandle(ResponseHandle&& other) noexcept : sink_(std::move(other.sink_)) {}
  ResponseHandle& operator=(ResponseHandle&& other) noexcept {
    Abandon();
    sink_ = std::move(other.sink_);
    return *this;
  }
  ~ResponseHandle() { Abandon(); }

  void Finish(InferResponse response) {
    DULY_CHECK(sink_ != nullptr);
    std::exchange(sink_, nullptr)->OnResponse(std::move(response));
  }
  explicit operator bool() const { return sink_ != nullptr; }

 private:
  void Abandon() {
    if (sink_ == nullptr) return;
    InferResponse response;
    response.status = Status(StatusCode::kInternal, "the request was dropped without an answer");
    Finish(std::move(response));
  }

  std::shared_ptr<ResponseSink> sink_;
};

struct InferRequest {
  std::shared_ptr<const ServedModel> model;
  // Checked against the model's specs by the caller (server/): names, types, shapes, sizes. In the
  // order of the model's inputs; absent optional inputs are left out.
  std::vector<Tensor> inputs;
  std::vector<std::uint32_t> wanted_outputs;  // indices into the spec's outputs; empty: all
  std::uint32_t rows = 1;  // of the leading dimension; 1 when the model does not batch
  ApplicationIndex application = kNoIndex;  // of the model; kNoIndex: its default one
  std::optional<Duration> slo;              // promise, from arrival to answer
  std::optional<Duration> timeout;          // patience, from arrival to start
  // The call itself ends then: bounds patience, whoever states it, and says nothing of a promise.
  std::optional<Duration> call_timeout;
  std::optional<double> min_accuracy_pct;
  VariantMask variants = 0;    // the client's choice; 0: the application's
  std::uint32_t priority = 0;  // 1 first; 0, and levels that the model does not have: its default
};

}  // namespace duly
