// Form groups: partitions every body into Group ops, one kernel each. fusion_rules.h says what goes together; here is
// in which order it is decided.
//
//   %2 = conv %0, %1 …            %4 = group %0, %1 family="conv" anchor=0 {
//   %3 = relu %2            →       (%5, %6)  %2 = conv %5, %6 …  %3 = relu %2  yield %3 }
//
// 1. Contractions and attention take the shape ops before them that are strides.
// 2. Anchors, first to last, take the ops that follow them, as many as leave the group one result. An op with an
//    operand that depends on the group from outside is not taken, so no circle arises: x·sigmoid(x) goes whole into
//    the convolution that makes x, while a skip connection ends it.
// 3. Everything else, last to first, joins the group that holds all its readers, or starts one. An elementwise op
//    joins only when its readers want the same element of it, once: not below a broadcast, not under two index maps.
//    Shape ops and scalars cost nothing and are copied to every reader. A concat of what kernels make, or of more than
//    two parts, ends a group of its own.
//
// Afterwards a body holds constants, groups and its yield, nothing else. Test: test/passes/form_groups/.
#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "ir/error.h"
#include "ir/host_functions.h"
#include "passes/graph/clusters.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/views.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr size_t kMaxMembers = 96;     // of a group: what keeps one kernel's live values in registers, more or less
constexpr int64_t kFewElements = 256;  // of a concat: not worth a kernel of its own
constexpr int kMaxCopies =
    16;  // of one op in a kernel, each under index maps of its own: fifty concats of a value with itself would be 2^50

void inline_unknown_composites(Module& module, Region& body) {
  for (auto it = body.ops.begin(); it != body.ops.end();) {
    Op& op = *it;
    if (!op.is(OpKind::Composite) || is_kept_composite(op)) {
      ++it;
      continue;
    }
    auto first = it == body.ops.begin() ? body.ops.end() : std::prev(it);
    std::vector<Value*> values = inline_region(module, *op.regions[0], op.operands, body, it);
    for (size_t i = 0; i < values.size(); ++i) replace_value(op.results[i].get(), values[i]);
    erase_op(op);
    it = first == body.ops.end() ? body.ops.begin() : std::next(first);  // bodies may hold composites in turn
  }
}

// What the host does itself, between kernels.
bool is_hosts(const Op& op) { return op.is_control() || op.is(OpKind::ToHost) || op.is(OpKind::HostCall); }
bool calls_in_place(const Op& op) { return op.is(OpKind::HostCall) && works_in_place(op.params.text("function")); }
// Does it write its result where it is told to?
bool writes_result(const Op& op) {
  return !op.is(OpKind::Constant) && (!is_hosts(op) || (op.is(OpKind::HostCall) && !calls_in_place(op)));
}

// How many of its operands, from the first on, an op overwrites.
uint32_t overwritten_operands(const Op& op) {
  if (op.is(OpKind::Loop)) return static_cast<uint32_t>(op.params.integer("carried"));
  return calls_in_place(op) && op.params.text("function") == "start_reduction" ? 1 : 0;
}

// What a loop starts with, or a call works on, is made by a group of its own, which writes it where that wants it.
void copy_overwritten(Module& module, Region& body) {
  for (Op& op : body.ops) {
    for (uint32_t i = 0; i < overwritten_operands(op); ++i) {
      Value* start = op.operands[i];
      const bool own = start->has_one_use() && start->producer && writes_result(*start->producer);
      if (own) continue;
      Op& copy = insert_op(module, body, op.self, OpKind::Reshape, {start}, {{"shape", start->type.shape}},
                           {start->type}, op.origin);
      op.set_operand(i, copy.result());
    }
  }
}

