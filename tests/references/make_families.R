# Penalized fits of glmnet's other families, written to families.json beside this script.
#
#   Rscript make_families.R ../../jaxreg/datasets/diabetes.csv
#
# The problem is (1/sum w) sum w loss + lam sum f (r |b| + (1 - r) b^2 / 2) on standardized columns. glmnet scales
# penalty factors to sum to p, so lambda is multiplied by their mean. Coefficients b of one row that belong together
# (type.multinomial = "grouped", and the responses of mgaussian) are penalized by their Euclidean norm instead of |b|.

suppressPackageStartupMessages(library(glmnet))
source("json.R")

# Exact fits: no early end of the path, probabilities never clipped, coordinate descent run to rounding error.
glmnet.control(fdev = 0, devmax = 1, pmin = 0, mxit = 10000, exmx = 700)

path <- commandArgs(trailingOnly = TRUE)[1]
diabetes <- as.matrix(read.csv(path))
heart <- as.matrix(read.csv("saheart.csv"))
counts <- as.matrix(read.csv("quine.csv"))
problems <- list(
  heart = list(x = heart[, 1:9], y = heart[, 10]),
  quine = list(x = counts[, -1], y = counts[, 1]),
  iris = list(x = as.matrix(iris[, 1:4]), y = as.integer(iris$Species) - 1L),
  diabetes_outputs = list(x = diabetes[, 1:6], y = diabetes[, 7:11])
)

fit <- function(problem, family, lams, l1_ratio = 1, weighted = FALSE, shifted = FALSE, factors = NULL,
                grouped = FALSE) {
  x <- unname(problems[[problem]]$x)
  y <- unname(problems[[problem]]$y)
  n <- nrow(x)
  f <- if (is.null(factors)) rep(1, ncol(x)) else factors
  m <- glmnet(x, y, family = family, alpha = l1_ratio, lambda = lams * mean(f), penalty.factor = f,
              weights = if (weighted) uneven_weights(n) else rep(1, n),
              offset = if (shifted) uneven_offset(n), type.multinomial = if (grouped) "grouped" else "ungrouped",
              standardize.response = FALSE, thresh = 1e-20, maxit = 1e9)
  stopifnot(m$jerr == 0, length(m$lambda) == length(lams))
  many <- is.list(m$beta)
  coef <- if (many) aperm(simplify2array(lapply(m$beta, as.matrix)), c(2, 1, 3)) else t(as.matrix(m$beta))
  list(problem = problem, family = family, l1_ratio = l1_ratio, weighted = weighted, shifted = shifted,
       factors = factors, grouped = grouped, lams = vec(lams), coef = unname(coef),
       intercept = if (many) unname(t(as.matrix(m$a0))) else vec(m$a0), deviance_ratio = vec(m$dev.ratio))
}

fits <- list(
  binomial = fit("heart", "binomial", grid(0.1, 0.002), l1_ratio = 0.7, weighted = TRUE, shifted = TRUE,
                 factors = c(0, 1, 0.5, 2, 1, 3, 1, 0.25, 1)),
  poisson = fit("quine", "poisson", grid(3, 0.02), l1_ratio = 0.6, weighted = TRUE, shifted = TRUE,
                factors = c(0, 1, 0.5, 2, 1, 3)),
  multinomial = fit("iris", "multinomial", grid(0.3, 0.003)),
  multinomial_elastic_net = fit("iris", "multinomial", grid(0.3, 0.003), l1_ratio = 0.5),
  multinomial_grouped = fit("iris", "multinomial", grid(0.3, 0.003), grouped = TRUE),
  mgaussian = fit("diabetes_outputs", "mgaussian", grid(30, 0.3))
)
writeLines(to_json(list(software = software("glmnet"), fits = fits)), "families.json")
