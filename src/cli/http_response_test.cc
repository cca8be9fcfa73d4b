// SPDX-License-Identifier: Apache-2.0
#include "cli/http_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace duly {
namespace {

using State = HttpResponseReader::State;

// Gives the reader `wire` in pieces of at most `piece` bytes.
State Feed(HttpResponseReader& reader, std::string_view wire, std::size_t piece) {
  State state = State::kMore;
  while (!wire.empty() && state == State::kMore) {
    const std::span<char> space = reader.Space();
    const std::size_t size = std::min({piece, space.size(), wire.size()});
    std::memcpy(space.data(), wire.data(), size);
    wire.remove_prefix(size);
    state = reader.Add(size);
  }
  return state;
}

State Read(std::string_view wire, std::size_t piece = 1 << 20) {
  HttpResponseReader reader;
  return Feed(reader, wire, piece);
}

TEST(HttpResponseReader, ReadsALengthInPiecesOfAnySize) {
  const std::string wire =
      "HTTP/1.1 200 OK\r\ncontent-length: 11\r\nINFERENCE-header-Content-Length:  5 \r\n\r\n"
      "hello world";
  for (std::size_t piece = 1; piece <= wire.size(); ++piece) {
    HttpResponseReader reader;
    ASSERT_EQ(Feed(reader, wire, piece), State::kDone) << piece;
    EXPECT_EQ(reader.status(), 200);
    EXPECT_EQ(reader.body(), "hello world");
    EXPECT_EQ(reader.json_size(), 5U);
    EXPECT_TRUE(reader.keep_alive());
  }
}

TEST(HttpResponseReader, ReadsChunksInPiecesOfAnySize) {
  const std::string wire =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;name=value\r\nhello\r\nA\r\n, chunked \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n";
  for (std::size_t piece = 1; piece <= wire.size(); ++piece) {
    HttpResponseReader reader;
    ASSERT_EQ(Feed(reader, wire, piece), State::kDone) << piece;
    EXPECT_EQ(reader.body(), "hello, chunked world");
  }
}

TEST(HttpResponseReader, ReadsUntilTheEndWithoutALength) {
  HttpResponseReader reader;
  ASSERT_EQ(Feed(reader, "HTTP/1.0 503 Busy\r\n\r\ntry later", 7), State::kMore);
  EXPECT_EQ(reader.End(), State::kDone);
  EXPECT_EQ(reader.status(), 503);
  EXPECT_EQ(reader.body(), "try later");
  EXPECT_FALSE(reader.keep_alive());
}

TEST(HttpResponseReader, ReadsOneResponseAfterAnother) {
  HttpResponseReader reader;
  ASSERT_EQ(Feed(reader, "HTTP/1.1 504 Late\r\nContent-Length: 3\r\n\r\nabc", 100), State::kDone);
  reader.Reset();
  EXPECT_FALSE(reader.started());
  const std::string large(500000, 'x');
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n";
  ASSERT_EQ(Feed(reader, head + large, 30000), State::kDone);
  EXPECT_EQ(reader.body(), large);
  EXPECT_EQ(reader.json_size(), std::nullopt);
  reader.Reset();
  ASSERT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 100), State::kDone);
  EXPECT_EQ(reader.body(), "");
}

TEST(HttpResponseReader, NeverAsksForMoreThanTheResponse) {
  HttpResponseReader reader;
  ASSERT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\nabc", 100), State::kMore);
  EXPECT_EQ(reader.Space().size(), 29997U);
}

TEST(HttpResponseReader, ConnectionHeaderDecidesAboutReuse) {
  const auto keeps = [](std::string_view version, std::string_view connection) {
    HttpResponseReader reader;
    const std::string wire = std::string(version) +
                             " 200 OK\r\nConnection: " + std::string(connection) +
                             "\r\nContent-Length: 0\r\n\r\n";
    EXPECT_EQ(Feed(reader, wire, 1000), State::kDone);
    return reader.keep_alive();
  };
  EXPECT_FALSE(keeps("HTTP/1.1", "close"));
  EXPECT_FALSE(keeps("HTTP/1.1", "foo, Close"));
  EXPECT_TRUE(keeps("HTTP/1.1", "keep-alive"));
  EXPECT_FALSE(keeps("HTTP/1.0", "foo"));
  EXPECT_TRUE(keeps("HTTP/1.0", "Keep-Alive"));
}

TEST(HttpResponseReader, SkipsInterimResponses) {
  HttpResponseReader reader;
  const std::string wire =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  ASSERT_EQ(Feed(reader, wire, 3), State::kDone);
  EXPECT_EQ(reader.status(), 200);
  EXPECT_EQ(reader.body(), "ok");
}

TEST(HttpResponseReader, AnswersWithoutABodyEndAtTheHead) {
  EXPECT_EQ(Read("HTTP/1.1 204 No Content\r\n\r\n"), State::kDone);
  EXPECT_EQ(Read("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), State::kDone);
}

TEST(HttpResponseReader, RefusesWhatIsMalformedOrAmbiguous) {
  const std::string head = "HTTP/1.1 200 OK\r\n";
  for (const std::string& wire : {
           std::string("SSH-2.0-OpenSSH\r\n\r\n"),
           std::string("HTTP/2 200\r\n\r\n"),
           std::string("HTTP/1.1 2OO OK\r\n\r\n"),
           std::string("HTTP/1.1 99 Low\r\n\r\n"),
           std::string("HTTP/1.1 2000 Long\r\n\r\n"),
           std::string("HTTP/1.1 101 Switching\r\n\r\n"),
           head + "no colon\r\n\r\n",
           head + ": no name\r\n\r\n",
           head + "Folded: a\r\n b: c\r\n\r\n",
           head + "Content-Length: 5x\r\n\r\nhello",
           head + "Content-Length: -5\r\n\r\nhello",
           head + "Content-Length: 99999999999999999999\r\n\r\n",
           head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
           head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
           head + "Transfer-Encoding: gzip\r\n\r\n",
           head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
           head + "Inference-Header-Content-Length: x\r\nContent-Length: 0\r\n\r\n",
           head + "Content-Length: 2\r\n\r\nok and more",
           head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
           head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n",
           head + "Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
           head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
           head + "Transfer-Encoding: chunked\r\n\r\n5;" + std::string(300, 'x'),
           head + "Filler: " + std::string(70000, 'x'),
       }) {
    HttpResponseReader reader;
    EXPECT_EQ(Feed(reader, wire, 1 << 20), State::kBad) << wire.substr(0, 80);
    EXPECT_NE(reader.error(), "");
  }
}

TEST(HttpResponseReader, TheEndBeforeTheResponseIsBad) {
  HttpResponseReader reader;
  EXPECT_EQ(reader.End(), State::kBad);
  EXPECT_EQ(reader.error(), "connection closed without a response");
  reader.Reset();
  EXPECT_EQ(Feed(reader, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 100), State::kMore);
  EXPECT_EQ(reader.End(), State::kBad);
  EXPECT_EQ(reader.error(), "response cut off");
}

}  // namespace
}  // namespace duly
