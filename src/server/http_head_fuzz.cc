// SPDX-License-Identifier: Apache-2.0
//
// What a client sends on one connection: heads, bodies in both framings, compressed or not. How the
// bytes arrive must not matter: nobody may move the border between two requests by where packets
// end.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "server/content_coding.h"
#include "server/http_body.h"
#include "server/http_head.h"
#include "server/http_inflate.h"
#include "server/http_routes.h"
#include "server/memory_budget.h"

namespace duly {
namespace {

// Small, so that small inputs reach them.
constexpr HttpLimits kLimits{
    .line_bytes = 256, .head_bytes = 1024, .body_bytes = std::size_t{64} << 10};
constexpr std::size_t kMemory = std::size_t{1} << 20;

std::string TextOf(const Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data().data()), buffer.size()};
}

bool IsWithin(std::string_view part, std::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// One request, and what follows it.
struct Message {
  bool complete = false;
  bool fault = false;
  std::uint16_t code = 0;
  HttpHead head;
  std::size_t head_bytes = 0;
  std::size_t bytes = 0;
  std::string body;
};

// The bytes come in pieces of this size.
Message ReadMessage(std::string_view input, std::size_t piece,
                    const std::shared_ptr<MemoryBudget>& budget) {
  Message message;
  std::optional<HttpFault> fault;
  const auto refuse = [&] {
    message.fault = true;
    message.code = fault->code;
    DULY_CHECK(fault->code >= 400 && fault->code < 600 && !fault->message.empty());
    return message;
  };
  HeadScanner scanner(kLimits);
  std::size_t arrived = 0;
  while (!fault && message.head_bytes == 0 && arrived < input.size()) {
    arrived = std::min(arrived + piece, input.size());
    message.head_bytes = scanner.Scan(input.substr(0, arrived), fault);
  }
  if (!fault && message.head_bytes == 0) return message;
  const std::string_view text = input.substr(0, message.head_bytes);
  if (!fault) fault = ParseHead(text, message.head);
  if (fault) return refuse();
  const HttpHead& head = message.head;
  DULY_CHECK(message.head_bytes <= kLimits.head_bytes);
  DULY_CHECK(IsWithin(head.target, text) && IsWithin(head.authorization, text));
  DULY_CHECK(!head.chunked || head.content_length == 0);
  input.remove_prefix(message.head_bytes);

  HttpBody body;
  if (!head.chunked) {
    if (head.content_length > kLimits.body_bytes || head.content_length > input.size()) {
      return message;
    }
    const auto size = static_cast<std::size_t>(head.content_length);
    message.body = input.substr(0, size);
    message.bytes = message.head_bytes + size;
    message.complete = true;
    return message;
  }
  DULY_CHECK(body.Start(budget, static_cast<std::size_t>(head.json_size.value_or(0)), 64));
  ChunkDecoder chunks(kLimits);
  std::size_t consumed = 0;
  arrived = 0;
  while (!fault && !chunks.done() && arrived < input.size()) {
    arrived = std::min(arrived + piece, input.size());
    const std::size_t taken =
        chunks.Decode(input.substr(consumed, arrived - consumed), body, fault);
    DULY_CHECK(taken <= arrived - consumed);
    consumed += taken;
  }
  DULY_CHECK(body.size() <= kLimits.body_bytes);
  if (fault) return refuse();
  message.bytes = message.head_bytes + consumed;
  message.complete = chunks.done();
  message.body = TextOf(body.Take());
  return message;
}

// A body that is accepted is bounded, and what it became comes back from what it is compressed to.
void CheckInflated(const HttpHead& head, std::string_view coded,
                   const std::shared_ptr<MemoryBudget>& budget) {
  const auto json_size = static_cast<std::size_t>(head.json_size.value_or(0));
  HttpBody body;
  const auto fault =
      InflateBody(head.coding, std::as_bytes(std::span(coded)), json_size, kLimits, budget, body);
  DULY_CHECK(body.size() <= kLimits.body_bytes);
  if (fault) {
    DULY_CHECK(fault->code == 400 || fault->code == 413 || fault->code == 503);
    return;
  }
  const Buffer plain = body.Take();
  const std::span<const std::byte> part = plain.data();
  const Buffer again = Compress(head.coding, {&part, 1});
  if (again.size() == 0) return;  // it would be no smaller
  HttpBody back;
  DULY_CHECK(!InflateBody(head.coding, again.data(), json_size, kLimits, budget, back));
  DULY_CHECK(TextOf(back.Take()) == TextOf(plain));
}

void CheckRoute(const HttpHead& head) {
  for (const HttpPort port : {HttpPort::kMain, HttpPort::kMetrics}) {
    const HttpRoute route = FindRoute(head.method, head.target, port);
    DULY_CHECK(route.model.size() <= head.target.size());
    DULY_CHECK(route.segment.size() <= head.target.size());
    DULY_CHECK((route.kind == HttpRoute::Kind::kInfer) <= !route.model.empty());
    DULY_CHECK((route.kind == HttpRoute::Kind::kMethod) == !route.allow.empty());
    ScopeOf(route);
  }
}

void ReadConnection(std::string_view input, std::size_t piece) {
  const auto budget = std::make_shared<MemoryBudget>(kMemory);
  for (int requests = 0; requests < 8 && !input.empty(); ++requests) {
    const Message whole = ReadMessage(input, input.size(), budget);
    const Message pieces = ReadMessage(input, piece, budget);
    DULY_CHECK(whole.fault == pieces.fault);
    DULY_CHECK(whole.complete == pieces.complete);
    if (!whole.complete) return;
    DULY_CHECK(whole.bytes == pieces.bytes && whole.body == pieces.body);
    CheckRoute(whole.head);
    whole.head.accepted.Best();
    const ContentCoding coding = whole.head.coding;
    if (coding == ContentCoding::kGzip || coding == ContentCoding::kDeflate) {
      CheckInflated(whole.head, whole.body, budget);
    }
    if (!whole.head.keep_alive) return;
    input.remove_prefix(whole.bytes);
  }
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // The first byte says in which pieces the others arrive.
  duly::ReadConnection(input.substr(1), 1 + data[0] % 64);
  return 0;
}
