# Cox models by R's survival and glmnet, written to survival.json beside this script.
#
#   Rscript make_survival.R
#
# The tables are published measurements that survival (LGPL >= 2) brings along; only the columns used are written:
# - lung: Loprinzi et al. (1994), "Prospective evaluation of prognostic variables from patient-completed questionnaires",
#   J. Clinical Oncology 12; 227 patients of the North Central Cancer Treatment Group;
# - heart: Crowley & Hu (1977), "Covariance analysis of heart transplant survival data", JASA 72, in (start, stop] form.
#
# A log partial likelihood is as coxph has it. Martingale residuals are minus the derivatives of jaxreg's loss.

suppressPackageStartupMessages({library(survival); library(glmnet)})

to_json <- function(x) {
  if (is.null(x)) return("null")
  if (is.list(x)) {
    return(paste0("{", paste0('"', names(x), '": ', vapply(x, to_json, ""), collapse = ",\n"), "}"))
  }
  if (is.matrix(x)) {
    return(paste0("[", paste(apply(unname(x), 1, to_json), collapse = ",\n"), "]"))
  }
  one <- if (is.character(x)) paste0('"', x, '"') else sprintf("%.15g", x)
  if (length(x) == 1) one else paste0("[", paste(one, collapse = ", "), "]")
}

lung <- na.omit(lung[, c("time", "status", "age", "sex", "ph.ecog")])
lung$event <- lung$status - 1
tables <- list(
  lung = list(y = as.matrix(lung[, c("time", "event")]), x = as.matrix(lung[, c("age", "sex", "ph.ecog")])),
  heart = list(y = as.matrix(heart[, c("stop", "event", "start")]),
               x = cbind(age = heart$age, year = heart$year, surgery = heart$surgery,
                         transplant = as.numeric(heart$transplant == "1")))
)
uneven_weights <- function(n) c(0.5, 1, 2, 1.5, 0.75)[(seq_len(n) - 1) %% 5 + 1]

# Of a table with strata the column that makes them leaves the covariates. `at` is where the likelihood is
# also taken, so that it is compared off the optimum too.
fit <- function(name, ties, stratum = NULL, weighted = FALSE) {
  y <- tables[[name]]$y
  x <- tables[[name]]$x
  s <- if (is.null(stratum)) rep(0, nrow(x)) else x[, stratum]
  x <- x[, setdiff(colnames(x), stratum)]
  w <- if (weighted) uneven_weights(nrow(x)) else rep(1, nrow(x))
  response <- if (ncol(y) == 3) Surv(y[, 3], y[, 1], y[, 2]) else Surv(y[, 1], y[, 2])
  model <- function(init, iterations) {
    coxph(response ~ x + strata(s), weights = w, ties = ties, init = init,
          control = coxph.control(iter.max = iterations, eps = 1e-14, toler.chol = 1e-16, timefix = FALSE))
  }
  best <- model(rep(0, ncol(x)), 50)
  at <- 0.5 * coef(best) + 0.01
  there <- suppressWarnings(model(at, 0))
  list(table = name, ties = ties, stratum = stratum, weighted = as.numeric(weighted), columns = colnames(x),
       coef = unname(coef(best)), loglik_null = best$loglik[1], loglik = best$loglik[2],
       se = unname(sqrt(diag(if (is.null(best$naive.var)) best$var else best$naive.var))),
       at = unname(at), loglik_at = there$loglik[1], martingale_at = unname(residuals(there, type = "martingale")))
}

# Lambda is as in (1/n) loss + lambda |b|_1. Ties are broken by thousandths, in the order of the rows: where deaths and
# censored times are tied, this glmnet is at odds with coxph's Breslow likelihood (null deviance 1415.1246 for lung, where
# coxph and the definition give 1415.2053).
path <- function(name, lams) {
  y <- tables[[name]]$y
  y[, 1] <- y[, 1] + seq_len(nrow(y)) / 1000
  x <- tables[[name]]$x
  glmnet.control(fdev = 0, devmax = 1)
  m <- glmnet(x, Surv(y[, 1], y[, 2]), family = "cox", lambda = lams, standardize = FALSE, thresh = 1e-16, maxit = 1e8)
  list(table = name, lams = lams, coef = unname(t(as.matrix(m$beta))), deviance_ratio = m$dev.ratio,
       null_deviance = m$nulldev)
}

# The same of an elastic net, with weights, strata and penalty factors, of the table in (start, stop] form: lambda is as
# in (1/sum w) loss + lambda sum f (r |b| + (1 - r) b^2 / 2). glmnet scales penalty factors to sum to p.
stratified <- function(lams, l1_ratio) {
  y <- tables$heart$y
  y[, 1] <- y[, 1] + seq_len(nrow(y)) / 1000
  x <- tables$heart$x
  glmnet.control(fdev = 0, devmax = 1, epsnr = 1e-14, mxitnr = 1000)
  columns <- c("age", "year", "transplant")
  factors <- c(1, 0.5, 2)
  m <- glmnet(x[, columns], stratifySurv(Surv(y[, 3], y[, 1], y[, 2]), x[, "surgery"]), family = "cox",
              lambda = lams * mean(factors), alpha = l1_ratio, penalty.factor = factors,
              weights = uneven_weights(nrow(x)), standardize = FALSE, thresh = 1e-16, maxit = 1e8)
  list(table = "heart", columns = columns, stratum = "surgery", factors = factors, l1_ratio = l1_ratio, lams = lams,
       coef = unname(t(as.matrix(m$beta))))
}

fits <- list(
  lung_efron = fit("lung", "efron"),
  lung_breslow = fit("lung", "breslow"),
  lung_strata = fit("lung", "efron", stratum = "sex"),
  lung_weighted = fit("lung", "efron", weighted = TRUE),
  heart_efron = fit("heart", "efron"),
  heart_breslow = fit("heart", "breslow"),
  heart_strata_weighted = fit("heart", "efron", stratum = "surgery", weighted = TRUE)
)
software <- list(R = paste(R.version$major, R.version$minor, sep = "."),
                 survival = as.character(packageVersion("survival")), glmnet = as.character(packageVersion("glmnet")))
written <- lapply(tables, function(t) list(columns = colnames(t$x), y = t$y, x = t$x))
writeLines(to_json(list(software = software, tables = written, fits = fits,
                        paths = list(lung = path("lung", c(0.2, 0.1, 0.05, 0.01)),
                                     heart = stratified(c(1, 0.3, 0.03, 0.001), 0.6)))), "survival.json")
