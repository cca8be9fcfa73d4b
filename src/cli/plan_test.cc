// SPDX-License-Identifier: Apache-2.0
#include "cli/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/temp_folder_test_util.h"
#include "cli/cli.h"
#include "cli/plan_input.h"
#include "cli/testing/run_command.h"

namespace duly {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kCluster = R"(device_types:
  - {name: nano, kind: timeslice}
  - {name: tpu, kind: edgetpu, cache: 8MiB, link: 320MiB/s}
models:
  - name: small
    on:
      nano: {service: 13ms, memory: 1000MB}
      tpu: {service: 5ms, swap: 10ms, memory: 100MB}
  - {name: big, on: {nano: {service: 30ms, memory: 900MB}}}
nodes:
  - {name: gpu, memory: 4GB, devices: [nano]}
  - {name: pi, count: 2, memory: 4GB, overhead: 10ms, devices: [tpu]}
)";

class PlanCommand : public ::testing::Test {
 protected:
  Ran Run(std::string_view cluster, std::string_view applications,
          const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments{"plan", folder_.Write("cluster.yaml", cluster),
                                       folder_.Write("apps.yaml", applications)};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const std::vector<Command> commands{{"plan", "", AddPlanCommand}};
    return RunCommand(arguments, commands);
  }
  json Json(std::string_view cluster, std::string_view applications,
            std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--json", "-"});
    const Ran ran = Run(cluster, applications, flags);
    EXPECT_EQ(ran.exit, kExitDone) << ran.err;
    return json::parse(ran.out);
  }

  TempFolder folder_;
};

TEST_F(PlanCommand, PlacesPredictsAndSaysWhatBinds) {
  const std::string_view applications = R"(applications:
  - {name: a, model: small, rate: 20/s, slo: 100ms, memory: 50MB}
  - {name: b, model: big, rate: 10/s, slo: 200ms, percentile: mean}
  - {name: c, model: big, rate: 40/s, slo: 1s}
)";
  const json plan = Json(kCluster, applications);
  EXPECT_EQ(plan["tool"], "plan");
  EXPECT_EQ(plan["algorithm"], "duly");
  EXPECT_EQ(plan["hosted"], 2);
  EXPECT_EQ(plan["refused"], 1);
  EXPECT_EQ(plan["exact"], true);
  const json& a = plan["applications"][0];
  EXPECT_EQ(a["name"], "a");
  EXPECT_EQ(a["device"], "tpu");
  // M/D/1 of 5 ms at 0.1, and the node's 10 ms.
  EXPECT_NEAR(a["mean_ms"].get<double>(), 10 + 5 + 5 * 0.1 / 1.8, 1e-6);
  EXPECT_GT(a["p99_ms"].get<double>(), a["p95_ms"].get<double>());
  EXPECT_EQ(a["promised_ms"], a["p95_ms"]);
  const json& b = plan["applications"][1];
  EXPECT_EQ(b["node"], "gpu");
  EXPECT_EQ(b["slo_of"], "mean");
  EXPECT_EQ(b["promised_ms"], b["mean_ms"]);
  EXPECT_EQ(plan["refusals"][0]["name"], "c");
  EXPECT_EQ(plan["refusals"][0]["constraint"], "utilization");
  EXPECT_EQ(plan["devices"].size(), 3U);
  EXPECT_NEAR(plan["devices"][0]["utilization"].get<double>(), 0.3, 1e-9);
  EXPECT_EQ(plan["devices"][0]["node_memory_bytes"], 900'000'000);
  EXPECT_EQ(plan["devices"][0]["node_memory_limit_bytes"], 3'200'000'000);

  const Ran table = Run(kCluster, applications);
  EXPECT_THAT(table.out, HasSubstr("application  node  device  rate/s  mean ms  p95 ms"));
  EXPECT_THAT(table.out, HasSubstr("c        utilization on gpu nano: 1.500 of 0.800\n"));
  EXPECT_THAT(table.out, HasSubstr("duly: 2 of 3 applications hosted\n"));
}

TEST_F(PlanCommand, EveryAlgorithmAnswers) {
  const std::string_view applications =
      "applications: [{name: a, count: 5, model: small, rate: 20/s, slo: 100ms, memory: 50MB}]\n";
  for (const std::string name :
       {"duly", "branch-and-bound", "ibis-breadth", "ibis-depth", "memory-first", "memory-best",
        "memory-worst", "memory-knapsack", "utilization-knapsack"}) {
    const json plan = Json(kCluster, applications, {"--algorithm", name});
    EXPECT_EQ(plan["algorithm"], name);
    EXPECT_EQ(plan["hosted"], 5) << name;
    EXPECT_EQ(plan["proven_optimal"], name == "branch-and-bound");
    EXPECT_EQ(plan["applications"][4]["name"], "a-5");
  }
}

TEST_F(PlanCommand, OverloadByMemoryAloneIsShownNotHidden) {
  const std::string_view applications =
      "applications: [{name: a, count: 3, model: big, rate: 20/s, slo: 1s}]\n";
  const json plan = Json(kCluster, applications, {"--algorithm", "memory-first"});
  EXPECT_EQ(plan["hosted"], 3);
  EXPECT_EQ(plan["applications"][0]["stable"], false);
  EXPECT_FALSE(plan["applications"][0].contains("mean_ms"));
  EXPECT_NEAR(plan["devices"][0]["utilization"].get<double>(), 1.8, 1e-9);
}

