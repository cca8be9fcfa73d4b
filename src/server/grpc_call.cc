// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <tuple>
#include <utility>

#include "server/grpc_connection.h"
#include "server/memory_budget.h"

namespace duly {
namespace {

// Smaller messages do not count against the budget.
constexpr std::size_t kUncountedMessage = 4096;
constexpr std::size_t kAlignment = 64;

// Room for a message that ends at a multiple of kAlignment: so does the tensor at the end of most.
std::optional<std::pair<Buffer, std::span<std::byte>>> AllocateMessage(
    const std::shared_ptr<MemoryBudget>& budget, std::size_t size) {
  const std::size_t begin = (kAlignment - size % kAlignment) % kAlignment;
  try {
    auto room = MemoryBudget::Allocate(budget, begin + size, kUncountedMessage);
    if (!room) return std::nullopt;
    return std::pair(room->first.Slice(begin, size), room->second.subspan(begin, size));
  } catch (const std::bad_alloc&) {
    return std::nullopt;  // a client asked for it: no reason to end the process
  }
}

Status NoMemoryForMessage() {
  return Status(StatusCode::kResourceExhausted, "the server has no memory left for the message");
}

}  // namespace

GrpcCall::GrpcCall(std::shared_ptr<GrpcConnection> connection, GrpcHead head)
    : connection_(std::move(connection)),
      shared_(connection_->shared()),
      head_(std::move(head)),
      last_bytes_(connection_->thread().now()) {}

GrpcCall::~GrpcCall() = default;

std::optional<Duration> GrpcCall::TimeLeft() const {
  if (!head_.deadline) return std::nullopt;
  return std::max<Duration>(Duration(0), *head_.deadline - std::chrono::steady_clock::now());
}

void GrpcCall::Send(GrpcOutput message, TraceHandle trace) {
  if (!is_open()) return;
  const std::size_t size = SizeOf(message);
  Outgoing& out = outgoing_.emplace_back();
  out.prefix = {std::byte{0}, std::byte(size >> 24), std::byte(size >> 16), std::byte(size >> 8),
                std::byte(size)};
  out.size = out.prefix.size() + size;
  out.pieces = std::move(message);
  out.trace = std::move(trace);
  unsent_bytes_ += out.size;
  connection_->CountUnsent(out.size);
  connection_->Resume(*this);
}

void GrpcCall::Finish(const Status& status, Duration retry_after) {
  if (!is_open()) return;
  finished_ = true;
  status_ = status;
  retry_after_ = retry_after;
  head_.permit.reset();
  message_ = Buffer();
  waiting_ = HttpBody();
  connection_->Resume(*this);
}

void GrpcCall::Cancel() {
  if (cancelled_) return;
  if (!finished_) OnCancelled();
  cancelled_ = true;
  head_.permit.reset();
  message_ = Buffer();
  waiting_ = HttpBody();
  outgoing_.clear();
  connection_->CountSent(std::exchange(unsent_bytes_, 0));
}

void GrpcCall::Expire(const Status& status) {
  if (!is_open()) return;
  OnCancelled();
  Finish(status);
}

void GrpcCall::ExpectLater() { connection_->Expect(); }

void GrpcCall::Later(std::function<void()> work) {
  connection_->Post({shared_from_this(), std::move(work), true});
}

void GrpcCall::Soon(std::function<void()> work) {
  connection_->Post({shared_from_this(), std::move(work), false});
}

void GrpcCall::PauseReading(bool pause) {
  paused_ = pause;
  if (!pause && (waiting_.size() > 0 || (input_ended_ && !told_end_))) {
    connection_->Continue(shared_from_this());
  }
}

bool GrpcCall::reads() const {
  return is_open() && !paused_ && !inflating_ && unsent_bytes_ < kMaxUnsentBytes &&
         !connection_->is_full();
}

std::size_t GrpcCall::Receive(std::span<const std::byte> bytes) {
  last_bytes_ = connection_->thread().now();
  if (!is_open()) return bytes.size();
  const std::size_t taken = waiting_.size() == 0 ? Take(bytes) : 0;
  // What is not granted again is bounded by the window.
  if (!is_open() || has_all()) return taken;
  if (taken < bytes.size() && !Keep(bytes.subspan(taken))) {
    Expire(NoMemoryForMessage());
  }
  return taken;
}

bool GrpcCall::Keep(std::span<const std::byte> bytes) {
  const bool has_room =
      waiting_.size() > 0 || waiting_.Start(shared_.options.memory, 0, bytes.size());
  return has_room && waiting_.Append(bytes);
}

void GrpcCall::ContinueReading() {
  if (!is_open()) return;
  const Buffer bytes = waiting_.size() > 0 ? waiting_.Take() : Buffer();
  if (bytes.size() > 0) connection_->Grant(stream_, Receive(bytes.data()));
  if (input_ended_) EndInput();
}

std::size_t GrpcCall::Take(std::span<const std::byte> bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && reads() && !has_all()) {
    const std::span<std::byte> room =
        in_message_ ? unfilled_ : std::span(prefix_).subspan(prefix_size_);
    const std::size_t count = std::min(room.size(), bytes.size() - taken);
    std::memcpy(room.data(), bytes.data() + taken, count);
    taken += count;
    if (in_message_) {
      unfilled_ = unfilled_.subspan(count);
    } else {
      prefix_size_ += count;
      if (prefix_size_ < prefix_.size()) continue;
      if (const Status begun = BeginMessage(); !begun.ok()) {
        Expire(begun);
        return bytes.size();
      }
    }
    if (!unfilled_.empty()) continue;
    in_message_ = false;
    prefix_size_ = 0;
    has_message_ = true;
    Deliver({std::exchange(message_, Buffer()),
             prefix_[0] == std::byte{0} ? GrpcCoding::kIdentity : head_.coding});
    if (!is_open()) return bytes.size();
  }
  return taken;
}

