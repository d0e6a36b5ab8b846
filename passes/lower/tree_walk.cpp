// Trees walked down node by node. A node is a threshold, a slot (a column of the row) and the index of the node on its
// left, that on its right being the next: a step is three loads and a comparison, without a branch.
//
//   node = left[node] + !(row[slot[node]] <= threshold[node])
//
// A leaf leads to itself: its slot holds -inf, and its threshold is what the leaf says. Slot and left node share an
// integer where they fit into 32 bits, so that a node is 8 bytes: a walk by one row alone is limited by how many cache
// lines it touches. Nodes lie level by level, so the upper ones of a tree share lines.
// One walk waits for its loads, so eight go on in step: of eight rows in one tree or, with few rows, of one row in
// eight trees; those of a group are about equally deep.
#include <algorithm>
#include <bit>
#include <cmath>

#include "passes/lower/register_tile.h"
#include "passes/lower/tree_kernels.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kWalks = 8;
constexpr int kBlockRows = 32;
constexpr int64_t kSegmentBytes = 96 << 10;  // for blocks of rows: a part of the second cache
constexpr int64_t kSegmentSteps = 1024;      // for one row: what waking a thread is worth

struct WalkTables {
  std::vector<double> threshold;     // of a node; of a leaf its number, when it has one
  std::vector<uint32_t> slot, left;  // of a node
  std::vector<int32_t> root, depth;  // of each tree
  std::vector<int32_t> group_depth;  // of each kWalks trees
  std::vector<double> leaf;          // rows of numbers, when leaves have several,
  std::vector<int32_t> leaf_index;   // and which row is a node's
  std::vector<int32_t> first_tree;   // of each segment, and the number of all
};

class WalkTableBuilder {
 public:
  WalkTableBuilder(const Trees& trees, const Slots& slots) : trees_(trees), slots_(slots) {
    pair_.assign(trees.feature.size(), -1);
    pair_tree_.assign(trees.feature.size(), -1);
    if (!trees.one_target) leaf_row(-1);
  }

  WalkTables build(const std::vector<Segment>& segments) {
    for (const Segment& segment : segments) {
      tables_.first_tree.push_back(static_cast<int32_t>(tables_.root.size()));
      for (const TreeShape* tree : segment.trees) add_tree(*tree);
      while (tables_.root.size() % kWalks != 0) {  // a leaf that says nothing
        tables_.root.push_back(add_node());
        tables_.depth.push_back(0);
        set_leaf(tables_.root.back(), -1);
      }
    }
    tables_.first_tree.push_back(static_cast<int32_t>(tables_.root.size()));
    for (size_t i = 0; i < tables_.depth.size(); i += kWalks)
      tables_.group_depth.push_back(*std::max_element(&tables_.depth[i], &tables_.depth[i] + kWalks));
    return std::move(tables_);
  }

 private:
  int32_t add_node() {
    tables_.threshold.push_back(INFINITY);
    tables_.slot.push_back(static_cast<uint32_t>(slots_.count()));
    tables_.left.push_back(0);
    if (!trees_.one_target) tables_.leaf_index.push_back(0);
    return static_cast<int32_t>(tables_.threshold.size() - 1);
  }

  int32_t leaf_row(int64_t leaf) {
    const auto width = static_cast<size_t>(trees_.leaf_width());
    const auto index = static_cast<int32_t>(tables_.leaf.size() / width);
    const std::vector<double> row = leaf < 0 ? std::vector<double>(width, trees_.none()) : trees_.leaf_row(leaf);
    tables_.leaf.insert(tables_.leaf.end(), row.begin(), row.end());
    return index;
  }

  void set_leaf(int32_t node, int64_t leaf) {
    tables_.left[node] = static_cast<uint32_t>(node);
    if (trees_.one_target)
      tables_.threshold[node] = leaf < 0 ? trees_.none() : trees_.leaf_row(leaf)[0];
    else
      tables_.leaf_index[node] = leaf < 0 ? 0 : leaf_row(leaf);
  }

