// SPDX-License-Identifier: Apache-2.0
//
// Methods of one message and one answer, which the server itself gives.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "server/grpc_connection.h"
#include "server/grpc_message.h"
#include "server/work_thread.h"

namespace duly {

// From a call's message, which may be compressed, to the answer's.
using GrpcAnswer = std::function<Result<GrpcOutput>(GrpcInput&)>;

// Reads the call's message and writes the answer's.
template <typename Answer, typename Request, typename Response>
GrpcAnswer OfMessages(Answer answer, Status (Answer::*)(const Request&, Response&) const,
                      std::size_t limit) {
  return [answer = std::move(answer), limit](GrpcInput& input) -> Result<GrpcOutput> {
    Request request;
    DULY_RETURN_IF_ERROR(ReadMessage(input, limit, request));
    Response response;
    DULY_RETURN_IF_ERROR(answer(request, response));
    return WriteMessage(response);
  };
}

// thread: where it is answered; null: at once.
void AddControlMethod(GrpcShared& shared, std::string path, Scope scope, GrpcAnswer answer,
                      WorkThread* thread = nullptr);

// The same with messages: `answer` is a closure, Status(const Request&, Response&).
template <typename Answer>
void AddMessageMethod(GrpcShared& shared, std::string path, Scope scope, Answer answer,
                      WorkThread* thread = nullptr) {
  AddControlMethod(shared, std::move(path), scope,
                   OfMessages(std::move(answer), &Answer::operator(), shared.options.message_bytes),
                   thread);
}

}  // namespace duly
