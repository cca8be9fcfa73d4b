// SPDX-License-Identifier: Apache-2.0
//
// The file format of the event log. record_encoder.h makes records, log_reader.h reads the file.
//
//   file     = prelude, header JSON (log_header.h), block...
//   prelude  = "DULYLOG\n", version u32, JSON length u32, CRC u32 of all this and the JSON
//   block    = length u32, index u32 from 0, CRC u32 of the payload, CRC u32 of these 12 bytes;
//              payload of that length: records, whole ones
//   record   = one of the structs in event_log_records.h, by its first byte; a gap record stands
//              for events that were lost, the end record is the last one of a log that was closed
//
// Numbers are little-endian, CRCs are CRC-32C. Events are numbered from 1, in their order. A
// request that is served alone takes 183 bytes: recording may cost at most a hundredth of its
// instructions, so all fields have their full width, and no two that may differ share one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "telemetry/log_header.h"

namespace duly {

inline constexpr std::string_view kEventLogMagic = "DULYLOG\n";
inline constexpr std::uint32_t kEventLogVersion = 4;
inline constexpr std::size_t kEventLogPreludeBytes = 20;
inline constexpr std::size_t kEventLogFrameBytes = 16;

// Prelude and header, the beginning of a log.
std::string EncodeFileHeader(const EventLogHeader& header);

// Frames the blocks of one log, in their order.
class BlockFramer {
 public:
  // What goes before the payload.
  std::array<std::byte, kEventLogFrameBytes> Frame(std::span<const std::byte> payload);

 private:
  std::uint32_t blocks_ = 0;
};

}  // namespace duly