  void add_tree(const TreeShape& tree) {
    std::vector<std::pair<int32_t, int32_t>> level = {{add_node(), tree.root}};
    tables_.root.push_back(level[0].first);
    tables_.depth.push_back(tree.depth);
    for (size_t next = 0; next < level.size(); ++next) {
      const auto [node, source] = level[next];
      if (trees_.is_leaf(source)) {
        set_leaf(node, trees_.leaf_of(source));
        continue;
      }
      tables_.threshold[node] = trees_.threshold[source];
      tables_.slot[node] = static_cast<uint32_t>(slots_.of(trees_, source));
      if (pair_tree_[source] != count_) {  // shared parts are laid out once
        pair_tree_[source] = count_;
        pair_[source] = add_node();
        add_node();
        level.push_back({pair_[source], trees_.left[source]});
        level.push_back({pair_[source] + 1, trees_.right[source]});
      }
      tables_.left[node] = static_cast<uint32_t>(pair_[source]);
    }
    ++count_;
  }

  const Trees& trees_;
  const Slots& slots_;
  WalkTables tables_;
  std::vector<int32_t> pair_, pair_tree_;
  int32_t count_ = 0;
};

class WalkLowering {
 public:
  WalkLowering(const TreeEnsembleForm& form, bool one_row)
      : form_(form),
        trees_(form.trees),
        module_(form.context.module),
        builder_(module_, form.context.target(), "tree_ensemble", one_row ? "walk=trees" : "walk=rows"),
        emit_(builder_, form.group),
        x_(form.op.operand(0)),
        width_(static_cast<int>(trees_.leaf_width())),
        lanes_(std::min(width_, builder_.target.vector_bytes * 8 / bit_width(trees_.dtype))) {
    segments_ = one_row ? segments_of(
                              trees_, kSegmentSteps, [](const TreeShape& tree) { return tree.depth + 1; }, kWalks)
                        : segments_of(trees_, kSegmentBytes, &bytes_of, kWalks);
    const WalkTables tables = WalkTableBuilder(trees_, form.slots).build(segments_);
    threshold_ = builder_.weight(add_table(module_, trees_.dtype, tables.threshold));
    add_links(tables);
    root_ = builder_.weight(add_table(module_, tables.root));
    depth_ = builder_.weight(add_table(module_, one_row ? tables.group_depth : tables.depth));
    if (!trees_.one_target) {
      leaf_ = builder_.weight(add_table(module_, trees_.dtype, tables.leaf));
      leaf_index_ = builder_.weight(add_table(module_, tables.leaf_index));
    }
    first_tree_ = builder_.weight(add_table(module_, tables.first_tree));
    partial_ = builder_.scratch(0, trees_.dtype, true);
  }

  TreeVariant one_row(Dim when) {
    split(builder_.dim(1));
    rows_in_block(1);
    serial(builder_.body, "row", integer(0), builder_.parameter(form_.rows), 1,
           [&](Block& body, Expr row) { walk_row(body, row); });
    return finish(when, builder_.dim(1));
  }

  void walk_row(Block& body, Expr row) {
    stage_row(body, integer(0), row);
    const int sums = trees_.one_target ? kWalks : 1;
    Buffer sum = body.local("sum", {trees_.dtype, static_cast<uint16_t>(lanes_)}, sums * (width_ / lanes_));
    unrolled(body, "i", sum->size, [&](Block& block, Expr i) { block.add(store(sum, i, nothing(trees_, lanes_))); });
    Expr first = load_index(first_tree_, segment_), end = load_index(first_tree_, add(segment_, integer(1)));
    serial(body, "tree", first, end, kWalks, [&](Block& block, Expr tree) {
      Expr depth = block.let("depth", load_index(depth_, floordiv(tree, integer(kWalks))));
      Buffer node = walk(
          block, depth, [&](Expr i) { return add(tree, i); }, [&](Expr) { return integer(0); });
      unrolled(block, "i", kWalks, [&](Block& inner, Expr i) {
        for_leaf(inner, node, i, [&](Block& part, Expr v, Expr number) {
          Expr at = trees_.one_target ? i : v;
          part.add(store(sum, at, combined(trees_, load(sum, at, lanes_), number)));
        });
      });
    });
    std::vector<Expr> totals;
    if (trees_.one_target) {
      for (int i = 0; i < kWalks; ++i) totals.push_back(body.let("sum", load(sum, integer(i), 1)));
      while (totals.size() > 1) {
        for (size_t i = 0; 2 * i < totals.size(); ++i)
          totals[i] = body.let("sum", combined(trees_, totals[2 * i], totals[2 * i + 1]));
        totals.resize(totals.size() / 2);
      }
      body.add(store(partial_, place(row), totals[0]));
    } else {
      unrolled(body, "v", width_ / lanes_, [&](Block& block, Expr v) {
        block.add(store(partial_, add(place(row), mul(v, integer(lanes_))), load(sum, v, lanes_)));
      });
    }
  }

