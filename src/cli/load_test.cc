// SPDX-License-Identifier: Apache-2.0
//
// `duly load` as a user runs it, against a scripted server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/temp_folder_test_util.h"
#include "cli/cli.h"
#include "cli/testing/scripted_server.h"
#include "cli/testing/subprocess.h"

namespace duly {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Reply = ScriptedServer::Reply;
using Request = ScriptedServer::Request;

// A server with a model "echo" of one input of two bytes, which it gives back as output "y".
Reply Echo(const Request& request) {
  if (request.method == "GET") {
    if (request.target != "/v2/models/echo") return ScriptedServer::Answer(404, "{}");
    return ScriptedServer::Answer(
        200, R"({"name":"echo","inputs":[{"name":"x","datatype":"UINT8","shape":[-1,2]}]})");
  }
  return ScriptedServer::Binary(
      R"({"parameters":{"variant":"s","device":"cpu","batch_rows":1,"compute_us":1000,
          "queue_us":5,"accuracy":90},
          "outputs":[{"name":"y","datatype":"UINT8","parameters":{"binary_data_size":2}}]})",
      request.body.substr(request.body.size() - 2));
}

class LoadTest : public ::testing::Test {
 protected:
  struct Ran {
    int exit = 0;
    std::string out;
    std::string err;
  };
  Ran Run(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), "load");
    Subprocess duly(DULY_BINARY, std::move(arguments), std::move(environment));
    const int exit = duly.Wait();
    return {exit, duly.out(), duly.err()};
  }
  // 20 requests in 50 ms, against the server.
  Ran RunShort(std::vector<std::string> arguments) {
    const std::vector<std::string> common = {
        "--url",    server_.url(), "--model", "echo",       "--rate", "400",     "--arrivals",
        "constant", "--warmup",    "0",       "--duration", "50ms",   "--grace", "5s"};
    arguments.insert(arguments.begin(), common.begin(), common.end());
    return Run(arguments);
  }
  // Requests for inference that the server got.
  std::vector<Request> Posts() {
    std::vector<Request> requests = server_.requests();
    std::erase_if(requests, [](const Request& request) { return request.method != "POST"; });
    return requests;
  }

  TempFolder folder_;
  ScriptedServer server_{Echo};
};

TEST_F(LoadTest, PrintsATableAndExitsWithZero) {
  const Ran ran = RunShort({"--slo", "10s"});
  EXPECT_EQ(ran.exit, kExitDone) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("application"), HasSubstr("echo"), HasSubstr("100.00"),
                             HasSubstr("seed 1"), Not(HasSubstr("\033["))));
  EXPECT_EQ(Posts().size(), 20U);
  EXPECT_THAT(Posts()[0].body,
              AllOf(HasSubstr("\"slo_us\":10000000"), Not(HasSubstr("\"application\""))));
}

TEST_F(LoadTest, WritesJsonAndCsv) {
  const Ran ran = RunShort({"--json", "-", "--csv", folder_.At("run.csv"), "--label", "load=2.5",
                            "--application", "me", "--seed", "9"});
  ASSERT_EQ(ran.exit, kExitDone) << ran.err;
  const json document = json::parse(ran.out);
  EXPECT_EQ(document["seed"], 9);
  EXPECT_EQ(document["labels"]["load"], 2.5);
  EXPECT_EQ(document["url"], server_.url());
  EXPECT_EQ(document["applications"][0]["name"], "me");
  EXPECT_EQ(document["total"]["sent"], 20);
  EXPECT_EQ(document["total"]["on_time"], 20);
  EXPECT_NEAR(document["total"]["on_time_device_s"].get<double>(), 0.02, 1e-6);
  EXPECT_EQ(document["total"]["accuracy_pct"], 90.0);
  EXPECT_THAT(ran.err, HasSubstr("application"));
  const std::string csv = *ReadFile(folder_.At("run.csv"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 21);
  EXPECT_THAT(Posts()[0].body, HasSubstr("\"application\":\"me\""));
}

TEST_F(LoadTest, RunsAMixAndChecksAnswers) {
  folder_.Write("x.bin", std::string("\1\0\0\1\1\0\0\1", 8));
  folder_.Write("in.yaml",
                "rows: 4\ninputs: [{name: x, datatype: UINT8, row_shape: [2], file: x.bin}]\n"
                "expected: {output: y, how: argmax, labels: [0, 1, 0, 0]}\n");
  const std::string mix = folder_.Write("mix.yaml", fmt::format(R"(
url: {}
duration: 50ms
warmup: 0
seed: 3
applications:
  - {{name: a, model: echo, rate: 400, arrivals: constant, inputs: in.yaml}}
  - {{name: b, model: echo, rate: 200, arrivals: constant}}
)",
                                                                server_.url()));
  const Ran ran = Run({mix, "--json", "-", "--load-factor", "2", "--require", "b.on_time=100%",
                       "--require", "correct=75%"});
  ASSERT_EQ(ran.exit, kExitDone) << ran.err;
  const json document = json::parse(ran.out);
  EXPECT_EQ(document["seed"], 3);
  EXPECT_EQ(document["load_factor"], 2.0);
  EXPECT_EQ(document["applications"][0]["sent"], 40);
  EXPECT_EQ(document["applications"][1]["sent"], 20);
  EXPECT_EQ(document["applications"][0]["checked"], 40);
  EXPECT_EQ(document["applications"][0]["correct"], 30);
  EXPECT_EQ(document["applications"][1]["checked"], 0);
}

