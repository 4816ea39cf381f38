// SPDX-License-Identifier: MIT
#include <programs/training/model_description.hpp>

#include <stdexcept>

namespace programs {

void read_model_description(const comet::TensorFile& file, const std::string& key,
                            const std::function<void(const Json&)>& read) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) file.refuse("is no model of this program");
  try {
    read(parse_json(found->second));
  } catch (const Json::exception&) {
    file.refuse("its description of the model is damaged");
  } catch (const std::invalid_argument& error) {
    file.refuse(std::string("its description of the model is damaged: ") + error.what());
  }
}

}  // namespace programs