  TreeVariant block_of_rows(Dim when) {
    Dim blocks = module_.dims.ceildiv(form_.rows, builder_.dim(kBlockRows));
    split(blocks);
    Block& body = builder_.body;
    rows_in_block(kBlockRows);
    Expr first_row = body.let("first_row", mul(row_block_, integer(kBlockRows)));
    Expr rows = body.let("rows", min(integer(kBlockRows), sub(builder_.parameter(form_.rows), first_row)));
    Expr groups = body.let("groups", floordiv(add(rows, integer(kWalks - 1)), integer(kWalks)));
    Buffer sum = builder_.stage("sum", trees_.dtype, builder_.dim(int64_t{kBlockRows} * width_));
    serial(body, "i", integer(0), mul(groups, integer(kWalks)), 1, [&](Block& block, Expr i) {
      stage_row(block, i, add(first_row, min(i, sub(rows, integer(1)))));
      unrolled(block, "v", width_ / lanes_, [&](Block& inner, Expr v) {
        inner.add(store(sum, add(mul(i, integer(width_)), mul(v, integer(lanes_))), nothing(trees_, lanes_)));
      });
    });
    Expr first = load_index(first_tree_, segment_), end = load_index(first_tree_, add(segment_, integer(1)));
    serial(body, "tree", first, end, 1, [&](Block& block, Expr tree) {
      Expr depth = block.let("depth", load_index(depth_, tree));
      serial(block, "group", integer(0), groups, 1, [&](Block& inner, Expr group) {
        Expr base = inner.let("base", mul(group, integer(kWalks)));
        Buffer node = walk(
            inner, depth, [&](Expr) { return tree; }, [&](Expr i) { return add(base, i); });
        unrolled(inner, "i", kWalks, [&](Block& each, Expr i) {
          for_leaf(each, node, i, [&](Block& part, Expr v, Expr number) {
            Expr at = add(mul(add(base, i), integer(width_)), mul(v, integer(lanes_)));
            part.add(store(sum, at, combined(trees_, load(sum, at, lanes_), number)));
          });
        });
      });
    });
    serial(body, "i", integer(0), rows, 1, [&](Block& block, Expr i) {
      unrolled(block, "v", width_ / lanes_, [&](Block& inner, Expr v) {
        Expr at = mul(v, integer(lanes_));
        inner.add(
            store(partial_, add(place(add(first_row, i)), at), load(sum, add(mul(i, integer(width_)), at), lanes_)));
      });
    });
    return finish(when, blocks);
  }

 private:
  static int64_t bytes_of(const TreeShape& tree) { return static_cast<int64_t>(2 * tree.splits.size() + 1) * 8; }

  void add_links(const WalkTables& tables) {
    const auto bits = std::bit_width(static_cast<uint64_t>(form_.slots.count()));
    std::vector<uint32_t> links;
    if (std::bit_width(tables.left.size()) + bits <= 32) slot_bits_ = bits;
    for (size_t i = 0; i < tables.left.size(); ++i) {
      if (slot_bits_ > 0)
        links.push_back(tables.left[i] << slot_bits_ | tables.slot[i]);
      else
        links.insert(links.end(), {tables.slot[i], tables.left[i]});
    }
    link_ = builder_.weight(add_table(module_, links));
  }

  void split(Dim blocks) {
    std::vector<Expr> axes = builder_.split_task({builder_.dim(static_cast<int64_t>(segments_.size())), blocks});
    segment_ = axes[0], row_block_ = axes[1];
  }

  // The slots of rows, and behind them one of -inf.
  int64_t stage_width() const { return (form_.slots.count() + 1 + 15) / 16 * 16; }

  void rows_in_block(int64_t rows) {
    stage_ = builder_.stage("x", trees_.dtype, builder_.dim(rows * stage_width()));
    if (!form_.slots.in_order) slot_feature_ = builder_.weight(add_table(module_, form_.slots.features));
  }