// A result of a body is written by a kernel of its own: arguments, constants and values yielded twice get a copy,
// spelled as a reshape to the same shape.
void copy_yielded(Module& module, Region& body) {
  Op& yield = body.yield();
  for (uint32_t i = 0; i < yield.operands.size(); ++i) {
    Value* value = yield.operands[i];
    bool twice = std::find(yield.operands.begin(), yield.operands.begin() + i, value) != yield.operands.begin() + i;
    if (!twice && value->producer && writes_result(*value->producer)) continue;
    Op& copy =
        insert_op(module, body, yield.self, OpKind::Reshape, {value}, {{"shape", value->type.shape}}, {value->type}, 0);
    yield.set_operand(i, copy.result());
  }
}

class Grouping {
 public:
  Grouping(Module& module, Region& body) : module_(module), body_(body) {}

  std::vector<Cluster> run() {
    for (Op& op : body_.ops)
      if (family_of(op) == "contraction" || family_of(op) == "attention") take_views(op);
    erase_unread_views();
    host_reads_ = HostReads(body_);
    auto positions = positions_of(body_);
    for (Op& op : body_.ops)
      if (!cluster_of_.contains(&op) && !is_hosts(op) && family_of(op) != "elementwise") grow(start(op), positions);
    for (auto op = body_.ops.end(); op != body_.ops.begin();) {
      --op;
      bool stays = op->is(OpKind::Yield) || is_hosts(*op) || (op->is(OpKind::Constant) && !is_leaf(module_, *op));
      if (stays || cluster_of_.contains(&*op)) continue;
      op = place(*op);
    }
    return std::move(clusters_);
  }

 private:
  // The cluster of an anchor, made when first asked for; the anchor joins it in step 2, when its turn comes.
  int cluster_around(Op& anchor) {
    auto [entry, added] = anchored_.try_emplace(&anchor, static_cast<int>(clusters_.size()));
    if (added) clusters_.push_back({std::string(family_of(anchor)), &anchor, {}});
    return entry->second;
  }

  int start(Op& anchor) {
    int cluster = cluster_around(anchor);
    join(anchor, cluster);
    return cluster;
  }

  void join(Op& op, int cluster) {
    clusters_[cluster].members.push_back(&op);
    cluster_of_[&op] = cluster;
  }

  Op& copy_before(const Op& op, Op& reader) {
    Op& copy = insert_op(module_, body_, reader.self, op.kind, op.operands, op.params, {op.type()}, op.origin);
    copy.result()->elements = op.result()->elements;
    return copy;
  }

  // --- 1. views before contractions ----------------------------------------------------------------------------

  // How many shape ops before operand `index` are together a view its reader can walk over.
  int view_depth(const Op& anchor, int index) {
    Value* operand = anchor.operand(index);
    int best = 0;
    const Value* value = operand;
    for (int depth = 1; value->producer && is_view_op(*value->producer); ++depth) {
      value = value->producer->operand(0);
      auto view = strided_view(module_.dims, operand, depth);
      if (!view) break;
      bool vectors = view->strides.empty() || value_of(view->strides.back()) == 1;
      if (anchor.is(OpKind::Contract) || vectors) best = depth;
    }
    return best;
  }

  void take_views(Op& anchor) {
    int operands = anchor.is(OpKind::Contract) ? 2 : 3;
    for (int i = 0; i < operands; ++i) {
      int depth = view_depth(anchor, i);
      Op* reader = &anchor;
      for (uint32_t operand = static_cast<uint32_t>(i); depth > 0; --depth, operand = 0) {
        Op& copy = copy_before(*reader->operand(static_cast<int>(operand))->producer, *reader);
        reader->set_operand(operand, copy.result());
        join(copy, cluster_around(anchor));
        before_anchor_.insert(&copy);
        reader = &copy;
      }
    }
  }

  void erase_unread_views() {
    for (auto op = body_.ops.end(); op != body_.ops.begin();) {
      --op;
      if (!is_view_op(*op) || !op->result()->uses.empty()) continue;
      auto next = std::next(op);
      erase_op(*op);
      op = next;
    }
  }

  // --- 2. what follows an anchor -------------------------------------------------------------------------------

  static bool reads_any(const Op& op, const std::unordered_set<const Op*>& producers) {
    return std::ranges::any_of(op.operands,
                               [&](const Value* v) { return v->producer && producers.contains(v->producer); });
  }

