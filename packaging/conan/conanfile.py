# SPDX-License-Identifier: MIT
import os

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy


class CometConan(ConanFile):
    name = "comet"
    version = "0.1.0"
    description = "Sparse mixture-of-experts routing on Eigen"
    license = "MIT"
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"safetensors": [True, False]}
    default_options = {"safetensors": False}
    no_copy_source = True

    def export_sources(self):
        root = os.path.join(self.recipe_folder, "..", "..")
        for pattern in ("LICENSE", "include/*"):
            copy(self, pattern, root, self.export_sources_folder)

    def requirements(self):
        self.requires("eigen/[>=3.4.0 <6]", transitive_headers=True)
        if self.options.safetensors:
            self.requires("nlohmann_json/3.11.2", transitive_headers=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def package_id(self):
        self.info.clear()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"),
             os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "comet")
        core = self.cpp_info.components["core"]
        core.set_property("cmake_target_name", "comet::comet")
        core.requires = ["eigen::eigen"]
        if self.settings.os in ("Linux", "FreeBSD"):
            core.system_libs = ["pthread"]
        if self.options.safetensors:
            files = self.cpp_info.components["safetensors"]
            files.set_property("cmake_target_name", "comet::safetensors")
            files.requires = ["core", "nlohmann_json::nlohmann_json"]
        for component in self.cpp_info.components.values():
            component.bindirs = []
            component.libdirs = []