// However small it is: how large it becomes is not known before.
void GrpcCall::Deliver(GrpcInput message) {
  if (message.coding == GrpcCoding::kIdentity) return OnMessage(std::move(message));
  inflating_ = true;
  ExpectLater();
  shared_.inflate_thread.Post([self = shared_from_this(), message = std::move(message)]() mutable {
    message.fault = Decompress(message, self->shared_.options.message_bytes);
    self->Later([call = self.get(), message = std::move(message)] {
      call->inflating_ = false;
      if (call->is_open()) call->OnMessage(message);
      call->ContinueReading();
    });
  });
}

Status GrpcCall::BeginMessage() {
  const auto at = [this](std::size_t i) { return std::to_integer<std::size_t>(prefix_[i]); };
  if (at(0) > 1) {
    return Status(
        StatusCode::kInternal,
        fmt::format("a message begins with {}: expected 0, or 1 when it is compressed", at(0)));
  }
  if (at(0) == 1 && head_.coding == GrpcCoding::kIdentity) {
    return Status(StatusCode::kInternal, "a message is compressed, and grpc-encoding is missing");
  }
  const std::size_t size = at(1) << 24 | at(2) << 16 | at(3) << 8 | at(4);
  const std::size_t most = shared_.options.message_bytes;
  if (size > most) {
    return Status(StatusCode::kResourceExhausted,
                  fmt::format("a message of {} bytes: expected at most {}", size, most));
  }
  auto room = AllocateMessage(shared_.options.memory, size);
  if (!room) return NoMemoryForMessage();
  std::tie(message_, unfilled_) = std::move(*room);
  in_message_ = true;
  return Status();
}

void GrpcCall::EndInput() {
  input_ended_ = true;
  if (!is_open() || inflating_ || waiting_.size() > 0) return;
  if (prefix_size_ > 0) {
    return Expire(Status(StatusCode::kInvalidArgument, "the call ends within a message"));
  }
  if (needs_one_) {
    if (!has_message_) Finish(NoGrpcMessage());
    return;
  }
  if (!std::exchange(told_end_, true)) OnLastMessage();
}

}  // namespace duly