  bool needs_any(const Op& op, const std::unordered_set<const Op*>& producers) const {
    return std::ranges::any_of(host_reads_.needed_by(op), [&](const Op* read) { return producers.contains(read); });
  }

  // Of the values of these ops, how many are read by others?
  static int results_of(const std::vector<Op*>& members, const std::unordered_set<const Op*>& inside) {
    int count = 0;
    for (const Op* member : members)
      for (const auto& result : member->results)
        count += std::ranges::any_of(result->uses, [&](const Use& use) { return !inside.contains(use.op); });
    return count;
  }

  // A group may end with a shape op only when its readers would not take it for nothing themselves.
  bool may_end_with(const Op& op) const {
    if (!is_movement(op)) return true;
    return std::ranges::none_of(op.result()->uses, [&](const Use& use) {
      std::string_view family = family_of(*use.op);
      return !use.op->is(OpKind::Yield) && !is_hosts(*use.op) && !before_anchor_.contains(use.op) &&
             (family == "elementwise" || family == "row" || family == "reduce");
    });
  }

  static bool is_yielded(const Op& op) {
    return std::ranges::any_of(op.result()->uses, [](const Use& use) { return use.op->is(OpKind::Yield); });
  }

  void grow(int cluster, const std::unordered_map<const Op*, int>& positions) {
    Op& anchor = *clusters_[cluster].anchor;
    std::vector<Op*> members{&anchor};
    std::unordered_set<const Op*> inside{&anchor}, dependent;
    size_t best = 1;
    int last_reader = 0;
    auto note_readers = [&](const Op& op) {
      for (const auto& result : op.results)
        for (const Use& use : result->uses) last_reader = std::max(last_reader, positions.at(use.op));
    };
    note_readers(anchor);
    for (auto it = std::next(anchor.self); !it->is(OpKind::Yield) && positions.at(&*it) <= last_reader; ++it) {
      bool depends = reads_any(*it, dependent) || needs_any(*it, dependent);
      if (!depends && !reads_any(*it, inside)) continue;
      bool taken = !depends && !cluster_of_.contains(&*it) && may_follow(anchor, *it) && members.size() < kMaxMembers;
      if (!taken) {
        dependent.insert(&*it);
        continue;
      }
      members.push_back(&*it);
      inside.insert(&*it);
      note_readers(*it);
      // Codes are a quarter of the memory of the numbers their readers make of them, halves are half of it.
      const bool grows = dequantizes(module_, *it) || (widens_halves(*it) && !is_yielded(*it));
      if (may_end_with(*it) && !grows && results_of(members, inside) == 1) best = members.size();
    }
    for (size_t i = 1; i < best; ++i) join(*members[i], cluster);
  }

  // --- 3. everything else ----------------------------------------------------------------------------------------

  // Places an op after all its readers have been; returns where to go on.
  std::list<Op>::iterator place(Op& op) {
    auto position = op.self;
    if (is_leaf(module_, op)) return place_leaf(op);
    if (is_view_op(op)) copy_to_readers(op);
    if (op.result()->uses.empty()) {
      position = std::next(op.self);
      erase_op(op);
      return position;
    }
    int reader = stands_alone(op) ? -1 : only_reading_cluster(op);
    if (reader >= 0 && may_join(op, reader)) {
      join(op, reader);
    } else {
      start_group(op);
    }
    return position;
  }

  // A concat inside a reader asks at every element which part it is in. Where kernels make its parts anyway, they write
  // them into one buffer (place_concats); of many parts a copy is cheaper than the questions.
  bool stands_alone(const Op& op) const {
    if (!op.is(OpKind::Concat) || value_of(module_.dims.product(op.type().shape)).value_or(kFewElements) < kFewElements)
      return false;
    return op.operands.size() > 2 || std::ranges::all_of(op.operands, [&](const Value* part) {
             return part->producer && (cluster_of_.contains(part->producer) || part->producer->is(OpKind::Concat));
           });
  }

