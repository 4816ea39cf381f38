add_library(Eigen3::Eigen INTERFACE IMPORTED)