TEST_F(PlanCommand, HeadroomAndLimitsComeFromTheFile) {
  const std::string_view applications =
      "applications: [{name: a, model: big, rate: 22/s, slo: 1s}]\n";
  EXPECT_EQ(Json(kCluster, applications)["hosted"], 1);
  const auto with = [](std::string_view limits) {
    return std::string(kCluster) + "limits: " + std::string(limits) + "\n";
  };
  EXPECT_EQ(Json(with("{headroom: 1.3}"), applications)["hosted"], 0);
  EXPECT_EQ(Json(with("{utilization: 0.6}"), applications)["hosted"], 0);
  EXPECT_EQ(Json(with("{memory: 0.2}"), applications)["refusals"][0]["constraint"], "memory");
}

TEST_F(PlanCommand, ListsEveryFaultOfBothFiles) {
  const Ran ran = Run(R"(device_types:
  - {name: nano, kind: gpu}
  - {name: nano, kind: timeslice}
models:
  - {name: m, on: {nano: {service: 30ms}, tpu: {service: 3ms}}}
  - {name: m, on: {nano: {service: -1ms, swop: 3ms}}}
nodes:
  - {name: a, memory: 4GB, devices: [nano, orin]}
  - {name: a, devices: []}
limits: {utilization: 2}
)",
                      R"(applications:
  - {name: x, model: n, rate: 3/s, slo: 200ms}
  - {name: x, model: m, rate: -3/s, slo: 20ms}
  - {name: y, model: m, rate: 0, slo: 30ms, percentile: 0.3}
  - {name: z, count: 1000000, model: m, rate: 1, slo: 1s}
)",
                      {"--algorithm", "best"});
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_EQ(ran.out, "");
  for (const char* fault :
       {"--algorithm: there is no algorithm 'best': expected one of: duly, branch-and-bound",
        "cluster.yaml:2:24: kind is 'gpu': expected one of: serial, timeslice",
        "cluster.yaml:3:12: device type 'nano' is given again",
        "there is no device type 'tpu': expected one of: nano",
        "cluster.yaml:6:12: model 'm' is given again", "service is '-1ms'",
        "unknown key 'swop' (did you mean 'swap'?)", "there is no device type 'orin'",
        "cluster.yaml:9:12: node 'a' is given again", "'memory' is missing", "devices is empty",
        "utilization is '2'", "apps.yaml:2:22: there is no model 'n': expected one of: m",
        "apps.yaml:3:12: application 'x' is given again", "apps.yaml:3:31: rate is '-3/s'",
        "apps.yaml:3:42: slo 20 ms is not above what 'm' takes alone: expected more than 30 ms",
        "apps.yaml:4:31: the rate is 0", "percentile is '0.3'",
        "apps.yaml:5:22: 1000002 applications: expected at most 100000"}) {
    EXPECT_THAT(ran.err, HasSubstr(fault));
  }
}

TEST_F(PlanCommand, NamesThatReferToThemselvesAreAFault) {
  const Ran ran = Run("device_types: &a [*a]\n", "applications: &b {b: *b}\n");
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_THAT(ran.err, HasSubstr("cluster.yaml:1:"));
  EXPECT_THAT(ran.err, HasSubstr("apps.yaml:1:"));
}

TEST_F(PlanCommand, AModelThatRunsNowhereIsARefusal) {
  const std::string cluster =
      "device_types: [{name: x, kind: serial}, {name: y, kind: serial}]\n"
      "models: [{name: m, on: {y: {service: 9ms}}}]\n"
      "nodes: [{name: n, memory: 1GB, devices: [x, x]}]\n";
  const json plan = Json(cluster, "applications: [{name: a, model: m, rate: 1, slo: 20ms}]\n");
  EXPECT_EQ(plan["refusals"][0]["constraint"], "unsupported");
  EXPECT_EQ(plan["devices"][1]["name"], "x-2");
}

TEST_F(PlanCommand, TenThousandApplicationsAreAnswered) {
  const std::string cluster =
      "device_types: [{name: x, kind: serial}]\n"
      "models: [{name: m, on: {x: {service: 9ms, memory: 10MB}}}]\n"
      "nodes: [{name: n, count: 1000, memory: 1GB, devices: [x]}]\n";
  const json plan =
      Json(cluster, "applications: [{name: a, count: 10000, model: m, rate: 5, slo: 40ms}]\n",
           {"--tries", "1000"});
  EXPECT_EQ(plan["hosted"], 10000);
  EXPECT_EQ(plan["exact"], false);
}

TEST_F(PlanCommand, WritesAPage) {
  const std::string page = folder_.Write("plan.html", "");
  const Ran ran = Run(kCluster,
                      "applications:\n  - {name: 'a<b', model: small, rate: 20/s, slo: 100ms}\n"
                      "  - {name: no, model: big, rate: 40/s, slo: 1s}\n",
                      {"--report", page});
  EXPECT_EQ(ran.exit, kExitDone) << ran.err;
  const std::string html = ReadFile(page).value();
  EXPECT_THAT(html, HasSubstr("1 of 2 applications hosted"));
  EXPECT_THAT(html, HasSubstr("a&lt;b"));
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("utilization on gpu nano: 1.200 of 0.800"));
  EXPECT_THAT(html, Not(HasSubstr("http")));
}

}  // namespace
}  // namespace duly
