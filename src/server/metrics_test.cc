// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "server/fake_node_test_util.h"

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const FakeNode& node) { return MetricsText(node.Models(), node.Stats()); }

ModelSpec Model() { return EchoModel("m", 4, {{DataType::kFp32, {-1, 2}}}); }

TEST(Metrics, DroppedTracesAreCountedWhereThereIsATracer) {
  const FakeNode node({Model()});
  EXPECT_THAT(Text(node), Not(HasSubstr("duly_dropped_traces_total")));
  ServerCounts counts;
  counts.dropped_traces = 3;
  EXPECT_THAT(MetricsText(node.Models(), node.Stats(), counts),
              HasSubstr("\nduly_dropped_traces_total 3\n"));
}

TEST(Metrics, ModelsHaveTritonsNames) {
  FakeNode node({Model()});
  ModelStats& stats = node.stats.models[0];
  stats.success.Observe(microseconds(500), 3);
  stats.queue.Observe(microseconds(100), 4);
  stats.compute_input.Observe(microseconds(5), 2);
  stats.compute_infer.Observe(microseconds(300), 3);
  stats.compute_output.Observe(microseconds(10), 2);
  stats.inference_count = 6;
  stats.execution_count = 2;
  stats.waiting = 4;
  stats.running = 1;
  stats.outcomes = {2, 1, 5, 7, 11, 13};
  const std::string text = Text(node);
  const std::string labels = R"({model="m",version="1"} )";
  for (const auto& [name, value] : std::initializer_list<std::pair<std::string, std::string>>{
           {"nv_inference_request_success", "3"},
           {"nv_inference_count", "6"},
           {"nv_inference_exec_count", "2"},
           {"nv_inference_request_duration_us", "1500"},
           {"nv_inference_queue_duration_us", "400"},
           {"nv_inference_compute_input_duration_us", "10"},
           {"nv_inference_compute_infer_duration_us", "900"},
           {"nv_inference_compute_output_duration_us", "20"},
           {"nv_inference_pending_request_count", "4"},
           {"duly_running_requests", "1"}}) {
    EXPECT_THAT(text, HasSubstr("\n" + name + labels + value + "\n")) << name;
  }
  EXPECT_THAT(text, HasSubstr("# TYPE nv_inference_count counter\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE nv_inference_pending_request_count gauge\n"));
  for (const auto& [reason, value] : std::initializer_list<std::pair<std::string, std::string>>{
           {"REJECTED", "12"}, {"CANCELED", "11"}, {"BACKEND", "13"}, {"OTHER", "0"}}) {
    EXPECT_THAT(text, HasSubstr(R"(nv_inference_request_failure{model="m",version="1",reason=")" +
                                reason + "\"} " + value + "\n"));
  }
}

TEST(Metrics, HistogramsAreCumulativeInMicroseconds) {
  FakeNode node({Model()});
  Histogram& queue = node.stats.models[0].queue;
  queue.Observe(microseconds(20));
  queue.Observe(microseconds(21));
  queue.Observe(milliseconds(3));
  queue.Observe(std::chrono::seconds(20));
  const std::string text = Text(node);
  const std::string name = "\nnv_inference_queue_duration_histogram_us";
  EXPECT_THAT(text, HasSubstr("# TYPE nv_inference_queue_duration_histogram_us histogram\n"));
  const auto bucket = [&](std::string_view bound) {
    return name + R"(_bucket{model="m",version="1",le=")" + std::string(bound) + "\"} ";
  };
  EXPECT_THAT(text, HasSubstr(bucket("20") + "1\n"));
  EXPECT_THAT(text, HasSubstr(bucket("50") + "2\n"));
  EXPECT_THAT(text, HasSubstr(bucket("5000") + "3\n"));
  EXPECT_THAT(text, HasSubstr(bucket("10000000") + "3\n"));
  EXPECT_THAT(text, HasSubstr(bucket("+Inf") + "4\n"));
  EXPECT_THAT(text, HasSubstr(name + R"(_count{model="m",version="1"} 4)"));
  EXPECT_THAT(text, HasSubstr(name + R"(_sum{model="m",version="1"} 20003041)"));
  for (const std::string other : {"request", "compute_input", "compute_infer", "compute_output"}) {
    EXPECT_THAT(text, HasSubstr("nv_inference_" + other + "_duration_histogram_us_count"));
  }
}

TEST(Metrics, OutcomesAndDecisionsHaveNamesOfTheirOwn) {
  FakeNode node({Model()});
  node.stats.applications[0].outcomes = {1, 2, 3, 4, 5, 6};
  node.stats.applications[0].accuracy_sum_pct = 180.5;
  node.stats.applications[0].accuracy_count = 2;
  node.stats.applications[0].window_loss_pct = 0.25;
  node.stats.applications[0].on_time_device_time = milliseconds(250);
  node.stats.applications[0].response_time.Observe(milliseconds(3));
  node.stats.models[0].reject_reasons = {0, 1, 2, 3, 4, 5};
  node.stats.models[0].variant_requests = {9};
  node.stats.devices[0] = {"cpu", 1, milliseconds(1500), 4, 16, 0.5};
  node.stats.dispatch_decisions = 77;
  const std::string text = Text(node);
  EXPECT_THAT(text, HasSubstr(R"(duly_requests_total{application="m",outcome="on_time"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_requests_total{application="m",outcome="expired"} 4)"));
  EXPECT_THAT(
      text, HasSubstr(R"(duly_rejections_total{model="m",version="1",reason="predicted_late"} 2)"));
  EXPECT_THAT(text, Not(HasSubstr(R"(reason="none")")));
  EXPECT_THAT(
      text, HasSubstr(R"(duly_variant_requests_total{model="m",version="1",variant="default"} 9)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_response_seconds_bucket{application="m",le="0.005"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_on_time_device_seconds_total{application="m"} 0.25)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_accuracy_points_total{application="m"} 180.5)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_accuracy_answers_total{application="m"} 2)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_accuracy_budget_mean_loss_points{application="m"} 0.25)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_device_busy_seconds_total{device="cpu"} 1.5)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_device_batches_total{device="cpu"} 4)"));
  EXPECT_THAT(text, HasSubstr(R"(duly_prediction_error_total{device="cpu"} 0.5)"));
  EXPECT_THAT(text, HasSubstr("\nduly_dispatch_decisions_total 77\n"));
}

}  // namespace
}  // namespace duly
