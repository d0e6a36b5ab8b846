#include "frontend/microsoft_schemas.h"

#include <map>
#include <optional>

#include "frontend/op_table.h"
#include "frontend/schema_check.h"
#include "ir/error.h"

namespace lapidary::frontend {
namespace {

std::string_view trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

// The parts between separators, trimmed; none of an empty text.
std::vector<std::string_view> parts_of(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  if (trimmed(text).empty()) return parts;
  while (true) {
    size_t end = text.find(separator);
    parts.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + separator.size());
  }
}

std::vector<std::string> type_names(std::string_view list, std::string_view separator) {
  std::vector<std::string> names;
  for (std::string_view part : parts_of(list, separator)) {
    std::optional<DType> dtype = parse_dtype(part);
    LPD_CHECK(dtype, "schema: unknown element type '{}'", part);
    names.push_back(schema_name(*dtype));
  }
  return names;
}

// The variable that stands for a type written out: ONNX's schemas have no unions without a name.
std::string variable_of(std::string_view type, std::map<std::string, std::vector<std::string>>& variables) {
  std::string name(type);
  if (!variables.contains(name)) variables[name] = type_names(type, "/");
  return name;
}

struct Formal {
  std::string name, type;
  OpSchema::FormalParameterOption option = OpSchema::Single;
  bool homogeneous = true;
};

Formal parse_formal(std::string_view text, std::map<std::string, std::vector<std::string>>& variables) {
  std::vector<std::string_view> halves = parts_of(text, ":");
  LPD_CHECK(halves.size() == 2, "schema: '{}' is not a name and a type", text);
  Formal formal{std::string(halves[0]), variable_of(halves[1], variables)};
  if (formal.name.back() == '?') formal.option = OpSchema::Optional;
  if (formal.name.back() == '*') formal.option = OpSchema::Variadic;
  if (formal.option != OpSchema::Single) formal.name.pop_back();
  formal.homogeneous = !parse_dtype(parts_of(halves[1], "/")[0]);
  return formal;
}

std::optional<AttributeProto::AttributeType> attribute_type(std::string_view name) {
  constexpr std::pair<std::string_view, AttributeProto::AttributeType> kTypes[] = {
      {"int", AttributeProto::INT},   {"float", AttributeProto::FLOAT},   {"str", AttributeProto::STRING},
      {"ints", AttributeProto::INTS}, {"floats", AttributeProto::FLOATS}, {"strs", AttributeProto::STRINGS}};
  for (const auto& [text, type] : kTypes) {
    if (text == name) return type;
  }
  return std::nullopt;
}

void add_attribute(OpSchema& schema, std::string_view text) {
  std::vector<std::string_view> halves = parts_of(text, "=");
  if (halves.size() == 2) {
    std::string name(halves[0]), value(halves[1]);
    if (value[0] == '"')
      schema.Attr(name, "", AttributeProto::STRING, value.substr(1, value.size() - 2));
    else if (value.find('.') != std::string::npos)
      schema.Attr(name, "", AttributeProto::FLOAT, std::stof(value));
    else
      schema.Attr(name, "", AttributeProto::INT, static_cast<int64_t>(std::stoll(value)));
    return;
  }
  halves = parts_of(text, ":");
  std::optional<AttributeProto::AttributeType> type = halves.size() == 2 ? attribute_type(halves[1]) : std::nullopt;
  LPD_CHECK(type, "schema: attribute '{}'", text);
  std::string name(halves[0]);
  bool required = name.back() != '?';
  if (!required) name.pop_back();
  schema.Attr(name, "", *type, required);
}

using Schemas = std::map<std::string_view, OpSchema>;

const Schemas& schemas() {
  static const Schemas all = [] {
    Schemas schemas;
    for (const OpEntry* entry : microsoft_operators())
      schemas.emplace(entry->name, parse_schema(entry->name, entry->schema));
    return schemas;
  }();
  return all;
}

}  // namespace

OpSchema parse_schema(std::string_view name, std::string_view text) {
  std::vector<std::string_view> sections = parts_of(text, "|");
  LPD_CHECK(!sections.empty() && sections.size() <= 3, "schema of {}: '{}'", name, text);
  sections.resize(3);
  OpSchema schema{std::string(name), "", 0};
  schema.SetDomain(std::string(kMicrosoft)).SinceVersion(1);
  std::map<std::string, std::vector<std::string>> variables;
  for (std::string_view part : parts_of(sections[2], ",")) {
    std::vector<std::string_view> halves = parts_of(part, "=");
    LPD_CHECK(halves.size() == 2, "schema of {}: '{}'", name, part);
    variables[std::string(halves[0])] = type_names(halves[1], " ");
  }
  std::vector<std::string_view> sides = parts_of(sections[0], "->");
  LPD_CHECK(sides.size() == 2, "schema of {}: '{}'", name, sections[0]);
  int count = 0;
  for (std::string_view part : parts_of(sides[0], ",")) {
    Formal formal = parse_formal(part, variables);
    schema.Input(count++, formal.name, "", formal.type, formal.option, formal.homogeneous);
  }
  count = 0;
  for (std::string_view part : parts_of(sides[1], ",")) {
    Formal formal = parse_formal(part, variables);
    schema.Output(count++, formal.name, "", formal.type, formal.option, formal.homogeneous);
  }
  for (const auto& [variable, types] : variables) schema.TypeConstraint(variable, types, "");
  for (std::string_view part : parts_of(sections[1], ",")) add_attribute(schema, part);
  schema.Finalize();
  return schema;
}

const OpSchema* microsoft_schema(std::string_view name) {
  auto found = schemas().find(name);
  return found == schemas().end() ? nullptr : &found->second;
}

}  // namespace lapidary::frontend
