// SPDX-License-Identifier: Apache-2.0
#include "cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/cli.h"

namespace duly {
namespace {

enum class Value : std::uint8_t { kNone, kText, kFile, kFolder };

struct Flag {
  std::string name;  // "--config"
  std::string description;
  std::string type;  // "FILE"
  Value value = Value::kNone;
  bool repeatable = false;
};

struct Child {
  std::string name;
  std::string description;
};

// A parser of the tree.
struct ParserPlace {
  std::string path;  // "" (the program), "/serve", "/models/verify"
  std::vector<Child> children;
  std::vector<Flag> flags;  // those of the parsers above included
  std::optional<Value> argument;
};

// What checks the value is appended to the type's name.
std::string TypeOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

Value ValueOf(const CLI::Option& option) {
  if (option.get_type_size() == 0 || option.get_expected_max() == 0) return Value::kNone;
  const std::string type = TypeOf(option);
  return type == "FILE" ? Value::kFile : type == "DIR" ? Value::kFolder : Value::kText;
}

std::vector<Flag> OwnFlags(const CLI::App& parser) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : parser.get_options([](const CLI::Option*) { return true; })) {
    const Value value = ValueOf(*option);
    const bool repeatable = option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    for (const std::string& name : option->get_lnames()) {
      flags.push_back({"--" + name, option->get_description(), TypeOf(*option), value,
                       repeatable && value != Value::kNone});
    }
  }
  return flags;
}

void Collect(const CLI::App& parser, const std::string& path, const std::vector<Flag>& above,
             std::vector<ParserPlace>& places) {
  ParserPlace place;
  place.path = path;
  place.flags = OwnFlags(parser);
  for (const Flag& flag : above) {
    const bool own = std::any_of(place.flags.begin(), place.flags.end(),
                                 [&flag](const Flag& other) { return other.name == flag.name; });
    // The program's own flag alone prints the version.
    if (!own && flag.name != "--version") place.flags.push_back(flag);
  }
  for (const CLI::Option* option : parser.get_options([](const CLI::Option*) { return true; })) {
    if (!option->get_positional()) continue;
    // Which argument a word is, no script here counts: paths are offered for any of them.
    const Value value = ValueOf(*option);
    if (!place.argument || value != Value::kText) place.argument = value;
  }
  const std::vector<const CLI::App*> children =
      parser.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* child : children) {
    place.children.push_back({child->get_name(), child->get_description()});
  }
  const std::vector<Flag> flags = place.flags;
  places.push_back(std::move(place));
  for (const CLI::App* child : children) {
    Collect(*child, path + "/" + child->get_name(), flags, places);
  }
}

// What a script tells the places by, without the program itself.
std::vector<std::string> Paths(const std::vector<ParserPlace>& places) {
  std::vector<std::string> paths;
  for (const ParserPlace& place : places) {
    if (!place.path.empty()) paths.push_back(place.path);
  }
  return paths;
}

// The case labels "/serve:--config" of all flags with such a value.
std::string BashLabels(const std::vector<ParserPlace>& places, Value value) {
  std::vector<std::string> labels;
  for (const ParserPlace& place : places) {
    for (const Flag& flag : place.flags) {
      if (flag.value == value) labels.push_back(fmt::format("{}:{}", place.path, flag.name));
    }
  }
  return fmt::format("{}", fmt::join(labels, " | "));
}

