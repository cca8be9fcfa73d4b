// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <health.pb.h>
#include <inference.pb.h>

#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/soon_test_util.h"
#include "server/fake_node_test_util.h"
#include "server/grpc_client_test_util.h"
#include "server/zlib_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Answer = GrpcTestClient::Answer;

constexpr std::string_view kInfer = "/inference.GRPCInferenceService/ModelInfer";
constexpr std::string_view kStream = "/inference.GRPCInferenceService/ModelStreamInfer";
constexpr std::string_view kLive = "/inference.GRPCInferenceService/ServerLive";
constexpr std::string_view kWatch = "/grpc.health.v1.Health/Watch";

std::string CopyRequest(std::size_t elements = 2, std::string id = "") {
  inference::ModelInferRequest request;
  request.set_model_name("copy");
  request.set_id(std::move(id));
  auto& input = *request.add_inputs();
  input.set_name("in0");
  input.set_datatype("FP32");
  input.add_shape(static_cast<std::int64_t>(elements));
  std::string data(elements * sizeof(float), '\0');
  for (std::size_t i = 0; i < elements; ++i) {
    const auto value = static_cast<float>(i);
    std::memcpy(data.data() + i * sizeof(float), &value, sizeof(value));
  }
  request.add_raw_input_contents(data);
  return request.SerializeAsString();
}

std::string RawOf(const std::string& message) {
  inference::ModelInferResponse response;
  return response.ParseFromString(message) && response.raw_output_contents_size() == 1
             ? response.raw_output_contents(0)
             : "no answer";
}

class GrpcServing : public ::testing::Test {
 protected:
  void Serve(GrpcOptions options = {}) {
    options.port = 0;
    options.linger = milliseconds(50);
    auto server = GrpcServer::Start(std::move(options), service_);
    ASSERT_TRUE(server) << server.error().ToString();
    server_ = std::move(*server);
    service_.SetReady(true);
    client_ = std::make_unique<GrpcTestClient>(server_->port());
  }
  void ExpectServed() {
    const Answer answer = GrpcTestClient(server_->port()).Call(kLive, GrpcFrame(""));
    EXPECT_EQ(answer.status(), StatusCode::kOk) << answer.message();
  }

  FakeNode node_{TestModels()};
  ModelService service_{node_};
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<GrpcTestClient> client_;
};

TEST_F(GrpcServing, AnswersACall) {
  Serve();
  const Answer answer = client_->Call(kInfer, GrpcFrame(CopyRequest()));
  EXPECT_EQ(answer.fields.at(":status"), "200");
  EXPECT_EQ(answer.fields.at("content-type"), "application/grpc");
  EXPECT_EQ(answer.fields.at("grpc-accept-encoding"), "identity,deflate,gzip");
  EXPECT_EQ(answer.status(), StatusCode::kOk);
  ASSERT_THAT(answer.messages(), SizeIs(1));
  EXPECT_EQ(RawOf(answer.messages()[0]), std::string("\0\0\0\0\0\0\x80\x3f", 8));
}

TEST_F(GrpcServing, AnswersWhateverPiecesTheMessageComesIn) {
  Serve();
  const std::string frame = GrpcFrame(CopyRequest());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{4}, std::size_t{7}}) {
    const std::int32_t stream = client_->Begin(kInfer);
    for (std::size_t at = 0; at < frame.size(); at += piece) {
      client_->Send(stream, std::string_view(frame).substr(at, piece));
    }
    client_->Finish(stream);
    EXPECT_EQ(client_->Await(stream).status(), StatusCode::kOk) << piece;
  }
}

TEST_F(GrpcServing, NothingBehindTheOneMessageIsLookedAt) {
  Serve();
  node_.HoldRequests();
  const std::int32_t stream = client_->Begin(kInfer, GrpcFrame(CopyRequest()) + "\x07 and more");
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  client_->Send(stream, GrpcFrame(CopyRequest()));
  client_->Finish(stream);
  EXPECT_EQ(client_->Call(kLive, GrpcFrame("")).status(), StatusCode::kOk);
  EXPECT_TRUE(node_.ReleaseOne());
  const Answer& answer = client_->Await(stream);
  EXPECT_EQ(answer.status(), StatusCode::kOk);
  EXPECT_THAT(answer.messages(), SizeIs(1));
}

TEST_F(GrpcServing, LargeTensorsComeBackWhole) {
  Serve();
  const std::size_t elements = 1'000'000;  // several windows
  const Answer answer = client_->Call(kInfer, GrpcFrame(CopyRequest(elements)));
  ASSERT_EQ(answer.status(), StatusCode::kOk) << answer.message();
  inference::ModelInferRequest request;
  ASSERT_TRUE(request.ParseFromString(CopyRequest(elements)));
  EXPECT_TRUE(RawOf(answer.messages().at(0)) == request.raw_input_contents(0));
}

