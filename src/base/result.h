// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <tl/expected.hpp>
#include <utility>

#include "base/status.h"

namespace duly {

// A value or the reason why there is none. An alias, so that std::expected can replace it.
template <typename T>
using Result = tl::expected<T, Status>;

// Returns a failure from a function whose result is Result<anything>:
//   return Error(StatusCode::kNotFound, "no model named '{}'", name);
template <typename... Args>
tl::unexpected<Status> Error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Status>(Status(code, fmt::format(format, std::forward<Args>(args)...)));
}
inline tl::unexpected<Status> Error(Status status) {
  return tl::unexpected<Status>(std::move(status));
}

}  // namespace duly

// Leaves the function with the failure of a Status expression.
#define DULY_RETURN_IF_ERROR(expression)                                \
  do {                                                                  \
    if (::duly::Status duly_status = (expression); !duly_status.ok()) { \
      return ::tl::unexpected<::duly::Status>(std::move(duly_status));  \
    }                                                                   \
  } while (false)

#define DULY_CONCAT_INNER(a, b) a##b
#define DULY_CONCAT(a, b) DULY_CONCAT_INNER(a, b)
// DULY_ASSIGN_OR_RETURN(auto x, MakeX()): declares x, or leaves the function with the failure.
#define DULY_ASSIGN_OR_RETURN(declaration, expression) \
  DULY_ASSIGN_OR_RETURN_INNER(DULY_CONCAT(duly_result_, __LINE__), declaration, expression)
#define DULY_ASSIGN_OR_RETURN_INNER(result, declaration, expression)               \
  auto result = (expression);                                                      \
  if (!result) return ::tl::unexpected<::duly::Status>(std::move(result).error()); \
  declaration = std::move(*result)
