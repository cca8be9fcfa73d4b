// SPDX-License-Identifier: Apache-2.0
#include "server/http_head.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace duly {
namespace {

TEST(HeadScanner, FindsTheEndWhereverTheBytesAreCut) {
  const HttpLimits limits;
  const std::string head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string text = head + "body\r\n\r\n";
  for (std::size_t cut = 0; cut < head.size(); ++cut) {
    HeadScanner scanner(limits);
    std::optional<HttpFault> fault;
    EXPECT_EQ(scanner.Scan(text.substr(0, cut), fault), 0U);
    EXPECT_EQ(scanner.Scan(text, fault), head.size());
    EXPECT_FALSE(fault.has_value());
  }
}

TEST(HeadScanner, LimitsAreExact) {
  HttpLimits limits;
  limits.line_bytes = 20;
  limits.head_bytes = 50;
  const auto code = [&](const std::string& text) {
    HeadScanner scanner(limits);
    std::optional<HttpFault> fault;
    scanner.Scan(text, fault);
    return fault ? fault->code : 0;
  };
  EXPECT_EQ(code(std::string(20, 'a') + "\r\n"), 0);
  EXPECT_EQ(code(std::string(21, 'a') + "\r\n"), 414);
  EXPECT_EQ(code(std::string(23, 'a')), 414);
  EXPECT_EQ(code("a\r\n" + std::string(20, 'b') + "\r\n"), 0);
  EXPECT_EQ(code("a\r\n" + std::string(21, 'b') + "\r\n"), 431);
  EXPECT_EQ(code(std::string(14, 'a') + "\r\n" + std::string(14, 'b') + "\r\n" +
                 std::string(14, 'c') + "\r\n\r\n"),
            0);
  EXPECT_EQ(code(std::string(14, 'a') + "\r\n" + std::string(14, 'b') + "\r\n" +
                 std::string(15, 'c') + "\r\n\r\n"),
            431);
}

TEST(HeadScanner, FoldedFieldsAreRefused) {
  const HttpLimits limits;
  for (const char* const fold : {" b", "\tb", " "}) {
    HeadScanner scanner(limits);
    std::optional<HttpFault> fault;
    EXPECT_EQ(
        scanner.Scan(fmt::format("GET / HTTP/1.1\r\nAuthorization: a\r\n{}\r\n\r\n", fold), fault),
        0U);
    ASSERT_TRUE(fault.has_value());
    EXPECT_EQ(fault->code, 400);
    EXPECT_EQ(fault->message, "malformed HTTP: a header field goes on in a second line");
  }
}

TEST(ParseHead, ReadsWhatTheServerNeeds) {
  HttpHead head;
  ASSERT_FALSE(
      ParseHead("POST /a%20b?c HTTP/1.1\r\nhost: x\r\ncontent-length:  7 \r\n"
                "INFERENCE-HEADER-CONTENT-LENGTH: 5\r\nexpect: 100-Continue\r\n"
                "Content-Encoding: gzip\r\nAccept-Encoding: br\r\naccept-encoding: deflate\r\n"
                "connection: Close\r\n\r\n",
                head));
  EXPECT_EQ(head.method, HttpMethod::kPost);
  EXPECT_EQ(head.target, "/a%20b?c");
  EXPECT_EQ(head.content_length, 7U);
  EXPECT_EQ(head.json_size, 5U);
  EXPECT_TRUE(head.expects_continue);
  EXPECT_EQ(head.coding, ContentCoding::kGzip);
  EXPECT_EQ(head.accepted.Best(), ContentCoding::kDeflate);
  EXPECT_FALSE(head.keep_alive);
  EXPECT_FALSE(head.chunked);
}

TEST(ParseHead, CodingsOnTopOfEachOtherAreUnknown) {
  const auto coding = [](std::string_view fields) {
    HttpHead head;
    EXPECT_FALSE(ParseHead(fmt::format("POST / HTTP/1.1\r\n{}\r\n", fields), head));
    return head.coding;
  };
  EXPECT_EQ(coding(""), ContentCoding::kIdentity);
  EXPECT_EQ(coding("Content-Encoding: deflate\r\n"), ContentCoding::kDeflate);
  EXPECT_EQ(coding("Content-Encoding: gzip, gzip\r\n"), ContentCoding::kUnknown);
  EXPECT_EQ(coding("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"),
            ContentCoding::kUnknown);
}

TEST(DecodePercent, ReadsBackWhatWasQuoted) {
  EXPECT_EQ(DecodePercent("a%20b%2Fc%c3%bc"), "a b/c\xC3\xBC");
  EXPECT_EQ(DecodePercent(""), "");
  for (const char* bad : {"%", "a%2", "%zz", "%+1", "%-1", "% 1"}) {
    EXPECT_FALSE(DecodePercent(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace duly
