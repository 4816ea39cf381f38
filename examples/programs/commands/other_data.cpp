// SPDX-License-Identifier: MIT
#include <programs/commands/other_data.hpp>

#include <ostream>

namespace programs {

Json is_of_training(const std::string& of_model, const std::string& here) {
  return of_model.empty() ? Json() : Json(of_model == here);
}

void tell_other_data(const std::string& of_model, const std::string& here,
                     const std::string& source, const Console& console) {
  if (of_model.empty() || of_model == here) return;
  console.err
      << "note: " << source
      << " is not what the model was trained on, or has changed since: its splits are others, "
         "and any of them may hold what was trained on"
      << std::endl;
}

}  // namespace programs
