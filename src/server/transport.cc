// SPDX-License-Identifier: Apache-2.0
#include "server/transport.h"

#include <array>
#include <boost/asio/error.hpp>

namespace duly {
namespace {

namespace asio = boost::asio;

// What a gathering write takes; the vector behind it stays where it is.
class OutputView {
 public:
  using value_type = asio::const_buffer;
  using const_iterator = const asio::const_buffer*;
  explicit OutputView(std::span<const asio::const_buffer> buffers) : buffers_(buffers) {}
  const_iterator begin() const { return buffers_.data(); }
  const_iterator end() const { return buffers_.data() + buffers_.size(); }

 private:
  std::span<const asio::const_buffer> buffers_;
};

// The contents of a TLS record.
constexpr std::size_t kRecordBytes = std::size_t{16} << 10;

// The bytes of `from` behind the first `skip`, as many as one record holds, in one piece: that of
// `from` where it is large enough, otherwise a copy in `room`.
asio::const_buffer NextRecord(std::span<const asio::const_buffer> from, std::size_t skip,
                              std::span<char> room) {
  while (!from.empty() && skip >= from.front().size()) {
    skip -= from.front().size();
    from = from.subspan(1);
  }
  if (from.empty()) return {};
  const asio::const_buffer first = from.front() + skip;
  if (first.size() >= room.size()) return asio::buffer(first, room.size());
  std::size_t filled = asio::buffer_copy(asio::buffer(room.data(), room.size()), first);
  filled += asio::buffer_copy(asio::buffer(room.data() + filled, room.size() - filled),
                              OutputView(from.subspan(1)));
  return {room.data(), filled};
}

}  // namespace

void Transport::ReadSession(asio::mutable_buffer into, Handler handler) {
  boost::system::error_code error;
  const std::size_t bytes = ReadSome(into, error);
  if (error != asio::error::would_block) {
    asio::post(socket_.get_executor(),
               [handler = std::move(handler), error, bytes] { handler(error, bytes); });
    return;
  }
  AsyncWaitReadable(
      [this, into, handler = std::move(handler)](const boost::system::error_code& stopped) mutable {
        if (stopped) return handler(stopped, 0);
        ReadSession(into, std::move(handler));
      });
}

std::size_t Transport::ReadSome(asio::mutable_buffer into, boost::system::error_code& error) {
  if (!session_) return socket_.read_some(into, error);
  const std::size_t bytes = session_->Read(into, error);
  readable_ =
      session_->wants() == TlsSession::Wants::kRead ? TcpSocket::wait_read : TcpSocket::wait_write;
  return bytes;
}

std::size_t Transport::WriteSome(std::span<const asio::const_buffer> from,
                                 boost::system::error_code& error) {
  if (!session_) return socket_.write_some(OutputView(from), error);
  std::array<char, kRecordBytes> room;
  std::size_t written = 0;
  while (true) {
    const asio::const_buffer record = NextRecord(from, written, room);
    if (record.size() == 0) {
      error.clear();
      return written;
    }
    written += session_->Write(record, error);
    if (!error) continue;
    if (error == asio::error::would_block && written > 0) error.clear();
    return written;
  }
}

bool Transport::HasUnread() {
  boost::system::error_code error;
  const std::size_t waiting = socket_.available(error);
  return !error && (waiting > 0 || (session_ && session_->pending() > 0));
}

void Transport::FinishWriting() {
  if (session_) session_->FinishWriting();
  boost::system::error_code ignored;
  socket_.shutdown(TcpSocket::shutdown_send, ignored);
}

}  // namespace duly
