// SPDX-License-Identifier: Apache-2.0
#include "cli/load_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <optional>
#include <set>

#include "cli/load_http.h"
#include "cli/testing/load_run.h"
#include "cli/testing/scripted_server.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using workload::Arrival;
using Reply = ScriptedServer::Reply;
using Request = ScriptedServer::Request;

Reply Ok(const Request&) {
  return ScriptedServer::Answer(
      200, R"({"parameters":{"variant":"s","device":"cpu","batch_rows":2,"compute_us":100}})");
}

struct ClientTest : public ::testing::Test {
  ClientTest() { options.grace = seconds(10); }
  // Runs the schedule against the script, with one target.
  LoadRun Run(ScriptedServer::Script script) {
    server = std::make_unique<ScriptedServer>(std::move(script));
    return RunAgain();
  }
  LoadRun RunAgain() {
    std::unique_ptr<LoadClient> client = Start();
    return client->Finish();
  }
  std::unique_ptr<LoadClient> Start() {
    http.emplace(*FindHttpServer(server->url(), seconds(5)));
    options.server = &*http;
    if (options.end == Duration(0)) options.end = schedule.back().at + milliseconds(1);
    for (LoadTarget& target : targets) {
      target.head =
          "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: " + std::to_string(target.size()) +
          "\r\n\r\n";
    }
    return *LoadClient::Start(options, targets, schedule);
  }

  static std::string Detail(const LoadRun& run, std::size_t i) {
    return run.names[run.records[i].detail];
  }

  std::unique_ptr<ScriptedServer> server;
  std::optional<HttpLoadServer> http;
  std::vector<LoadTarget> targets{LoadTarget()};
  std::vector<Arrival> schedule;
  LoadClient::Options options;
};

TEST(ClassifyAnswer, JudgesBySloAndStatus) {
  const std::optional<Duration> slo = milliseconds(10);
  EXPECT_EQ(ClassifyAnswer(200, milliseconds(10), slo), Outcome::kOnTime);
  EXPECT_EQ(ClassifyAnswer(200, milliseconds(11), slo), Outcome::kLate);
  EXPECT_EQ(ClassifyAnswer(200, milliseconds(11), std::nullopt), Outcome::kOnTime);
  EXPECT_EQ(ClassifyAnswer(503, milliseconds(1), slo), Outcome::kRejected);
  EXPECT_EQ(ClassifyAnswer(429, milliseconds(1), slo), Outcome::kRejected);
  EXPECT_EQ(ClassifyAnswer(504, milliseconds(1), slo), Outcome::kExpired);
  for (const int status : {301, 400, 404, 499, 500}) {
    EXPECT_EQ(ClassifyAnswer(status, milliseconds(1), slo), Outcome::kFailed) << status;
  }
}

TEST_F(ClientTest, SendsEveryRequestAndRecordsTheAnswers) {
  schedule = Every(milliseconds(1), 20);
  targets[0].wants_report = true;
  targets[0].slo = seconds(5);
  const LoadRun run = Run(Ok);
  EXPECT_THAT(Outcomes(run), AllOf(SizeIs(20), Each(Outcome::kOnTime)));
  EXPECT_EQ(run.arrivals, 20U);
  EXPECT_FALSE(run.interrupted);
  for (const LoadRecord& record : run.records) {
    EXPECT_EQ(record.status, 200);
    EXPECT_GT(record.latency, Duration(0));
    EXPECT_GE(record.latency, record.send_lateness);
    EXPECT_EQ(run.names[record.variant], "s");
    EXPECT_EQ(run.names[record.device], "cpu");
    EXPECT_EQ(record.numbers.compute_us, 100.0F);
  }
}

TEST_F(ClientTest, KeepsConnections) {
  schedule = Every(milliseconds(2), 20);
  options.max_connections = 1;
  const LoadRun run = Run(Ok);
  EXPECT_THAT(Outcomes(run), Each(Outcome::kOnTime));
  EXPECT_EQ(run.connections, 1U);
}

TEST_F(ClientTest, SendsOnWhateverTheServerDoes) {
  schedule = Every(milliseconds(1), 10);
  options.grace = milliseconds(30);
  const LoadRun run =
      Run([](const Request& request) { return request.number == 9 ? Ok(request) : Reply(); });
  EXPECT_THAT(server->requests(), SizeIs(10));
  EXPECT_EQ(run.connections, 10U);
  const std::vector<std::optional<Outcome>> outcomes = Outcomes(run);
  EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), std::nullopt), 9);
  EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), Outcome::kOnTime), 1);
}

