// SPDX-License-Identifier: MIT
#include "monitor/qmp_schema.h"

#include <algorithm>
#include <map>

#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

struct Type {
  enum Kind : u8 { value, list, words, object } kind = value;
  std::string name;  // of a value
  std::vector<std::string> options;
  struct Member {
    std::string name;
    bool optional;
    std::vector<Type> type;  // one
  };
  std::vector<Member> members;
  bool open = false;        // other members may be there
  std::vector<Type> items;  // of a list: one
};

// The tables are the program's own: they are well-formed.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Type type() {
    Type type;
    if (take('[')) {
      type.kind = Type::list;
      type.items.push_back(this->type());
      take(']');
    } else if (take('<')) {
      type.kind = Type::words;
      const usize end = text_.find('>');
      type.options = split(text_.substr(0, end), '|');
      text_.remove_prefix(end + 1);
    } else if (take('{')) {
      type = members();
      take('}');
    } else {
      type.name = word();
    }
    return type;
  }

  Type members() {
    Type type;
    type.kind = Type::object;
    while (!text_.empty() && text_[0] != '}') {
      if (text_.starts_with("...")) {
        type.open = true;
        text_.remove_prefix(3);
        continue;
      }
      const bool optional = take('*');
      std::string name = word();
      take(':');
      std::vector<Type> inner;
      inner.push_back(this->type());
      type.members.push_back({std::move(name), optional, std::move(inner)});
      take(',');
    }
    return type;
  }

 private:
  bool take(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string word() {
    const usize end = std::min(text_.find_first_of(",:]}>"), text_.size());
    std::string word(text_.substr(0, end));
    text_.remove_prefix(end);
    return word;
  }
  std::string_view text_;
};

const char* expected_name(const Type& type) {
  if (type.kind == Type::list) return "array";
  if (type.kind == Type::object) return "object";
  if (type.kind == Type::words || type.name == "str") return "string";
  if (type.name == "bool") return "boolean";
  return type.name == "int" ? "integer" : "number";
}

bool fits(const config::Json& value, const Type& type) {
  if (type.kind == Type::list) return value.is_array();
  if (type.kind == Type::object) return value.is_object();
  if (type.kind == Type::words || type.name == "str") return value.is_string();
  if (type.name == "bool") return value.is_boolean();
  if (type.name == "int") return value.is_number_integer();
  if (type.name == "number") return value.is_number();
  return true;
}

Result<void> check(const config::Json& value, const Type& type, const std::string& path) {
  if (!fits(value, type)) return Error("Invalid parameter type for '{}', expected: {}", path, expected_name(type));
  if (type.kind == Type::words) {
    const std::string& word = value.get_ref<const std::string&>();
    if (std::find(type.options.begin(), type.options.end(), word) == type.options.end())
      return Error("Parameter '{}' does not accept value '{}'{}", path, word, did_you_mean(word, type.options));
  }
  if (type.kind == Type::list)
    for (usize i = 0; i < value.size(); ++i) RHEA_TRY(check(value[i], type.items[0], fmt::format("{}[{}]", path, i)));
  if (type.kind != Type::object) return {};
  const std::string before = path.empty() ? path : path + ".";
  for (const Type::Member& member : type.members) {
    if (value.contains(member.name)) RHEA_TRY(check(value[member.name], member.type[0], before + member.name));
    else if (!member.optional) return Error("Parameter '{}{}' is missing", before, member.name);
  }
  for (auto item = value.begin(); item != value.end() && !type.open; ++item) {
    std::vector<std::string> names;
    for (const Type::Member& member : type.members) names.push_back(member.name);
    if (std::find(names.begin(), names.end(), item.key()) == names.end())
      return Error("Parameter '{}{}' is unexpected", before, item.key());
  }
  return {};
}

// Types become entries of the schema, numbered; equal ones are one.
class Schema {
 public:
  config::Json entries = config::Json::array();

  std::string name_of(const Type& type) {
    if (type.kind == Type::value) return builtin(type.name);
    if (type.kind == Type::list) {
      const std::string item = name_of(type.items[0]);
      const std::string name = "[" + item + "]";
      if (known_.emplace(name, name).second)
        entries.push_back({{"name", name}, {"element-type", item}, {"meta-type", "array"}});
      return name;
    }
    if (type.kind == Type::words) return numbered(words(type));
    config::Json members = config::Json::array();
    for (const Type::Member& member : type.members) {
      config::Json row = {{"name", member.name}};
      if (member.optional) row["default"] = nullptr;
      row["type"] = name_of(member.type[0]);
      members.push_back(std::move(row));
    }
    return numbered({{"members", members}, {"meta-type", "object"}});
  }

 private:
  static config::Json words(const Type& type) {
    config::Json members = config::Json::array(), values = config::Json::array();
    for (const std::string& option : type.options) {
      members.push_back({{"name", option}});
      values.push_back(option);
    }
    return {{"members", members}, {"meta-type", "enum"}, {"values", values}};
  }

  std::string builtin(const std::string& name) {
    if (known_.emplace(name, name).second) {
      if (name == "any") {
        entries.push_back({{"name", "any"}, {"meta-type", "any"}});
      } else {
        const char* json = name == "str" ? "string" : name == "bool" ? "boolean" : name == "int" ? "int" : "number";
        entries.push_back({{"name", name}, {"json-type", json}, {"meta-type", "builtin"}});
      }
    }
    return name;
  }

  std::string numbered(config::Json entry) {
    const std::string key = entry.dump();
    const auto found = known_.find(key);
    if (found != known_.end()) return found->second;
    const std::string name = std::to_string(next_++);
    known_.emplace(key, name);
    config::Json named = {{"name", name}};
    named.update(entry);
    entries.push_back(std::move(named));
    return name;
  }

  std::map<std::string, std::string> known_;
  unsigned next_ = 0;
};

}  // namespace

Result<void> check_arguments(const config::Json& arguments, std::string_view type) {
  return check(arguments, Reader(type).members(), "");
}

config::Json qmp_schema() {
  Schema schema;
  for (const QmpCommand& command : qmp_commands()) {
    const Type arguments = Reader(command.arguments).members();
    const Type returns = Reader(command.returns.empty() ? "{}" : command.returns).type();
    const std::string argument_name = schema.name_of(arguments), return_name = schema.name_of(returns);
    config::Json row = {
        {"name", command.name}, {"ret-type", return_name}, {"meta-type", "command"}, {"arg-type", argument_name}};
    if (command.out_of_band) row["allow-oob"] = true;
    schema.entries.push_back(std::move(row));
  }
  for (const QmpEvent& event : qmp_events()) {
    const std::string data = schema.name_of(Reader(event.data).members());
    schema.entries.push_back({{"name", event.name}, {"meta-type", "event"}, {"arg-type", data}});
  }
  return schema.entries;
}

}  // namespace rhea::monitor
