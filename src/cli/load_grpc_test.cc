// SPDX-License-Identifier: Apache-2.0
#include "cli/load_grpc.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <inference.grpc.pb.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "cli/load_client.h"
#include "cli/testing/load_run.h"
#include "workload/inputs.h"

namespace duly {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// On a free port; has a model "m" of one input x and one output y, two bytes a row each.
class ScriptedService final : public inference::GRPCInferenceService::Service {
 public:
  using Script = std::function<grpc::Status(grpc::ServerContext&, const ModelInferRequest&,
                                            ModelInferResponse&)>;

  explicit ScriptedService(Script script) : script_(std::move(script)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedService() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string url() const { return "grpc://127.0.0.1:" + std::to_string(port_); }
  std::vector<ModelInferRequest> requests() const {
    const MutexLock lock(mutex_);
    return requests_;
  }

 private:
  grpc::Status ModelMetadata(grpc::ServerContext*, const inference::ModelMetadataRequest* request,
                             inference::ModelMetadataResponse* response) override {
    if (request->name() != "m") return {grpc::StatusCode::NOT_FOUND, "no such model"};
    const auto add = [](auto& tensor, const char* name) {
      tensor.set_name(name);
      tensor.set_datatype("UINT8");
      tensor.add_shape(-1);
      tensor.add_shape(2);
    };
    add(*response->add_inputs(), "x");
    add(*response->add_outputs(), "y");
    return grpc::Status::OK;
  }
  grpc::Status ModelInfer(grpc::ServerContext* context, const ModelInferRequest* request,
                          ModelInferResponse* response) override {
    {
      const MutexLock lock(mutex_);
      requests_.push_back(*request);
    }
    return script_(*context, *request, *response);
  }

  const Script script_;
  int port_ = 0;
  mutable Mutex mutex_;
  std::vector<ModelInferRequest> requests_ DULY_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

// The input as output y, and a report.
grpc::Status EchoGrpc(grpc::ServerContext&, const ModelInferRequest& request,
                      ModelInferResponse& response) {
  auto& output = *response.add_outputs();
  output.set_name("y");
  output.set_datatype("UINT8");
  *response.add_raw_output_contents() = request.raw_input_contents(0);
  auto& parameters = *response.mutable_parameters();
  parameters["variant"].set_string_param("s");
  parameters["device"].set_string_param("cpu");
  parameters["batch_rows"].set_int64_param(3);
  parameters["compute_us"].set_int64_param(100);
  parameters["accuracy"].set_double_param(92.5);
  return grpc::Status::OK;
}

struct GrpcLoad : public ::testing::Test {
  GrpcLoad() {
    load.spec.name = "app";
    load.spec.model = "m";
    options.grace = seconds(10);
  }
  LoadRun Run(ScriptedService::Script script) {
    service = std::make_unique<ScriptedService>(std::move(script));
    return RunAgain();
  }
  LoadRun RunAgain() {
    server = *FindLoadServer(service->url(), {}, seconds(5));
    options.server = server.get();
    if (options.end == Duration(0)) options.end = schedule.back().at + milliseconds(1);
    targets = *PrepareTargets(*server, std::array{load}, Dialect::kDuly, 1);
    if (expected) {
      targets[0].expected = expected;
      targets[0].expected_rows = 1;
    }
    return (*LoadClient::Start(options, targets, schedule))->Finish();
  }

  workload::ApplicationLoad load;
  std::optional<workload::ExpectedAnswers> expected;
  std::unique_ptr<ScriptedService> service;
  std::unique_ptr<LoadServer> server;
  std::vector<LoadTarget> targets;
  std::vector<workload::Arrival> schedule;
  LoadClient::Options options;
};

TEST_F(GrpcLoad, SendsRawTensorsAndReadsWhatTheServerReports) {
  load.spec.slo = seconds(5);
  load.spec.min_accuracy_pct = 75;
  load.rows = 2;
  schedule = Every(milliseconds(1), 20);
  options.threads = 2;
  const LoadRun run = Run(EchoGrpc);
  ASSERT_THAT(Outcomes(run), Each(Outcome::kOnTime));
  EXPECT_EQ(run.connections, 2U);
  for (const LoadRecord& record : run.records) {
    EXPECT_EQ(record.status, 200);
    EXPECT_GT(record.latency, Duration(0));
    EXPECT_GE(record.latency, record.send_lateness);
    EXPECT_EQ(run.names[record.variant], "s");
    EXPECT_EQ(run.names[record.device], "cpu");
    EXPECT_EQ(record.numbers.compute_us, 100.0F);
    EXPECT_EQ(record.numbers.accuracy_pct, 92.5F);
    EXPECT_EQ(record.numbers.batch_rows, 3U);
  }
  const std::vector<ModelInferRequest> requests = service->requests();
  ASSERT_THAT(requests, SizeIs(20));
  for (const ModelInferRequest& request : requests) {
    EXPECT_EQ(request.model_name(), "m");
    ASSERT_EQ(request.inputs_size(), 1);
    EXPECT_EQ(request.inputs(0).name(), "x");
    EXPECT_EQ(request.inputs(0).datatype(), "UINT8");
    EXPECT_THAT(request.inputs(0).shape(), ElementsAre(2, 2));
    EXPECT_THAT(request.raw_input_contents(), ElementsAre(std::string(4, '\0')));
    EXPECT_EQ(request.parameters().at("application").string_param(), "app");
    EXPECT_EQ(request.parameters().at("slo_us").int64_param(), 5'000'000);
    EXPECT_EQ(request.parameters().at("min_accuracy").double_param(), 75);
    EXPECT_TRUE(request.parameters().at("duly_report").bool_param());
  }
}

TEST_F(GrpcLoad, ComparesWithExpectedAnswers) {
  schedule = Every(milliseconds(1), 2);
  expected.emplace();
  expected->output = "y";
  expected->labels = {1};
  std::atomic<int> answered{0};
  const LoadRun run = Run([&](grpc::ServerContext& context, const ModelInferRequest& request,
                              ModelInferResponse& response) {
    const grpc::Status status = EchoGrpc(context, request, response);
    *response.mutable_raw_output_contents(0) =
        answered++ == 0 ? std::string("\0\1", 2) : std::string("\1\0", 2);
    return status;
  });
  ASSERT_THAT(Outcomes(run), Each(Outcome::kOnTime));
  std::multiset<std::uint32_t> correct;
  for (const LoadRecord& record : run.records) {
    EXPECT_EQ(record.numbers.checked_rows, 1U);
    correct.insert(record.numbers.correct_rows);
  }
  EXPECT_THAT(correct, ElementsAre(0U, 1U));
}

TEST_F(GrpcLoad, CodesAreOutcomes) {
  const std::vector<std::pair<grpc::StatusCode, Outcome>> codes = {
      {grpc::StatusCode::RESOURCE_EXHAUSTED, Outcome::kRejected},
      {grpc::StatusCode::UNAVAILABLE, Outcome::kRejected},
      {grpc::StatusCode::DEADLINE_EXCEEDED, Outcome::kExpired},
      {grpc::StatusCode::INTERNAL, Outcome::kFailed},
      {grpc::StatusCode::INVALID_ARGUMENT, Outcome::kFailed}};
  for (const auto& [code, outcome] : codes) {
    schedule = Every(milliseconds(0), 1);
    const LoadRun run =
        Run([code = code](auto&, auto&, auto&) { return grpc::Status(code, "because"); });
    EXPECT_THAT(Outcomes(run), ElementsAre(outcome)) << code;
    EXPECT_EQ(run.names[run.records[0].detail], outcome == Outcome::kExpired ? "" : "because");
  }
}

TEST_F(GrpcLoad, AClientThatGoesAwayCancelsItsCall) {
  schedule = Every(milliseconds(1), 3, true);
  load.cancel_after = milliseconds(5);
  std::atomic<int> gone{0};
  const LoadRun run = Run([&](grpc::ServerContext& context, auto&, auto&) {
    while (!context.IsCancelled()) std::this_thread::yield();
    ++gone;
    return grpc::Status::OK;
  });
  EXPECT_THAT(Outcomes(run), Each(Outcome::kCancelled));
  service.reset();
  EXPECT_LE(gone, 3);
}

TEST_F(GrpcLoad, WhatIsNotAnsweredInTimeIsUnanswered) {
  schedule = Every(milliseconds(1), 3);
  options.grace = milliseconds(30);
  const LoadRun run = Run([](grpc::ServerContext& context, auto&, auto&) {
    while (!context.IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  });
  EXPECT_THAT(Outcomes(run), Each(std::nullopt));
}

TEST_F(GrpcLoad, AServerThatIsGoneFailsEveryRequest) {
  service = std::make_unique<ScriptedService>(EchoGrpc);
  schedule = Every(milliseconds(1), 1);
  RunAgain();
  schedule = Every(milliseconds(0), 50);
  service.reset();
  const LoadRun run = (*LoadClient::Start(options, targets, schedule))->Finish();
  EXPECT_THAT(Outcomes(run), Each(Outcome::kFailed));
}

TEST_F(GrpcLoad, UnknownModelsAndServersAreErrors) {
  service = std::make_unique<ScriptedService>(EchoGrpc);
  load.spec.model = "other";
  server = *FindLoadServer(service->url() + "/", {}, seconds(5));
  const auto targets_of = PrepareTargets(*server, std::array{load}, Dialect::kDuly, 1);
  ASSERT_FALSE(targets_of);
  EXPECT_THAT(targets_of.error().message(), HasSubstr("model 'other': no such model"));
  const std::string url = service->url();
  service.reset();
  const auto nobody = FindLoadServer(url, {}, milliseconds(50));
  ASSERT_FALSE(nobody);
  EXPECT_THAT(nobody.error().message(), HasSubstr(url));
  for (const char* bad : {"grpc://", "grpc:///", "grpc://host/path", "htp://x"}) {
    const auto refused = FindLoadServer(bad, {}, milliseconds(50));
    ASSERT_FALSE(refused) << bad;
    EXPECT_THAT(refused.error().message(), HasSubstr("is not a URL")) << bad;
  }
}

}  // namespace
}  // namespace duly
