#include "sim/scenario/syntax.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

namespace io = google::protobuf::io;
using io::Tokenizer;

constexpr int kDeepest = 60;  // blocks within blocks; bounds the recursion below

// Why a text breaks off, and where. Never leaves this file.
struct BrokenSyntax {
  int line, column;
  std::string value, message;
};

// Protobuf's tokeniser over a text, with positions from 1.
class Tokens : io::ErrorCollector {
 public:
  Tokens(std::string_view text, Syntax syntax)
      : stream_(text.data(), static_cast<int>(text.size())), tokenizer_(&stream_, this) {
    if (syntax == Syntax::kText) tokenizer_.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
    tokenizer_.set_allow_f_after_float(syntax == Syntax::kText);
    tokenizer_.set_require_space_after_number(false);
    // JSON was checked before; its "\/" is an escape that the tokeniser does not know.
    report_errors_ = syntax == Syntax::kText;
    next();
  }

  const Tokenizer::Token& current() { return tokenizer_.current(); }
  int line() { return current().line + 1; }
  int column() { return current().column + 1; }
  bool at(std::string_view symbol) {
    return current().type == Tokenizer::TYPE_SYMBOL && current().text == symbol;
  }
  bool at(Tokenizer::TokenType type) { return current().type == type; }
  bool accept(std::string_view symbol) {
    if (!at(symbol)) return false;
    next();
    return true;
  }
  // The current token's text; goes on to the next token.
  std::string take() {
    std::string text = current().text;
    next();
    return text;
  }
  void next() {
    tokenizer_.Next();
    if (error_) throw *error_;
  }
  [[noreturn]] void fail(std::string message) {
    throw BrokenSyntax{line(), column(), at(Tokenizer::TYPE_END) ? "end of file" : current().text,
                       std::move(message)};
  }

 private:
  void AddError(int line, io::ColumnNumber column, const std::string& message) override {
    if (!report_errors_ || error_) return;
    error_ = BrokenSyntax{line + 1, column + 1, "", message};
  }

  io::ArrayInputStream stream_;
  Tokenizer tokenizer_;
  bool report_errors_ = true;
  std::optional<BrokenSyntax> error_;
};

// Protobuf's text format.
class TextReader {
 public:
  explicit TextReader(std::string_view text) : tokens_(text, Syntax::kText) {}

  Node file() {
    Node root;
    root.kind = Node::Kind::kMessage;
    root.line = root.column = 1;
    if (tokens_.at("{")) {
      tokens_.fail(
          "the text begins as JSON does; give the file a name that ends in .json, or write "
          "text format, which has no braces around the whole");
    }
    while (!tokens_.at(Tokenizer::TYPE_END)) root.fields.push_back(field(1));
    return root;
  }

 private:
  Node::Field field(int depth) {
    Node::Field field;
    field.line = tokens_.line();
    field.column = tokens_.column();
    if (tokens_.at("}") || tokens_.at(">")) tokens_.fail("this brace closes no block; remove it");
    if (!tokens_.at(Tokenizer::TYPE_IDENTIFIER)) tokens_.fail("expected the name of a field");
    field.name = tokens_.take();
    const bool colon = tokens_.accept(":");
    const bool block = tokens_.at("{") || tokens_.at("<") || tokens_.at("[");
    if (block || colon) field.value = value(depth);
    const bool bare = !field.value.items.empty() &&
                      field.value.items[0].kind == Node::Kind::kScalar;  // "targets [Q]"
    if (!colon && (!block || bare)) {
      throw BrokenSyntax{field.line, field.column, field.name,
                         "expected ':' or '{' after this name; a unit is not written behind a "
                         "number, it is part of the field's name"};
    }
    if (!tokens_.accept(",")) tokens_.accept(";");
    return field;
  }

  Node value(int depth) {
    if (tokens_.at("{") || tokens_.at("<")) return message(depth);
    if (tokens_.at("[")) return list(depth);
    return scalar();
  }

  Node opened(Node::Kind kind, int depth) {
    if (depth > kDeepest) tokens_.fail("blocks are nested too deep for a scenario");
    Node node;
    node.kind = kind;
    node.line = tokens_.line();
    node.column = tokens_.column();
    return node;
  }

  Node message(int depth) {
    Node node = opened(Node::Kind::kMessage, depth);
    const std::string close = tokens_.take() == "{" ? "}" : ">";
    while (!tokens_.accept(close)) {
      if (tokens_.at(Tokenizer::TYPE_END)) {
        throw BrokenSyntax{node.line, node.column, close == "}" ? "{" : "<",
                           "this block is never closed; add '" + close + "'"};
      }
      node.fields.push_back(field(depth + 1));
    }
    return node;
  }

  Node list(int depth) {
    Node node = opened(Node::Kind::kList, depth);
    tokens_.take();
    if (tokens_.accept("]")) return node;
    do {
      node.items.push_back(value(depth + 1));
    } while (tokens_.accept(","));
    if (!tokens_.accept("]")) tokens_.fail("expected ',' or ']' in the list");
    return node;
  }

