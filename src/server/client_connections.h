// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "base/mutex.h"

namespace duly {

// Bounds the connections of each client: an IPv4 address, or an IPv6 network of 64 bits, which is
// what one client has. Threading: all methods from any thread.
class ClientConnections : public std::enable_shared_from_this<ClientConnections> {
 public:
  // Held by a connection while it is open.
  using Lease = std::shared_ptr<const void>;

  explicit ClientConnections(std::uint32_t most) : most_(most) {}

  // Nothing when the client has as many as it may.
  std::optional<Lease> Open(const boost::asio::ip::address& peer) {
    const boost::asio::ip::address client = ClientOf(peer);
    const MutexLock lock(mutex_);
    std::uint32_t& open = open_[client];
    if (open >= most_) {
      ++refused_;
      return std::nullopt;
    }
    ++open;
    return Lease(this, [all = shared_from_this(), client](const void*) { all->Close(client); });
  }

  // The same for the other end of a socket; null for no limit, and then an empty lease.
  template <typename Socket>
  static std::optional<Lease> OpenFor(ClientConnections* clients, const Socket& socket) {
    if (clients == nullptr) return Lease();
    boost::system::error_code error;
    const auto peer = socket.remote_endpoint(error);
    if (error) return std::nullopt;
    return clients->Open(peer.address());
  }

  std::uint64_t refused() const {
    const MutexLock lock(mutex_);
    return refused_;
  }

 private:
  static boost::asio::ip::address ClientOf(const boost::asio::ip::address& peer) {
    if (!peer.is_v6() || peer.to_v6().is_v4_mapped()) return peer;
    auto bytes = peer.to_v6().to_bytes();
    std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
    return boost::asio::ip::address_v6(bytes);
  }

  void Close(const boost::asio::ip::address& client) {
    const MutexLock lock(mutex_);
    const auto found = open_.find(client);
    if (--found->second == 0) open_.erase(found);
  }

  const std::uint32_t most_;  // of each; at least 1
  mutable Mutex mutex_;
  std::map<boost::asio::ip::address, std::uint32_t> open_ DULY_GUARDED_BY(mutex_);
  std::uint64_t refused_ DULY_GUARDED_BY(mutex_) = 0;
};

}  // namespace duly
