#include "frontend/refresh_dims.h"

namespace lapidary::frontend {
namespace {

class Refresher {
 public:
  explicit Refresher(DimPool& dims) : dims_(dims) {}

  void refresh(Region& region) {
    for (auto& argument : region.arguments) refresh(*argument);
    for (Op& op : region.ops) {
      for (auto& result : op.results) refresh(*result);
      refresh(op.params);
      for (auto& inner : op.regions) refresh(*inner);
    }
  }

 private:
  Dim fresh(Dim dim) const {
    return dims_.substitute(dim, [](Dim) { return nullptr; });
  }
  void refresh(std::vector<Dim>& all) const {
    for (Dim& dim : all) dim = fresh(dim);
  }
  void refresh(Value& value) const {
    refresh(value.type.shape);
    refresh(value.elements);
  }
  void refresh(Params& params) const {
    for (auto [name, value] : std::vector(params.entries())) {
      if (Dim* dim = std::get_if<Dim>(&value)) params.set(name, fresh(*dim));
      if (auto* list = std::get_if<std::vector<Dim>>(&value)) {
        refresh(*list);
        params.set(name, *list);
      }
    }
  }

  DimPool& dims_;
};

}  // namespace

void refresh_dims(Module& module) {
  Refresher refresher(module.dims);
  for (auto& function : module.functions) refresher.refresh(*function->body);
}

}  // namespace lapidary::frontend