  Node scalar() {
    Node node;
    node.line = tokens_.line();
    node.column = tokens_.column();
    if (tokens_.at(Tokenizer::TYPE_STRING)) {
      node.text = tokens_.take();
      while (tokens_.at(Tokenizer::TYPE_STRING)) node.text += " " + tokens_.take();
      return node;
    }
    if (tokens_.accept("-")) node.text = "-";
    const bool number = tokens_.at(Tokenizer::TYPE_INTEGER) || tokens_.at(Tokenizer::TYPE_FLOAT);
    if (!number && !tokens_.at(Tokenizer::TYPE_IDENTIFIER)) tokens_.fail("expected a value");
    const auto [line, end] = std::pair(tokens_.current().line, tokens_.current().end_column);
    node.text += tokens_.take();
    // "28ms", "10%": the unit belongs to the value, which is then no number.
    if (number && (tokens_.at(Tokenizer::TYPE_IDENTIFIER) || tokens_.at("%")) &&
        tokens_.current().line == line && tokens_.current().column == end) {
      node.text += tokens_.take();
    }
    return node;
  }

  Tokens tokens_;
};

// JSON that nlohmann::json has found to be well-formed; read again because it keeps no places.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : tokens_(text, Syntax::kJson) {}

  Node value(int depth = 0) {
    if (depth > kDeepest) tokens_.fail("blocks are nested too deep for a scenario");
    Node node;
    node.line = tokens_.line();
    node.column = tokens_.column();
    if (tokens_.accept("{")) {
      node.kind = Node::Kind::kMessage;
      while (!tokens_.accept("}")) {
        Node::Field field;
        field.line = tokens_.line();
        field.column = tokens_.column();
        field.name = nlohmann::json::parse(tokens_.take()).get<std::string>();
        tokens_.next();  // the colon
        field.value = value(depth + 1);
        node.fields.push_back(std::move(field));
        tokens_.accept(",");
      }
    } else if (tokens_.accept("[")) {
      node.kind = Node::Kind::kList;
      while (!tokens_.accept("]")) {
        node.items.push_back(value(depth + 1));
        tokens_.accept(",");
      }
    } else {
      if (tokens_.accept("-")) node.text = "-";
      node.text += tokens_.take();
    }
    return node;
  }

 private:
  Tokens tokens_;
};

// True where the first line that is no comment begins with a name.
bool looks_like_text_format(std::string_view text) {
  std::string_view start = text;
  while (!start.empty()) {
    start.remove_prefix(std::min(start.find_first_not_of(" \t\r\n"), start.size()));
    if (!start.starts_with('#')) break;
    start.remove_prefix(std::min(start.find('\n'), start.size()));
  }
  const char first = start.empty() ? '{' : start[0];
  return (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
}

// Throws BrokenSyntax where the text is not JSON.
void check_json(std::string_view text) {
  try {
    [[maybe_unused]] const nlohmann::json checked = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const std::size_t end = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
    BrokenSyntax broken{1, 1, "", ""};
    for (const char c : text.substr(0, end)) {
      broken.column = c == '\n' ? 1 : broken.column + 1;
      broken.line += c == '\n';
    }
    const std::string what = error.what();
    const std::size_t reason = what.find(": ");
    broken.message = reason == std::string::npos ? what : what.substr(reason + 2);
    const std::string_view rest = text.substr(end);
    if (looks_like_text_format(text)) {
      broken = {1, 1, "",
                "the text is no JSON but looks like Protobuf's text format; give the file a name "
                "that ends in .textproto, or write JSON"};
    } else if (rest.starts_with('#') || rest.starts_with("//") || rest.starts_with("/*")) {
      broken.message =
          "JSON has no comments; remove it, or write the scenario as .textproto, which has them";
    }
    throw broken;
  } catch (const nlohmann::json::exception& error) {
    throw BrokenSyntax{1, 1, "", error.what()};
  }
}

}  // namespace

std::string Node::shown() const {
  switch (kind) {
    case Kind::kScalar: return text;
    case Kind::kList: return items.empty() ? "[]" : "[...]";
    case Kind::kMessage: return fields.empty() ? "{}" : "{...}";
  }
  return {};
}

std::optional<Node> read_syntax(std::string_view text, const Source& source, Problems& problems) {
  try {
    if (source.syntax == Syntax::kText) return TextReader(text).file();
    check_json(text);
    Node root = JsonReader(text).value();
    if (root.kind == Node::Kind::kMessage) return root;
    throw BrokenSyntax{1, 1, root.shown(), "a scenario is an object in braces"};
  } catch (const BrokenSyntax& broken) {
    problems.add_at(source.location(broken.line, broken.column), "", broken.value, broken.message);
    return std::nullopt;
  }
}

std::optional<ReadFile> read_scenario_file(const std::string& path, const Location& asked_by,
                                           const std::string& field, Problems& problems) {
  const std::string ending = std::filesystem::path(path).extension().string();
  ReadFile file;
  file.source = {ending == ".json" ? Syntax::kJson : Syntax::kText, path};
  if (ending != ".json" && ending != ".textproto") {
    problems.add_at(asked_by, field, in_quotes(path),
                    "the file's name must end in .textproto (Protobuf's text format) or .json");
    return std::nullopt;
  }
  std::ifstream stream(path, std::ios::binary);
  std::error_code ignored;
  if (!stream || std::filesystem::is_directory(path, ignored)) {
    problems.add_at(asked_by, field, in_quotes(path),
                    "there is no such file, or it cannot be read");
    return std::nullopt;
  }
  std::ostringstream text;
  text << stream.rdbuf();
  std::string_view content = text.view();
  // A byte-order mark, which some editors write, says nothing in UTF-8.
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (content.starts_with(kMark)) content.remove_prefix(kMark.size());
  std::optional<Node> root = read_syntax(content, file.source, problems);
  if (!root) return std::nullopt;
  file.root = std::move(*root);
  return file;
}

}  // namespace fedclock::scenario