TEST_F(GrpcServing, ManyCallsAreInFlightAtOnce) {
  Serve();
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 300; ++i) {
    streams.push_back(client_->Begin(kInfer, GrpcFrame(CopyRequest(20, std::to_string(i)))));
  }
  for (const std::int32_t stream : streams) client_->Finish(stream);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const Answer& answer = client_->Await(streams[i]);
    ASSERT_EQ(answer.status(), StatusCode::kOk);
    inference::ModelInferResponse response;
    ASSERT_TRUE(response.ParseFromString(answer.messages().at(0)));
    EXPECT_EQ(response.id(), std::to_string(i));
  }
}

TEST_F(GrpcServing, ReadsCompressedMessages) {
  Serve();
  const Answer gzip =
      client_->Call(kInfer, GrpcFrame(Deflated(CopyRequest()), 1), {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(gzip.status(), StatusCode::kOk) << gzip.message();
  const Answer plain = client_->Call(kInfer, GrpcFrame(CopyRequest()), {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(plain.status(), StatusCode::kOk) << plain.message();
}

TEST_F(GrpcServing, WhatIsNoCallIsRefused) {
  Serve();
  const std::string frame = GrpcFrame(CopyRequest());
  const auto http = [&](GrpcTestClient::Fields fields) {
    return client_->Call(kInfer, frame, std::move(fields)).fields.at(":status");
  };
  EXPECT_EQ(http({{":method", "PUT"}}), "405");
  EXPECT_EQ(http({{"content-type", "application/json"}}), "415");
  EXPECT_EQ(http({{"content-type", "application/grpc-web"}}), "415");
  EXPECT_EQ(http({{"content-type", ""}}), "415");
  EXPECT_EQ(http({{"content-type", "application/grpc+proto"}}), "200");

  const auto refused = [&](StatusCode code, std::string_view words, std::string_view path,
                           std::string_view bytes, GrpcTestClient::Fields fields = {}) {
    const Answer answer = client_->Call(path, bytes, std::move(fields));
    EXPECT_EQ(answer.status(), code) << words;
    EXPECT_THAT(answer.message(), HasSubstr(std::string(words)));
    EXPECT_THAT(answer.body, IsEmpty());
  };
  refused(StatusCode::kUnimplemented, "there is no method /a/b", "/a/b", frame);
  refused(StatusCode::kUnimplemented, "grpc-encoding 'br'", kInfer, frame,
          {{"grpc-encoding", "br"}});
  refused(StatusCode::kInvalidArgument, "grpc-timeout 'soon'", kInfer, frame,
          {{"grpc-timeout", "soon"}});
  refused(StatusCode::kResourceExhausted, "metadata is larger", kInfer, frame,
          {{"a", std::string(20'000, 'x')}});
  for (const std::string_view path : {kInfer, kLive, kWatch}) {
    refused(StatusCode::kUnimplemented, "no message", path, "");
    refused(StatusCode::kInvalidArgument, "ends within a message", path, frame.substr(0, 3));
    refused(StatusCode::kInvalidArgument, "ends within a message", path,
            GrpcFrame("abc").substr(0, 7));
    refused(StatusCode::kInternal, "a message begins with 2", path, GrpcFrame("", 2));
    refused(StatusCode::kInternal, "grpc-encoding is missing", path, GrpcFrame("", 1));
  }
  refused(StatusCode::kInvalidArgument, "the message is no ModelInferRequest", kInfer,
          GrpcFrame("\xff\xff"));
  ExpectServed();
}

TEST_F(GrpcServing, MessagesAndTheirMemoryAreBounded) {
  GrpcOptions options;
  options.message_bytes = 100'000;
  options.memory = std::make_shared<MemoryBudget>(250'000);
  Serve(options);
  const Answer large = client_->Call(kInfer, GrpcFrame(std::string(100'001, 'x')));
  EXPECT_EQ(large.status(), StatusCode::kResourceExhausted);
  EXPECT_EQ(large.message(), "a message of 100001 bytes: expected at most 100000");

  // Two messages that never end leave no room for a third.
  const std::string begun = GrpcFrame(std::string(99'000, 'x')).substr(0, 1000);
  const std::int32_t first = client_->Begin(kInfer, begun);
  client_->Begin(kInfer, begun);
  const Answer third = client_->Call(kInfer, begun);
  EXPECT_EQ(third.status(), StatusCode::kResourceExhausted);
  EXPECT_THAT(third.message(), HasSubstr("no memory left"));
  client_->Cancel(first);
  const Answer fourth = client_->Call(kInfer, GrpcFrame(CopyRequest(20'000)));
  EXPECT_EQ(fourth.status(), StatusCode::kOk) << fourth.message();
}

TEST_F(GrpcServing, ACancelledCallIsCancelledInTheNode) {
  Serve();
  node_.HoldRequests();
  const std::int32_t unary = client_->Begin(kInfer, GrpcFrame(CopyRequest()));
  const std::int32_t stream = client_->Begin(kStream, GrpcFrame(CopyRequest()));
  client_->Send(stream, GrpcFrame(CopyRequest()));
  ASSERT_TRUE(Soon([&] { return node_.held() == 3; }));
  client_->Cancel(unary);
  ASSERT_TRUE(Soon([&] { return node_.cancelled() == 1; }));
  client_->Cancel(stream);
  ASSERT_TRUE(Soon([&] { return node_.cancelled() == 3; }));
  ExpectServed();
}

TEST_F(GrpcServing, AClientThatLeavesHasItsRequestsCancelled) {
  Serve();
  node_.HoldRequests();
  client_->Begin(kInfer, GrpcFrame(CopyRequest()));
  client_->Begin(kStream, GrpcFrame(CopyRequest()));
  ASSERT_TRUE(Soon([&] { return node_.held() == 2; }));
  client_.reset();
  ASSERT_TRUE(Soon([&] { return node_.cancelled() == 2; }));
}

TEST_F(GrpcServing, ADeadlineEndsTheCall) {
  GrpcOptions options;
  options.keepalive = milliseconds(40);  // a tick of 10 ms
  Serve(options);
  node_.HoldRequests();
  const std::int32_t stream =
      client_->Begin(kInfer, GrpcFrame(CopyRequest()), {{"grpc-timeout", "20m"}});
  const Answer& answer = client_->Await(stream);
  EXPECT_EQ(answer.status(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(node_.cancelled(), 1U);
}

TEST_F(GrpcServing, AMessageThatDoesNotComeEndsTheCall) {
  GrpcOptions options;
  options.message_timeout = milliseconds(20);
  Serve(options);
  for (const std::string_view bytes : {std::string_view(), std::string_view("\0\0", 2)}) {
    const std::int32_t stream = client_->Begin(kInfer, bytes);
    const Answer& answer = client_->Await(stream);
    EXPECT_EQ(answer.status(), StatusCode::kDeadlineExceeded);
    EXPECT_THAT(answer.message(), HasSubstr("did not arrive in time"));
  }
  // A stream may be silent between two messages.
  const std::int32_t stream = client_->Begin(kStream, GrpcFrame(CopyRequest()));
  EXPECT_THAT(client_->AwaitMessages(stream, 1).messages(), SizeIs(1));
  EXPECT_EQ(client_->Call(kInfer, "").status(), StatusCode::kUnimplemented);
  client_->Send(stream, GrpcFrame(CopyRequest()));
  client_->Finish(stream);
  EXPECT_THAT(client_->Await(stream).messages(), SizeIs(2));
}

TEST_F(GrpcServing, IdleConnectionsAreClosed) {
  GrpcOptions options;
  options.idle_timeout = milliseconds(100);
  Serve(options);
  GrpcTestClient silent(server_->port());
  EXPECT_TRUE(silent.AwaitEnd());
  client_ = std::make_unique<GrpcTestClient>(server_->port());
  EXPECT_EQ(client_->Call(kLive, GrpcFrame("")).status(), StatusCode::kOk);
  EXPECT_TRUE(client_->AwaitEnd());
  EXPECT_TRUE(client_->told_to_go());
}

TEST_F(GrpcServing, AClientThatIsGoneIsNoticed) {
  GrpcOptions options;
  options.keepalive = milliseconds(20);
  Serve(options);
  node_.HoldRequests();
  // It answers no ping: nobody reads its socket.
  client_->Begin(kInfer, GrpcFrame(CopyRequest()));
  ASSERT_TRUE(Soon([&] { return node_.cancelled() == 1; }));
}

TEST_F(GrpcServing, AClientHasSoManyConnections) {
  GrpcOptions options;
  options.clients = std::make_shared<ClientConnections>(2);
  Serve(options);
  EXPECT_EQ(client_->Call(kLive, GrpcFrame("")).status(), StatusCode::kOk);
  GrpcTestClient second(server_->port());
  EXPECT_EQ(second.Call(kLive, GrpcFrame("")).status(), StatusCode::kOk);
  GrpcTestClient third(server_->port());
  EXPECT_EQ(third.Call(kLive, GrpcFrame("")).status(), std::nullopt);
  client_.reset();
  EXPECT_TRUE(Soon([&] {
    return GrpcTestClient(server_->port()).Call(kLive, GrpcFrame("")).status() == StatusCode::kOk;
  }));
}

TEST_F(GrpcServing, AnswersThatNobodyReadsStopTheReading) {
  Serve();
  GrpcTestClient slow(server_->port(), 10'000);  // bytes of answers on their way
  const std::string frame = GrpcFrame(CopyRequest(100'000));
  const std::int32_t stream = slow.Begin(kStream);
  constexpr std::size_t kRequests = 20;  // 8 MB of answers
  for (std::size_t i = 0; i < kRequests; ++i) slow.Send(stream, frame);
  slow.Finish(stream);
  const Answer& answer = slow.Await(stream);
  EXPECT_EQ(answer.status(), StatusCode::kOk);
  EXPECT_THAT(answer.messages(), SizeIs(kRequests));
}

TEST_F(GrpcServing, HealthIsWatched) {
  Serve();
  const auto statuses = [](const Answer& answer) {
    std::vector<int> all;
    for (const std::string& message : answer.messages()) {
      grpc::health::v1::HealthCheckResponse response;
      EXPECT_TRUE(response.ParseFromString(message));
      all.push_back(response.status());
    }
    return all;
  };
  const std::int32_t stream = client_->Begin(kWatch, GrpcFrame(""));
  EXPECT_EQ(statuses(client_->AwaitMessages(stream, 1)), (std::vector{2}));
  server_->SetServing(true);
  EXPECT_EQ(statuses(client_->AwaitMessages(stream, 2)), (std::vector{2, 1}));
  server_->SetServing(true);  // no news
  server_->SetServing(false);
  EXPECT_EQ(statuses(client_->AwaitMessages(stream, 3)), (std::vector{2, 1, 2}));

  grpc::health::v1::HealthCheckRequest unknown;
  unknown.set_service("nope");
  const std::int32_t other = client_->Begin(kWatch, GrpcFrame(unknown.SerializeAsString()));
  EXPECT_EQ(statuses(client_->AwaitMessages(other, 1)), (std::vector{3}));
  client_->Cancel(stream);
  server_->SetServing(true);
  ExpectServed();
}

TEST_F(GrpcServing, DrainAnswersWhatWasReceived) {
  Serve();
  node_.HoldRequests();
  const std::int32_t unary = client_->Begin(kInfer, GrpcFrame(CopyRequest()));
  const std::int32_t stream = client_->Begin(kStream, GrpcFrame(CopyRequest()));
  const std::int32_t watch = client_->Begin(kWatch, GrpcFrame(""));
  ASSERT_TRUE(Soon([&] { return node_.held() == 2; }));
  GrpcTestClient idle(server_->port());
  EXPECT_EQ(idle.Call(kLive, GrpcFrame("")).status(), StatusCode::kOk);

  std::promise<void> drained;
  server_->Drain([&] { drained.set_value(); });
  EXPECT_TRUE(idle.AwaitEnd());
  EXPECT_TRUE(idle.told_to_go());
  EXPECT_EQ(client_->Await(watch).status(), StatusCode::kUnavailable);
  auto done = drained.get_future();
  EXPECT_NE(done.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_TRUE(node_.ReleaseOne());
  EXPECT_TRUE(node_.ReleaseOne());
  EXPECT_EQ(client_->Await(unary).status(), StatusCode::kOk);
  const Answer& streamed = client_->Await(stream);
  EXPECT_THAT(streamed.messages(), SizeIs(1));
  EXPECT_EQ(streamed.status(), StatusCode::kUnavailable);
  EXPECT_TRUE(client_->AwaitEnd());
  client_.reset();
  EXPECT_EQ(done.wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST_F(GrpcServing, EndsWithRequestsInTheNode) {
  Serve();
  node_.HoldRequests();
  client_->Begin(kInfer, GrpcFrame(CopyRequest()));
  client_->Begin(kStream, GrpcFrame(CopyRequest()));
  ASSERT_TRUE(Soon([&] { return node_.held() == 2; }));
  server_.reset();
  EXPECT_EQ(node_.cancelled(), 2U);
}

TEST_F(GrpcServing, BytesThatAreNotHttp2EndTheConnection) {
  Serve();
  for (const std::string_view bytes :
       {std::string_view("GET / HTTP/1.1\r\n\r\n"), std::string_view("\x16\x03\x01\x02\x00", 5)}) {
    GrpcTestClient other(server_->port());
    other.SendRaw(bytes);
    EXPECT_TRUE(other.AwaitEnd());
  }
  ExpectServed();
}

}  // namespace
}  // namespace duly