  void start_group(Op& op) {
    int cluster = start(op);
    space_of_[&op] = new_space(false);
    LPD_CHECK(clusters_[cluster].family == "elementwise", "an anchor was not placed in its turn");
  }

  // Leaves live with each reader that is not an anchor; anchors read constants from memory.
  std::list<Op>::iterator place_leaf(Op& op) {
    std::vector<Use> uses = op.result()->uses;
    for (const Use& use : uses) {
      if (use.op->is(OpKind::Yield) || !(is_elementwise(*use.op) || is_movement(*use.op))) continue;
      Op& copy = copy_before(op, *use.op);
      use.op->set_operand(use.operand, copy.result());
      join(copy, cluster_of_.at(use.op));
    }
    auto position = op.self;
    if (op.result()->uses.empty()) {
      ++position;
      erase_op(op);
    } else if (!op.is(OpKind::Constant)) {
      start_group(op);
    }
    return position;
  }

  // Gives each reading group that takes the shape op one of its own. A transpose that breaks vectors up is worth a
  // pass over memory of its own when several groups read it.
  void copy_to_readers(Op& op) {
    std::map<int, std::vector<Use>> readers;
    for (const Use& use : op.result()->uses)
      if (auto cluster = cluster_of_.find(use.op); cluster != cluster_of_.end())
        readers[cluster->second].push_back(use);
    if (readers.size() == 1 && only_reading_cluster(op) >= 0) return;  // joins whole
    if (op.is(OpKind::Transpose) && !keeps_last_axis(op)) return;
    for (auto& [cluster, uses] : readers) {
      if (!std::ranges::all_of(uses, [&](const Use& use) { return takes_movement(cluster, op, *use.op); })) continue;
      for (const Use& use : uses) {
        Op& copy = copy_before(op, *use.op);
        use.op->set_operand(use.operand, copy.result());
        join(copy, cluster);
        space_of_[&copy] = space_read(*use.op, use.operand);
      }
    }
  }

  // The cluster all readers are in, or -1.
  int only_reading_cluster(const Op& op) const {
    int found = -1;
    for (const auto& result : op.results)
      for (const Use& use : result->uses) {
        auto cluster = cluster_of_.find(use.op);
        if (cluster == cluster_of_.end() || (found >= 0 && found != cluster->second)) return -1;
        found = cluster->second;
      }
    return found;
  }

  bool takes_movement(int cluster, const Op& op, const Op& reader) const {
    std::string_view family = clusters_[cluster].family;
    if (before_anchor_.contains(&reader)) return false;
    bool whole_rows = is_reduction(reader) || (is_kept_composite(reader) && op.result() == reader.operand(0));
    if (family_of(reader) != "elementwise" && !(whole_rows && (family == "row" || family == "reduce"))) return false;
    return may_move_into(family, op);
  }

  bool may_join(Op& op, int cluster) {
    const Cluster& group = clusters_[cluster];
    if (group.members.size() >= kMaxMembers || !op.regions.empty()) return false;
    if (!is_elementwise(op) && !is_movement(op)) return false;
    const auto& uses = op.result()->uses;
    int space = space_read(*uses[0].op, uses[0].operand);
    bool one_space =
        std::ranges::all_of(uses, [&](const Use& use) { return space_read(*use.op, use.operand) == space; });
    int copies = one_space ? copies_[space] : copies_read(uses);
    bool joins = is_movement(op) ? copies <= kMaxCopies &&
                                       std::ranges::all_of(
                                           uses, [&](const Use& use) { return takes_movement(cluster, op, *use.op); })
                                 : computes_in(group, op) && one_space && (!repeats_[space] || is_single(op.type()));
    if (joins && !one_space) space = new_space(true, copies);
    if (joins) space_of_[&op] = space;
    return joins;
  }

