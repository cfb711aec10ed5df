# Reference fits by glmnet, written to glmnet.json beside this script.
#
#   Rscript make_glmnet.R ../../jaxreg/datasets/diabetes.csv BREAST_CANCER
#
# where BREAST_CANCER is scikit-learn's copy of that table, datasets/data/breast_cancer.csv of the installed package.
#
# How glmnet's arguments become the problem (1/sum w) sum w loss + lam sum f (r |b| + (1 - r) b^2 / 2):
# - glmnet divides a gaussian y by its 1/n standard deviation s, which multiplies the strength of the square by 1/s
#   and not that of the absolute value. So alpha and lambda are solved from alpha * lambda = lam * r and
#   (1 - alpha) * lambda = lam * (1 - r) * s.
# - glmnet scales penalty factors to sum to p, so lambda is multiplied by their mean.

suppressPackageStartupMessages(library(glmnet))

# Exact fits: no early end of the path, probabilities never clipped, coordinate descent run to rounding error.
glmnet.control(fdev = 0, devmax = 1, pmin = 0, mxit = 1000, exmx = 700)
THRESH <- 1e-28
MAXIT <- 1e9

# JSON ----------------------------------------------------------------------------------------------------------------

to_json <- function(x) {
  if (is.null(x)) return("null")
  if (is.list(x)) {
    return(paste0("{", paste0('"', names(x), '": ', vapply(x, to_json, ""), collapse = ",\n"), "}"))
  }
  if (is.matrix(x)) {
    return(paste0("[", paste(apply(x, 1, to_json), collapse = ",\n"), "]"))
  }
  one <- if (is.character(x)) paste0('"', x, '"')
    else if (is.logical(x)) tolower(as.character(x))
    else sprintf("%.17g", x)
  if (length(x) == 1 && is.null(attr(x, "vector"))) one else paste0("[", paste(one, collapse = ", "), "]")
}

vec <- function(x) structure(as.numeric(x), vector = TRUE)

# Data ----------------------------------------------------------------------------------------------------------------

args <- commandArgs(trailingOnly = TRUE)
diabetes <- as.matrix(read.csv(args[1]))
cancer <- as.matrix(read.csv(args[2], skip = 1, header = FALSE))
pair <- iris[51:150, ]
data <- list(
  diabetes = list(x = unname(diabetes[, 1:10]), y = diabetes[, 11]),
  breast_cancer = list(x = unname(cancer[, 1:30]), y = cancer[, 31]),
  iris_pair = list(x = unname(as.matrix(pair[, 1:4])), y = as.numeric(pair$Species == "virginica"))
)
uneven_weights <- function(n) c(0.5, 1, 2, 1.5, 0.75)[(seq_len(n) - 1) %% 5 + 1]
grid <- function(high, low, size = 10) high * (low / high)^(seq(0, size - 1) / (size - 1))

# Fits ----------------------------------------------------------------------------------------------------------------

fit <- function(problem, family, lams, l1_ratio = 1, weighted = FALSE, factors = NULL, intercept = TRUE,
                standardize = TRUE) {
  x <- data[[problem]]$x
  y <- data[[problem]]$y
  w <- if (weighted) uneven_weights(nrow(x)) else rep(1, nrow(x))
  f <- if (is.null(factors)) rep(1, ncol(x)) else factors
  s <- 1
  if (family == "gaussian") {
    center <- if (intercept) weighted.mean(y, w) else 0
    s <- sqrt(weighted.mean((y - center)^2, w))
  }
  strength <- l1_ratio + (1 - l1_ratio) * s
  m <- glmnet(x, y, family = family, weights = w, alpha = l1_ratio / strength,
              lambda = lams * strength * mean(f), penalty.factor = f, intercept = intercept,
              standardize = standardize, thresh = THRESH, maxit = MAXIT)
  stopifnot(m$jerr == 0, length(m$lambda) == length(lams))
  list(problem = problem, loss = if (family == "gaussian") "squared" else "logistic", l1_ratio = l1_ratio,
       uneven_weights = weighted, factors = factors, intercept_fitted = intercept, standardize = standardize,
       lams = vec(lams), coef = unname(t(as.matrix(m$beta))), intercept = vec(m$a0), deviance_ratio = vec(m$dev.ratio),
       predictions = unname(t(predict(m, x[1:5, ], type = "response"))))
}

