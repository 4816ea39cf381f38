# SPDX-License-Identifier: MIT
# Rscript insteval_data.R PACKAGE: writes insteval.csv, lecture evaluations of ETH Zurich, from the unpacked
# Debian package r-cran-lme4.
package <- commandArgs(trailingOnly = TRUE)[1]
data <- new.env()
invisible(lazyLoad(file.path(package, "usr/lib/R/site-library/lme4/data/Rdata"), envir = data))
write.csv(data$InstEval[c("s", "d", "y")], "insteval.csv", quote = FALSE, row.names = FALSE)