  // May a scalar op be computed inside this group before its anchor?
  bool computes_in(const Cluster& group, const Op& op) const {
    if (group.family == "elementwise") return true;
    if (group.family == "conv" || group.family == "contraction") {
      return dequantizes(module_, op) && op.type().shape == group.anchor->type().shape &&
             std::ranges::none_of(op.result()->uses, [&](const Use& use) {
               return use.op == group.anchor || before_anchor_.contains(use.op);
             });
    }
    if (group.family != "row" && group.family != "reduce") return false;
    return std::ranges::all_of(op.result()->uses, [&](const Use& use) {
      return !is_kept_composite(*use.op) || use.operand == 0 || widens_halves(op);
    });
  }

  // Scales of all rows: half of what is read of them, and an instruction.
  static bool widens_halves(const Op& op) {
    const auto is_half = [](DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; };
    return op.is(OpKind::Convert) && is_half(op.operand(0)->type.dtype) && op.type().dtype == DType::F32;
  }

  static bool is_single(const Type& type) {
    return std::ranges::all_of(type.shape, [](Dim extent) { return value_of(extent) == 1; });
  }

  // Which element of an operand a reader wants while the group computes one element of its result: values in one space
  // are wanted at the same coordinates. A space that repeats wants the same element many times.
  int space_read(const Op& reader, uint32_t operand) {
    auto of_reader = space_of_.find(&reader);
    if (of_reader == space_of_.end()) of_reader = space_of_.emplace(&reader, shape_space(reader)).first;
    if (is_elementwise(reader)) return of_reader->second;
    auto [entry, added] = operand_space_.try_emplace({&reader, operand}, 0);
    if (added) {
      bool reads_whole = is_reduction(reader) || is_kept_composite(reader);
      bool repeats = repeats_[of_reader->second] || reader.is(OpKind::Broadcast) || reader.is(OpKind::Gather) ||
                     reader.is(OpKind::GatherElements);
      entry->second =
          reads_whole ? shape_space_of(cluster_of_.at(&reader), reader.operand(static_cast<int>(operand))->type.shape)
                      : new_space(repeats, copies_[of_reader->second]);
    }
    return entry->second;
  }

  // Around an anchor, values of one shape are wanted at the same coordinates.
  int shape_space(const Op& op) { return shape_space_of(cluster_of_.at(&op), op.type().shape); }
  int shape_space_of(int cluster, const Shape& shape) {
    auto [entry, added] = shape_space_.try_emplace({cluster, shape}, 0);
    if (added) entry->second = new_space(false);
    return entry->second;
  }

  // In how many places of the kernel a value read like this would be computed.
  int copies_read(const std::vector<Use>& uses) {
    std::set<int> spaces;
    for (const Use& use : uses) spaces.insert(space_read(*use.op, use.operand));
    int copies = 0;
    for (int space : spaces) copies += copies_[space];
    return copies;
  }

  int new_space(bool repeats, int copies = 1) {
    copies_.push_back(copies);
    repeats_.push_back(repeats);
    return static_cast<int>(repeats_.size()) - 1;
  }

  Module& module_;
  Region& body_;
  HostReads host_reads_;  // once views are copied
  std::vector<Cluster> clusters_;
  std::unordered_map<const Op*, int> cluster_of_, anchored_, space_of_;
  std::unordered_set<const Op*> before_anchor_;
  std::map<std::pair<const Op*, uint32_t>, int> operand_space_;
  std::map<std::pair<int, Shape>, int> shape_space_;
  std::vector<bool> repeats_;
  std::vector<int> copies_;
};

}  // namespace

bool form_groups(Module& module, const Options& options) {
  for_each_body(module, [&](Region& body) { inline_unknown_composites(module, body); });
  canonicalise(module, options);  // what the bodies of composites brought
  for_each_body(module, [&](Region& body) { copy_yielded(module, body); });
  for_each_body(module, [&](Region& body) { copy_overwritten(module, body); });
  drop_dead(module, options);
  for_each_body(module, [&](Region& body) {
    std::vector<Cluster> clusters = Grouping(module, body).run();
    build_groups(module, body, clusters);
  });
  return true;
}

}  // namespace lapidary::passes
