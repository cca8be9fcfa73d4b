// SPDX-License-Identifier: Apache-2.0
#include "telemetry/event_log.h"

#include <cstring>

#include "telemetry/crc32c.h"

namespace duly {
namespace {

template <typename T>
std::uint8_t* PutNumber(std::uint8_t* out, T value) {
  std::memcpy(out, &value, sizeof(value));
  return out + sizeof(value);
}

}  // namespace

std::string EncodeFileHeader(const EventLogHeader& header) {
  const std::string json = ToJson(header);
  std::string file(kEventLogPreludeBytes, '\0');
  auto* out = reinterpret_cast<std::uint8_t*>(file.data());
  std::memcpy(out, kEventLogMagic.data(), kEventLogMagic.size());
  out = PutNumber(out + kEventLogMagic.size(), kEventLogVersion);
  out = PutNumber(out, static_cast<std::uint32_t>(json.size()));
  std::uint32_t crc =
      Crc32c(std::as_bytes(std::span(file).first(kEventLogPreludeBytes - sizeof(crc))));
  crc = Crc32c(std::as_bytes(std::span(json)), crc);
  PutNumber(out, crc);
  return file + json;
}

std::array<std::byte, kEventLogFrameBytes> BlockFramer::Frame(std::span<const std::byte> payload) {
  std::array<std::byte, kEventLogFrameBytes> frame{};
  auto* out = reinterpret_cast<std::uint8_t*>(frame.data());
  out = PutNumber(out, static_cast<std::uint32_t>(payload.size()));
  out = PutNumber(out, blocks_++);
  out = PutNumber(out, Crc32c(payload));
  PutNumber(out, Crc32c(std::span(frame).first(kEventLogFrameBytes - sizeof(std::uint32_t))));
  return frame;
}

}  // namespace duly
