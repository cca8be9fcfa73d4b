// SPDX-License-Identifier: Apache-2.0
#include "cli/load.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/fault.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/json_output.h"
#include "cli/load_client.h"
#include "cli/load_report.h"
#include "cli/load_server.h"
#include "cli/load_target.h"
#include "cli/run_flags.h"
#include "cli/status_line.h"
#include "cli/stop_signals.h"
#include "workload/mix.h"
#include "workload/schedule.h"

namespace duly {
namespace {

constexpr Duration kConnectTimeout = std::chrono::seconds(5);

// As given by flags or variables; what is unset was not given.
struct LoadFlags {
  std::string mix_file;
  std::optional<std::string> url;
  std::optional<std::string> model;
  std::optional<std::string> application;
  std::optional<double> rate_per_s;
  std::optional<Duration> slo;
  std::optional<Duration> timeout;
  std::optional<double> min_accuracy_pct;
  std::optional<std::string> arrivals;
  std::optional<std::uint32_t> rows;
  std::optional<std::string> inputs_file;
  std::optional<Duration> duration;
  std::optional<Duration> warmup;
  std::optional<double> load_factor;
  std::optional<std::uint64_t> seed;
  Duration grace = std::chrono::seconds(10);
  std::uint32_t threads = 1;
  std::uint32_t max_connections = 1024;
  std::string token_file;
  std::string tls_ca_file;
  bool anonymous = false;
  bool plain = false;
  RunFlags run;
  std::string csv_file;
};

// The same, complete.
struct Plan {
  std::string url;
  LoadAccess access;
  Duration duration{0};
  LoadRunFacts facts;
  Dialect dialect = Dialect::kDuly;
  std::vector<workload::ApplicationLoad> applications;
  std::vector<RunBound> bounds;
};

// The one application that flags describe.
workload::ApplicationLoad ApplicationOf(const LoadFlags& flags, Faults& faults) {
  workload::ApplicationLoad load;
  load.spec.model = *flags.model;
  load.spec.name = flags.application.value_or(*flags.model);
  load.spec.slo = flags.slo;
  load.spec.timeout = flags.timeout;
  load.spec.min_accuracy_pct = flags.min_accuracy_pct;
  load.rows = flags.rows.value_or(1);
  load.inputs_file = flags.inputs_file.value_or("");
  const Place place{"--arrivals", 0, 0};
  const auto arrivals =
      workload::ReadArrivalWord(flags.arrivals.value_or("poisson"), place, faults);
  load.arrivals = arrivals.value_or(workload::ArrivalSpec{});
  if (flags.rate_per_s) {
    load.spec.rate_per_s = *flags.rate_per_s;
  } else if (load.arrivals.trace_s != nullptr) {
    load.spec.rate_per_s = workload::MeanRate(*load.arrivals.trace_s);
  } else if (arrivals) {
    faults.Add({"--rate", 0, 0, "missing", "requests per second, such as 100"});
  }
  if (flags.rate_per_s && *flags.rate_per_s <= 0) {
    faults.Add({"--rate", 0, 0, "the rate is 0", "a rate above 0"});
  }
  return load;
}

// The contents of a file that a flag names; empty when there is none.
std::string ReadNamed(const char* flag, const std::string& file, const char* expected,
                      Faults& faults) {
  if (file.empty()) return std::string();
  Result<std::string> text = ReadFile(file);
  if (text && !text->empty()) return *std::move(text);
  faults.Add({file, 0, 0,
              fmt::format("{}: {}", flag, text ? "it is empty" : text.error().message()),
              expected});
  return std::string();
}

LoadAccess ReadAccess(const LoadFlags& flags, Faults& faults) {
  constexpr const char* kToken = "one line with a token";
  LoadAccess access;
  access.tls_ca = ReadNamed("--tls-ca", flags.tls_ca_file, "certificates in PEM", faults);
  access.token = ReadNamed("--token-file", flags.token_file, kToken, faults);
  const bool was_read = !access.token.empty();
  while (access.token.ends_with('\n') || access.token.ends_with('\r')) access.token.pop_back();
  const bool is_token = !access.token.empty() && std::ranges::all_of(access.token, [](char c) {
    return c > ' ' && c < 0x7f;
  });
  if (was_read && !is_token) {
    faults.Add({flags.token_file, 0, 0, "--token-file: it holds something else", kToken});
  }
  return access;
}

// Flag before environment (which the parser has merged into the flags) before file before default.
Plan MakePlan(const LoadFlags& flags, Faults& faults) {
  Plan plan;
  workload::Mix mix;
  if (!flags.mix_file.empty()) {
    mix = workload::ReadMix(flags.mix_file, faults);
    const bool described = flags.model || flags.application || flags.rate_per_s || flags.slo ||
                           flags.timeout || flags.min_accuracy_pct || flags.arrivals ||
                           flags.rows || flags.inputs_file;
    if (described) {
      faults.Add({"", 0, 0, "both a mix file and flags of a single application",
                  "--model and its companions without a file"});
    }
    plan.applications = std::move(mix.applications);
  } else if (flags.model) {
    plan.applications.push_back(ApplicationOf(flags, faults));
  } else {
    faults.Add({"", 0, 0, "nothing to send", "a mix file, or --model and --rate"});
  }

  const auto first = [](const auto& flag, const auto& file, auto fallback) {
    return flag ? *flag : file.value_or(fallback);
  };
  plan.url = first(flags.url, mix.url, std::string("http://127.0.0.1:8000"));
  plan.duration = first(flags.duration, mix.duration, Duration(std::chrono::seconds(10)));
  plan.facts.url = plan.url;
  plan.access = ReadAccess(flags, faults);
  plan.facts.warmup = first(flags.warmup, mix.warmup, Duration(std::chrono::seconds(1)));
  plan.facts.seed = first(flags.seed, mix.seed, std::uint64_t{1});
  plan.facts.load_factor = first(flags.load_factor, mix.load_factor, 1.0);
  plan.facts.threads = flags.threads;
  plan.dialect = flags.plain       ? Dialect::kStandard
                 : flags.anonymous ? Dialect::kAnonymous
                                   : Dialect::kDuly;
  // A single application has no name that a server knows, unless one is given.
  if (plan.dialect == Dialect::kDuly && flags.mix_file.empty() && !flags.application) {
    plan.dialect = Dialect::kAnonymous;
  }

  ReadLabels(flags.run, plan.facts, faults);
  std::vector<std::string> names;
  for (const workload::ApplicationLoad& load : plan.applications) names.push_back(load.spec.name);
  plan.bounds = ReadBounds(flags.run, names, faults);
  constexpr Duration kLongest = std::chrono::hours(24 * 365);
  if (plan.duration > kLongest || plan.facts.warmup > kLongest || flags.grace > kLongest) {
    faults.Add({"", 0, 0, "the run is too long", "at most a year"});
  }
  return plan;
}

// Each connection needs a descriptor; the soft limit is often 1024.
void AllowDescriptors(std::uint32_t connections) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, connections + rlim_t{64});
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string ProgressLine(const LoadProgress& progress, Duration end) {
  std::string line = fmt::format("{:.0f} of {:.0f} s: sent {}", ToSeconds(progress.elapsed),
                                 ToSeconds(end), progress.sent);
  for (const Outcome outcome : kAllOutcomes) {
    const std::uint64_t count = progress.outcomes[static_cast<std::size_t>(outcome)];
    if (count > 0) line += fmt::format(", {} {}", ToString(outcome), count);
  }
  return line;
}

// Waits for the end of the run, showing how far it is and passing signals on.
void Watch(LoadClient& client, const StopSignals& signals, Duration end) {
  StatusLine status;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(status.next() - StatusLine::Clock::now());
    pollfd fds[] = {{client.ended_fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    const int timeout_ms = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
    const int ready = ::poll(fds, 2, timeout_ms);
    if (signals.Take()) client.Stop();
    if (ready > 0 && (fds[0].revents & POLLIN) != 0) break;
    status.Update([&] { return ProgressLine(client.progress(), end); });
  }
}

bool WriteResults(const LoadFlags& flags, const LoadReport& report,
                  const std::vector<workload::Arrival>& schedule, const LoadRun& run) {
  // A document on stdout stands alone there.
  const bool alone = flags.run.json_file == "-" || flags.csv_file == "-";
  (alone ? std::cerr : std::cout) << ToTable(report, alone ? Colour::kNone : ColourOfStdout())
                                  << std::flush;
  Status json;
  if (!flags.run.json_file.empty())
    json = WriteJson(flags.run.json_file, ToJson(report), std::cout);
  if (!json.ok()) fmt::print(stderr, "{}\n", json.message());
  std::ofstream file;
  if (!flags.csv_file.empty() && flags.csv_file != "-") {
    file.open(flags.csv_file, std::ios::binary);
  }
  std::ostream& csv = flags.csv_file == "-" ? std::cout : file;
  if (!flags.csv_file.empty()) WriteCsv(csv, report, schedule, run);
  if (!csv.flush()) fmt::print(stderr, "{}: cannot be written\n", flags.csv_file);
  return json.ok() && csv && std::cout.flush();
}

int RunLoad(const LoadFlags& flags) {
  Faults faults;
  const Plan plan = MakePlan(flags, faults);
  if (!faults.empty()) return FailWith(faults.ToStatus());
  const Duration end = plan.facts.warmup + plan.duration;
  const Result<std::vector<workload::Arrival>> schedule =
      workload::MakeSchedule(plan.applications, plan.facts.load_factor, plan.facts.seed, end);
  if (!schedule) return FailWith(schedule.error());

  const Result<std::unique_ptr<LoadServer>> server =
      FindLoadServer(plan.url, plan.access, kConnectTimeout);
  if (!server) return FailWith(server.error());
  const Result<std::vector<LoadTarget>> targets =
      PrepareTargets(**server, plan.applications, plan.dialect, plan.facts.seed);
  if (!targets) return FailWith(targets.error());

  AllowDescriptors(flags.max_connections);
  const StopSignals signals;
  const LoadClient::Options options{server->get(), flags.threads, flags.max_connections, end,
                                    flags.grace};
  Result<std::unique_ptr<LoadClient>> client = LoadClient::Start(options, *targets, *schedule);
  if (!client) return FailWith(client.error());
  Watch(**client, signals, end);
  const LoadRun run = (*client)->Finish();
  const LoadReport report = MakeLoadReport(plan.facts, plan.applications, *schedule, run);

  int exit = WriteResults(flags, report, *schedule, run) ? kExitDone : kExitFailed;
  if (CheckBounds(plan.bounds, report) != kExitDone) exit = kExitFailed;
  const ApplicationReport& total = report.total;
  if (total.sent > 0 && total.count(Outcome::kFailed) + total.unanswered == total.sent) {
    fmt::print(stderr, "no request was served\n");
    exit = kExitFailed;
  }
  return exit;
}

}  // namespace

std::function<int()> AddLoadCommand(CLI::App& parser) {
  auto flags = std::make_shared<LoadFlags>();
  parser.add_option("mix", flags->mix_file, "Applications and their traffic (docs/load.md)")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  parser
      .add_option("--url", flags->url,
                  "Server; grpc:// or grpcs://HOST:PORT for gRPC (http://127.0.0.1:8000)")
      ->type_name("URL");
  parser
      .add_option("--token-file", flags->token_file,
                  "A file with the token that the server asks for")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  parser
      .add_option("--tls-ca", flags->tls_ca_file,
                  "Of grpcs://: who signs its certificate (the system's)")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  parser.add_option("--model", flags->model, "Without a mix: the model of the one application")
      ->type_name("NAME");
  parser.add_option("--application", flags->application, "Its name, if the server knows it")
      ->type_name("NAME");
  AddRate(parser, "--rate", flags->rate_per_s, "Its requests per second, on average");
  AddDuration(parser, "--slo", flags->slo, "Its promise: bounds the answer");
  AddDuration(parser, "--timeout", flags->timeout, "Its patience: bounds the start");
  parser.add_option("--min-accuracy", flags->min_accuracy_pct, "Its accuracy floor, in points")
      ->type_name("PCT")
      ->check([](const std::string& text) {
        double value = -1;
        const bool valid = CLI::detail::lexical_cast(text, value) && value >= 0 && value <= 100;
        return valid ? std::string() : "'" + text + "' is not a number from 0 to 100";
      });
  parser.add_option("--arrivals", flags->arrivals, "poisson (default), constant, onoff, FILE.csv")
      ->type_name("HOW");
  parser.add_option("--batch", flags->rows, "Rows per request (1)")
      ->type_name("N")
      ->check(CLI::Range(std::uint32_t{1}, std::uint32_t{1} << 20, ""));
  parser.add_option("--inputs", flags->inputs_file, "Its inputs, and answers to expect (YAML)")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  AddDuration(parser, "--duration", flags->duration, "Measured time (10s)");
  AddDuration(parser, "--warmup", flags->warmup, "Time before it, not measured (1s)");
  parser.add_option("--load-factor", flags->load_factor, "Multiplies every rate (1)")
      ->type_name("F")
      ->check(CLI::PositiveNumber);
  parser.add_option("--seed", flags->seed, "Of all that is left to chance (1)")->type_name("N");
  auto grace = std::make_shared<std::optional<Duration>>();
  AddDuration(parser, "--grace", *grace, "Wait for answers after the last request (10s)");
  parser.add_option("--threads", flags->threads, "Of the client (1)")
      ->type_name("N")
      ->check(CLI::Range(1U, 256U, ""));
  parser
      .add_option("--max-connections", flags->max_connections,
                  "Of HTTP, all threads together (1024)")
      ->type_name("N")
      ->check(CLI::Range(1U, 1U << 20, ""));
  parser.add_flag("--anonymous", flags->anonymous, "Do not tell the server application names");
  parser.add_flag("--plain", flags->plain, "Standard parameters only, for other servers");
  AddRunFlags(parser, flags->run);
  parser.add_option("--csv", flags->csv_file, "Write a line per request (- = stdout)")
      ->type_name("FILE");
  parser.footer(
      "Example:\n  duly load --model fashion --rate 100 --slo 50ms --duration 5s "
      "--require 'on_time>=99%'");
  return [flags, grace] {
    if (*grace) flags->grace = **grace;
    return RunLoad(*flags);
  };
}

}  // namespace duly