  void stage_row(Block& body, Expr at_row, Expr row) {
    const int lanes = builder_.target.vector_bytes * 8 / bit_width(trees_.dtype);
    Expr base = body.let("base", mul(at_row, integer(stage_width())));
    for (bool replaced : {false, true}) {
      const int64_t begin = replaced ? form_.slots.replaced : 0,
                    end = replaced ? form_.slots.count() : form_.slots.replaced;
      if (begin == end) continue;
      serial(body, "slot", integer(0), integer(end - begin), lanes, [&](Block& block, Expr slot) {
        GroupEmitter::Scope scope(emit_, block);
        Expr mask = block.let("mask", first_lanes(sub(integer(end - begin), slot), lanes));
        Expr place = add(slot, integer(begin));
        Coord column = along(slot);
        if (!form_.slots.in_order) column = lanewise(convert(load(slot_feature_, place, lanes, mask), DType::I64));
        Expr value = block.let("x", emit_.value(x_, {{at(row), column}, lanes, mask}));
        if (replaced) value = select(apply(ScalarOp::IsNan, {value}), number(-INFINITY, lanes), value);
        block.add(store(stage_, add(base, place), value, mask));
      });
    }
    body.add(store(stage_, add(base, integer(form_.slots.count())), number(-INFINITY, 1)));
  }

  static Expr whole(uint32_t value) { return constant(Scalar::of_integer(DType::U32, value)); }
  Expr number(double value, int lanes) const { return constant(Scalar::of_float(trees_.dtype, value), lanes); }

  // The nodes kWalks walks end at; `tree` and `row` say which each is of.
  Buffer walk(Block& block, Expr depth, const std::function<Expr(Expr)>& tree, const std::function<Expr(Expr)>& row) {
    Buffer node = block.local("node", {DType::U32, 1}, kWalks);
    unrolled(block, "i", kWalks,
             [&](Block& inner, Expr i) { inner.add(store(node, i, convert(load(root_, tree(i)), DType::U32))); });
    serial(block, "level", integer(0), depth, 1, [&](Block& loop, Expr) {
      unrolled(loop, "i", kWalks, [&](Block& inner, Expr i) {
        Expr here = inner.let("here", convert(load(node, i), DType::I64));
        Expr slot, left;
        if (slot_bits_ > 0) {
          Expr link = inner.let("link", load(link_, here));
          slot = apply(ScalarOp::And, {link, whole((uint32_t{1} << slot_bits_) - 1)});
          left = apply(ScalarOp::ShiftRight, {link, whole(static_cast<uint32_t>(slot_bits_))});
        } else {
          slot = load(link_, mul(here, integer(2)));
          left = load(link_, add(mul(here, integer(2)), integer(1)));
        }
        Expr x = load(stage_, add(mul(row(i), integer(stage_width())), convert(slot, DType::I64)));
        Expr below = apply(ScalarOp::LessEqual, {x, load(threshold_, here)});
        inner.add(store(node, i, add(left, convert(apply(ScalarOp::Not, {below}), DType::U32))));
      });
    });
    return node;
  }

  // Calls `use` for each vector of what the leaf of walk i says.
  void for_leaf(Block& block, const Buffer& node, Expr i, const std::function<void(Block&, Expr, Expr)>& use) {
    Expr at = block.let("at", convert(load(node, i), DType::I64));
    if (trees_.one_target) return use(block, integer(0), load(threshold_, at));
    Expr row = block.let("leaf", mul(load_index(leaf_index_, at), integer(width_)));
    unrolled(block, "v", width_ / lanes_,
             [&](Block& inner, Expr v) { use(inner, v, load(leaf_, add(row, mul(v, integer(lanes_))), lanes_)); });
  }

  Expr place(Expr row) { return mul(add(mul(segment_, builder_.parameter(form_.rows)), row), integer(width_)); }

  TreeVariant finish(Dim when, Dim blocks) {
    TreeVariant result;
    for (const Segment& segment : segments_) result.targets.push_back(segment.target);
    result.variant =
        builder_.finish(module_.dims.mul(builder_.dim(static_cast<int64_t>(segments_.size())), blocks), when);
    return result;
  }

  const TreeEnsembleForm& form_;
  const Trees& trees_;
  Module& module_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const Value* x_;
  const int width_, lanes_;  // of a leaf, and of the vectors it is read in
  std::vector<Segment> segments_;
  Buffer threshold_, link_, root_, depth_, leaf_, leaf_index_, first_tree_, slot_feature_, partial_, stage_;
  Expr segment_, row_block_;
  int slot_bits_ = 0;  // of a link that holds the left node too
};

}  // namespace

TreeVariant walk_one_row(const TreeEnsembleForm& form, Dim when) { return WalkLowering(form, true).one_row(when); }

TreeVariant walk_rows(const TreeEnsembleForm& form, Dim when) { return WalkLowering(form, false).block_of_rows(when); }

}  // namespace lapidary::lowering