std::string ToBash(const std::vector<ParserPlace>& places) {
  std::string text = fmt::format(R"(# bash completion for duly, made by `duly completion bash`

_duly() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
  local place='' children='' flags='' paths='' i
  # bash cuts --flag=value at the sign.
  if [[ $current == '=' ]]; then
    current=''
  elif [[ $previous == '=' ]]; then
    previous=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case $place/${{COMP_WORDS[i]}} in
      {}) place+=/${{COMP_WORDS[i]}} ;;
    esac
  done
  COMPREPLY=()
  case $place in
)",
                                 fmt::join(Paths(places), " | "));
  for (const ParserPlace& place : places) {
    std::vector<std::string> children;
    for (const Child& child : place.children) children.push_back(child.name);
    std::vector<std::string> flags;
    for (const Flag& flag : place.flags) flags.push_back(flag.name);
    text += fmt::format("    '{}')\n      children='{}'\n      flags='{}'\n", place.path,
                        fmt::join(children, " "), fmt::join(flags, " "));
    if (place.argument == Value::kFile) text += "      paths=-f\n";
    if (place.argument == Value::kFolder) text += "      paths=-d\n";
    text += "      ;;\n";
  }
  text += "  esac\n  case $place:$previous in\n";
  for (const auto& [value, action] : {std::pair(Value::kFile, "paths=-f children='' flags=''"),
                                      std::pair(Value::kFolder, "paths=-d children='' flags=''"),
                                      std::pair(Value::kText, "return")}) {
    const std::string labels = BashLabels(places, value);
    if (!labels.empty()) text += fmt::format("    {}) {} ;;\n", labels, action);
  }
  text += R"(  esac
  if [[ $current == -* && -n $flags ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
  elif [[ -n $paths ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$paths" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "${children:-$flags}" -- "$current")
  fi
}
complete -F _duly duly
)";
  return text;
}

// `text` with a backslash before each of `special`.
std::string Escape(std::string_view text, std::string_view special) {
  std::string escaped;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// One word of a shell.
std::string Quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string(R"('\'')") : std::string(1, c);
  return quoted + "'";
}

std::string ZshAction(Value value) {
  switch (value) {
    case Value::kFile:
      return "_files";
    case Value::kFolder:
      return "_files -/";
    case Value::kNone:
    case Value::kText:
      break;
  }
  return " ";
}

std::string ToZsh(const std::vector<ParserPlace>& places) {
  std::string text = fmt::format(R"(#compdef duly
# zsh completion for duly, made by `duly completion zsh`

_duly() {{
  local place='' last=1 i
  for ((i = 2; i < CURRENT; ++i)); do
    case $place/${{words[i]}} in
      {}) place+=/${{words[i]}}; last=$i ;;
    esac
  done
  words=("${{words[1]}}" "${{(@)words[last+1,-1]}}")
  ((CURRENT -= last - 1))
  case $place in
)",
                                 fmt::join(Paths(places), " | "));
  for (const ParserPlace& place : places) {
    text += fmt::format("    '{}')\n", place.path);
    if (!place.children.empty()) {
      text += "      local -a children=(\n";
      for (const Child& child : place.children) {
        text +=
            fmt::format("        {}\n", Quote(child.name + ":" + Escape(child.description, "\\")));
      }
      text += "      )\n";
    }
    text += "      _arguments";
    for (const Flag& flag : place.flags) {
      std::string spec = (flag.repeatable ? "*" : "") + flag.name;
      if (flag.value != Value::kNone) spec += "=";
      spec += "[" + Escape(flag.description, "[]:\\") + "]";
      if (flag.value != Value::kNone) {
        spec += fmt::format(":{}:{}", flag.type, ZshAction(flag.value));
      }
      text += fmt::format(" \\\n        {}", Quote(spec));
    }
    if (!place.children.empty()) text += " \\\n        ':command:{_describe command children}'";
    if (place.argument) {
      text += fmt::format(" \\\n        '*:argument:{}'", ZshAction(*place.argument));
    }
    text += "\n      ;;\n";
  }
  text += R"(  esac
}
if [[ ${funcstack[1]} == _duly ]]; then
  _duly "$@"
else
  compdef _duly duly
fi
)";
  return text;
}

std::string ToFish(const std::vector<ParserPlace>& places) {
  std::string text = fmt::format(R"(# fish completion for duly, made by `duly completion fish`

function __duly_at
  set -l place ''
  set -l words (commandline -opc)
  set -e words[1]
  for word in $words
    switch "$place/$word"
      case {}
        set place "$place/$word"
    end
  end
  test "$place" = "$argv[1]"
end

complete -c duly -f
)",
                                 fmt::join(Paths(places), " "));
  for (const ParserPlace& place : places) {
    const std::string begin = fmt::format("complete -c duly -n '__duly_at \"{}\"'", place.path);
    for (const Child& child : place.children) {
      text += fmt::format("{} -a {} -d {}\n", begin, child.name,
                          Quote(Escape(child.description, "\\")));
    }
    for (const Flag& flag : place.flags) {
      std::string value;
      if (flag.value == Value::kText) value = " -x";
      if (flag.value == Value::kFile) value = " -r -F";
      if (flag.value == Value::kFolder) value = " -x -a '(__fish_complete_directories)'";
      text += fmt::format("{} -l {}{} -d {}\n", begin, flag.name.substr(2), value,
                          Quote(Escape(flag.description, "\\")));
    }
    if (place.argument == Value::kFile) text += begin + " -F\n";
    if (place.argument == Value::kFolder) text += begin + " -a '(__fish_complete_directories)'\n";
  }
  return text;
}

}  // namespace

std::function<int()> AddCompletionCommand(CLI::App& parser) {
  parser.require_subcommand(1);
  parser.footer(
      "Example:\n  source <(duly completion bash)\n"
      "  duly completion fish > ~/.config/fish/completions/duly.fish");
  CLI::App* bash = parser.add_subcommand("bash", "The script for bash");
  CLI::App* zsh = parser.add_subcommand("zsh", "The script for zsh");
  parser.add_subcommand("fish", "The script for fish");
  return [&parser, bash, zsh] {
    const CLI::App* program = &parser;
    while (program->get_parent() != nullptr) program = program->get_parent();
    std::vector<ParserPlace> places;
    Collect(*program, "", {}, places);
    std::cout << (bash->parsed()  ? ToBash(places)
                  : zsh->parsed() ? ToZsh(places)
                                  : ToFish(places))
              << std::flush;
    return std::cout ? kExitDone : kExitFailed;
  };
}

}  // namespace duly