TEST_F(LoadTest, FlagGoesBeforeVariableBeforeFile) {
  const std::string mix =
      folder_.Write("mix.yaml", fmt::format("url: {}\nduration: 20ms\nwarmup: 0\nseed: 3\n"
                                            "applications: [{{name: a, model: echo, rate: 100}}]\n",
                                            server_.url()));
  const auto seed = [&](std::vector<std::string> arguments, std::vector<std::string> environment) {
    arguments.insert(arguments.end(), {mix, "--json", "-"});
    const Ran ran = Run(arguments, environment);
    EXPECT_EQ(ran.exit, kExitDone) << ran.err;
    return json::parse(ran.out)["seed"].get<int>();
  };
  EXPECT_EQ(seed({}, {}), 3);
  EXPECT_EQ(seed({}, {"DULY_SEED=4"}), 4);
  EXPECT_EQ(seed({"--seed", "5"}, {"DULY_SEED=4"}), 5);
}

TEST_F(LoadTest, PlainSendsStandardParametersOnly) {
  const Ran ran = RunShort({"--plain", "--slo", "10s", "--timeout", "5s", "--application", "me"});
  EXPECT_EQ(ran.exit, kExitDone) << ran.err;
  EXPECT_THAT(Posts()[0].body,
              HasSubstr(R"("parameters":{"binary_data_output":true,"timeout":5000000})"));
}

TEST_F(LoadTest, ABoundThatDoesNotHoldExitsWithOne) {
  const Ran ran = RunShort({"--slo", "1ns", "--require", "on_time>=99%", "--require", "sent=20"});
  EXPECT_EQ(ran.exit, kExitFailed);
  EXPECT_EQ(ran.err, "bound on_time>=99% does not hold: it is 0%\n");
  EXPECT_THAT(ran.out, HasSubstr("late"));
}

TEST_F(LoadTest, BadUsageExitsWithTwoNamesEveryFaultAndSendsNothing) {
  const Ran ran = Run({"--url", server_.url(), "--model", "echo", "--require", "nonsense",
                       "--label", "x", "--arrivals", "poison"});
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("--require: bound 'nonsense'"), HasSubstr("--label: 'x'"),
                             HasSubstr("--arrivals: 'poison' is no arrival process")));
  EXPECT_EQ(Run({"--model", "echo"}).exit, kExitUsage);
  EXPECT_EQ(Run({}).exit, kExitUsage);
  EXPECT_EQ(Run({"no-such-file.yaml"}).exit, kExitUsage);
  EXPECT_EQ(RunShort({"--require", "nobody.sent=1"}).exit, kExitUsage);
  const std::string mix = folder_.Write("mix.yaml", "applications: [{name: a, modle: m}]\n");
  const Ran file = Run({mix, "--model", "echo"});
  EXPECT_EQ(file.exit, kExitUsage);
  EXPECT_THAT(file.err, AllOf(HasSubstr("mix.yaml:1:26: unknown key 'modle'"),
                              HasSubstr("'rate' is missing"), HasSubstr("both a mix file and")));
  EXPECT_EQ(Posts().size(), 0U);
}

TEST_F(LoadTest, AServerOrModelThatIsNotThereExitsWithOne) {
  const Ran unknown = Run({"--url", server_.url(), "--model", "other", "--rate", "1"});
  EXPECT_EQ(unknown.exit, kExitFailed);
  EXPECT_THAT(unknown.err, HasSubstr("the server has no model 'other'"));
  const Ran bad = Run({"--url", "ftp://h:1", "--model", "echo", "--rate", "1"});
  EXPECT_EQ(bad.exit, kExitUsage);
  EXPECT_THAT(bad.err, HasSubstr("expected http://HOST:PORT"));
}

TEST_F(LoadTest, NothingServedExitsWithOne) {
  ScriptedServer broken([](const Request& request) {
    return request.method == "GET" ? Echo(request)
                                   : ScriptedServer::Answer(400, R"({"error":"no"})");
  });
  const Ran ran = Run({"--url", broken.url(), "--model", "echo", "--rate", "200", "--warmup", "0",
                       "--duration", "50ms"});
  EXPECT_EQ(ran.exit, kExitFailed);
  EXPECT_THAT(ran.out, HasSubstr("times: HTTP 400: no"));
  EXPECT_THAT(ran.err, HasSubstr("no request was served"));
}

TEST_F(LoadTest, ASignalStillGetsItsReport) {
  Subprocess duly(DULY_BINARY, {"load", "--url", server_.url(), "--model", "echo", "--rate", "500",
                                "--warmup", "0", "--duration", "60s", "--json", "-"});
  while (Posts().size() < 5) std::this_thread::yield();
  duly.Signal(SIGTERM);
  EXPECT_EQ(duly.Wait(), kExitDone) << duly.err();
  const json document = json::parse(duly.out());
  EXPECT_EQ(document["interrupted"], true);
  EXPECT_GE(document["total"]["sent"], 5);
  EXPECT_EQ(document["total"]["sent"], document["total"]["on_time"]);
  EXPECT_LT(document["duration_s"], 60);
}

TEST_F(LoadTest, HelpFitsAScreen) {
  const Ran ran = Run({"--help"});
  EXPECT_EQ(ran.exit, kExitDone);
  EXPECT_LE(std::count(ran.out.begin(), ran.out.end(), '\n'), 40);
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

}  // namespace
}  // namespace duly
