#include "codegen/cuda/warpgroup_printer.h"

#include "codegen/cuda/shared_memory.h"
#include "codegen/cuda/tile_type.h"

namespace lapidary::codegen::cuda {

void WarpgroupPrinter::print(const WarpgroupTask& w) {
  print_tile_type(text_, kernel_, *w.product);
  text_.line("const auto tile_of = [&](i64 number) {{");
  {
    Text::Indent inside(text_);
    print_place(w);
    expressions_.begin({w.product->begin, w.product->end});
    const std::string begin = expressions_.value(w.product->begin), end = expressions_.value(w.product->end);
    const std::string operands = operands_.print(*w.product);
    text_.line("return tile::tile({}, {}, {}{});", operands, begin, end, mapped_.residual ? residual() : "");
  }
  text_.line("}};");
  const std::string accumulator = expressions_.declare(w.accumulator->buffer);
  if (mapped_.residual) {
    text_.line("typedef tile::residual_of<decltype(tile_of(0))> residuals;");
    text_.line("static_assert(tile::slots_of_residual<decltype(tile_of(0))>::slots == {}, \"slots of the residual\");",
               mapped_.residual->slots);
  }
  if (mapped_.results) {
    const std::string_view type = memory_type(mapped_.results->store->buffer->element.dtype);
    if (mapped_.results->place)
      text_.line("typedef store_wgmma<tile, {}, {}> stores;", type, mapped_.results->place->map.box.size());
    else
      text_.line("typedef rows_wgmma<tile, {}> stores;", type);
  }
  text_.line(
      "tile::run(shared + {}, task_end - task_begin, tile_of, [&](i64 number, int holder, const tile::results& {}{}) "
      "{{",
      staging_bytes(kernel_, mapped_), accumulator, mapped_.residual ? ", residuals& residual" : "");
  {
    Text::Indent inside(text_);
    print_place(w);
    text_.line("const i64 {} = holder;", expressions_.declare(w.epilogue->var));
    if (mapped_.results)
      print_panels(*mapped_.results);
    else
      for (const loops::Stmt& part : w.epilogue->body) emit_(*part);
  }
  text_.line("}});");
  if (mapped_.results) text_.line("stores::end();");
}

namespace {

// The Let, of the last run of `run` before the end at most.
loops::Stmt let_within(const loops::StmtNode& let, const loops::Expr& end, int run) {
  if (!end) return loops::let(let.var, let.value);
  return loops::let(let.var, loops::min(let.value, loops::sub(end, loops::integer(run))));
}

}  // namespace

void WarpgroupPrinter::print_unguarded(const std::vector<loops::Stmt>& statements) {
  for (const loops::Stmt& statement : statements) {
    if (statement->kind == loops::StmtKind::If || statement->kind == loops::StmtKind::Block)
      print_unguarded(statement->body);
    else
      emit_(*statement);
  }
}

// Where a tile's lies.
std::string WarpgroupPrinter::residual() {
  const MappedOperand& place = mapped_.residual->place;
  std::vector<loops::Expr> corner = {mapped_.results->row};
  corner.insert(corner.end(), place.others.begin(), place.others.end());
  corner.push_back(mapped_.results->column);
  expressions_.begin(corner);
  std::string list;
  for (size_t i = 0; i + 1 < corner.size(); ++i) list += ", " + expressions_.value(corner[i]);
  return fmt::format(", residual(mapped<{}, true>(&map_r{}), {})", memory_type(place.map.dtype), list,
                     expressions_.value(corner.back()));
}

// Results go by way of staging memory, panel by panel. Those beyond the end of the matrix are computed too, of what
// belongs to the last ones, and are not stored: conditions would keep the threads from all the others' latencies.
void WarpgroupPrinter::print_panels(const StagedResults& results) {
  const std::string where = where_panels_go(results);
  text_.line("#pragma unroll");
  text_.line("for (int panel = 0; panel < stores::panels; ++panel) {{");
  {
    Text::Indent inside(text_);
    text_.line("stores::part part = stores::begin(shared, panel);");
    text_.line("#pragma unroll");
    text_.line("for (i64 {0} = panel * stores::each; {0} < (panel + 1) * stores::each; {0} += {1}) {{",
               expressions_.declare(results.loop->var), results.is_by_pairs() ? 2 : 1);
    {
      Text::Indent inside_loop(text_);
      if (mapped_.residual) {
        const std::string pair =
            fmt::format("residual.pair(holder, {})", expressions_.value(loops::variable(results.loop->var)));
        text_.line("const {} loaded = {};", value_type(mapped_.residual->load->type), pair);
        expressions_.give(mapped_.residual->load, "loaded");
      }
      const auto &row = *results.loop->body[0], &column = *results.loop->body[1];
      emit_(*let_within(row, results.row_end, 1));
      emit_(*let_within(column, results.column_end, results.is_by_pairs() ? 2 : 1));
      print_unguarded({results.loop->body.begin() + 2, results.loop->body.end()});
    }
    text_.line("}}");
    text_.line("stores::send(part, {}, holder, panel);", where);
  }
  text_.line("}}");
}

std::string WarpgroupPrinter::where_panels_go(const StagedResults& results) {
  if (results.place) {
    std::vector<loops::Expr> corner = {results.column, results.row};
    corner.insert(corner.end(), results.place->others.begin(), results.place->others.end());
    expressions_.begin(corner);
    std::string list;
    for (const loops::Expr& place : corner) list += (list.empty() ? "" : ", ") + expressions_.value(place);
    text_.line("const tile_corner corner = {{{}}};", list);
    return "&map_c, corner";
  }
  const loops::Expr first =
      loops::add(loops::add(results.base, loops::mul(results.row, results.stride)), results.column);
  const auto left = [](const loops::Expr& end, const loops::Expr& begin) {
    return end ? loops::sub(end, begin) : loops::integer(INT32_MAX);
  };
  const std::vector<loops::Expr> all = {first, results.stride, left(results.row_end, results.row),
                                        left(results.column_end, results.column)};
  expressions_.begin(all);
  const std::string at = expressions_.value(all[0]);
  text_.line("auto* const first = {} + {};", expressions_.declare(results.store->buffer), at);
  std::string list;
  for (size_t i = 1; i < all.size(); ++i) list += ", " + expressions_.value(all[i]);
  return "first" + list;
}

void WarpgroupPrinter::print_place(const WarpgroupTask& w) {
  text_.line("const i64 {} = task_begin + number;", expressions_.declare(w.task->var));
  for (const loops::StmtNode* let : w.lets) emit_(*let);
}

}  // namespace lapidary::codegen::cuda