TEST_F(ClientTest, MeasuresFromTheScheduledArrivalAlsoWhenItHadToWait) {
  schedule = {{milliseconds(1), 0, 0, false}, {milliseconds(1), 0, 1, false}};
  options.max_connections = 1;
  const LoadRun run = Run(Ok);
  // The second request is taken up when the first is answered; both arrived together.
  EXPECT_GE(run.records[1].send_lateness, run.records[0].latency);
  EXPECT_GT(run.records[1].latency, run.records[1].send_lateness);
}

TEST_F(ClientTest, JudgesTheAnswerByItsOwnClock) {
  schedule = Every(milliseconds(1), 3);
  targets[0].slo = Duration(1);
  EXPECT_THAT(Outcomes(Run(Ok)), Each(Outcome::kLate));
}

TEST_F(ClientTest, TellsRefusalsExpiriesAndFailuresApart) {
  schedule = Every(milliseconds(1), 5);
  options.max_connections = 1;
  const LoadRun run = Run([](const Request& request) {
    switch (request.number) {
      case 0:
        return ScriptedServer::Answer(503, R"({"error":"e","reason":"predicted_late"})");
      case 1:
        return ScriptedServer::Answer(504, "{}");
      case 2:
        return ScriptedServer::Answer(400, R"({"error":"bad"})");
      case 3:
        return ScriptedServer::Answer(429, "{}");
      default:
        return Ok(request);
    }
  });
  EXPECT_THAT(Outcomes(run),
              ::testing::ElementsAre(Outcome::kRejected, Outcome::kExpired, Outcome::kFailed,
                                     Outcome::kRejected, Outcome::kOnTime));
  EXPECT_EQ(Detail(run, 0), "predicted_late");
  EXPECT_EQ(Detail(run, 1), "");
  EXPECT_EQ(Detail(run, 2), "HTTP 400: bad");
  EXPECT_GT(run.records[0].latency, Duration(0));
}

