#include "passes/graph/relayout.h"

namespace lapidary::passes {

Op& relayout_group(Module& module, Value* value, const Type& type, std::list<Op>::iterator before, Origin origin) {
  Op& group = insert_op(module, *value->region, before, OpKind::Group, {value},
                        {{"family", std::string("elementwise")}, {"anchor", int64_t{0}}}, {type}, origin);
  auto region = std::make_unique<Region>();
  region->owner = &group;
  Value* argument = add_argument(module, *region, value->type);
  Op& copy = insert_op(module, *region, region->ops.end(), OpKind::Relayout, {argument}, {},
                       {Type::tensor(type.dtype, type.shape)}, origin);
  insert_op(module, *region, region->ops.end(), OpKind::Yield, {copy.result()}, {}, {}, origin);
  group.regions.push_back(std::move(region));
  return group;
}

}  // namespace lapidary::passes
