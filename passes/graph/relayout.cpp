#include "passes/graph/relayout.h"

namespace lapidary::passes {

namespace {

// A group of its own in which one op of this kind copies the value.
Op& group_of_one(Module& module, Value* value, const Type& type, OpKind kind, Params params,
                 std::list<Op>::iterator before, Origin origin) {
  Op& group = insert_op(module, *value->region, before, OpKind::Group, {value},
                        {{"family", std::string("elementwise")}, {"anchor", int64_t{0}}}, {type}, origin);
  auto region = std::make_unique<Region>();
  region->owner = &group;
  Value* argument = add_argument(module, *region, value->type);
  Op& copy = insert_op(module, *region, region->ops.end(), kind, {argument}, std::move(params),
                       {Type::tensor(type.dtype, type.shape)}, origin);
  insert_op(module, *region, region->ops.end(), OpKind::Yield, {copy.result()}, {}, {}, origin);
  group.regions.push_back(std::move(region));
  return group;
}

}  // namespace

Op& relayout_group(Module& module, Value* value, const Type& type, std::list<Op>::iterator before, Origin origin) {
  return group_of_one(module, value, type, OpKind::Relayout, {}, before, origin);
}

Op& copy_group(Module& module, Value* value, std::list<Op>::iterator before, Origin origin) {
  return group_of_one(module, value, value->type, OpKind::Reshape, {{"shape", value->type.shape}}, before, origin);
}

}  // namespace lapidary::passes
