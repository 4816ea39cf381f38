# SPDX-License-Identifier: MIT
# Rscript movielens_data.R PACKAGE: reads MovieLens out of the unpacked Debian package r-cran-dslabs
# and writes ratings.csv and movies.csv, in the format of GroupLens, into the working directory.

package <- commandArgs(trailingOnly = TRUE)[1]
invisible(lazyLoad(file.path(package, "usr/lib/R/site-library/dslabs/data/Rdata"),
                   envir = globalenv()))

write_lines <- function(path, lines) {
  con <- file(path, "wb")
  writeLines(enc2utf8(lines), con, useBytes = TRUE)
  invisible(close(con))
}
quoted <- function(text) {
  needs <- grepl('[",]', text)
  ifelse(needs, paste0('"', gsub('"', '""', text), '"'), text)
}

write_lines("ratings.csv", c(
  "userId,movieId,rating,timestamp",
  sprintf("%d,%d,%.1f,%d", movielens$userId, movielens$movieId, movielens$rating,
          movielens$timestamp)))

movies <- movielens[!duplicated(movielens$movieId), ]
movies <- movies[order(movies$movieId), ]
# The package keeps the year apart; GroupLens writes "Toy Story (1995)".
title <- ifelse(is.na(movies$year), movies$title,
                sprintf("%s (%d)", movies$title, as.integer(movies$year)))
write_lines("movies.csv", c(
  "movieId,title,genres",
  sprintf("%d,%s,%s", movies$movieId, quoted(title), quoted(as.character(movies$genres)))))
