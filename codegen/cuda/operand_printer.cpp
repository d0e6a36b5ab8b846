#include "codegen/cuda/operand_printer.h"

#include <algorithm>

#include "codegen/cuda/operand_form.h"
#include "codegen/cuda/score_form.h"

namespace lapidary::codegen::cuda {

// The body of a function: what `value` needs before it, and its return.
template <class Value>
void OperandPrinter::returned(const std::vector<loops::Expr>& roots, const Value& value) {
  Text::Indent inside(text_);
  expressions_.begin(roots);
  const std::string result = value();
  text_.line("return {};", result);
}

std::string OperandPrinter::print(const loops::StmtNode& statement) {
  if (const loops::ProductNode* p = statement.product.get()) {
    print_mapped_or_moved("a", p->a, p->row, p->k);
    print_mapped_or_moved("b", p->b, p->column, p->k);
    return "a, b";
  }
  const loops::AttendNode& a = *statement.attend;
  print_mapped_or_moved("q", a.q, a.inner, a.query);
  print_mapped_or_moved("k", a.k, a.inner, a.key);
  print_mapped_or_moved("v", a.v, a.column, a.key);
  print_score(a, statement.end);
  return "q, k, v, score";
}

void OperandPrinter::print_mapped_or_moved(const char* name, const loops::ProductOperand& operand,
                                           const loops::Var& line, const loops::Var& k) {
  const std::optional<MappedOperand>& mapped = mapped_.of(name);
  if (!mapped) return print_operand(name, operand, line, k);
  std::vector<loops::Expr> places = {mapped->line};
  places.insert(places.end(), mapped->others.begin(), mapped->others.end());
  std::vector<loops::Expr> roots = places;
  roots.push_back(mapped->k);
  expressions_.begin(roots);
  std::string list;
  for (const loops::Expr& place : places) list += ", " + expressions_.value(place);
  const std::string from =
      loops::value_of(mapped->k) == 0 ? std::string() : fmt::format(".from({})", expressions_.value(mapped->k));
  text_.line("const auto {0} = mapped<{1}, {2}>(&map_{0}{3}){4};", name, memory_type(operand.value->type.dtype),
             operand.along_k, list, from);
}

// Functions of (line, k): where the chunk lies, or what it is.
void OperandPrinter::print_operand(const char* name, const loops::ProductOperand& operand, const loops::Var& line,
                                   const loops::Var& k) {
  const OperandForm form = operand_form(operand, line, k);
  const std::string shape =
      fmt::format("<{}, {}, {}>", memory_type(operand.value->type.dtype), operand.vector, operand.along_k);
  const auto declared = [&](const loops::Var& var) { return "i64 " + expressions_.declare(var); };
  const auto valid = [&] { return form.mask ? expressions_.value(form.mask) : std::string("true"); };
  const auto buffer = [&] { return expressions_.declare(operand.value->buffer); };
  const auto source = fmt::format("source<{}>", memory_type(operand.value->type.dtype));
  switch (form.kind) {
    case OperandForm::Kind::Strided: {
      expressions_.begin({form.base, form.stride, form.lines});
      const std::string base = expressions_.value(form.base), stride = expressions_.value(form.stride),
                        lines = form.lines ? expressions_.value(form.lines) : "0x7fffffff";
      return text_.line("const auto {} = strided{}({} + {}, {}, {});", name, shape, buffer(), base, stride, lines);
    }
    case OperandForm::Kind::Prepared:
      return print_prepared(name, shape, operand, form, line, k);
    case OperandForm::Kind::Tapped:
      return print_tapped(name, shape, operand, form, line, k);
    case OperandForm::Kind::Copied:
      text_.line("const auto {} = copied{}([=]({}, {}) {{", name, shape, declared(line), declared(k));
      returned({operand.value->args[0], form.mask}, [&] {
        const std::string at = expressions_.value(operand.value->args[0]);
        return fmt::format("{}{{{} + {}, {}}}", source, buffer(), at, valid());
      });
      return text_.line("}});");
    case OperandForm::Kind::Converted:
      return print_converted(name, shape, operand, form, line, k);
    case OperandForm::Kind::Computed:
      text_.line("const auto {} = computed{}([=]({}, {}) {{", name, shape, declared(line), declared(k));
      returned({operand.value}, [&] { return expressions_.value(operand.value); });
      return text_.line("}});");
  }
}

void OperandPrinter::print_prepared(const char* name, const std::string& shape, const loops::ProductOperand& operand,
                                    const OperandForm& form, const loops::Var& line, const loops::Var& k) {
  const auto fits = [](const OperandForm::Fact& fact) {
    return fact.value->type.dtype == DType::Bool || (fact.value->lo >= INT32_MIN && fact.value->hi <= INT32_MAX);
  };
  const char* const number = std::ranges::all_of(form.facts, fits) ? "i32" : "i64";
  const std::string_view element = memory_type(operand.value->type.dtype);
  const std::string facts = fmt::format("line_facts<{}, {}, {}>", element, number, form.facts.size());
  text_.line("const auto {}_line = [=](i64 {}) {{", name, expressions_.declare(line));
  std::vector<loops::Expr> roots = {form.of_line};
  for (const OperandForm::Fact& fact : form.facts) roots.push_back(fact.value);
  returned(roots, [&] {
    std::string values;
    for (const OperandForm::Fact& fact : form.facts)
      values += fmt::format("{}{}({})", values.empty() ? "" : ", ", number, expressions_.value(fact.value));
    if (!values.empty()) values = ", {" + values + "}";
    return fmt::format("{}{{{} + {}{}}}", facts, expressions_.declare(operand.value->buffer),
                       expressions_.value(form.of_line), values);
  });
  text_.line("}};");
  text_.line("const auto {0} = prepared{1}({0}_line, [=]({2} known, i64, i64 {3}) {{", name, shape, facts,
             expressions_.declare(k));
  for (size_t i = 0; i < form.facts.size(); ++i) {
    Text::Indent inside(text_);
    text_.line("const {} {} = known.facts[{}];", value_type(form.facts[i].value->type),
               expressions_.declare(form.facts[i].var), i);
  }
  returned({form.of_k, form.mask}, [&] {
    const std::string at = expressions_.value(form.of_k);
    return fmt::format("source<{}>{{known.at + {}, {}}}", element, at,
                       form.mask ? expressions_.value(form.mask) : std::string("true"));
  });
  text_.line("}});");
}

void OperandPrinter::print_tapped(const char* name, const std::string& shape, const loops::ProductOperand& operand,
                                  const OperandForm& form, const loops::Var& line, const loops::Var& k) {
  const std::string_view element = memory_type(operand.value->type.dtype);
  const int bits = form.bits_of_window();
  const auto each_window = [&](const auto& text) {
    std::string all;
    for (size_t i = 0; i < form.windows.size(); ++i)
      all += (i ? " | " : "") + text(form.windows[i], static_cast<int>(i) * bits);
    return all;
  };
  text_.line("const auto {}_line = [=](i64 {}) {{", name, expressions_.declare(line));
  std::vector<loops::Expr> of_line = {form.of_line, form.mask}, of_k = {form.of_k};
  for (const OperandForm::Window& window : form.windows) {
    of_line.push_back(window.start);
    of_line.push_back(window.end);
    of_k.push_back(window.tap);
  }
  returned(of_line, [&] {
    const std::string at = expressions_.value(form.of_line);
    std::string outside = each_window([&](const OperandForm::Window& window, int first) {
      return fmt::format("taps_outside<{}, {}>({}, {})", first, bits, expressions_.value(window.start),
                         expressions_.value(window.end));
    });
    if (form.mask) outside = fmt::format("{} ? {} : ~0u", expressions_.value(form.mask), outside);
    return fmt::format("line_taps<{}>{{opaque_global({} + {}), {}}}", element,
                       expressions_.declare(operand.value->buffer), at, outside);
  });
  text_.line("}};");
  text_.line("const auto {0} = prepared{1}({0}_line, [=](const line_taps<{2}>& known, i64, i64 {3}) {{", name, shape,
             element, expressions_.declare(k));
  returned(of_k, [&] {
    const std::string at = expressions_.value(form.of_k);
    const std::string taps = each_window([&](const OperandForm::Window& window, int first) {
      return fmt::format("tap<{}>({})", first, expressions_.value(window.tap));
    });
    return fmt::format("source<{}>{{known.at + {}, (known.outside & ({})) == 0}}", element, at, taps);
  });
  text_.line("}});");
}

void OperandPrinter::print_converted(const char* name, const std::string& shape, const loops::ProductOperand& operand,
                                     const OperandForm& form, const loops::Var& line, const loops::Var& k) {
  // Functions begin with the number of their chunk.
  const auto open = [&](const std::string& before, const std::string& given) {
    const std::string of_line = expressions_.declare(line), of_k = expressions_.declare(k);
    text_.line("{}[=]({}i64 {}, i64 {}) {{", before, given, of_line, of_k);
    Text::Indent inside(text_);
    text_.line("const i64 {} = i64(u64({}) / {});", expressions_.declare(form.chunk), operand.along_k ? of_k : of_line,
               operand.vector);
  };
  const auto list = [&](size_t count, const auto& text) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += (i ? ", " : "") + text(i);
    return all;
  };
  std::string fields;
  std::vector<loops::Expr> loads;
  for (const OperandForm::Loaded& load : form.loads) {
    fields += fmt::format(" {} x{};", value_type(load.value->type), loads.size());
    loads.push_back(load.value);
  }
  text_.line("struct {}_loaded {{{} }};", name, fields);
  open(fmt::format("const auto {} = converted{}(", name, shape), "");
  returned(loads, [&] {
    return fmt::format("{}_loaded{{{}}}", name,
                       list(loads.size(), [&](size_t i) { return expressions_.value(loads[i]); }));
  });
  open("}, ", fmt::format("const {}_loaded& loaded, ", name));
  for (size_t i = 0; i < form.loads.size(); ++i) {
    Text::Indent inside(text_);
    text_.line("const {} {} = loaded.x{};", value_type(form.loads[i].value->type),
               expressions_.declare(form.loads[i].var), i);
  }
  returned(form.elements, [&] {
    return fmt::format("vec<{}, {}>{{{{{}}}}}", memory_type(operand.value->type.dtype), operand.vector,
                       list(form.elements.size(), [&](size_t i) { return expressions_.value(form.elements[i]); }));
  });
  text_.line("}});");
}