# Cross-validation, with the grid given so that every fold fits it. glmnet clips probabilities to [1e-5, 1 - 1e-5]
# before it takes a deviance; the deviance is taken here from the same fits without clipping, and averaged as glmnet
# averages: by fold, with the folds weighted by the weights of their samples.
cross_validate <- function(problem, family, lams, folds, seed, weighted = FALSE) {
  x <- data[[problem]]$x
  y <- data[[problem]]$y
  w <- if (weighted) uneven_weights(nrow(x)) else rep(1, nrow(x))
  set.seed(seed)
  fold <- sample(rep(seq_len(folds), length.out = nrow(x)))
  m <- cv.glmnet(x, y, family = family, weights = w, lambda = lams, foldid = fold, keep = TRUE, grouped = TRUE,
                 type.measure = if (family == "gaussian") "mse" else "deviance", thresh = THRESH, maxit = MAXIT)
  stopifnot(length(m$lambda) == length(lams))
  mean <- m$cvm
  se <- m$cvsd
  if (family != "gaussian") {
    eta <- m$fit.preval
    deviance <- 2 * (pmax(eta, 0) + log1p(exp(-abs(eta))) - y * eta)
    share <- tapply(w, fold, sum)
    scores <- sapply(seq_len(folds), function(k) apply(deviance[fold == k, ], 2, weighted.mean, w = w[fold == k]))
    mean <- apply(scores, 1, weighted.mean, w = share)
    se <- sqrt(apply((scores - mean)^2, 1, weighted.mean, w = share) / (folds - 1))
    cat(problem, "clipping changes the mean deviance by at most", max(abs(mean - m$cvm)), "\n")
  }
  best <- which.min(mean)
  list(problem = problem, loss = if (family == "gaussian") "squared" else "logistic", uneven_weights = weighted,
       fold_id = structure(fold - 1L, vector = TRUE), lams = vec(lams), mean = vec(mean), se = vec(se),
       glmnet_mean = vec(m$cvm), glmnet_se = vec(m$cvsd), glmnet_lam_min = m$lambda.min, glmnet_lam_1se = m$lambda.1se,
       lam_min = lams[best], lam_1se = max(lams[mean <= mean[best] + se[best]]))
}

diabetes_lams <- grid(40, 0.04)
factors <- c(0, 1, 0.5, 2, 1, 3, 1, 0.25, 1, 1)
fits <- list(
  diabetes_lasso = fit("diabetes", "gaussian", diabetes_lams),
  diabetes_elastic_net = fit("diabetes", "gaussian", diabetes_lams, l1_ratio = 0.5),
  diabetes_ridge = fit("diabetes", "gaussian", grid(10, 0.001), l1_ratio = 0),
  diabetes_lasso_weighted = fit("diabetes", "gaussian", diabetes_lams, weighted = TRUE),
  diabetes_lasso_factors = fit("diabetes", "gaussian", diabetes_lams, factors = factors),
  diabetes_lasso_no_intercept = fit("diabetes", "gaussian", diabetes_lams, intercept = FALSE),
  diabetes_lasso_as_given = fit("diabetes", "gaussian", grid(500, 0.5), standardize = FALSE),
  diabetes_elastic_net_everything = fit("diabetes", "gaussian", diabetes_lams, l1_ratio = 0.8, weighted = TRUE,
                                        factors = factors, standardize = FALSE),
  breast_cancer_l1 = fit("breast_cancer", "binomial", grid(0.3, 0.001)),
  breast_cancer_l2 = fit("breast_cancer", "binomial", grid(1, 0.001), l1_ratio = 0),
  breast_cancer_elastic_net_weighted = fit("breast_cancer", "binomial", grid(0.3, 0.001), l1_ratio = 0.5, weighted = TRUE),
  iris_l1_no_intercept = fit("iris_pair", "binomial", grid(0.3, 0.001), intercept = FALSE),
  iris_l1_factors = fit("iris_pair", "binomial", grid(0.1, 0.001), factors = c(1, 0, 2, 0.5))
)
selections <- list(
  diabetes = cross_validate("diabetes", "gaussian", grid(45, 0.045, 100), 10, 1),
  diabetes_weighted = cross_validate("diabetes", "gaussian", grid(45, 0.045, 100), 10, 4, weighted = TRUE),
  breast_cancer = cross_validate("breast_cancer", "binomial", grid(0.38, 0.001, 100), 10, 3)
)
software <- list(R = paste(R.version$major, R.version$minor, sep = "."), glmnet = as.character(packageVersion("glmnet")))
writeLines(to_json(list(software = software, fits = fits, selections = selections)), "glmnet.json")
