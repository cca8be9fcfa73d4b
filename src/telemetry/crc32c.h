// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace duly {

// CRC-32C (Castagnoli polynomial; RFC 3720, section 12.1), with the processor's instruction where
// there is one. Continues from `crc`, the result for the bytes before.
std::uint32_t Crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0);

// The same by tables, for every processor.
std::uint32_t Crc32cByTables(std::span<const std::byte> bytes, std::uint32_t crc = 0);

}  // namespace duly