void OperandPrinter::print_score(const loops::AttendNode& a, const loops::Expr& end) {
  const ScoreForm form = score_form(a, end);
  const bool causal = form.kind == ScoreForm::Kind::Causal;
  if (form.kind != ScoreForm::Kind::Any) {
    expressions_.begin({form.beyond, form.base, form.stride, form.rows});
    const std::string scale = expressions_.value(loops::real(form.scale)),
                      beyond = causal ? expressions_.value(form.beyond) : "0";
    if (!form.bias) return text_.line("const scaled_score<{}> score = {{{}, {}}};", causal, scale, beyond);
    const std::string_view dtype = name_of(form.bias->element.dtype);
    const std::string base = expressions_.value(form.base), stride = expressions_.value(form.stride),
                      rows = form.rows ? expressions_.value(form.rows) : "0x7fffffffffffffff";
    return text_.line("const biased_score<{}_bias, {}, {}, {}> score = {{{}, {}, {} + {}, {}, {}}};", dtype,
                      form.vector, loops::value_of(form.stride) == 0, causal, scale, beyond,
                      expressions_.declare(form.bias), base, stride, rows);
  }
  text_.line("const auto score = any_score([=](i64 {}, i64 {}, f32 {}) {{", expressions_.declare(a.query),
             expressions_.declare(a.key), expressions_.declare(a.score));
  returned({a.scored}, [&] { return expressions_.value(a.scored); });
  text_.line("}});");
}

}  // namespace lapidary::codegen::cuda
