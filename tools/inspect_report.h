// An inspection as text and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/estimate.h"
#include "tools/inspection.h"

namespace lapidary::tools {

std::string inspection_text(const Inspection&, const std::vector<Estimate>&, int threads);
nlohmann::json inspection_json(const Inspection&, const std::vector<Estimate>&, int threads);

// What no reader of the figures may miss.
extern const char* const kEstimatesAre;
extern const char* const kFiguresAreFrom;

}  // namespace lapidary::tools