TEST_F(ClientTest, BrokenConnectionsAndGarbageFailOneRequestEach) {
  schedule = Every(milliseconds(1), 5);
  options.max_connections = 1;
  const LoadRun run = Run([](const Request& request) -> Reply {
    switch (request.number) {
      case 0:
        return {"", true};
      case 1:
        return {"garbage\r\n\r\n", false};
      case 2:
        return {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", true};
      case 3:
        return {"HTTP/1.1 200 OK\r\n\r\nuntil the end", true};
      default:
        return Ok(request);
    }
  });
  EXPECT_THAT(Outcomes(run),
              ::testing::ElementsAre(Outcome::kFailed, Outcome::kFailed, Outcome::kFailed,
                                     Outcome::kOnTime, Outcome::kOnTime));
  EXPECT_EQ(Detail(run, 0), "connection closed without a response");
  EXPECT_EQ(Detail(run, 1), "not an HTTP response");
  EXPECT_EQ(Detail(run, 2), "response cut off");
  EXPECT_EQ(run.connections, 5U);
}

TEST_F(ClientTest, AnAnswerWithoutTheReportAskedForIsAFailureOnlyWhenItIsNoJson) {
  schedule = Every(milliseconds(1), 2);
  targets[0].wants_report = true;
  options.max_connections = 1;
  const LoadRun run = Run([](const Request& request) {
    return ScriptedServer::Answer(200, request.number == 0 ? "{}" : "hello");
  });
  EXPECT_EQ(run.records[0].outcome, Outcome::kOnTime);
  EXPECT_EQ(run.records[1].outcome, Outcome::kFailed);
  EXPECT_EQ(Detail(run, 1), "the answer is not an inference response");
}

TEST_F(ClientTest, ReconnectsAfterTheServerClosesAnIdleConnection) {
  // A gap that is long beside a local round trip: the client sees the end of the connection first.
  schedule = Every(milliseconds(100), 2);
  const LoadRun run = Run([](const Request& request) {
    Reply reply = Ok(request);
    reply.close = true;
    return reply;
  });
  EXPECT_THAT(Outcomes(run), Each(Outcome::kOnTime));
  EXPECT_EQ(run.connections, 2U);
}

TEST_F(ClientTest, DoesNotReuseAConnectionThatTheServerWillClose) {
  schedule = Every(milliseconds(1), 3);
  options.max_connections = 1;
  const LoadRun run = Run([](const Request&) {
    Reply reply = ScriptedServer::Answer(200, "{}", "Connection: close\r\n");
    reply.close = true;
    return reply;
  });
  EXPECT_THAT(Outcomes(run), Each(Outcome::kOnTime));
  EXPECT_EQ(run.connections, 3U);
}

TEST_F(ClientTest, AServerThatIsGoneFailsEveryRequest) {
  schedule = Every(milliseconds(0), 300);
  options.max_connections = 4;
  server = std::make_unique<ScriptedServer>(Ok);
  const std::string url = server->url();
  http.emplace(*FindHttpServer(url, seconds(5)));
  options.server = &*http;
  server.reset();
  targets[0].head = "POST / HTTP/1.1\r\n\r\n";
  options.end = milliseconds(1);
  const LoadRun run = (*LoadClient::Start(options, targets, schedule))->Finish();
  EXPECT_THAT(Outcomes(run), AllOf(SizeIs(300), Each(Outcome::kFailed)));
  EXPECT_THAT(Detail(run, 299), HasSubstr("refused"));
}

TEST_F(ClientTest, CancelsByClosingTheConnection) {
  schedule = Every(milliseconds(1), 6);
  schedule[1].cancel = schedule[3].cancel = schedule[5].cancel = true;
  targets[0].cancel_after = milliseconds(5);
  options.max_connections = 2;
  options.grace = milliseconds(30);
  const LoadRun run = Run([](const Request&) { return Reply(); });
  // 0 and 1 are sent; when 1 is cancelled, 2 takes its place; 3 and 5 are cancelled as they wait.
  const std::vector<std::optional<Outcome>> outcomes = Outcomes(run);
  for (const std::size_t i : {1U, 3U, 5U}) EXPECT_EQ(outcomes[i], Outcome::kCancelled) << i;
  for (const std::size_t i : {0U, 2U, 4U}) EXPECT_EQ(outcomes[i], std::nullopt) << i;
  EXPECT_EQ(run.connections, 3U);
}

TEST_F(ClientTest, AnAnswerComesBeforeALaterCancellation) {
  schedule = Every(milliseconds(1), 3);
  for (Arrival& arrival : schedule) arrival.cancel = true;
  targets[0].cancel_after = seconds(100);
  EXPECT_THAT(Outcomes(Run(Ok)), Each(Outcome::kOnTime));
}

TEST_F(ClientTest, SendsBodiesLargerThanASocketTakesAtOnce) {
  constexpr std::size_t kBytes = 1 << 20;
  std::vector<std::byte> rows(2 * kBytes);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<std::byte>(i * 7 + i / kBytes);
  targets[0].inputs = {{Buffer::CopyOf(rows), kBytes, 2, {}}};
  schedule = Every(milliseconds(1), 3);
  const LoadRun run = Run(Ok);
  EXPECT_THAT(Outcomes(run), Each(Outcome::kOnTime));
  std::set<std::string> bodies;
  for (const Request& request : server->requests()) bodies.insert(request.body);
  const auto* bytes = reinterpret_cast<const char*>(rows.data());
  EXPECT_EQ(bodies, (std::set<std::string>{{bytes, kBytes}, {bytes + kBytes, kBytes}}));
}

TEST_F(ClientTest, SeveralThreadsShareTheSchedule) {
  schedule = Every(Duration(100000), 100);
  options.threads = 3;
  const LoadRun run = Run(Ok);
  EXPECT_THAT(Outcomes(run), AllOf(SizeIs(100), Each(Outcome::kOnTime)));
  EXPECT_GE(run.connections, 3U);
  EXPECT_GT(run.cpu_s, 0);
}

TEST_F(ClientTest, StopSendsNoMoreAndStillWaitsForAnswers) {
  schedule = Every(milliseconds(1), 2);
  schedule[1].at = seconds(1000);
  server = std::make_unique<ScriptedServer>(Ok);
  const std::unique_ptr<LoadClient> client = Start();
  while (client->progress().outcomes[0] == 0) std::this_thread::yield();
  client->Stop();
  pollfd ended{client->ended_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 5000), 1);
  const LoadRun run = client->Finish();
  EXPECT_TRUE(run.interrupted);
  EXPECT_EQ(run.arrivals, 1U);
  EXPECT_LT(run.length, seconds(1000));
  EXPECT_EQ(run.records[0].outcome, Outcome::kOnTime);
}

TEST_F(ClientTest, ASecondStopEndsTheRunAtOnce) {
  schedule = Every(milliseconds(1), 1);
  options.grace = seconds(1000);
  server = std::make_unique<ScriptedServer>([](const Request&) { return Reply(); });
  const std::unique_ptr<LoadClient> client = Start();
  while (server->requests().empty()) std::this_thread::yield();
  client->Stop();
  client->Stop();
  const LoadRun run = client->Finish();
  EXPECT_EQ(run.records[0].outcome, std::nullopt);
}

}  // namespace
}  // namespace duly
