// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

namespace duly {

// As gRPC hands over what came, cut into slices.
inline grpc::ByteBuffer Received(grpc_compression_algorithm compression, std::string_view text,
                                 std::size_t slice_bytes) {
  std::vector<grpc_slice> slices;
  for (std::size_t at = 0; at < text.size(); at += slice_bytes) {
    const std::string_view piece = text.substr(at, slice_bytes);
    slices.push_back(grpc_slice_from_copied_buffer(piece.data(), piece.size()));
  }
  grpc_byte_buffer* const buffer =
      grpc_raw_compressed_byte_buffer_create(slices.data(), slices.size(), compression);
  for (const grpc_slice& slice : slices) grpc_slice_unref(slice);
  grpc::ByteBuffer bytes;
  std::memcpy(static_cast<void*>(&bytes), &buffer, sizeof(buffer));
  return bytes;
}

}  // namespace duly
